"""Maintenance begun and ended, each with its line in the audit log; and how it is described."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from models.audit import Action, Actor, note_act
from workers.maintenance import NAME, begin_maintenance, end_maintenance
from workers.operator_settings import Maintenance


async def switch_on(
    session: AsyncSession, actor: Actor, *, reason: str, refuse: bool
) -> Maintenance:
    """As it is now."""
    before, after = await begin_maintenance(session, reason=reason, refuse=refuse)
    await note_act(
        session,
        actor,
        Action.MAINTENANCE_ON,
        NAME,
        before=describe_maintenance(before),
        after=describe_maintenance(after),
    )
    return after


async def switch_off(session: AsyncSession, actor: Actor) -> Maintenance | None:
    """As it was; None: there was none, and nothing is noted."""
    before = await end_maintenance(session)
    if before is not None:
        told = describe_maintenance(before), describe_maintenance(None)
        await note_act(session, actor, Action.MAINTENANCE_OFF, NAME, before=told[0], after=told[1])
    return before


def describe_maintenance(now: Maintenance | None) -> dict[str, Any]:
    """As JSON."""
    if now is None:
        return {"on": False, "reason": None, "refuse": False, "since": None}
    return {"on": True, **now.model_dump(mode="json")}
