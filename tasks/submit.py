"""Submit: send queued jobs to the upstream by `/run`.

claim   queued jobs, as many as the quota gives; each `/run` is written down before it is sent
act     POST /run
record  accepted: in flight, to be asked for when it is likely to be done, or its webhook overdue
        busy, out of reach, key refused: back in the queue, no attempt spent, the lane closed
        refused: failed for good       fault: another attempt, as tasks/retry_policy.py says
        no reply: unknown
chain   poll, cancel
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from celery import shared_task
from sqlalchemy.ext.asyncio import AsyncSession

from endpoints import forecast
from endpoints.catalogue import Operation
from endpoints.client import SUBMIT_SECONDS
from endpoints.outcomes import Accepted, Busy, Fault, Refused, SubmitOutcome, name_outcome
from models.attempt import Answer, AttemptEnd, answer_attempts
from models.delivery import wake_deliveries
from models.endpoint_stats import get_learned
from models.interventions import has_cancel_requested
from models.job import TERMINAL, JobState, Reason, Route
from models.lane import Claim, StageName
from models.room import make_room
from models.transitions import (
    Move,
    Submission,
    accept,
    claim_submissions,
    end,
    follow_hints,
    hasten_decisions,
    lose_sight,
    move_jobs,
    retry_submit,
    snooze_submit,
)
from tasks import retry_policy
from tasks.breaker import note_answers
from tasks.call_traces import SUBMIT_TRACE
from tasks.durations import read_durations
from tasks.first_poll import plan_first_poll
from workers.lane import Chain, Stage, work_lane
from workers.runtime import Runtime
from workers.secret import SealBroken

TTL_MS = (10_000, 604_800_000)  # the least and the most that the upstream takes
UNSEALED = 0  # in place of an HTTP status: nothing was sent
HINT_SECONDS = 10.0  # over the longest that jobs take, for a webhook to come: also a second time
HELD_SECONDS = 3600.0  # an answer is kept so long at most while Postgres is away: it is paid for

ENDED_OR_QUEUED = (*TERMINAL, JobState.QUEUED)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Submitted:
    row: Submission
    outcome: SubmitOutcome


async def claim(runtime: Runtime, wanted: Claim) -> Sequence[Submission]:
    async with runtime.database.begin() as session:
        return await claim_submissions(session, **wanted)


async def act(runtime: Runtime, row: Submission) -> Submitted:
    try:
        s3_config = runtime.secret.open(row.sealed) if row.sealed else None
    except SealBroken as error:
        return Submitted(row, Refused(str(error), UNSEALED))
    outcome = await runtime.upstream.submit(
        row.endpoint,
        row.input,
        webhook=runtime.hint_url(row.id, row.lease),
        policy=_policy(runtime, row),
        s3_config=s3_config,
        sync=row.route is Route.RUNSYNC,
    )
    return Submitted(row, _without_secrets(outcome, s3_config or {}))


def _without_secrets(outcome: SubmitOutcome, s3_config: dict[str, Any]) -> SubmitOutcome:
    """An upstream may quote the request in its error, which is shown."""
    if isinstance(outcome, Accepted | Busy):
        return outcome
    error = outcome.error
    for name in ("accessId", "accessSecret"):
        if secret := s3_config.get(name):
            error = error.replace(secret, "***")
    return dataclasses.replace(outcome, error=error)


def _policy(runtime: Runtime, row: Submission) -> dict[str, Any] | None:
    """The job's policy on the upstream's clock, with what is left of its time to live."""
    if row.policy is None:
        return None
    policy = dict(row.policy)
    if row.seconds_left is not None and "ttl" in policy:
        left = round(runtime.upstream_seconds(max(row.seconds_left, 0.0)) * 1000)
        policy["ttl"] = min(max(left, TTL_MS[0]), TTL_MS[1])
    if limit := policy.get("executionTimeout"):
        policy["executionTimeout"] = min(
            round(runtime.upstream_seconds(limit / 1000) * 1000), TTL_MS[1]
        )
    return policy


async def record(runtime: Runtime, endpoint: str, ends: Sequence[Submitted]) -> Chain:
    operator = await runtime.operator_settings()
    chain: dict[StageName, float] = {}
    async with runtime.database.begin() as session:
        learned = await get_learned(session, endpoint)
        sizes = {done.row.size_class for done in ends}
        durations = await read_durations(session, endpoint, learned.durations, sizes)
        first_polls = {
            size: plan_first_poll(runtime, endpoint, of_size).seconds
            for size in sizes
            for of_size in [dataclasses.replace(learned, durations=durations.of(size))]
        }
        wait = longest_seconds(runtime, endpoint, learned.durations) + HINT_SECONDS
        moves = [
            _move(
                done,
                first_poll=first_polls[done.row.size_class],
                wait_seconds=wait,
                max_attempts=operator.max_attempts,
            )
            for done in ends
        ]
        moved = await move_jobs(session, moves)
        await answer_attempts(session, [_answer(done) for done in ends])
        to_be_cancelled = await has_cancel_requested(session, job_ids=moved)
        # One that goes back to the queue may have been cancelled on the way.
        ended = {move.job_id for move in moves if move.to in ENDED_OR_QUEUED} & moved
        if ended:
            chain |= await wake_deliveries(session, ended=ended, hold_seconds=0)
        await _use_late(session, [move for move in moves if move.job_id not in moved])
        held = await note_answers(
            session, StageName.SUBMIT, endpoint, [done.outcome for done in ends]
        )
        not_taken = [done.row.id for done in ends if not isinstance(done.outcome, Accepted)]
        roomy = await make_room(session, not_taken)
    await runtime.bells.ring_each(StageName.SUBMIT, roomy)
    for done, move in zip(ends, moves, strict=True):
        if not isinstance(done.outcome, Accepted | Busy):
            log.warning(
                "submit_ended",
                job=str(move.job_id),
                attempt=done.row.attempt,
                outcome=type(done.outcome).__name__,
                http_status=done.outcome.http_status,
                said=move.error,
            )
        if move.job_id not in moved:
            log.info("lease_lost", job=str(move.job_id), attempt=done.row.attempt)
    if any(move.to is JobState.IN_QUEUE for move in moves):
        # What came by /runsync is kept for a minute: it is asked for early.
        at_once = any(done.row.route is Route.RUNSYNC for done in ends)
        chain[StageName.POLL] = 0.0 if at_once else min(first_polls.values())
    if to_be_cancelled:
        chain[StageName.CANCEL] = 0.0
    retries = [
        move.due_in
        for done, move in zip(ends, moves, strict=True)
        if isinstance(done.outcome, Fault) and move.due_in is not None
    ]
    if held is not None:
        chain[StageName.SUBMIT] = held
    elif retries:
        chain[StageName.SUBMIT] = min(retries)
    return chain


async def _use_late(session: AsyncSession, late: Sequence[Move]) -> None:
    """Their lease ran out while the reply was on its way: it is as good as a hint, or better."""
    if accepted := [(one.job_id, one.lease, one.upstream_id) for one in late if one.upstream_id]:
        await follow_hints(session, accepted)
    if known := [(one.job_id, one.lease) for one in late if one.to is not JobState.UNKNOWN]:
        await hasten_decisions(session, known)


def longest_seconds(runtime: Runtime, endpoint: str, durations: Sequence[float]) -> float:
    """By when 99 of 100 jobs of the endpoint have ended."""
    typical = runtime.typical_seconds(endpoint)
    return forecast.likely_longest(durations, typical_seconds=typical)


def _move(done: Submitted, *, first_poll: float, wait_seconds: float, max_attempts: int) -> Move:
    """What an outcome makes of its job."""
    job, lease, outcome = done.row.id, done.row.lease, done.outcome
    if isinstance(outcome, Accepted):
        due_in = 0.0 if done.row.route is Route.RUNSYNC else first_poll
        return accept(job, lease, upstream_id=outcome.upstream_id, due_in=due_in)
    if isinstance(outcome, Busy):
        return snooze_submit(job, lease, error=f"{outcome.cause}: {outcome.detail}")
    if isinstance(outcome, Refused):
        return end(
            job,
            lease,
            state=JobState.FAILED,
            reason=Reason.UPSTREAM_REFUSED,
            error=f"{outcome.error} (HTTP {outcome.http_status})"
            if outcome.http_status
            else outcome.error,
        )
    if isinstance(outcome, Fault):
        attempts = done.row.attempt - done.row.attempts_before
        if attempts >= min(max_attempts, retry_policy.FAULT.sends):
            return end(
                job,
                lease,
                state=JobState.FAILED,
                reason=Reason.UPSTREAM_FAULT,
                error=f"{outcome.error}, on each of {attempts} attempts"
                if attempts > 1
                else outcome.error,
            )
        backoff = retry_policy.FAULT.wait_seconds(attempts)
        return retry_submit(job, lease, error=outcome.error, due_in=backoff)
    return lose_sight(job, lease, error=outcome.error, due_in=wait_seconds)


def _answer(done: Submitted) -> AttemptEnd:
    """What an outcome adds to the ledger."""
    job, lease, outcome = done.row.id, done.row.lease, done.outcome
    if isinstance(outcome, Accepted):
        return AttemptEnd(
            job_id=job,
            lease=lease,
            answer=Answer.ACCEPTED,
            http_status=outcome.http_status,
            upstream_id=outcome.upstream_id,
        )
    if isinstance(outcome, Busy):
        return AttemptEnd(
            job_id=job,
            lease=lease,
            answer=Answer.BUSY if outcome.http_status else Answer.UNSENT,
            http_status=outcome.http_status,
            error=outcome.detail,
        )
    return AttemptEnd(
        job_id=job,
        lease=lease,
        answer=Answer.REFUSED
        if isinstance(outcome, Refused)
        else Answer.FAULT
        if isinstance(outcome, Fault)
        else Answer.UNKNOWN,
        http_status=outcome.http_status or None,
        error=outcome.error,
    )


SUBMIT = Stage(
    name=StageName.SUBMIT,
    batch=100,
    act_seconds=SUBMIT_SECONDS,
    operation=Operation.RUN,
    flush_seconds=0.05,
    interruptible=False,  # a `/run` that is dropped half-way may have been taken
    record_seconds=HELD_SECONDS,
    stalls=True,
    yields=True,
    rests=True,
    claim=claim,
    act=act,
    record=record,
    name_end=lambda done: name_outcome(done.outcome),
    trace=SUBMIT_TRACE,
    find_busy=lambda done: done.outcome if isinstance(done.outcome, Busy) else None,
)


@shared_task(name="pressroom.submit", ignore_result=True)
def submit(endpoint: str, at: int) -> str:
    return work_lane(SUBMIT, endpoint, at)
