"""The state machine: every write to `jobs.state` is here, and each is guarded.

But two: `claims.hand_back` undoes a claim of submissions, beside those of the other stages, and
`interventions.py` holds what people and deadlines do to jobs, whatever stage they are in.

A stage claims rows (`models/claims.py`), which gives them a lease. What came of each is a `Move`;
`move_jobs` writes a batch of them in one statement. A move is dropped, and its id not returned,
unless the row still holds the lease of the claim and stands in a state that the move may start
from. So a worker that was thought dead and comes back late changes nothing, whatever the job has
become since; state alone would not fence it, for states come round again.

What no lease covers (an orphan, a hint) is guarded by the state, and
starts only from states in which no live worker holds the row, or takes the lease away.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Unpack
from uuid import UUID

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.attempt import HEARD_OF
from models.base import HELD_UNTIL, SUSPECT_DEATHS, SUSPECTED, count_rows
from models.budget import is_of_campaign, name_budgets
from models.fairness import PAUSED, PLACE_KEPT, PLACES, USUAL, join_line
from models.hold import hold_behind
from models.job import IN_FLIGHT, TERMINAL, TO_POLL, JobState, OnUnknown, Reason, Route
from models.lane import IN_LINE, Claim, StageName, due_rows
from models.pulse import GAP_SECONDS, LISTENING
from models.reservation import OverBudget, reserve
from models.slots import read_limits, take_slots

S = JobState

# From where a move to each state may start.
SOURCES: dict[JobState, tuple[JobState, ...]] = {
    # The last four only when somebody asks for it: `retry_jobs`.
    S.QUEUED: (
        *(S.SUBMITTING, S.UNKNOWN, *IN_FLIGHT),
        *(S.FAILED, S.TIMED_OUT, S.LOST, S.REJECTED),
    ),
    S.SUBMITTING: (S.QUEUED,),
    # By a hint from QUEUED, too: an attempt that was thought to have failed. The upstream requeues.
    S.IN_QUEUE: (S.QUEUED, S.SUBMITTING, S.UNKNOWN, S.IN_QUEUE, S.IN_PROGRESS),
    S.IN_PROGRESS: (S.SUBMITTING, S.IN_QUEUE, S.IN_PROGRESS),
    S.UNKNOWN: (S.SUBMITTING,),
    S.COMPLETED: (S.SUBMITTING, *IN_FLIGHT),
    S.FAILED: (S.SUBMITTING, S.UNKNOWN, *IN_FLIGHT),
    S.CANCELLED: (S.QUEUED, S.SUBMITTING, S.UNKNOWN, *IN_FLIGHT),
    S.TIMED_OUT: (S.QUEUED, S.SUBMITTING, S.UNKNOWN, *IN_FLIGHT),
    S.LOST: IN_FLIGHT,
    S.REJECTED: (S.QUEUED,),
}


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to be sent by `/run`."""

    id: UUID
    lease: UUID
    endpoint: str
    attempt: int
    input: dict[str, Any]
    on_unknown: OnUnknown
    route: Route = Route.RUN
    policy: dict[str, Any] | None = None
    sealed: bytes | None = None
    seconds_left: float | None = None  # until it is given up
    attempts_before: int = 0  # a retry was asked for
    size_class: str | None = None
    trace_context: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What came of one claimed job; the functions below make them."""

    job_id: UUID
    lease: UUID
    to: JobState
    due_in: float | None = None  # seconds; None once ended
    attempt_change: int = 0  # -1: this attempt does not count
    gone: bool = False  # the upstream no longer has what it had accepted
    cancel_sent: bool = False
    cancel_change: int = 0  # -1: this try to cancel does not count
    misses: int | None = None  # 404s in a row; None: another answer came
    polled: bool = False
    reason: Reason | None = None
    error: str | None = None
    upstream_id: str | None = None
    output: Any = None
    delay_ms: int | None = None
    execution_ms: int | None = None
    worker_id: str | None = None
    cost_usd: str | None = None  # a decimal number
    input_tokens: int | None = None
    output_tokens: int | None = None


_MOVE_FIELDS = [field.name for field in dataclasses.fields(Move)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A request that was checked and may be enqueued."""

    id: UUID
    endpoint: str
    input: dict[str, Any]
    on_unknown: OnUnknown = OnUnknown.RESUBMIT
    estimate_usd: str | None = None  # a decimal number
    campaign_id: UUID | None = None
    position: int | None = None
    custom_id: str | None = None
    key_id: UUID | None = None
    route: Route = Route.RUN
    policy: dict[str, Any] | None = None
    sealed: str | None = None  # base64
    live_seconds: float | None = None  # None: as long as the upstream lets it
    start_seconds: float | None = None  # within which it must begin to be generated
    fingerprint: str | None = None
    priority: int = USUAL
    due_seconds: float = 0.0  # until it may be sent
    size_class: str | None = None
    trace_context: str | None = None  # hexadecimal


