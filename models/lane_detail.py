"""A lane looked at closely: what its row says, what of its endpoint is where, and who shares it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import HELD
from models.lane import COUNTED_MOST, IN_LINE, Lane, StageName
from models.slots import IN_FLIGHT_STATES

SHARES_MOST = 20  # producers that are named


@dataclass(frozen=True, slots=True)
class Share:
    """Jobs of one producer in the line of an endpoint."""

    key_id: UUID | None
    campaign_id: UUID | None  # of no key
    name: str | None  # of either; None: jobs of neither
    priority: int
    weight: float
    jobs: int
    first: int  # the place of its first in line, from 1


async def find_lane(session: AsyncSession, stage: StageName, endpoint: str) -> Lane | None:
    """What was said of it; None: nothing ever was."""
    return await session.get(Lane, (stage, endpoint))


async def count_in_flight(session: AsyncSession, endpoint: str) -> int:
    """Jobs that were sent, or are being sent, and have not ended."""
    statement = text(f"""
        SELECT count(*) FROM jobs
        WHERE endpoint = :endpoint AND finished_at IS NULL AND state IN ({IN_FLIGHT_STATES})
    """)  # noqa: S608 -- a constant
    return int(await session.scalar(statement, {"endpoint": endpoint}) or 0)


async def count_submitting(session: AsyncSession) -> int:
    """Jobs that are being sent, to whatever endpoint."""
    statement = text("SELECT count(*) FROM jobs WHERE state = 'submitting'")
    return int(await session.scalar(statement) or 0)


async def count_places(session: AsyncSession, endpoint: str) -> Mapping[str, int]:
    """How many jobs are where: `queued`, `held`, `in_flight`; files `to_store`; words `to_send`.

    Of queued ones at most `COUNTED_MOST`: beyond it nobody needs to know how many.
    """
    row = (
        await session.execute(
            text(f"""
                SELECT
                    (SELECT count(*) FROM (
                        SELECT FROM jobs WHERE state = 'queued' AND endpoint = :endpoint
                            AND NOT {HELD} LIMIT {COUNTED_MOST}) AS waiting) AS queued,
                    (SELECT count(*) FROM (
                        SELECT FROM jobs WHERE state = 'queued' AND endpoint = :endpoint
                            AND {HELD} LIMIT {COUNTED_MOST}) AS waiting) AS held,
                    (SELECT count(*) FROM artifacts
                     WHERE state = 'pending' AND endpoint = :endpoint) AS to_store,
                    (SELECT count(*) FROM deliveries
                     WHERE state = 'pending' AND endpoint = :endpoint) AS to_send
            """),  # noqa: S608 -- constants
            {"endpoint": endpoint},
        )
    ).one()
    return {
        "queued": row.queued,
        "held": row.held,
        "in_flight": await count_in_flight(session, endpoint),
        "to_store": row.to_store,
        "to_send": row.to_send,
    }


async def list_shares(session: AsyncSession, endpoint: str) -> Sequence[Share]:
    """Who has jobs among the first `COUNTED_MOST` in line, whoever is served first before others.

    What has not come due is in no line: see fairness.py.
    """
    rows = await session.execute(
        text(f"""
            SELECT head.key_id, head.campaign_id, coalesce(api_keys.name, campaigns.name) AS name,
                head.priority, coalesce(api_keys.weight, 1) AS weight, head.jobs, head.first
            FROM (
                SELECT key_id, CASE WHEN key_id IS NULL THEN campaign_id END AS campaign_id,
                    priority, count(*) AS jobs, min(place) AS first
                FROM (
                    SELECT key_id, campaign_id, priority,
                        row_number() OVER (ORDER BY {IN_LINE}) AS place
                    FROM (
                        SELECT id, key_id, campaign_id, priority, virtual_start FROM jobs
                        WHERE state = 'queued' AND endpoint = :endpoint
                          AND virtual_start IS NOT NULL
                        ORDER BY {IN_LINE} LIMIT {COUNTED_MOST}) AS first_ones
                ) AS placed
                GROUP BY 1, 2, 3
            ) AS head
            LEFT JOIN api_keys ON api_keys.id = head.key_id
            LEFT JOIN campaigns ON campaigns.id = head.campaign_id
            ORDER BY head.first LIMIT {SHARES_MOST}
        """),  # noqa: S608 -- constants
        {"endpoint": endpoint},
    )
    return [Share(**row._mapping) for row in rows]  # noqa: SLF001 -- SQLAlchemy's interface
