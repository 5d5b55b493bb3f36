"""Poll: ask the upstream for the jobs that are likely to be done.

claim   jobs in flight that are due, as many as the quota gives
act     GET /status
record  not done: asked for again when it is likely to be
        ended: the result, its cost and its files are written down in one transaction
        404: which of its meanings it has is decided from what we know
chain   itself, archive, notify; submit, what is to be sent again
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import structlog
from celery import shared_task

from endpoints import forecast
from endpoints.catalogue import Operation, Result, read_result
from endpoints.client import POLL_SECONDS
from endpoints.outcomes import Busy, Ended, Fault, Missing, PollOutcome, Running, name_outcome
from models.artifact import NewArtifact, add_artifacts
from models.attempt import settle_attempts
from models.claims import Poll, claim_polls
from models.delivery import wake_deliveries
from models.endpoint_stats import get_durations
from models.job import IN_FLIGHT, TERMINAL, JobState, OnUnknown, Reason, Route
from models.lane import Claim, StageName
from models.room import make_room
from models.transitions import Move, ask_again, end, move_jobs, send_anew
from tasks import retry_policy
from tasks.breaker import note_answers
from tasks.call_traces import POLL_TRACE
from tasks.durations import learn_durations, read_durations
from tasks.first_poll import RETENTION_SECONDS
from workers.lane import Chain, Stage, work_lane
from workers.metrics import note_seen_end
from workers.runtime import Runtime

# On the upstream's clock.
SYNC_RETENTION_SECONDS = 60.0  # a result, after it is done, of what was sent by /runsync
SYNC_AGAIN_SECONDS = 15.0  # so such a one is asked for at least so often
TTL_SECONDS = 24 * 3600.0  # a job, after it was accepted
URL_LIFE_SECONDS = 7 * 24 * 3600.0  # a file, after its job is done

COST_PLACES = Decimal("1E-10")  # as many as the database keeps; it refuses absurd ones

# On ours.
MISSES_ALLOWED = 6  # 404s in a row, over two minutes of its clock, that may be a slip
AGAIN_SECONDS = 2.0  # after an answer that was none
ARCHIVE_HOLD_SECONDS = 30.0  # word of a result waits so long at most for its files to be stored

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Polled:
    row: Poll
    outcome: PollOutcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an outcome makes of its job."""

    move: Move
    result: Result = field(default_factory=Result)
    seconds: float | None = None  # that the job took, if it completed


async def claim(runtime: Runtime, wanted: Claim) -> Sequence[Poll]:
    async with runtime.database.begin() as session:
        return await claim_polls(session, **wanted)


async def act(runtime: Runtime, row: Poll) -> Polled:
    return Polled(row, await runtime.upstream.poll(row.endpoint, row.upstream_id))


