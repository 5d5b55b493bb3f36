"""Announce: word of campaigns that are complete, and of budgets, to whoever asked for it.

A webhook is signed as those of jobs are, by a secret of its own (`pressroom keys
announcement-secret`); a Celery task is sent under the announcement's id. Either may come twice.
"""

import asyncio
from collections.abc import Sequence

import orjson
import structlog
from celery import shared_task
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncSession

from models.announcement import (
    AnnouncementType,
    DueAnnouncement,
    announce,
    claim_announcements,
    has_announcements,
    note_event,
    record_announcements,
)
from models.base import say_plainly
from models.campaign import Campaign, complete_campaigns
from models.campaign_figures import Progress, count_jobs
from models.errors import DatabaseUnavailable
from tasks.webhook import post, sign_message
from workers.runtime import Runtime, get_process

AT_ONCE = 20
LEASE_SECONDS = 60.0
MOST_SECONDS = 50.0  # of one message

log = structlog.get_logger()


async def announce_campaigns(runtime: Runtime) -> None:
    """The sweep's part: write down word of those that are complete, and have what is due sent."""
    async with runtime.database.begin() as session:
        for campaign in await complete_campaigns(session):
            await _announce(session, campaign)
        due = await has_announcements(session)
    if due:
        await asyncio.to_thread(runtime.app.send_task, "pressroom.announce", ignore_result=True)


async def _announce(session: AsyncSession, campaign: Campaign) -> None:
    wanted = (campaign.spec or {}).get("on_complete") or {}
    body = describe_completed(campaign, await count_jobs(session, campaign.id))
    kind = AnnouncementType.CAMPAIGN_COMPLETED
    await note_event(session, kind, campaign_id=campaign.id, key_id=campaign.key_id)
    announce(session, kind, body, url=wanted.get("webhook"), task=wanted.get("celery"))
    log.info("campaign_completed", campaign=str(campaign.id), name=campaign.name)


def describe_completed(campaign: Campaign, progress: Progress) -> dict[str, object]:
    """As it is sent: amounts are decimal numbers as texts."""
    return {
        "type": AnnouncementType.CAMPAIGN_COMPLETED.value,
        "campaign_id": str(campaign.id),
        "name": campaign.name,
        "tags": campaign.tags,
        "jobs": progress.enqueued,
        "completed": progress.completed,
        "failed": progress.failed,
        "cancelled": progress.cancelled,
        "estimate_usd": say_plainly(progress.estimate_usd),
        "spent_usd": say_plainly(progress.spent_usd),
        "seconds": round(progress.seconds, 1),
        "files_stored": progress.files_stored,
        "files_expired": progress.files_expired,
        "problem": progress.problem,
    }


async def send_announcements(runtime: Runtime) -> int:
    """Send what is due; how many were taken.

    Raises:
        DatabaseUnavailable: what was sent may be sent again.
    """
    taken = 0
    while due := await _claim(runtime):
        ends = await asyncio.gather(*(_send(runtime, one) for one in due), return_exceptions=True)
        failed = {one.id: str(error) for one, error in zip(due, ends, strict=True) if error}
        for one in due:
            if one.id in failed:
                log.warning("announcement_failed", type=one.type, said=failed[one.id])
        async with runtime.database.begin() as session:
            sent = [one.id for one in due if one.id not in failed]
            await record_announcements(session, sent=sent, failed=failed)
        taken += len(sent)
    return taken


async def _claim(runtime: Runtime) -> Sequence[DueAnnouncement]:
    async with runtime.database.begin() as session:
        return await claim_announcements(session, limit=AT_ONCE, lease_seconds=LEASE_SECONDS)


async def _send(runtime: Runtime, one: DueAnnouncement) -> str | None:
    """Why it was not taken; None: it was."""
    if one.url is None:
        return await _send_task(runtime, one)
    body = orjson.dumps(one.body)
    headers = sign_message(f"msg_{one.id.hex}", one.now, body, runtime.secret.announcement_secret())
    return (await post(runtime, one.url, body, headers)).error


async def _send_task(runtime: Runtime, one: DueAnnouncement) -> str | None:
    task = one.task or {}
    try:
        await asyncio.to_thread(
            runtime.app.send_task,
            task["task"],
            args=[dict(one.body)],
            task_id=str(one.id),
            queue=task.get("queue"),
            ignore_result=True,
        )
    except (OperationalError, RedisError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return None


@shared_task(name="pressroom.announce", ignore_result=True)
def announce_due() -> str:
    process = get_process()
    try:
        taken = process.loop.run(send_announcements(process.runtime), seconds=MOST_SECONDS)
    except (DatabaseUnavailable, TimeoutError) as error:
        log.warning("announce_failed", error=str(error))
        return f"not all was sent: {type(error).__name__}"
    return f"taken {taken:,}"
