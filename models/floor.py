"""What the floor shows beside the lanes: what is in flight, and who waits longest.

Each is read from indexes of what has not ended.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.slots import IN_FLIGHT_STATES


async def count_all_in_flight(session: AsyncSession) -> Mapping[str, int]:
    """Jobs that were sent, or are being sent, by endpoint; of those of which there are any."""
    rows = await session.execute(
        text(f"""
            SELECT endpoint_stats.endpoint, found.jobs FROM endpoint_stats
            CROSS JOIN LATERAL (
                SELECT count(*) AS jobs FROM jobs
                WHERE finished_at IS NULL AND endpoint = endpoint_stats.endpoint
                  AND state IN ({IN_FLIGHT_STATES})) AS found
            WHERE found.jobs > 0
        """)  # noqa: S608 -- a constant
    )
    return {row.endpoint: row.jobs for row in rows}


async def list_longest_waiting(
    session: AsyncSession, *, owner: UUID | None, limit: int
) -> Sequence[UUID]:
    """Of each endpoint the queued job that was handed in first, the oldest of them first.

    Args:
        owner: the key whose jobs, whatever their endpoint; None: everybody's.
    """
    if owner is not None:
        statement = text("""
            SELECT id FROM jobs WHERE key_id = :owner AND state = 'queued' ORDER BY id LIMIT :limit
        """)
        return list(await session.scalars(statement, {"owner": owner, "limit": limit}))
    statement = text("""
        SELECT oldest.id FROM endpoint_stats CROSS JOIN LATERAL (
            SELECT id FROM jobs
            WHERE finished_at IS NULL AND endpoint = endpoint_stats.endpoint AND state = 'queued'
            ORDER BY id LIMIT 1) AS oldest
        ORDER BY oldest.id LIMIT :limit
    """)
    return list(await session.scalars(statement, {"limit": limit}))
