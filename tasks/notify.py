"""Notify: tell producers that their jobs have ended. Here: complete the Celery task.

claim   deliveries of jobs that have ended, with the jobs and their files
act     store the result, and apply what was linked to the task
record  delivered, or again later
chain   itself
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from celery import Celery, shared_task, signature
from celery.app.task import Context
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from models.claims import Notice
from models.delivery import DeliveryFailure, record_deliveries
from models.errors import PressroomError
from models.job import JobState
from models.lane import Claim, StageName
from tasks.call_traces import NOTIFY_TRACE
from tasks.endings import claim_endings
from tasks.results import describe_job
from workers.lane import Chain, Stage, work_lane
from workers.operator_settings import DELIVER
from workers.runtime import Runtime
from workers.trace_context import pass_on, say_traceparent

ACT_SECONDS = 15.0
FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 300.0

log = structlog.get_logger()


class GenerationFailed(PressroomError):
    """A job ended without a result; the error of its Celery task."""

    def __init__(self, job_id: str, state: str, reason: str | None, error: str | None) -> None:
        super().__init__(job_id, state, reason, error)
        self.job_id = job_id
        self.state = state
        self.reason = reason
        self.error = error

    def __str__(self) -> str:
        said = f": {self.error}" if self.error else ""
        return f"job {self.job_id} ended {self.state} ({self.reason}){said}"


@dataclass(frozen=True, slots=True)
class Word:
    """A delivery, and what it says."""

    notice: Notice
    result: dict[str, Any]
    trace_context: bytes | None = None

    @property
    def id(self) -> UUID:
        return self.notice.id

    @property
    def lease(self) -> UUID:
        return self.notice.lease


@dataclass(frozen=True, slots=True)
class Told:
    notice: Notice
    error: str | None


async def claim(runtime: Runtime, wanted: Claim) -> Sequence[Word]:
    async with runtime.database.begin() as session:
        endings = await claim_endings(session, StageName.NOTIFY, **wanted)
    links = await runtime.links()
    return [
        Word(one.notice, describe_job(one.job, one.files, links), one.job.trace_context)
        for one in endings
    ]


async def act(runtime: Runtime, row: Word) -> Told:
    try:
        async with asyncio.timeout(ACT_SECONDS):
            with pass_on(say_traceparent(row.trace_context)):
                await asyncio.to_thread(complete_task, runtime.app, row.notice.request, row.result)
    except (OperationalError, RedisError, RuntimeError, OSError, TimeoutError) as error:
        return Told(row.notice, f"{type(error).__name__}: {error}")
    return Told(row.notice, None)


def complete_task(app: Celery, request: dict[str, Any], result: dict[str, Any]) -> None:
    """End the Celery task that asked for the job, as its worker would have.

    Callbacks and the next link of its chain go first, as in Celery: a crash between applies them
    again rather than never.
    """
    context = Context(request)
    backend = app.backend
    if result["state"] != JobState.COMPLETED:
        error = GenerationFailed(result["id"], result["state"], result["reason"], result["error"])
        backend.mark_as_failure(request["id"], error, request=context)
        return
    for callback in request["callbacks"] or []:
        signature(callback, app=app).apply_async(
            (result,), parent_id=request["id"], root_id=request["root_id"]
        )
    if chain := request["chain"]:
        signature(chain[-1], app=app).apply_async(
            (result,), chain=chain[:-1], parent_id=request["id"], root_id=request["root_id"]
        )
    backend.mark_as_done(request["id"], result, request=context)


async def record(runtime: Runtime, endpoint: str, ends: Sequence[Told]) -> Chain:
    failed = {}
    for told in ends:
        if told.error is not None:
            wait = min(FIRST_RETRY_SECONDS * 2 ** min(told.notice.tries, 10), LONGEST_RETRY_SECONDS)
            failed[told.notice.id] = DeliveryFailure(
                error=told.error,
                retry_in=wait * random.uniform(0.5, 1.5),  # noqa: S311 -- jitter
            )
            log.warning(
                "delivery_failed",
                job=str(told.notice.job_id),
                endpoint=endpoint,
                tries=told.notice.tries,
                error=told.error,
            )
    async with runtime.database.begin() as session:
        await record_deliveries(
            session,
            lease=ends[0].notice.lease,
            ids=[told.notice.id for told in ends],
            failed=failed,
        )
    waits = [one.retry_in for one in failed.values() if one.retry_in is not None]
    return {StageName.NOTIFY: min(waits)} if waits else {}


NOTIFY = Stage(
    name=StageName.NOTIFY,
    batch=50,
    act_seconds=ACT_SECONDS,
    operation=DELIVER,
    flush_seconds=0.05,
    interruptible=False,  # a callback that was applied would be applied again
    claim=claim,
    act=act,
    record=record,
    trace=NOTIFY_TRACE,
)


@shared_task(name="pressroom.notify", ignore_result=True)
def notify(endpoint: str, at: int) -> None:
    work_lane(NOTIFY, endpoint, at)
