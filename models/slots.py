"""Slots: how many jobs of a campaign may be in flight at once, if it says so.

They are counted, not kept, so that nothing that dies can leak one: whoever claims jobs of such a
campaign counts under its lock what it has in flight.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# From when its `/run` is written down to its end; one of which nothing is known may be running.
IN_FLIGHT_STATES: Final = "'submitting', 'in_queue', 'in_progress', 'unknown'"
LIMITS_LOCK: Final = 7_305_846_016  # held by claims, together; alone by who sets a budget


async def read_limits(session: AsyncSession) -> bool:
    """As `is_any_limited`; until this transaction ends, no budget is set that it does not know."""
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": LIMITS_LOCK})
    return await is_any_limited(session)


async def hold_off_claims(session: AsyncSession) -> None:
    """Wait until no claim is under way, and let none begin until this transaction ends."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LIMITS_LOCK})


async def is_any_limited(session: AsyncSession) -> bool:
    """Whether any budget, or campaign with slots, may refuse a job: most stacks ask no further."""
    statement = text("""
        SELECT EXISTS (SELECT FROM budgets WHERE removed_at IS NULL AND campaign_id IS NULL)
            OR EXISTS (
                SELECT FROM campaigns WHERE completed_at IS NULL AND (
                    max_in_flight IS NOT NULL OR EXISTS (
                        SELECT FROM budgets
                        WHERE removed_at IS NULL AND budgets.campaign_id = campaigns.id)))
    """)
    return bool(await session.scalar(statement))


async def take_slots(session: AsyncSession, job_ids: Sequence[UUID]) -> Mapping[UUID, UUID]:
    """Which of these jobs, that are claimed in this transaction, are too many, and of whom.

    Args:
        job_ids: in the order in which they are served.

    Returns:
        Job to campaign. The locks are held until the transaction ends.
    """
    wanted = (
        await session.execute(
            text("""
                SELECT jobs.id, campaign_id, max_in_flight
                FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS asked(id, place)
                JOIN jobs ON jobs.id = asked.id
                JOIN campaigns ON campaigns.id = jobs.campaign_id
                WHERE max_in_flight IS NOT NULL ORDER BY place
            """),
            {"ids": list(job_ids)},
        )
    ).all()
    if not wanted:
        return {}
    mine = Counter(row.campaign_id for row in wanted)
    # A statement of its own: what is counted beside a lock was counted before the wait for it. Not
    # the campaign's row, which others lock that pause it.
    await session.execute(
        text("""
            SELECT pg_advisory_xact_lock(hashtextextended('slots ' || id, 0))
            FROM unnest(CAST(:ids AS uuid[])) AS id
        """),
        {"ids": sorted(mine)},
    )
    counts = await session.execute(
        text(f"""
            SELECT campaign_id, count(*) FROM jobs
            WHERE campaign_id = ANY(:ids) AND state IN ({IN_FLIGHT_STATES})
            GROUP BY campaign_id
        """),  # noqa: S608 -- a constant
        {"ids": sorted(mine)},
    )
    others = {campaign_id: jobs - mine[campaign_id] for campaign_id, jobs in counts}
    refused: dict[UUID, UUID] = {}
    for job_id, campaign_id, most in wanted:
        if others[campaign_id] < most:
            others[campaign_id] += 1
        else:
            refused[job_id] = campaign_id
    return refused


async def count_in_flight(session: AsyncSession, campaign_id: UUID) -> int:
    """Jobs that take up its slots."""
    statement = text(f"""
        SELECT count(*) FROM jobs WHERE campaign_id = :id AND state IN ({IN_FLIGHT_STATES})
    """)  # noqa: S608 -- a constant
    return int(await session.scalar(statement, {"id": campaign_id}) or 0)
