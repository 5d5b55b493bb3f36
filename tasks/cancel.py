"""Cancel: tell the upstream to stop jobs, as fast as it lets us (a hundred in ten seconds).

claim   jobs in flight of which a cancel was asked for, as many as the quota gives
act     POST /cancel
record  answered: its status is asked for, which tells what came of it
        busy, out of reach: not tried, and the lane is closed
        no answer: again later, a few times
chain   poll
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from celery import shared_task

from endpoints.catalogue import Operation
from endpoints.client import POLL_SECONDS
from endpoints.outcomes import Busy, Fault, PollOutcome, name_outcome
from models.claims import Cancel, claim_cancels
from models.lane import Claim, StageName
from models.transitions import Move, move_jobs, note_cancel, snooze_cancel
from tasks import retry_policy
from tasks.breaker import note_answers
from tasks.call_traces import CANCEL_TRACE
from workers.lane import Chain, Stage, work_lane
from workers.runtime import Runtime

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Cancelled:
    row: Cancel
    outcome: PollOutcome


async def claim(runtime: Runtime, wanted: Claim) -> Sequence[Cancel]:
    async with runtime.database.begin() as session:
        return await claim_cancels(session, **wanted)


async def act(runtime: Runtime, row: Cancel) -> Cancelled:
    return Cancelled(row, await runtime.upstream.cancel(row.endpoint, row.upstream_id))


async def record(runtime: Runtime, endpoint: str, ends: Sequence[Cancelled]) -> Chain:
    moves = [_move(done) for done in ends]
    async with runtime.database.begin() as session:
        await move_jobs(session, moves)
        held = await note_answers(
            session, StageName.CANCEL, endpoint, [done.outcome for done in ends]
        )
    chain: dict[StageName, float] = {}
    if any(move.cancel_sent for move in moves):
        chain[StageName.POLL] = 0.0
    waits = [move.due_in for move in moves if not move.cancel_sent and move.due_in is not None]
    if held is not None or waits:
        chain[StageName.CANCEL] = min(waits) if held is None else held
    return chain


def _move(done: Cancelled) -> Move:
    row, outcome = done.row, done.outcome
    if isinstance(outcome, Busy):
        return snooze_cancel(row.id, row.lease, state=row.state)
    due_in, sent, error = 0.0, True, None
    if isinstance(outcome, Fault):
        sent, error = row.tries >= retry_policy.CANCEL.sends, outcome.error
        due_in = 0.0 if sent else retry_policy.CANCEL.wait_seconds(row.tries)
        log.warning("cancel_failed", job=str(row.id), tries=row.tries, said=outcome.error)
    return note_cancel(row.id, row.lease, state=row.state, due_in=due_in, sent=sent, error=error)


CANCEL = Stage(
    name=StageName.CANCEL,
    batch=100,
    act_seconds=POLL_SECONDS,
    operation=Operation.CANCEL,
    flush_seconds=0.05,
    interruptible=True,
    stalls=True,
    claim=claim,
    act=act,
    record=record,
    name_end=lambda done: name_outcome(done.outcome),
    trace=CANCEL_TRACE,
    find_busy=lambda done: done.outcome if isinstance(done.outcome, Busy) else None,
)


@shared_task(name="pressroom.cancel", ignore_result=True)
def cancel(endpoint: str, at: int) -> str:
    return work_lane(CANCEL, endpoint, at)
