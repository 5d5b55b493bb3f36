"""What each stage takes to work on (submit's claim changes a state: it is in transitions.py).

Every claim is one statement: it picks due rows that no other claim holds (`SKIP LOCKED`), gives
them a lease, and pushes their `next_at` to the lease's end, so that the rows of a worker that dies
come due again by themselves. The partial index of the stage serves it; states stand in the text of
the query, for a generic plan cannot prove that a parameter matches a partial index.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.attempt import HEARD_OF
from models.base import count_rows
from models.fairness import PLACE_KEPT
from models.job import JobState, OnUnknown, Reason, Route
from models.lane import DUE_ROWS, Claim, StageName, due_rows
from models.reservation import settle_reservations
from models.slots import is_any_limited


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
    cancel: bool  # the upstream was told to
    cancel_reason: Reason | None  # None of a cancel that somebody asked for
    route: Route
    sends: int  # of it, since it was last asked for
    on_unknown: OnUnknown
    size_class: str | None = None
    trace_context: bytes | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """A job in flight that the upstream is to be told to stop."""

    id: UUID
    lease: UUID
    endpoint: str
    state: JobState
    upstream_id: str
    tries: int  # 1 during the first
    trace_context: bytes | None = None


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
    trace_context: bytes | None = None  # of its job, once it was asked for


@dataclass(frozen=True, slots=True)
class Notice:
    """A delivery to be sent."""

    id: UUID
    lease: UUID
    endpoint: str
    job_id: UUID
    request: dict[str, Any]
    tries: int
    pending_seconds: float  # since it was first due, or replayed
    now: dt.datetime  # by the database's clock


def _claim(stage: StageName, *, sets: str = "", returning: str) -> TextClause:
    table = DUE_ROWS[stage].partition(" ")[0]
    return text(f"""
        WITH {due_rows(stage)}
        UPDATE {table} SET lease = :lease, next_at = now() + make_interval(secs => :lease_seconds),
            deaths = deaths + CAST(lease IS NOT NULL AS int) {sets}
        FROM due WHERE {table}.id = due.id
        RETURNING {table}.id, {returning}
    """)  # noqa: S608 -- built from constants


CLAIM_POLLS = _claim(
    StageName.POLL,
    returning="""attempt, state, upstream_id, polls, misses,
        cancel_requested_at IS NOT NULL AS cancel, cancel_reason, route,
        attempt - attempts_before AS sends, on_unknown, size_class, trace_context,
        extract(epoch FROM now() - submitted_at) AS age,
        extract(epoch FROM now() - coalesce(polled_at, submitted_at)) AS unseen""",
)
CLAIM_CANCELS = _claim(
    StageName.CANCEL,
    sets=", cancel_tries = cancel_tries + 1",
    returning="state, upstream_id, cancel_tries, trace_context",
)
CLAIM_ARTIFACTS = _claim(
    StageName.ARCHIVE,
    sets=", tries = tries + 1",
    returning="job_id, source_url, tries, extract(epoch FROM expires_at - now()) AS seconds_left",
)
CLAIM_DELIVERIES = {
    stage: _claim(
        stage,
        sets=", tries = tries + 1",
        returning="""job_id, request, tries, now() AS now,
            extract(epoch FROM now() - coalesce(pending_at, now())) AS pending""",
    )
    for stage in (StageName.NOTIFY, StageName.WEBHOOK)
}


async def claim_polls(session: AsyncSession, **claim: Unpack[Claim]) -> Sequence[Poll]:
    """Take up to `limit` jobs in flight that are due, those nearest to losing their result first.

    They are those whose result is kept but a minute, and then the longest overdue: a job is due
    when it is likely to be done.
    """
    return [
        Poll(
            id=row.id,
            lease=claim["lease"],
            endpoint=claim["endpoint"],
            attempt=row.attempt,
            state=JobState(row.state),
            upstream_id=row.upstream_id,
            age_seconds=float(row.age),
            unseen_seconds=float(row.unseen),
            polls=row.polls,
            misses=row.misses,
            cancel=row.cancel,
            cancel_reason=Reason(row.cancel_reason) if row.cancel_reason else None,
            route=Route(row.route),
            sends=row.sends,
            on_unknown=OnUnknown(row.on_unknown),
            size_class=row.size_class,
            trace_context=row.trace_context,
        )
        for row in await session.execute(CLAIM_POLLS, claim)
    ]


async def claim_cancels(session: AsyncSession, **claim: Unpack[Claim]) -> Sequence[Cancel]:
    """Take up to `limit` jobs in flight that are to be cancelled."""
    return [
        Cancel(
            id=row.id,
            lease=claim["lease"],
            endpoint=claim["endpoint"],
            state=JobState(row.state),
            upstream_id=row.upstream_id,
            tries=row.cancel_tries,
            trace_context=row.trace_context,
        )
        for row in await session.execute(CLAIM_CANCELS, claim)
    ]


async def claim_artifacts(session: AsyncSession, **claim: Unpack[Claim]) -> Sequence[Download]:
    """Take up to `limit` artifacts that are to be downloaded."""
    return [
        Download(
            id=row.id,
            lease=claim["lease"],
            endpoint=claim["endpoint"],
            job_id=row.job_id,
            source_url=row.source_url,
            tries=row.tries,
            seconds_left=float(row.seconds_left),
        )
        for row in await session.execute(CLAIM_ARTIFACTS, claim)
    ]


async def claim_deliveries(
    session: AsyncSession, stage: StageName, **claim: Unpack[Claim]
) -> Sequence[Notice]:
    """Take up to `limit` deliveries of jobs that have ended: of Celery's, or webhooks."""
    return [
        Notice(
            id=row.id,
            lease=claim["lease"],
            endpoint=claim["endpoint"],
            job_id=row.job_id,
            request=row.request,
            tries=row.tries,
            pending_seconds=float(row.pending),
            now=row.now,
        )
        for row in await session.execute(CLAIM_DELIVERIES[stage], claim)
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


# Where the rows are that a claim holds; a submission changes its state when it is claimed.
_HELD_ROWS = {**DUE_ROWS, StageName.SUBMIT: "jobs WHERE state = 'submitting'"}

# How a claim is undone; a try that was none is not counted. Of submissions nothing may be sent.
_HAND_BACK: dict[StageName, TextClause] = {
    StageName.SUBMIT: text(f"""
        WITH held AS (
            SELECT jobs.id, cancel_requested_at IS NOT NULL AND heard.upstream_id IS NULL AS ended,
                heard.upstream_id, heard.sent_at
            FROM jobs LEFT JOIN LATERAL ({HEARD_OF.format(job="jobs")}) AS heard ON true
            WHERE jobs.lease = :lease AND jobs.state = 'submitting' AND jobs.id = ANY(:ids)
        ), unsent AS (
            UPDATE attempts SET answer = 'unsent', answered_at = now()
            FROM held
            WHERE attempts.job_id = held.id AND attempts.lease = :lease
              AND attempts.answer IS NULL
        ), told AS (
            UPDATE deliveries SET state = 'pending', next_at = now(), pending_at = now()
            FROM held
            WHERE held.ended AND deliveries.job_id = held.id AND deliveries.state = 'waiting'
        )
        UPDATE jobs SET lease = NULL, attempt = attempt - 1,
            state = CASE WHEN held.upstream_id IS NOT NULL THEN 'in_queue'
                WHEN NOT ended THEN 'queued'
                WHEN cancel_reason IS NULL THEN 'cancelled' ELSE 'timed_out' END,
            reason = CASE WHEN ended THEN coalesce(cancel_reason, 'cancelled') END,
            upstream_id = held.upstream_id,
            submitted_at = held.sent_at,
            next_at = CASE WHEN NOT ended THEN now() END,
            virtual_start = {PLACE_KEPT},
            finished_at = CASE WHEN ended THEN now() END
        FROM held WHERE jobs.id = held.id AND lease = :lease AND state = 'submitting'
    """),  # noqa: S608 -- constants
    StageName.POLL: text("""
        UPDATE jobs SET lease = NULL, next_at = now()
        WHERE lease = :lease AND state IN ('in_queue', 'in_progress') AND id = ANY(:ids)
    """),
    StageName.CANCEL: text("""
        UPDATE jobs SET lease = NULL, next_at = now(), cancel_tries = cancel_tries - 1
        WHERE lease = :lease AND state IN ('in_queue', 'in_progress') AND id = ANY(:ids)
    """),
    **{
        stage: text(f"""
            UPDATE {table} SET lease = NULL, next_at = now(), tries = tries - 1
            WHERE lease = :lease AND state = 'pending' AND id = ANY(:ids)
        """)  # noqa: S608 -- constants
        for stage, table in (
            (StageName.ARCHIVE, "artifacts"),
            (StageName.NOTIFY, "deliveries"),
            (StageName.WEBHOOK, "deliveries"),
        )
    },
}


async def hand_back(
    session: AsyncSession, stage: StageName, *, lease: UUID, ids: Sequence[UUID]
) -> int:
    """Undo a claim of these rows: they are due again. Returns how many it still held."""
    values = {"lease": lease, "ids": list(ids)}
    held = count_rows(await session.execute(_HAND_BACK[stage], values))
    if stage is StageName.SUBMIT and await is_any_limited(session):
        await settle_reservations(session, job_ids=ids)  # or they could not be reserved for again
    return held


async def extend_lease(
    session: AsyncSession, stage: StageName, *, ids: Sequence[UUID], lease: UUID, seconds: float
) -> None:
    """A heartbeat: those of the rows that the lease still holds are held for `seconds` from now."""
    table, _, where = _HELD_ROWS[stage].partition(" WHERE ")
    await session.execute(
        text(f"""
            UPDATE {table} SET next_at = now() + make_interval(secs => :seconds)
            FROM (
                -- What is just being written needs no extension, and must not be waited for.
                SELECT id FROM {table} WHERE {where} AND id = ANY(:ids) AND lease = :lease
                FOR UPDATE SKIP LOCKED
            ) AS held WHERE {table}.id = held.id
        """),  # noqa: S608 -- constants
        {"ids": list(ids), "lease": lease, "seconds": seconds},
    )
