"""Holding: a queued job that may not be sent is out of line, due at the end of time.

So no claim reads it, no bell rings for it, and whoever else is in line goes on. It is held because
its campaign is paused, or (`held_by`) by a budget that is used up, or by its campaign, of which as
many are in flight as it wants.

A campaign's row says whether it is paused, and its jobs follow some thousands at a time;
`unsettled` says that they have not all done so, and the sweep goes on with what was left undone. A
job that comes back to the queue later, told to wait or for another attempt, is held as it would
join the line; that says `unsettled`, too, for the campaign may have been resumed a moment before.

What a claim refuses for want of money or room is held by it, in the same transaction. Whoever makes
room releases as many as there is room for; the sweep looks at all of them. One that is released too
early is refused again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import HELD, HELD_UNTIL
from models.budget import STARTS_AT
from models.errors import NotFound
from models.slots import IN_FLIGHT_STATES

REFUSED_MOST = 5_000  # jobs that one claim takes out of line behind the one that it refused
RELEASED_MOST = 5_000  # at once, of one budget or campaign


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


async def lock_campaign(session: AsyncSession, campaign_id: UUID) -> None:
    """Nobody else changes its row until this transaction ends; jobs may be added to it."""
    await session.execute(
        text("SELECT FROM campaigns WHERE id = :id FOR NO KEY UPDATE"), {"id": campaign_id}
    )


async def list_unsettled(session: AsyncSession) -> Sequence[Unsettled]:
    rows = await session.execute(
        text(
            "SELECT id, paused_at IS NOT NULL AS paused FROM campaigns WHERE unsettled ORDER BY id"
        )
    )
    return [Unsettled(row.id, row.paused) for row in rows]


async def settle(session: AsyncSession, campaign_id: UUID, *, paused: bool) -> None:
    """All its jobs are as it is, unless it was changed since.

    Of one that is paused, once none is left that may just be coming back to the queue.
    """
    await session.execute(
        text("""
            UPDATE campaigns SET unsettled = false
            WHERE id = :id AND (paused_at IS NOT NULL) = :paused AND NOT (:paused AND EXISTS (
                SELECT FROM jobs WHERE campaign_id = :id AND state IN ('submitting', 'unknown')))
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
        gap_seconds: between one and the next, if it is paced. They come after those that wait
            already, so that it comes to the same in however many steps it is done.
    """
    released = await session.scalars(
        text(f"""
            WITH held AS MATERIALIZED (
                SELECT id, position FROM jobs
                WHERE campaign_id = :id AND state = 'queued' AND {HELD} AND held_by IS NULL
                  AND (SELECT paused_at IS NULL FROM campaigns WHERE campaigns.id = :id)
                ORDER BY id LIMIT :limit FOR UPDATE
            )
            UPDATE jobs SET next_at = now() + make_interval(secs => :gap * (place - 1 + (
                SELECT count(*) FROM jobs AS waiting
                WHERE waiting.campaign_id = :id AND waiting.state = 'queued' AND NOT {HELD})))
            FROM (SELECT id, row_number() OVER (ORDER BY position, id) AS place FROM held) AS held
            WHERE jobs.id = held.id
            RETURNING endpoint
        """),  # noqa: S608 -- constants
        {"id": campaign_id, "limit": limit, "gap": gap_seconds},
    )
    return released.all()


async def hold_behind(
    session: AsyncSession, campaign_id: UUID, *, held_by: UUID, at_least_usd: Decimal
) -> None:
    """A job of the campaign was refused: those that are due, and as dear, would be one by one."""
    await session.execute(
        text(f"""
                UPDATE jobs SET next_at = {HELD_UNTIL}, virtual_start = NULL, held_by = :held_by
                WHERE id IN (
                    SELECT id FROM jobs
                    WHERE campaign_id = :id AND state = 'queued' AND NOT {HELD}
                      AND next_at <= now() AND coalesce(estimate_usd, 0) >= :usd
                    LIMIT {REFUSED_MOST} FOR UPDATE SKIP LOCKED)
            """),  # noqa: S608 -- constants
        {"id": campaign_id, "held_by": held_by, "usd": at_least_usd},
    )


async def list_holders(session: AsyncSession) -> set[UUID]:
    """Budgets and campaigns that hold queued jobs."""
    return set(
        await session.scalars(
            text("""
                WITH RECURSIVE holder AS (
                    -- From one to the next in the index, however many jobs each holds.
                    (SELECT held_by AS id FROM jobs
                     WHERE state = 'queued' AND held_by IS NOT NULL ORDER BY held_by LIMIT 1)
                    UNION ALL
                    SELECT (SELECT held_by FROM jobs
                            WHERE state = 'queued' AND held_by > holder.id
                            ORDER BY held_by LIMIT 1)
                    FROM holder WHERE holder.id IS NOT NULL
                )
                SELECT id FROM holder WHERE id IS NOT NULL
            """)
        )
    )


async def release_for_money(session: AsyncSession, budget_ids: Collection[UUID]) -> Collection[str]:
    """Let as many jobs that these budgets hold come due as their money suffices for.

    The cheapest first, and of those the oldest. Returns the endpoint of each.
    """
    released = await session.scalars(
        text(f"""
            WITH room AS MATERIALIZED (
                SELECT budgets.id, CASE WHEN removed_at IS NULL
                    THEN limit_usd - coalesce(reserved_usd + spent_usd, 0)
                    ELSE 'infinity' END AS usd
                FROM budgets LEFT JOIN budget_periods
                    ON budget_periods.budget_id = budgets.id AND starts_at = {STARTS_AT}
                WHERE budgets.id = ANY(:ids)
            ), fitting AS MATERIALIZED (
                SELECT job.id FROM room CROSS JOIN LATERAL (
                    SELECT id, sum(usd) OVER (ORDER BY usd, id) AS so_far FROM (
                        SELECT id, coalesce(estimate_usd, 0) AS usd FROM jobs
                        WHERE state = 'queued' AND held_by = room.id
                          AND coalesce(estimate_usd, 0) <= room.usd
                        ORDER BY coalesce(estimate_usd, 0), id LIMIT {RELEASED_MOST}) AS waiting
                ) AS job
                WHERE room.usd > 0 AND so_far <= room.usd
            )
            UPDATE jobs SET next_at = now(), held_by = NULL
            WHERE state = 'queued' AND held_by IS NOT NULL AND id IN (
                SELECT id FROM jobs WHERE id IN (SELECT id FROM fitting) FOR UPDATE SKIP LOCKED)
            RETURNING endpoint
        """),  # noqa: S608 -- constants
        {"ids": list(budget_ids)},
    )
    return released.all()


async def release_for_slots(
    session: AsyncSession, campaign_ids: Collection[UUID]
) -> Collection[str]:
    """Let as many jobs that these campaigns hold come due as may be in flight besides.

    What is due and about to be sent takes up room, too. Returns the endpoint of each.
    """
    released = await session.scalars(
        text(f"""
            WITH room AS MATERIALIZED (
                SELECT campaigns.id, CASE WHEN max_in_flight IS NULL THEN {RELEASED_MOST}
                    ELSE greatest(0, max_in_flight - (
                        SELECT count(*) FROM jobs
                        WHERE campaign_id = campaigns.id AND state IN ({IN_FLIGHT_STATES})
                    ) - (
                        SELECT count(*) FROM jobs
                        WHERE campaign_id = campaigns.id AND state = 'queued' AND NOT {HELD}
                          AND next_at <= now() AND NOT EXISTS (
                            SELECT FROM lanes
                            WHERE stage = 'submit' AND lanes.endpoint = jobs.endpoint
                              AND (paused OR closed_until > now())))) END AS jobs
                FROM campaigns WHERE campaigns.id = ANY(:ids)
            )
            UPDATE jobs SET next_at = now(), held_by = NULL
            WHERE id IN (
                SELECT job.id FROM room CROSS JOIN LATERAL (
                    SELECT id FROM jobs WHERE state = 'queued' AND held_by = room.id
                    ORDER BY coalesce(estimate_usd, 0), id
                    LIMIT least(room.jobs, {RELEASED_MOST}) FOR UPDATE SKIP LOCKED
                ) AS job)
            RETURNING endpoint
        """),  # noqa: S608 -- constants
        {"ids": list(campaign_ids)},
    )
    return released.all()
