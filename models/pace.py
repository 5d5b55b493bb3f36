"""Pace: a campaign's jobs come due one after the other, from a position and a time on.

    due = paced_at + (position - pace_from) * gap

where the gap spreads what is left of it evenly over the time that it is to take. A pace that begins
anew is first that of the jobs that wait, in their order, and then that of the items that come.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import HELD


async def begin_pace(session: AsyncSession, campaign_id: UUID, *, over: float | None) -> None:
    """It begins anew, now, with the first job that waits."""
    await session.execute(
        text("""
                UPDATE campaigns SET paced_at = now(),
                    -- So that the first that is enqueued later comes after all that wait.
                    pace_from = expanded - waiting.jobs,
                    spec = jsonb_set(spec, '{pace}',
                        coalesce(spec -> 'pace', '{}')
                            || jsonb_build_object('over', CAST(:over AS float)))
                FROM (SELECT count(*) AS jobs FROM jobs
                      WHERE campaign_id = :id AND state = 'queued') AS waiting
                WHERE id = :id
            """),
        {"id": campaign_id, "over": over},
    )


async def set_slots(session: AsyncSession, campaign_id: UUID, *, most: int | None) -> None:
    """So many of its jobs may be in flight from now on; None: as many as the endpoints let."""
    await session.execute(
        text("UPDATE campaigns SET max_in_flight = :most WHERE id = :id"),
        {"id": campaign_id, "most": most},
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """Some jobs that have another time."""

    endpoints: Sequence[str]  # of each
    last: int | None  # the position of the last of them; None: there are no more


async def spread_jobs(
    session: AsyncSession,
    campaign_id: UUID,
    *,
    gap_seconds: float,
    after: int,
    done: int,
    limit: int,
) -> Spread:
    """Give queued jobs behind a position the time that their campaign's pace has for them.

    Those that are held have none, and get it as they are released.

    Args:
        done: how many of those that wait stand before them.
    """
    rows = (
        await session.execute(
            text(f"""
                UPDATE jobs SET virtual_start = NULL,
                    next_at = campaigns.paced_at
                        + make_interval(secs => :gap * (:done + place - 1))
                FROM campaigns, (
                    SELECT id, row_number() OVER (ORDER BY position) AS place FROM (
                        SELECT id, position FROM jobs
                        WHERE campaign_id = :id AND state = 'queued' AND NOT {HELD}
                          AND position > :after
                        ORDER BY position LIMIT :limit FOR UPDATE) AS locked
                ) AS waiting
                WHERE campaigns.id = :id AND jobs.id = waiting.id
                RETURNING jobs.endpoint, jobs.position
            """),  # noqa: S608 -- a constant
            {
                "id": campaign_id,
                "gap": gap_seconds,
                "after": after,
                "done": done,
                "limit": limit,
            },
        )
    ).all()
    last = max((row.position for row in rows), default=None)
    return Spread([row.endpoint for row in rows], last)