async def enqueue_jobs(session: AsyncSession, jobs: Sequence[NewJob]) -> set[UUID]:
    """Insert jobs as queued, and return the ids of those that were not there before.

    Their endpoints are noted too. Of those that are known nothing is waited for: a conflict would
    wait for whoever updates the row, and every job accepted would queue behind what workers learn.
    """
    added = await session.scalars(
        text(f"""
            WITH job AS MATERIALIZED (
                SELECT *, {PAUSED} AS paused FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS job(
                    id uuid, endpoint text, input jsonb, on_unknown text, estimate_usd numeric,
                    campaign_id uuid, position int, key_id uuid, route text, policy jsonb,
                    sealed text, live_seconds float, fingerprint text, start_seconds float,
                    priority smallint, due_seconds float, size_class text, custom_id text,
                    trace_context text)
            ), endpoints AS (
                INSERT INTO endpoint_stats (endpoint)
                SELECT DISTINCT endpoint FROM job
                WHERE NOT EXISTS (
                    SELECT FROM endpoint_stats AS known WHERE known.endpoint = job.endpoint)
                ORDER BY 1  -- so that two that insert several at once cannot deadlock
                ON CONFLICT DO NOTHING
            ), told AS (
                -- If it has been resumed since this statement began, the sweep releases them.
                UPDATE campaigns SET unsettled = true FROM job
                WHERE job.paused AND campaigns.id = job.campaign_id
            ), joining AS (
                SELECT id, endpoint, priority, key_id, campaign_id, false AS again
                FROM job
                -- One that is sent again has its place already.
                WHERE due_seconds <= 0 AND NOT paused
                  AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = job.id)
            ), {PLACES}
            INSERT INTO jobs (id, endpoint, input, on_unknown, estimate_usd, campaign_id, position,
                key_id, route, policy, sealed, deadline_at, fingerprint, start_seconds, start_by,
                priority, virtual_start, next_at, size_class, custom_id, trace_context)
            SELECT id, endpoint, input, on_unknown, estimate_usd, campaign_id, position,
                key_id, route, nullif(policy, 'null'), decode(sealed, 'base64'),
                now() + make_interval(secs => live_seconds), fingerprint,
                start_seconds, now() + make_interval(secs => start_seconds),
                priority, virtual_start,
                CASE WHEN paused THEN {HELD_UNTIL}
                    ELSE now() + make_interval(secs => due_seconds) END,
                size_class, custom_id, decode(trace_context, 'hex')
            FROM job LEFT JOIN placed USING (id)
            ON CONFLICT (id) DO NOTHING
            RETURNING id
        """),  # noqa: S608 -- a constant
        {"jobs": orjson.dumps(list(jobs)).decode()},
    )
    return set(added)


def accept(job_id: UUID, lease: UUID, *, upstream_id: str, due_in: float) -> Move:
    """The upstream took it and gave it an id: ask in `due_in` seconds."""
    return Move(job_id=job_id, lease=lease, to=S.IN_QUEUE, upstream_id=upstream_id, due_in=due_in)


def snooze_submit(job_id: UUID, lease: UUID, *, error: str) -> Move:
    """Told to wait: back in the queue as if nothing had been sent. The lane says until when."""
    return Move(job_id=job_id, lease=lease, to=S.QUEUED, error=error, due_in=0.0, attempt_change=-1)


def retry_submit(job_id: UUID, lease: UUID, *, error: str, due_in: float) -> Move:
    """The upstream failed to take it: another attempt later."""
    return Move(job_id=job_id, lease=lease, to=S.QUEUED, error=error, due_in=due_in)


def send_anew(job_id: UUID, lease: UUID, *, error: str, due_in: float) -> Move:
    """The upstream took it, and no longer knows it: back in the queue."""
    return Move(
        job_id=job_id, lease=lease, to=S.QUEUED, error=error, due_in=due_in, gone=True, polled=True
    )


