"""Holding: while a campaign is paused, its queued jobs are out of line, due at the end of time.

So no claim reads them, no bell rings for them, and whoever else is in line goes on. The campaign's
row says whether it is paused, and its jobs follow some thousands at a time; `unsettled` says that
they have not all done so, and the sweep goes on with what was left undone. A job that comes back to
the queue later, told to wait or for another attempt, is held as it would join the line; that says
`unsettled`, too, for the campaign may have been resumed a moment before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import HELD, HELD_UNTIL
from models.errors import NotFound


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A campaign of which some jobs are still to be held, or released."""

    id: UUID
    paused: bool


async def set_campaign_paused(session: AsyncSession, campaign_id: UUID, *, paused: bool) -> bool:
    """Whether that changed anything.

    Raises:
        NotFound: there is no such campaign.
    """
    row = (
        await session.execute(
            text("""
                UPDATE campaigns SET unsettled = true,
                    paused_at = CASE WHEN :paused THEN coalesce(before.paused_at, now()) END
                FROM (SELECT id, paused_at FROM campaigns WHERE id = :id FOR UPDATE) AS before
                WHERE campaigns.id = before.id
                RETURNING (before.paused_at IS NOT NULL) <> :paused
            """),
            {"id": campaign_id, "paused": paused},
        )
    ).one_or_none()
    if row is None:
        raise NotFound("campaign", str(campaign_id))
    return bool(row[0])


async def list_unsettled(session: AsyncSession) -> Sequence[Unsettled]:
    rows = await session.execute(
        text(
            "SELECT id, paused_at IS NOT NULL AS paused FROM campaigns WHERE unsettled ORDER BY id"
        )
    )
    return [Unsettled(row.id, row.paused) for row in rows]


async def settle(session: AsyncSession, campaign_id: UUID, *, paused: bool) -> None:
    """All its jobs are as it is, unless it was changed since."""
    await session.execute(
        text("""
            UPDATE campaigns SET unsettled = false
            WHERE id = :id AND (paused_at IS NOT NULL) = :paused
        """),
        {"id": campaign_id, "paused": paused},
    )


async def hold_jobs(session: AsyncSession, campaign_id: UUID, *, limit: int) -> int:
    """Take queued jobs of a paused campaign out of line; returns how many."""
    held = await session.scalars(
        text(f"""
            UPDATE jobs SET next_at = {HELD_UNTIL}, virtual_start = NULL
            WHERE id IN (
                SELECT id FROM jobs
                WHERE campaign_id = :id AND state = 'queued' AND NOT {HELD}
                  AND (SELECT paused_at IS NOT NULL FROM campaigns WHERE campaigns.id = :id)
                ORDER BY id LIMIT :limit FOR UPDATE)
            RETURNING id
        """),  # noqa: S608 -- constants
        {"id": campaign_id, "limit": limit},
    )
    return len(held.all())


async def release_jobs(
    session: AsyncSession, campaign_id: UUID, *, limit: int, gap_seconds: float
) -> Collection[str]:
    """Let held jobs of a campaign that goes on come due; returns the endpoint of each.

    Args:
        gap_seconds: between one and the next, if it is paced. The first of those that still wait
            is due now, so that it comes to the same in however many steps it is done.
    """
    released = await session.scalars(
        text(f"""
            WITH held AS MATERIALIZED (
                SELECT id, position FROM jobs
                WHERE campaign_id = :id AND state = 'queued' AND {HELD}
                  AND (SELECT paused_at IS NULL FROM campaigns WHERE campaigns.id = :id)
                ORDER BY id LIMIT :limit FOR UPDATE
            )
            UPDATE jobs SET next_at = now() + make_interval(secs => :gap * greatest(0,
                held.position - (SELECT min(position) FROM jobs AS waiting
                    WHERE waiting.campaign_id = :id AND waiting.state = 'queued')))
            FROM held WHERE jobs.id = held.id
            RETURNING endpoint
        """),  # noqa: S608 -- constants
        {"id": campaign_id, "limit": limit, "gap": gap_seconds},
    )
    return released.all()
