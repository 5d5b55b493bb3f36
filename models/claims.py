"""What each stage takes to work on (submit's claim changes a state: it is in transitions.py).

Every claim is one statement: it picks due rows that no other claim holds (`SKIP LOCKED`), gives
them a lease, and pushes their `next_at` to the lease's end, so that the rows of a worker that dies
come due again by themselves. The partial index of the stage serves it; states stand in the text of
the query, for a generic plan cannot prove that a parameter matches a partial index.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import count_rows
from models.job import JobState
from models.lane import LANE_IS_OPEN, StageName


@dataclass(frozen=True, slots=True)
class Poll:
    """A job in flight, to be asked for."""

    id: UUID
    lease: UUID
    endpoint: str
    attempt: int
    state: JobState
    upstream_id: str
    age_seconds: float  # since it was accepted
    unseen_seconds: float  # since the upstream last spoke of it
    polls: int
    misses: int
    cancel: bool


@dataclass(frozen=True, slots=True)
class Download:
    """An artifact to be stored."""

    id: UUID
    lease: UUID
    endpoint: str
    job_id: UUID
    source_url: str
    tries: int
    seconds_left: float  # until its URL dies


@dataclass(frozen=True, slots=True)
class Notice:
    """A delivery to be sent."""

    id: UUID
    lease: UUID
    endpoint: str
    job_id: UUID
    request: dict[str, Any]
    tries: int


CLAIM_POLLS: TextClause = text(f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM jobs
        WHERE endpoint = :endpoint AND state IN ('in_queue', 'in_progress') AND next_at <= now()
          AND {LANE_IS_OPEN.format(stage=StageName.POLL)}
        ORDER BY next_at, id
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET lease = :lease, next_at = now() + make_interval(secs => :lease_seconds)
    FROM due WHERE jobs.id = due.id
    RETURNING jobs.id, jobs.attempt, jobs.state, jobs.upstream_id, jobs.polls, jobs.misses,
        extract(epoch FROM now() - jobs.submitted_at) AS age,
        extract(epoch FROM now() - coalesce(jobs.polled_at, jobs.submitted_at)) AS unseen,
        jobs.cancel_requested_at IS NOT NULL AS cancel
""")  # noqa: S608 -- built from constants


async def claim_polls(
    session: AsyncSession, *, endpoint: str, limit: int, lease: UUID, lease_seconds: float
) -> Sequence[Poll]:
    """Take up to `limit` jobs in flight that are due; the longest overdue first.

    A job is due when it is likely to be done, so that is also the order in which results are
    nearest to being lost.
    """
    rows = await session.execute(
        CLAIM_POLLS,
        {"endpoint": endpoint, "limit": limit, "lease": lease, "lease_seconds": lease_seconds},
    )
    return [
        Poll(
            id=row.id,
            lease=lease,
            endpoint=endpoint,
            attempt=row.attempt,
            state=JobState(row.state),
            upstream_id=row.upstream_id,
            age_seconds=float(row.age),
            unseen_seconds=float(row.unseen),
            polls=row.polls,
            misses=row.misses,
            cancel=row.cancel,
        )
        for row in rows
    ]


CLAIM_ARTIFACTS: TextClause = text(f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM artifacts
        WHERE endpoint = :endpoint AND state = 'pending' AND next_at <= now()
          AND {LANE_IS_OPEN.format(stage=StageName.ARCHIVE)}
        ORDER BY next_at, id
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE artifacts SET lease = :lease, tries = tries + 1,
        next_at = now() + make_interval(secs => :lease_seconds)
    FROM due WHERE artifacts.id = due.id
    RETURNING artifacts.id, artifacts.job_id, artifacts.source_url, artifacts.tries,
        extract(epoch FROM artifacts.expires_at - now()) AS seconds_left
""")  # noqa: S608 -- built from constants


async def claim_artifacts(
    session: AsyncSession, *, endpoint: str, limit: int, lease: UUID, lease_seconds: float
) -> Sequence[Download]:
    """Take up to `limit` artifacts that are to be downloaded."""
    rows = await session.execute(
        CLAIM_ARTIFACTS,
        {"endpoint": endpoint, "limit": limit, "lease": lease, "lease_seconds": lease_seconds},
    )
    return [
        Download(
            id=row.id,
            lease=lease,
            endpoint=endpoint,
            job_id=row.job_id,
            source_url=row.source_url,
            tries=row.tries,
            seconds_left=float(row.seconds_left),
        )
        for row in rows
    ]


CLAIM_DELIVERIES: TextClause = text(f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM deliveries
        WHERE endpoint = :endpoint AND state = 'pending' AND next_at <= now()
          AND {LANE_IS_OPEN.format(stage=StageName.NOTIFY)}
        ORDER BY next_at, id
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE deliveries SET lease = :lease, tries = tries + 1,
        next_at = now() + make_interval(secs => :lease_seconds)
    FROM due WHERE deliveries.id = due.id
    RETURNING deliveries.id, deliveries.job_id, deliveries.request, deliveries.tries
""")  # noqa: S608 -- built from constants