def note_cancel(
    job_id: UUID, lease: UUID, *, state: JobState, due_in: float, sent: bool, error: str | None
) -> Move:
    """The upstream was told to stop it (`sent`: its status tells what came of it), or was not."""
    return Move(job_id=job_id, lease=lease, to=state, due_in=due_in, cancel_sent=sent, error=error)


def snooze_cancel(job_id: UUID, lease: UUID, *, state: JobState) -> Move:
    """Told to wait: to be cancelled as if it had not been tried. The lane says until when."""
    return Move(job_id=job_id, lease=lease, to=state, due_in=0.0, cancel_change=-1)


def lose_sight(job_id: UUID, lease: UUID, *, error: str, due_in: float) -> Move:
    """The reply was lost: wait `due_in` seconds for any word of it, then decide."""
    return Move(job_id=job_id, lease=lease, to=S.UNKNOWN, error=error, due_in=due_in)


def ask_again(
    job_id: UUID,
    lease: UUID,
    *,
    state: JobState,
    due_in: float,
    misses: int | None = None,
    error: str | None = None,
) -> Move:
    """It has not ended, or did not say: ask in `due_in` seconds."""
    return Move(
        job_id=job_id,
        lease=lease,
        to=state,
        due_in=due_in,
        misses=misses,
        error=error,
        polled=True,
    )


def end(
    job_id: UUID,
    lease: UUID,
    *,
    state: JobState,
    reason: Reason | None = None,
    **facts: Any,  # noqa: ANN401 -- the fields of Move
) -> Move:
    """It ended. `facts`: error, output, delay_ms, execution_ms, worker_id, cost_usd, ..."""
    return Move(job_id=job_id, lease=lease, to=state, reason=reason, **facts)


CLAIM_BYTES = 32_000_000  # of inputs that one claim holds in memory; one it takes, however large

_CLAIM_ROWS = f"""
    WITH {due_rows(StageName.SUBMIT)}, sized AS (
        -- The size as it is stored, which is known without reading what is stored out of line.
        SELECT jobs.id, pg_column_size(jobs.input) AS bytes, sum(pg_column_size(jobs.input))
            OVER (ORDER BY {IN_LINE} ROWS UNBOUNDED PRECEDING) AS bytes_so_far
        FROM due JOIN jobs USING (id)
    ), claimed AS (
        UPDATE jobs SET state = 'submitting', lease = :lease, attempt = attempt + 1,
            next_at = now() + make_interval(secs => :lease_seconds)
        FROM sized
        WHERE jobs.id = sized.id AND (bytes_so_far <= :bytes OR bytes_so_far = bytes)
        RETURNING jobs.id, jobs.attempt, jobs.input, jobs.on_unknown, jobs.route, jobs.policy,
            jobs.sealed, jobs.attempts_before, jobs.size_class, jobs.campaign_id,
            jobs.trace_context, jobs.priority, jobs.virtual_start, jobs.estimate_usd,
            extract(epoch FROM jobs.deadline_at - now()) AS seconds_left
    )
"""  # noqa: S608 -- built from constants
_LEDGER = (
    "INSERT INTO attempts (job_id, lease, number, endpoint) SELECT id, :lease, attempt, :endpoint"
)

CLAIM_SUBMISSIONS: TextClause = text(
    f"{_CLAIM_ROWS}, ledger AS ({_LEDGER} FROM claimed) SELECT * FROM claimed ORDER BY id"  # noqa: S608 -- the same
)
# Where something may refuse them: the ledger comes after.
CLAIM_CANDIDATES: TextClause = text(f"{_CLAIM_ROWS} SELECT * FROM claimed ORDER BY {IN_LINE}")  # noqa: S608 -- the same
WRITE_LEDGER: TextClause = text(f"{_LEDGER} FROM jobs WHERE id = ANY(:ids)")


async def claim_submissions(session: AsyncSession, **claim: Unpack[Claim]) -> Sequence[Submission]:
    """Take up to `limit` queued jobs, and write an attempt for each into the ledger.

    Those that have come due join the line first. Fewer if their inputs are large: a worker holds
    them all at once; and those that a budget, or their campaign, does not let pass are held.
    """
    await join_line(session, claim["endpoint"])
    values = {**claim, "bytes": CLAIM_BYTES}
    rows: Sequence[Any]
    if await read_limits(session):
        rows = (await session.execute(CLAIM_CANDIDATES, values)).all()
        rows = await _pass_limits(session, rows, **claim)
    else:
        rows = (await session.execute(CLAIM_SUBMISSIONS, values)).all()
    return [
        Submission(
            id=row.id,
            lease=claim["lease"],
            endpoint=claim["endpoint"],
            attempt=row.attempt,
            input=row.input,
            on_unknown=OnUnknown(row.on_unknown),
            route=Route(row.route),
            policy=row.policy,
            sealed=row.sealed,
            seconds_left=None if row.seconds_left is None else float(row.seconds_left),
            attempts_before=row.attempts_before,
            size_class=row.size_class,
            trace_context=row.trace_context,
        )
        for row in rows
    ]


