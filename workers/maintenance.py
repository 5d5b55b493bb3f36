"""Maintenance: nothing new is submitted upstream; all else goes on, so that nothing is lost there.

It is one of the operators' settings. Every worker reads those again after 5 s, so it holds within
so long, and a submission that is begun by then (a hundred a worker and endpoint) is still sent.
Asking, cancelling, storing and telling go on; the gateway takes requests, which wait, unless it is
told to refuse them (503, with Retry-After). What Celery's producers send is always taken.
"""

import datetime as dt

from sqlalchemy.ext.asyncio import AsyncSession

from models.setting import delete_setting, get_settings, lock_settings, put_setting
from workers.operator_settings import Maintenance, OperatorSettings

RETRY_SECONDS = 30  # after which whoever was refused may ask again
NAME = "maintenance"


async def begin_maintenance(
    session: AsyncSession, *, reason: str, refuse: bool
) -> tuple[Maintenance | None, Maintenance]:
    """What was in force before, and what is now; since when it is so stays."""
    await lock_settings(session)
    before = await find_maintenance(session)
    since = (before and before.since) or dt.datetime.now(dt.UTC)
    after = Maintenance(reason=reason, refuse=refuse, since=since)
    await put_setting(session, name=NAME, value=after.model_dump(mode="json"))
    return before, after


async def end_maintenance(session: AsyncSession) -> Maintenance | None:
    """What was in force; None: nothing was."""
    await lock_settings(session)
    before = await find_maintenance(session)
    await delete_setting(session, name=NAME)
    return before


async def find_maintenance(session: AsyncSession) -> Maintenance | None:
    """What is in force, by the database."""
    return OperatorSettings.model_validate(await get_settings(session)).maintenance
