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
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from models.claims import Notice
from models.delivery import DeliveryFailure, record_deliveries
from models.lane import Claim, StageName
from tasks.call_traces import NOTIFY_TRACE
from tasks.completion import complete_task
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
    notice = row.notice
    again = notice.tries > 1
    complete = partial(complete_task, runtime.app, notice.request, row.result, again=again)
    try:
        async with asyncio.timeout(ACT_SECONDS):
            with pass_on(say_traceparent(row.trace_context)):
                await asyncio.to_thread(complete)
    except (OperationalError, RedisError, RuntimeError, OSError, TimeoutError) as error:
        return Told(notice, f"{type(error).__name__}: {error}")
    except Exception as error:
        # What was linked to the task is the producer's, and may be no canvas at all.
        log.exception("task_not_completed", job=str(notice.job_id))
        return Told(notice, f"{type(error).__name__}: {error}")
    return Told(notice, None)


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
                said=told.error,
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
    name_end=lambda told: "failed" if told.error else "told",
    trace=NOTIFY_TRACE,
)


@shared_task(name="pressroom.notify", ignore_result=True)
def notify(endpoint: str, at: int) -> str:
    return work_lane(NOTIFY, endpoint, at)