async def _pass_limits(
    session: AsyncSession, rows: Sequence[Any], **claim: Unpack[Claim]
) -> Sequence[Any]:
    """Those of the candidates that may be sent, with an attempt for each; the others are held."""
    if not rows:
        return rows
    lease = claim["lease"]
    refused = dict(await take_slots(session, [row.id for row in rows]))
    asked = [row.id for row in rows if row.id not in refused]
    refused |= await reserve(session, lease=lease, job_ids=asked)
    passed = [row for row in rows if row.id not in refused]
    await session.execute(
        WRITE_LEDGER,
        {"ids": [row.id for row in passed], "lease": lease, "endpoint": claim["endpoint"]},
    )
    if refused:
        await session.execute(
            text(f"""
                UPDATE jobs SET state = 'queued', lease = NULL, attempt = attempt - 1,
                    next_at = {HELD_UNTIL}, virtual_start = NULL, held_by = refused.held_by
                FROM unnest(CAST(:ids AS uuid[]), CAST(:holders AS uuid[]))
                    AS refused(id, held_by)
                WHERE jobs.id = refused.id AND lease = :lease
            """),  # noqa: S608 -- a constant
            {"ids": list(refused), "holders": list(refused.values()), "lease": lease},
        )
        await _hold_behind(session, [row for row in rows if row.id in refused], refused)
    return passed


async def _hold_behind(
    session: AsyncSession, rows: Sequence[Any], refused: Mapping[UUID, UUID]
) -> None:
    """Of the campaigns of refused jobs, what is due and cannot pass either is held, too."""
    least: dict[tuple[UUID, UUID], Decimal] = {}
    for row in rows:
        if row.campaign_id is not None:
            key = (row.campaign_id, refused[row.id])
            usd = row.estimate_usd or Decimal()
            least[key] = min(least.get(key, usd), usd)
    for (campaign_id, held_by), usd in least.items():
        if held_by == campaign_id:  # for want of slots, whatever it costs
            await hold_behind(session, campaign_id, held_by=held_by, at_least_usd=Decimal())
        # Of a budget of others as well, the rest is not sure to be refused.
        elif await is_of_campaign(session, held_by, campaign_id):
            await hold_behind(session, campaign_id, held_by=held_by, at_least_usd=usd)