async def record(runtime: Runtime, endpoint: str, ends: Sequence[Polled]) -> Chain:
    chain: dict[StageName, float] = {}
    operator = await runtime.operator_settings()  # before: it may need a connection of its own
    async with runtime.database.begin() as session:
        of_endpoint = await get_durations(session, endpoint)
        sizes = [done.row.size_class for done in ends]
        durations = await read_durations(session, endpoint, of_endpoint, sizes)
        sends = min(operator.max_attempts, retry_policy.VANISHED.sends)
        verdicts = [
            _judge(runtime, done, durations.of(done.row.size_class), max_sends=sends)
            for done in ends
        ]
        moved = await move_jobs(session, [verdict.move for verdict in verdicts])
        kept = [verdict for verdict in verdicts if verdict.move.job_id in moved]
        files = [file for verdict in kept for file in _name_files(runtime, endpoint, verdict)]
        await add_artifacts(session, files)
        if files:
            chain[StageName.ARCHIVE] = 0.0
        ended = [verdict.move.job_id for verdict in kept if verdict.move.to in TERMINAL]
        if ended:
            await settle_attempts(session, job_ids=ended)
        # One that goes back to the queue may have been cancelled on the way.
        ended += [verdict.move.job_id for verdict in kept if verdict.move.to is JobState.QUEUED]
        if ended:
            chain |= await wake_deliveries(session, ended=ended, hold_seconds=ARCHIVE_HOLD_SECONDS)
        took = [
            (done.row.size_class, verdict.seconds)
            for done, verdict in zip(ends, verdicts, strict=True)
            if verdict.seconds is not None and verdict.move.job_id in moved
        ]
        await learn_durations(session, endpoint, durations, took)
        held = await note_answers(
            session, StageName.POLL, endpoint, [done.outcome for done in ends]
        )
        roomy = await make_room(session, ended)
    await runtime.bells.ring_each(StageName.SUBMIT, roomy)
    if held is not None:
        chain[StageName.POLL] = held
    for stage, states in ((StageName.POLL, IN_FLIGHT), (StageName.SUBMIT, (JobState.QUEUED,))):
        waits = [
            verdict.move.due_in
            for verdict in kept
            if verdict.move.to in states and verdict.move.due_in is not None
        ]
        if waits:
            chain.setdefault(stage, min(waits))
    _count_ends(runtime, [done for done in ends if done.row.id in moved])
    for verdict in kept:
        if verdict.move.to in TERMINAL and verdict.move.to is not JobState.COMPLETED:
            log.warning(
                "job_ended",
                job=str(verdict.move.job_id),
                state=verdict.move.to,
                reason=verdict.move.reason,
                said=verdict.move.error,
            )
    return chain


def _count_ends(runtime: Runtime, ends: Sequence[Polled]) -> None:
    for done in ends:
        if isinstance(ended := done.outcome, Ended):
            late = None
            if ended.execution_ms is not None:
                took = (ended.execution_ms + (ended.delay_ms or 0)) / 1000
                late = done.row.age_seconds - runtime.real_seconds(took)
            note_seen_end(done.row.endpoint, polls=done.row.polls + 1, late_seconds=late)


def _judge(
    runtime: Runtime, done: Polled, durations: Sequence[float], *, max_sends: int
) -> Verdict:
    row, outcome = done.row, done.outcome
    if isinstance(outcome, Running):
        if row.cancel:
            wait = AGAIN_SECONDS
        else:
            wait = forecast.seconds_to_next_poll(
                durations,
                age_seconds=row.age_seconds,
                typical_seconds=runtime.typical_seconds(row.endpoint),
            )
            if row.route is Route.RUNSYNC:
                wait = min(wait, runtime.real_seconds(SYNC_AGAIN_SECONDS))
        return Verdict(
            ask_again(row.id, row.lease, state=JobState(outcome.state.value), due_in=wait)
        )
    if isinstance(outcome, Ended):
        return _judge_end(runtime, row, outcome)
    if isinstance(outcome, Missing) and row.cancel and row.misses:
        state, reason = _stopped(row)
        return Verdict(end(row.id, row.lease, state=state, reason=reason, polled=True))
    if isinstance(outcome, Fault) and row.age_seconds > runtime.real_seconds(TTL_SECONDS):
        state, reason = JobState.TIMED_OUT, Reason.TTL_PASSED
        return Verdict(end(row.id, row.lease, state=state, reason=reason, error=outcome.error))
    if isinstance(outcome, Missing) and row.misses >= MISSES_ALLOWED:
        return Verdict(_judge_missing(runtime, row, max_sends=max_sends))
    return Verdict(
        ask_again(
            row.id,
            row.lease,
            state=row.state,
            due_in=0.0 if isinstance(outcome, Busy) else _wait_again(runtime, row, outcome),
            misses=row.misses + isinstance(outcome, Missing),
            error=outcome.error if isinstance(outcome, Fault) else None,
        )
    )


def _wait_again(runtime: Runtime, row: Poll, outcome: PollOutcome) -> float:
    """Seconds after an answer that was none: longer with each 404 in a row, with jitter."""
    jitter = random.uniform(0.5, 1.5)  # noqa: S311
    if isinstance(outcome, Missing):
        return runtime.real_seconds(AGAIN_SECONDS * 2.0**row.misses) * jitter
    return AGAIN_SECONDS * jitter