async def claim_deliveries(
    session: AsyncSession, *, endpoint: str, limit: int, lease: UUID, lease_seconds: float
) -> Sequence[Notice]:
    """Take up to `limit` deliveries of jobs that have ended."""
    rows = await session.execute(
        CLAIM_DELIVERIES,
        {"endpoint": endpoint, "limit": limit, "lease": lease, "lease_seconds": lease_seconds},
    )
    return [
        Notice(
            id=row.id,
            lease=lease,
            endpoint=endpoint,
            job_id=row.job_id,
            request=row.request,
            tries=row.tries,
        )
        for row in rows
    ]


async def find_recent_submits(
    session: AsyncSession, *, endpoint: str, seconds: float
) -> Sequence[float]:
    """Of every `/run` sent in the last `seconds`, or unanswered: seconds since its answer, or 0.

    The quota is rebuilt from it when Redis has lost its memory. Twice the window is looked at, for
    one sent before it may have been answered within.
    """
    rows = await session.scalars(
        text("""
            SELECT extract(epoch FROM now() - coalesce(answered_at, now())) FROM attempts
            WHERE endpoint = :endpoint AND sent_at > now() - make_interval(secs => 2 * :seconds)
        """),
        {"endpoint": endpoint, "seconds": seconds},
    )
    return [float(row) for row in rows]


# What was claimed by a lease and not worked on; of submissions, nothing may have been sent.
_HAND_BACK: dict[StageName, TextClause] = {
    StageName.SUBMIT: text("""
        WITH unsent AS (
            UPDATE attempts SET answer = 'unsent', answered_at = now()
            FROM jobs
            WHERE jobs.lease = :lease AND jobs.state = 'submitting'
              AND attempts.job_id = jobs.id AND attempts.lease = :lease
              AND attempts.answer IS NULL
        )
        UPDATE jobs SET state = 'queued', lease = NULL, next_at = now(), attempt = attempt - 1
        WHERE lease = :lease AND state = 'submitting'
    """),
    StageName.POLL: text("""
        UPDATE jobs SET lease = NULL, next_at = now()
        WHERE lease = :lease AND state IN ('in_queue', 'in_progress')
    """),
    StageName.ARCHIVE: text("""
        UPDATE artifacts SET lease = NULL, next_at = now(), tries = tries - 1
        WHERE lease = :lease AND state = 'pending'
    """),
    StageName.NOTIFY: text("""
        UPDATE deliveries SET lease = NULL, next_at = now(), tries = tries - 1
        WHERE lease = :lease AND state = 'pending'
    """),
}


async def hand_back(session: AsyncSession, stage: StageName, *, lease: UUID) -> int:
    """Undo a claim, for a graceful stop: its rows are due again. Returns how many there were.

    Finding rows by lease alone reads the table's live partial index; it happens once in a stop.
    """
    result = await session.execute(_HAND_BACK[stage], {"lease": lease})
    return count_rows(result)


_HELD = {
    StageName.SUBMIT: "jobs WHERE state = 'submitting'",
    StageName.POLL: "jobs WHERE state IN ('in_queue', 'in_progress')",
    StageName.ARCHIVE: "artifacts WHERE state = 'pending'",
    StageName.NOTIFY: "deliveries WHERE state = 'pending'",
}


async def extend_lease(
    session: AsyncSession, stage: StageName, *, lease: UUID, seconds: float
) -> None:
    """A heartbeat: what is still held by the lease is held for `seconds` from now."""
    table, _, where = _HELD[stage].partition(" WHERE ")
    await session.execute(
        text(f"""
            UPDATE {table} SET next_at = now() + make_interval(secs => :seconds)
            WHERE {where} AND lease = :lease
        """),  # noqa: S608 -- built from constants
        {"lease": lease, "seconds": seconds},
    )