async def move_jobs(session: AsyncSession, moves: Sequence[Move]) -> set[UUID]:
    """Write what came of claimed jobs, and return the ids of those that still held their lease.

    A job that would go back to the queue, or out of sight, goes elsewhere if more is known of it:
    an earlier attempt that the upstream was heard to have taken is followed, before another is paid
    for; and one whose cancel was asked for while it was claimed is cancelled.
    """
    if not moves:
        return set()
    if gone := [move for move in moves if move.gone]:
        await _note_gone(session, gone)
    rows = [
        {
            **{name: getattr(move, name) for name in _MOVE_FIELDS},
            "sources": SOURCES[move.to],
            "ended": move.to in TERMINAL,
            "requeued": move.to is S.QUEUED,
        }
        for move in moves
    ]
    moved = await session.scalars(
        text(f"""
            UPDATE jobs SET
                state = CASE WHEN heard.upstream_id IS NOT NULL THEN 'in_queue'
                    WHEN move.requeued AND cancel_requested_at IS NOT NULL
                        THEN CASE WHEN cancel_reason IS NULL THEN 'cancelled' ELSE 'timed_out' END
                    ELSE move."to" END,
                lease = NULL,
                next_at = CASE WHEN heard.upstream_id IS NOT NULL THEN now()
                    WHEN move.ended OR move.requeued AND cancel_requested_at IS NOT NULL THEN NULL
                    -- Asked for while the claim ran: due at once.
                    WHEN cancel_requested_at IS NOT NULL AND cancel_tries = 0
                        AND move."to" IN ('in_queue', 'in_progress') THEN now()
                    -- Whether it has begun is asked when it must have.
                    ELSE least(now() + make_interval(secs => move.due_in),
                        CASE WHEN move."to" = 'in_queue' AND start_by > now() THEN start_by END)
                    END,
                finished_at = CASE WHEN move.ended OR (move.requeued
                    AND cancel_requested_at IS NOT NULL AND heard.upstream_id IS NULL)
                    THEN now() END,
                submitted_at = CASE WHEN move.upstream_id IS NOT NULL
                    THEN coalesce(submitted_at, now())
                    WHEN move.gone AND move.requeued THEN heard.sent_at
                    ELSE coalesce(submitted_at, heard.sent_at) END,
                attempt = attempt + move.attempt_change,
                -- It waits out of line: others go first meanwhile.
                virtual_start = CASE WHEN NOT move.requeued THEN virtual_start
                    WHEN move.due_in <= 0 THEN {PLACE_KEPT} END,
                deaths = 0,
                cancel_tries = cancel_tries + move.cancel_change,
                cancel_sent_at = CASE WHEN move.cancel_sent THEN now() ELSE cancel_sent_at END,
                polls = polls + CAST(move.polled AS int),
                polled_at = CASE WHEN move.gone AND move.requeued THEN NULL
                    WHEN move.polled AND move.misses IS NULL THEN now()
                    ELSE polled_at END,
                misses = coalesce(move.misses, 0),
                reason = CASE WHEN move.requeued AND cancel_requested_at IS NOT NULL
                    AND heard.upstream_id IS NULL THEN coalesce(cancel_reason, 'cancelled')
                    ELSE move.reason END,
                error = CASE WHEN move."to" = 'completed' THEN NULL
                    ELSE coalesce(move.error, jobs.error) END,
                upstream_id = coalesce(move.upstream_id, heard.upstream_id,
                    CASE WHEN NOT (move.gone AND move.requeued) THEN jobs.upstream_id END),
                output = coalesce(move.output, jobs.output),
                delay_ms = coalesce(move.delay_ms, jobs.delay_ms),
                execution_ms = coalesce(move.execution_ms, jobs.execution_ms),
                worker_id = coalesce(move.worker_id, jobs.worker_id),
                cost_usd = coalesce(move.cost_usd, jobs.cost_usd),
                input_tokens = coalesce(move.input_tokens, jobs.input_tokens),
                output_tokens = coalesce(move.output_tokens, jobs.output_tokens),
                -- The time that it may run begins when it is first seen to.
                deadline_at = CASE
                    WHEN move."to" = 'in_progress' AND jobs.state <> 'in_progress'
                    THEN least(deadline_at, now() + make_interval(
                        secs => CAST(jobs.policy ->> 'executionTimeout' AS float) / 1000))
                    ELSE deadline_at END
            FROM jsonb_to_recordset(CAST(:moves AS jsonb)) AS move(
                job_id uuid, lease uuid, sources text[], "to" text, ended boolean,
                requeued boolean, gone boolean, cancel_sent boolean, due_in float,
                cancel_change int, attempt_change int, misses int, polled boolean,
                reason text, error text, upstream_id text, output jsonb,
                delay_ms int, execution_ms int, worker_id text, cost_usd numeric,
                input_tokens int, output_tokens int)
            LEFT JOIN LATERAL (
                SELECT known.* FROM jobs AS job CROSS JOIN LATERAL ({HEARD_OF.format(job="job")})
                    AS known
                WHERE move."to" IN ('queued', 'unknown') AND job.id = move.job_id
            ) AS heard ON true
            WHERE jobs.id = move.job_id AND jobs.lease = move.lease
              AND jobs.state = ANY(move.sources)
            RETURNING jobs.id
        """),  # noqa: S608 -- a constant
        {"moves": orjson.dumps(rows).decode()},
    )
    return set(moved)


async def _note_gone(session: AsyncSession, moves: Sequence[Move]) -> None:
    """Write into the ledger that the upstream no longer knows what these jobs were sent as."""
    await session.execute(
        text("""
            UPDATE attempts SET fate = 'gone',
                risk_usd = coalesce(attempts.risk_usd, jobs.estimate_usd)
            FROM unnest(CAST(:jobs AS uuid[]), CAST(:leases AS uuid[])) AS move(job_id, lease)
            JOIN jobs ON jobs.id = move.job_id AND jobs.lease = move.lease
            WHERE attempts.job_id = jobs.id AND attempts.upstream_id = jobs.upstream_id
        """),
        {
            "jobs": [move.job_id for move in moves],
            "leases": [move.lease for move in moves],
        },
    )


