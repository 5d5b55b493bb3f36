"""Another priority for jobs that wait: they leave their line, and join the one of that priority.

A job that stands in line is placed as one that comes just now (fairness.py), and its producer is
given back what the place cost that it leaves, or its next jobs would stand behind nobody. One that
is not in line (held, or due later) takes the priority with it, and its place when it joins.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.fairness import PLACES

_PRIORITIZE = text(f"""
    WITH moved AS MATERIALIZED (
        SELECT id, endpoint, priority AS old, key_id, campaign_id,
            virtual_start IS NOT NULL AS in_line, attempt > attempts_before AS again
        FROM jobs
        WHERE id = ANY(:ids) AND state = 'queued' AND priority <> :priority
        ORDER BY id FOR UPDATE
    ), joining AS MATERIALIZED (
        SELECT id, endpoint, CAST(:priority AS smallint) AS priority, key_id, campaign_id, again
        FROM moved WHERE in_line
    ), {PLACES}, given_back AS (
        INSERT INTO charges (endpoint, priority, producer, cost)
        SELECT endpoint, old, coalesce(key_id, campaign_id, '00000000-0000-0000-0000-000000000000'),
            -sum(1 / coalesce(api_keys.weight, 1))
        FROM moved LEFT JOIN api_keys ON api_keys.id = moved.key_id
        WHERE in_line AND NOT again
        GROUP BY 1, 2, 3
    )
    UPDATE jobs SET priority = :priority, virtual_start = placed.virtual_start
    FROM moved LEFT JOIN placed USING (id) WHERE jobs.id = moved.id
    RETURNING jobs.id, jobs.endpoint
""")  # noqa: S608 -- built from constants


async def prioritize_jobs(
    session: AsyncSession, *, job_ids: Sequence[UUID], priority: int
) -> dict[UUID, str]:
    """Returns id to endpoint of those that moved: queued, and of another priority before."""
    rows = await session.execute(_PRIORITIZE, {"ids": list(job_ids), "priority": priority})
    return {row.id: row.endpoint for row in rows}
