"""Where a queued job stands in the line of its endpoint (`models/fairness.py` says why there)."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.job import Job
from models.lane import COUNTED_MOST

# Each part is a range of `jobs_in_line`: those of a higher priority, and those before it in its
# own. As one condition they would be a filter, which reads all of the line.
_AHEAD = text(f"""
    SELECT count(*) FROM (
        (SELECT FROM jobs
         WHERE state = 'queued' AND virtual_start IS NOT NULL AND endpoint = :endpoint
           AND priority > :priority LIMIT {COUNTED_MOST})
        UNION ALL
        (SELECT FROM jobs
         WHERE state = 'queued' AND virtual_start IS NOT NULL AND endpoint = :endpoint
           AND priority = :priority AND (virtual_start, id) < (:virtual_start, :id)
         LIMIT {COUNTED_MOST})
        LIMIT {COUNTED_MOST}) AS ahead
""")  # noqa: S608 -- a constant


async def count_ahead(session: AsyncSession, job: Job) -> int | None:
    """Jobs that are sent before it, at most COUNTED_MOST; None: it is not in line."""
    if job.virtual_start is None:
        return None
    place = {
        "endpoint": job.endpoint,
        "priority": job.priority,
        "virtual_start": job.virtual_start,
        "id": job.id,
    }
    return int(await session.scalar(_AHEAD, place) or 0)