async def follow_hints(
    session: AsyncSession, hints: Sequence[tuple[UUID, UUID, str]]
) -> Sequence[tuple[UUID, str]]:
    """The upstream is said to have ended jobs: make them due now. Returns (id, endpoint) of those.

    A hint is (job id, lease of the attempt, upstream id). It is not believed: the next poll asks.
    Where the reply to `/run` was lost, or said that it failed, it is how the job is found again,
    before it is sent once more; the submitting worker, if it lives, loses its lease, and with it
    nothing, for it could say no more than the hint does. A hint of an earlier attempt, while a
    later one is on its way, changes the ledger alone; `move_jobs` finds it there.
    """
    followed = await session.execute(
        text("""
            WITH hint AS (
                SELECT hint.job_id, hint.lease, attempts.number, attempts.sent_at,
                    coalesce(attempts.upstream_id, hint.upstream_id) AS upstream_id
                FROM unnest(CAST(:jobs AS uuid[]), CAST(:leases AS uuid[]), CAST(:ids AS text[]))
                    AS hint(job_id, lease, upstream_id)
                JOIN attempts ON attempts.job_id = hint.job_id AND attempts.lease = hint.lease
                WHERE coalesce(attempts.answer, 'unknown') IN ('accepted', 'unknown', 'fault')
            ), ledger AS (
                UPDATE attempts SET upstream_id = hint.upstream_id
                FROM hint
                WHERE attempts.job_id = hint.job_id AND attempts.lease = hint.lease
                  AND attempts.upstream_id IS NULL
            )
            UPDATE jobs SET
                state = CASE WHEN state IN ('queued', 'submitting', 'unknown') THEN 'in_queue'
                    ELSE state END,
                lease = NULL,
                held_by = NULL,
                upstream_id = coalesce(jobs.upstream_id, hint.upstream_id),
                submitted_at = coalesce(jobs.submitted_at, hint.sent_at),
                next_at = now()
            FROM hint
            WHERE jobs.id = hint.job_id AND hint.number > jobs.attempts_before
              AND (jobs.state IN ('queued', 'unknown')
                   OR (jobs.state = 'submitting' AND jobs.attempt = hint.number)
                   OR (jobs.state IN ('in_queue', 'in_progress') AND jobs.lease IS NULL
                       AND jobs.upstream_id = hint.upstream_id AND jobs.next_at > now()))
            RETURNING jobs.id, jobs.endpoint
        """),
        {
            "jobs": [job_id for job_id, _, _ in hints],
            "leases": [lease for _, lease, _ in hints],
            "ids": [upstream_id for _, _, upstream_id in hints],
        },
    )
    return [(job_id, endpoint) for job_id, endpoint in followed]


RECALLED_MOST = 10_000  # jobs that one sweep asks for earlier; the next takes more


async def recall_polls(session: AsyncSession, *, endpoint: str, first_seconds: float) -> int:
    """Webhooks are heard no longer: first polls that were put off for them are made as forecast.

    That is `first_seconds` after they were taken. What is due by then anyway stays as it is, so
    that the index finds nothing where nothing was put off.
    """
    result = await session.execute(
        text(f"""
            UPDATE jobs SET next_at = greatest(
                now(), jobs.submitted_at + make_interval(secs => :first))
            FROM (
                SELECT id FROM jobs
                WHERE {TO_POLL} AND endpoint = :endpoint
                  AND next_at > now() + make_interval(secs => :first)
                  AND polled_at IS NULL AND lease IS NULL
                ORDER BY next_at LIMIT :most
                FOR UPDATE SKIP LOCKED
            ) AS waiting WHERE jobs.id = waiting.id
        """),  # noqa: S608 -- a constant
        {"endpoint": endpoint, "first": first_seconds, "most": RECALLED_MOST},
    )
    return count_rows(result)


async def find_orphaned_endpoints(session: AsyncSession) -> Sequence[str]:
    """Of which endpoints there are submissions whose worker died."""
    return list(
        await session.scalars(
            text(
                "SELECT DISTINCT endpoint FROM jobs WHERE state = 'submitting' AND next_at <= now()"
            )
        )
    )


async def give_up_orphans(session: AsyncSession, *, endpoint: str, wait_seconds: float) -> int:
    """Submissions whose worker died: whether their `/run` was accepted is unknown.

    Their lease ran out; in `wait_seconds` more, without a hint, `resolve_unknown` decides.
    """
    result = await session.execute(
        text("""
            UPDATE jobs SET state = 'unknown', lease = NULL, deaths = deaths + 1,
                next_at = now() + make_interval(secs => :wait),
                error = 'the worker died before the reply to /run was recorded'
            WHERE state = 'submitting' AND next_at <= now() AND endpoint = :endpoint
        """),
        {"wait": wait_seconds, "endpoint": endpoint},
    )
    return count_rows(result)