def _stopped(row: Poll) -> tuple[JobState, Reason]:
    """How a job ends that we told the upstream to stop."""
    if row.cancel_reason is None:
        return JobState.CANCELLED, Reason.CANCELLED
    return JobState.TIMED_OUT, row.cancel_reason


def _judge_end(runtime: Runtime, row: Poll, ended: Ended) -> Verdict:
    result = read_result(runtime.catalogue.find(row.endpoint), ended.output)
    state = JobState(ended.state.value)
    reason = {
        JobState.FAILED: Reason.UPSTREAM_FAILED,
        JobState.TIMED_OUT: Reason.UPSTREAM_TIMED_OUT,
        JobState.CANCELLED: Reason.UPSTREAM_CANCELLED,
    }.get(state)
    error = ended.error
    if state is JobState.CANCELLED and row.cancel:
        state, reason = _stopped(row)
        error = None  # it was our own word
    if state is JobState.COMPLETED and (soft := _soft_error(ended.output, result)):
        state, reason, error = JobState.FAILED, Reason.UPSTREAM_FAILED, soft
    move = end(
        row.id,
        row.lease,
        state=state,
        reason=reason,
        error=error,
        output=ended.output,
        delay_ms=ended.delay_ms,
        execution_ms=ended.execution_ms,
        worker_id=ended.worker_id,
        cost_usd=None if result.cost is None else str(result.cost.quantize(COST_PLACES)),
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens,
        polled=True,
    )
    if state is not JobState.COMPLETED:
        return Verdict(move)
    if ended.execution_ms is None:
        return Verdict(move, result, row.age_seconds)
    milliseconds = ended.execution_ms + (ended.delay_ms or 0)
    return Verdict(move, result, runtime.real_seconds(milliseconds / 1000))


def _soft_error(output: object, result: Result) -> str | None:
    """A handler may end well with nothing but an `error` in its output: that is no result."""
    if not isinstance(output, dict) or result.files or result.text:
        return None
    error = output.get("error")
    return str(error) if error else None


def _judge_missing(runtime: Runtime, row: Poll, *, max_sends: int) -> Move:
    """A job that the upstream does not know: what became of it?"""
    error = f"the upstream answered 404 {row.misses + 1} times in a row"
    gone = False
    if row.age_seconds > runtime.real_seconds(TTL_SECONDS):
        state, reason = JobState.TIMED_OUT, Reason.TTL_PASSED
    elif row.unseen_seconds > runtime.real_seconds(
        SYNC_RETENTION_SECONDS if row.route is Route.RUNSYNC else RETENTION_SECONDS
    ):
        state, reason = JobState.LOST, Reason.RESULT_EXPIRED
    elif row.sends < max_sends and row.on_unknown is OnUnknown.RESUBMIT:
        wait = retry_policy.VANISHED.wait_seconds(row.sends)
        return send_anew(row.id, row.lease, error=error, due_in=wait)
    else:
        state, reason, gone = JobState.LOST, Reason.VANISHED, True
    return end(row.id, row.lease, state=state, reason=reason, error=error, gone=gone, polled=True)


def _name_files(runtime: Runtime, endpoint: str, verdict: Verdict) -> list[NewArtifact]:
    return [
        NewArtifact(
            job_id=verdict.move.job_id,
            position=position,
            endpoint=endpoint,
            field=file.field,
            source_url=file.url,
            lives_seconds=runtime.real_seconds(URL_LIFE_SECONDS),
        )
        for position, file in enumerate(verdict.result.files)
    ]


POLL = Stage(
    name=StageName.POLL,
    batch=100,
    act_seconds=POLL_SECONDS,
    operation=Operation.STATUS,
    flush_seconds=0.05,
    interruptible=True,
    stalls=True,
    claim=claim,
    act=act,
    record=record,
    name_end=lambda done: name_outcome(done.outcome),
    trace=POLL_TRACE,
    find_busy=lambda done: done.outcome if isinstance(done.outcome, Busy) else None,
)


@shared_task(name="pressroom.poll", ignore_result=True)
def poll(endpoint: str, at: int) -> str:
    return work_lane(POLL, endpoint, at)
