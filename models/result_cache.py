"""The result cache: an equal request with a fixed seed is answered from the result that is there.

What is compared is the job's `fingerprint`, of endpoint and input. A result serves only the key
that paid for it, and only while every file of it is in our store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A job that is about to be enqueued, and may take another's result instead."""

    job_id: UUID
    key_id: UUID | None  # None: of those that no key asked for
    fingerprint: str


async def find_results(session: AsyncSession, wanted: Sequence[Wanted]) -> dict[UUID, UUID]:
    """Job id to the id of the newest job whose result it can take; without one, it is left out."""
    found: dict[UUID, UUID] = {}
    for keyed, whose in _WHOSE.items():
        asked = [one for one in wanted if (one.key_id is not None) is keyed]
        if asked:
            rows = await session.execute(
                text(_FIND.format(whose=whose)),
                {
                    "jobs": [one.job_id for one in asked],
                    "keys": [one.key_id for one in asked],
                    "prints": [one.fingerprint for one in asked],
                },
            )
            found |= {row.job_id: row.id for row in rows}
    return found


# Apart, for an index is read for equal keys, or for none, and not for either.
_WHOSE = {True: "jobs.key_id = wanted.key_id", False: "jobs.key_id IS NULL"}
_FIND = """
    SELECT wanted.job_id, found.id
    FROM unnest(CAST(:jobs AS uuid[]), CAST(:keys AS uuid[]), CAST(:prints AS text[]))
        AS wanted(job_id, key_id, fingerprint)
    CROSS JOIN LATERAL (
        SELECT id FROM jobs
        WHERE {whose} AND jobs.fingerprint = wanted.fingerprint
          AND jobs.state = 'completed' AND jobs.fingerprint IS NOT NULL
          AND jobs.cached_from IS NULL
          AND NOT EXISTS (SELECT FROM artifacts WHERE artifacts.job_id = jobs.id
                          AND artifacts.state <> 'stored')
        ORDER BY id DESC LIMIT 1
    ) AS found
"""


async def give_results(session: AsyncSession, results: dict[UUID, UUID]) -> None:
    """Complete jobs that were enqueued in this transaction with the results of others, for nothing.

    Args:
        results: job id to the id of the job that has the result.
    """
    if not results:
        return
    values = {"jobs": list(results), "sources": list(results.values())}
    await session.execute(
        text("""
            UPDATE jobs SET state = 'completed', cost_usd = 0,
                output = CASE WHEN source.shelved_at IS NULL THEN source.output
                    ELSE shelved.output END,
                estimate_usd = 0, cached_from = source.id, finished_at = now(), next_at = NULL,
                deadline_at = NULL, delay_ms = 0, execution_ms = 0
            FROM unnest(CAST(:jobs AS uuid[]), CAST(:sources AS uuid[])) AS given(job_id, source_id)
            JOIN jobs AS source ON source.id = given.source_id
            LEFT JOIN shelved_jobs AS shelved ON shelved.job_id = source.id
            WHERE jobs.id = given.job_id AND jobs.state = 'queued'
        """),
        values,
    )
    await session.execute(
        text("""
            INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url, expires_at,
                state, sha256, size_bytes, media_type, width, height, duration_seconds, store_key,
                thumbnail_key, stored_at)
            SELECT uuidv7(), given.job_id, position, endpoint,
                field, source_url, expires_at, state, sha256, size_bytes, media_type, width, height,
                duration_seconds, store_key, thumbnail_key, stored_at
            FROM unnest(CAST(:jobs AS uuid[]), CAST(:sources AS uuid[])) AS given(job_id, source_id)
            JOIN artifacts ON artifacts.job_id = given.source_id
        """),
        values,
    )