async def set_aside_jobs(session: AsyncSession) -> Sequence[UUID]:
    """End the jobs in flight whose workers died, one after the other, while they held them."""
    statement = text(f"""
        UPDATE jobs SET state = 'failed', reason = 'killed_workers', lease = NULL,
            deaths = deaths + 1, next_at = NULL, finished_at = now(),
            error = 'the last ' || deaths + 1 || ' workers that asked for it died of it, between '
                || 'its acceptance and ' || to_char(next_at AT TIME ZONE 'UTC', 'HH24:MI:SS')
                || ' UTC; it may have been billed'
        WHERE state IN ('in_queue', 'in_progress') AND {SUSPECTED} AND next_at <= now()
        RETURNING id
    """)  # noqa: S608 -- a constant
    return list(await session.scalars(statement))


async def hasten_decisions(session: AsyncSession, attempts: Sequence[tuple[UUID, UUID]]) -> None:
    """A definite answer to (job id, lease) came after its job was given up as unknown: use it."""
    await session.execute(
        text("""
            UPDATE jobs SET next_at = now()
            FROM (
                SELECT id FROM jobs
                JOIN unnest(CAST(:jobs AS uuid[]), CAST(:leases AS uuid[])) AS late(job_id, lease)
                    ON jobs.id = late.job_id
                WHERE jobs.state = 'unknown' AND late.lease = (
                    SELECT lease FROM attempts WHERE attempts.job_id = jobs.id
                    ORDER BY sent_at DESC LIMIT 1)
                FOR UPDATE OF jobs SKIP LOCKED  -- it is just being decided on
            ) AS undecided WHERE jobs.id = undecided.id
        """),
        {
            "jobs": [job_id for job_id, _ in attempts],
            "leases": [lease for _, lease in attempts],
        },
    )


async def find_unresolved_endpoints(session: AsyncSession) -> Sequence[str]:
    """Of which endpoints there are unknown jobs whose wait is over."""
    return list(
        await session.scalars(
            text("SELECT DISTINCT endpoint FROM jobs WHERE state = 'unknown' AND next_at <= now()")
        )
    )


