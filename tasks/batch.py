"""A finalized batch becomes jobs: some at a time, each step one transaction.

The inputs leave the batch as their jobs are inserted. So whoever dies half-way, or enqueues what
another is enqueuing, makes no job twice and loses none; the sweep goes on where they left off.
"""

import dataclasses
from uuid import UUID

import structlog
from sqlalchemy import func

from models.batch import Batch, BatchState, drop_inputs, find_inputs, find_unfinished
from models.key import get_key
from tasks.accept import Incoming, accept
from tasks.intake import InvalidRequest, Request, check_request
from tasks.job_trace import trace_jobs
from workers.runtime import Runtime

STEP = 500  # jobs a transaction
STEP_BYTES = 32_000_000  # of their inputs

log = structlog.get_logger()


async def enqueue_batch(runtime: Runtime, batch_id: UUID) -> None:
    """Make jobs of its requests that are none yet, if it is finalized."""
    while await _enqueue_step(runtime, batch_id):
        pass


async def finish_batches(runtime: Runtime) -> None:
    """Go on with what was left half-way."""
    async with runtime.database.begin() as session:
        unfinished = await find_unfinished(session)
    for batch_id in unfinished:
        await enqueue_batch(runtime, batch_id)


async def _enqueue_step(runtime: Runtime, batch_id: UUID) -> bool:
    """Whether there may be more to enqueue."""
    operator = await runtime.operator_settings()
    async with runtime.database.begin() as session:
        batch = await session.get_one(Batch, batch_id, with_for_update=True)
        if batch.state is not BatchState.FINALIZED or batch.finalized_at:
            return False
        cache = (await get_key(session, batch.key_id)).result_cache
        requests = await find_inputs(session, batch_id, most=STEP, enough_bytes=STEP_BYTES)
        try:
            incoming = [
                Incoming(
                    job=check_request(
                        runtime.catalogue,
                        Request(
                            endpoint=batch.endpoint,
                            input=values,
                            id=request_id,
                            key_id=batch.key_id,
                        ),
                        on_unknown=operator.on_unknown,
                        guard=runtime.guard,
                    ).job,
                    key_id=batch.key_id,
                    request_hash=str(request_id),  # a job of its own, whatever else equals it
                    cache=operator.result_cache if cache is None else cache,
                )
                for request_id, values in requests
            ]
        except InvalidRequest as error:  # what was taken when it was added is taken no longer
            log.warning("batch_failed", batch=str(batch_id), said=str(error))
            batch.state, batch.error = BatchState.FAILED, str(error)
            return False
        if not incoming:
            batch.finalized_at = func.now()
            return False
        with trace_jobs(runtime, [one.job for one in incoming]) as jobs:
            traced = [
                dataclasses.replace(one, job=job) for one, job in zip(incoming, jobs, strict=True)
            ]
            acceptance = await accept(session, traced)
        await drop_inputs(session, [one.job.id for one in incoming])
    for stage, endpoints in acceptance.bells.items():
        await runtime.bells.ring_each(stage, endpoints)
    return True
