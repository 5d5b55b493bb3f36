"""A job that the gateway sends itself, while its client waits: a text that is streamed.

It is written down before it is sent, and held by a lease, as one that a stage has claimed. If this
process dies its outcome is unknown; it is never sent again by itself.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import stamina
import structlog

from models.attempt import Answer, AttemptEnd, answer_attempts, settle_attempts
from models.base import new_id
from models.budget import note_capped
from models.claims import extend_lease
from models.errors import DatabaseUnavailable
from models.handle import HeldBy, NewHandle, free_handles, take_handles
from models.lane import StageName
from models.reservation import OverBudget
from models.room import make_room
from models.transitions import Move, NewJob, begin_direct_job, move_jobs
from workers.lane import HEARTBEAT_SECONDS, LEASE_SECONDS
from workers.runtime import Runtime

if TYPE_CHECKING:
    from opentelemetry.trace import Span

RECORD_SECONDS = 10.0  # that an end is tried to be written down while Postgres is away

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DirectJob:
    """A job that is being sent; `span`: of the call, while traces are on."""

    id: UUID
    lease: UUID
    span: "Span | None" = None


class HeldByAnother(Exception):
    """The request's name belongs to a job that is there; nothing was written."""

    def __init__(self, held: HeldBy) -> None:
        super().__init__(held)
        self.held = held


@asynccontextmanager
async def open_direct_job(
    runtime: Runtime, job: NewJob, handle: NewHandle | None
) -> AsyncIterator[DirectJob]:
    """Write the job down, and hold it until the end.

    Args:
        handle: the name that its client gave it.

    Raises:
        HeldByAnother: it is the name of a job that is there.
        OverBudget: there is no money left for it; nothing was written.
        DatabaseUnavailable: the same; nothing may be sent.
    """
    direct = DirectJob(job.id, new_id())
    try:
        async with runtime.database.begin() as session:
            for held in (await take_handles(session, [handle] if handle else [])).values():
                raise HeldByAnother(held)
            await begin_direct_job(session, job, lease=direct.lease, lease_seconds=LEASE_SECONDS)
    except OverBudget as error:
        async with runtime.database.begin() as session:
            await note_capped(session, error.budget_id)
        raise
    direct = dataclasses.replace(direct, span=_begin_span(runtime, job))
    heart = asyncio.create_task(_beat(runtime, direct))
    try:
        yield direct
    finally:
        heart.cancel()


def _begin_span(runtime: Runtime, job: NewJob) -> "Span | None":
    if runtime.tracer is None or job.trace_context is None:
        return None
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 -- imported once traces are on

    return runtime.tracer.begin(
        "direct",
        SpanKind.CLIENT,
        parent=bytes.fromhex(job.trace_context),
        facts={"pressroom.job.id": str(job.id), "pressroom.endpoint": job.endpoint},
    )


def _end_span(span: "Span", answer: AttemptEnd) -> None:
    from workers.spans import end_span  # noqa: PLC0415 -- the same

    facts: dict[str, str | int] = {"http.request.method": "POST"}
    if answer.http_status is not None:
        facts["http.response.status_code"] = answer.http_status
    if answer.answer is not Answer.ACCEPTED:
        facts["error.type"] = answer.answer.value
    if answer.upstream_id is not None:
        facts["pressroom.upstream_id"] = answer.upstream_id
    end_span(span, facts)


async def end_direct_job(runtime: Runtime, job: DirectJob, move: Move, answer: AttemptEnd) -> None:
    """Write how it ended. If that fails, its lease runs out, and its outcome is unknown."""
    if job.span is not None:
        _end_span(job.span, answer)
    try:
        async for attempt in stamina.retry_context(
            on=DatabaseUnavailable, timeout=RECORD_SECONDS, attempts=None, wait_max=2.0
        ):
            with attempt:
                await _write_end(runtime, move, answer)
    except DatabaseUnavailable as error:
        log.warning("end_not_recorded", job=str(move.job_id), error=str(error))


async def _write_end(runtime: Runtime, move: Move, answer: AttemptEnd) -> None:
    async with runtime.database.begin() as session:
        moved = await move_jobs(session, [move])
        await answer_attempts(session, [answer])
        await settle_attempts(session, job_ids=list(moved))
        if answer.answer in {Answer.UNSENT, Answer.BUSY}:
            await free_handles(session, move.job_id)  # its client is asked to come again
        await make_room(session, [move.job_id])


async def _beat(runtime: Runtime, direct: DirectJob) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        try:
            async with runtime.database.begin() as session:
                await extend_lease(
                    session,
                    StageName.SUBMIT,
                    ids=[direct.id],
                    lease=direct.lease,
                    seconds=LEASE_SECONDS,
                )
        except DatabaseUnavailable as error:
            log.warning("heartbeat_missed", error=str(error))