async def resolve_unknown(
    session: AsyncSession,
    *,
    endpoint: str,
    longest_seconds: float,
    max_sends: int,
    max_attempts: int,
) -> Sequence[UUID]:
    """Decide on each unknown job of an endpoint whose wait is over; returns those that ended.

    If another attempt was heard of, that is followed. If an answer came after all, it decides; else
    the job's own policy does. What is concluded of the attempt goes into the ledger. The upstream
    never had it if its webhook would have been heard: the gateway listened all the while, one that
    was sent later was heard of, and webhooks still came when this one would have ended. Else it may
    be billed.

    Args:
        longest_seconds: by when 99 of 100 jobs of the endpoint have ended.
        max_sends: so many of which nothing is known a job may have.
        max_attempts: so many of any kind.
    """
    rows = await session.execute(
        text(f"""
            WITH facts AS (
                SELECT jobs.id, last.lease, last.error, last.answer,
                    heard.upstream_id, heard.sent_at AS heard_sent_at,
                    coalesce(last.answer, 'unknown') = 'unknown' AS unanswered,
                    coalesce(hinted_at > last.sent_at
                        AND heard_at >= last.sent_at + make_interval(secs => :longest)
                        AND since <= last.sent_at
                        AND pulses.at > now() - make_interval(secs => :gap), false) AS absent
                FROM jobs LEFT JOIN endpoint_stats USING (endpoint)
                LEFT JOIN pulses ON pulses.name = :listening
                LEFT JOIN LATERAL (
                    SELECT lease, answer, sent_at, error FROM attempts WHERE job_id = jobs.id
                    ORDER BY sent_at DESC LIMIT 1
                ) AS last ON true
                LEFT JOIN LATERAL ({HEARD_OF.format(job="jobs")}) AS heard ON true
                WHERE state = 'unknown' AND next_at <= now() AND endpoint = :endpoint
                FOR UPDATE OF jobs SKIP LOCKED
            ), decided AS (
                SELECT facts.*, CASE
                        WHEN facts.upstream_id IS NOT NULL THEN 'in_queue'
                        WHEN cancel_requested_at IS NOT NULL AND cancel_reason IS NULL
                            THEN 'cancelled'
                        WHEN cancel_requested_at IS NOT NULL THEN 'timed_out'
                        WHEN answer = 'refused' OR deaths >= {SUSPECT_DEATHS} THEN 'failed'
                        WHEN route = 'openai' THEN 'failed'  -- nobody waits for it any more
                        WHEN NOT unanswered THEN 'queued'
                        WHEN on_unknown = 'fail' OR attempt - attempts_before >= :max_attempts
                            OR :max_sends <= (
                                SELECT count(*) FROM attempts AS sent
                                WHERE sent.job_id = jobs.id AND number > attempts_before
                                  AND sent.upstream_id IS NULL
                                  AND coalesce(sent.answer, 'unknown') = 'unknown'
                                  AND sent.fate IS DISTINCT FROM 'absent'
                                  AND NOT (sent.lease = facts.lease AND absent))
                            THEN 'failed'
                        ELSE 'queued' END AS state,
                    CASE WHEN cancel_requested_at IS NOT NULL AND NOT unanswered
                            THEN coalesce(cancel_reason, 'cancelled')
                        WHEN cancel_requested_at IS NOT NULL THEN 'outcome_unknown'
                        WHEN answer = 'refused' THEN 'upstream_refused'
                        WHEN deaths >= {SUSPECT_DEATHS} THEN 'killed_workers'
                        ELSE 'outcome_unknown' END AS reason
                FROM facts JOIN jobs USING (id)
            ), ledger AS (
                UPDATE attempts SET
                    fate = CASE WHEN decided.absent THEN 'absent' ELSE 'doubtful' END,
                    risk_usd = CASE WHEN NOT decided.absent THEN jobs.estimate_usd END
                FROM decided JOIN jobs ON jobs.id = decided.id
                WHERE attempts.job_id = decided.id AND attempts.lease = decided.lease
                  AND decided.unanswered AND fate IS NULL AND attempts.upstream_id IS NULL
            )
            UPDATE jobs SET
                state = decided.state,
                attempt = attempt - CAST(coalesce(decided.answer, 'unknown') IN ('busy', 'unsent')
                    AND decided.state = 'queued' AS int),
                reason = CASE WHEN decided.state NOT IN ('queued', 'in_queue')
                    THEN decided.reason END,
                error = coalesce(decided.error, jobs.error),
                upstream_id = decided.upstream_id,
                submitted_at = decided.heard_sent_at,
                next_at = CASE WHEN decided.state IN ('queued', 'in_queue') THEN now() END,
                virtual_start = CASE WHEN decided.state = 'queued' THEN {PLACE_KEPT}
                    ELSE virtual_start END,
                finished_at = CASE WHEN decided.state NOT IN ('queued', 'in_queue') THEN now() END
            FROM decided WHERE jobs.id = decided.id
            RETURNING jobs.id, jobs.state
        """),  # noqa: S608 -- constants
        {
            "endpoint": endpoint,
            "longest": longest_seconds,
            "max_sends": max_sends,
            "max_attempts": max_attempts,
            "gap": GAP_SECONDS,
            "listening": LISTENING,
        },
    )
    return [job_id for job_id, state in rows if state in TERMINAL]


async def begin_direct_job(
    session: AsyncSession, job: NewJob, *, lease: UUID, lease_seconds: float
) -> None:
    """Write down a job that this process sends itself, now, and its attempt, before it is sent.

    It is as a claimed one: if the process dies its outcome is unknown, and it is never sent again.

    Raises:
        OverBudget: a budget has not enough left; nothing may be written.
    """
    await enqueue_jobs(session, [job])
    await read_limits(session)
    for budget_id in (await reserve(session, lease=lease, job_ids=[job.id])).values():
        raise OverBudget(budget_id, (await name_budgets(session, [budget_id]))[budget_id])
    await session.execute(
        text("""
            WITH claimed AS (
                UPDATE jobs SET state = 'submitting', lease = :lease, attempt = 1,
                    on_unknown = 'fail', next_at = now() + make_interval(secs => :seconds)
                WHERE id = :id AND state = 'queued'
                RETURNING id, endpoint
            )
            INSERT INTO attempts (job_id, lease, number, endpoint)
            SELECT id, :lease, 1, endpoint FROM claimed
        """),
        {"id": job.id, "lease": lease, "seconds": lease_seconds},
    )
