"""`pressroom.generate`: a request that comes in as a Celery task.

Its task id is the job's id, so sending it twice is one job. The task writes the job down and lets
go of the worker; the job's end completes the Celery task (`tasks/notify.py`), so its callers may
wait for it, link to it, and put it into groups and chords. It is acknowledged late: a worker that
dies here has promised nothing, and the second copy finds what the first wrote.
"""

from typing import Any
from uuid import UUID

from celery import Task, shared_task
from celery.exceptions import Ignore

from models.delivery import DeliveryKind, NewDelivery, add_deliveries, redeliver
from models.errors import DatabaseUnavailable
from models.job import OnUnknown
from models.lane import StageName
from models.transitions import enqueue_jobs
from tasks.intake import InvalidRequest, Request, check_request, read_deadlines
from tasks.job_trace import begin_job_trace
from workers.runtime import Runtime, get_process
from workers.trace_context import HEADER

RECORD_SECONDS = 30.0
RETRY_SECONDS = 5.0  # while Postgres is away

# What of a Celery request is needed to complete it later.
KEPT = (
    "id",
    "callbacks",
    "errbacks",
    "chain",
    "chord",
    "group",
    "group_index",
    "root_id",
    "parent_id",
    "correlation_id",
    "reply_to",
    "ignore_result",
)


@shared_task(
    name="pressroom.generate",
    bind=True,
    acks_late=True,
    ignore_result=False,
    max_retries=None,
    throws=(InvalidRequest,),  # the producer's mistake: told to it, and no traceback in our logs
)
def generate(
    self: Task[Any, Any],
    *,
    endpoint: str,
    input: dict[str, Any],  # noqa: A002 -- the upstream's word, and ours on the wire
    on_unknown: str | None = None,
    start_within: float | None = None,
    finish_within: float | None = None,
    priority: int | None = None,
) -> None:
    """Enqueue a generation; the result comes when it ends.

    Args:
        endpoint: an id of the catalogue, or of any endpoint that the key may call.
        input: as the upstream takes it.
        on_unknown: `resubmit` or `fail`; see `models/job.py`.
        start_within: seconds in which it must begin to be generated, or it is given up.
        finish_within: the same, to its end; ten at least, which is the upstream's least.
        priority: 0 to 9; 9 goes first, and 5 is usual.
    """
    process = get_process()
    trace = begin_job_trace(
        process.runtime,
        traceparent=getattr(self.request, HEADER, None),
        kind="CONSUMER",
        facts={
            "messaging.system": "celery",
            "messaging.operation.type": "process",
            "messaging.destination.name": "generate",
            "messaging.message.id": str(self.request.id),
        },
    )
    try:
        request = Request(
            endpoint=endpoint,
            input=input,
            id=UUID(self.request.id),
            on_unknown=OnUnknown(on_unknown) if on_unknown else None,
            priority=priority,
            trace_context=trace.kept,
            **read_deadlines(start_within, finish_within),
        )
    except ValueError as error:
        trace.refused(error)
        raise InvalidRequest(endpoint, [str(error)]) from error
    kept = {name: getattr(self.request, name) for name in KEPT}
    try:
        process.loop.run(take_in(process.runtime, request, kept), seconds=RECORD_SECONDS)
    except InvalidRequest as error:
        trace.refused(error)
        raise
    except (DatabaseUnavailable, TimeoutError) as error:
        trace.refused(error)
        raise self.retry(exc=error, countdown=RETRY_SECONDS) from error
    trace.accepted(UUID(self.request.id), endpoint)
    raise Ignore


async def take_in(runtime: Runtime, request: Request, celery_request: dict[str, Any]) -> None:
    """Write down the job and the promise to complete the Celery task, then ring.

    Raises:
        InvalidRequest: nothing was written.
    """
    operator = await runtime.operator_settings()
    job = check_request(runtime.catalogue, request, on_unknown=operator.on_unknown).job
    async with runtime.database.begin() as session:
        if await enqueue_jobs(session, [job]):
            await add_deliveries(
                session,
                [
                    NewDelivery(
                        job_id=job.id,
                        endpoint=job.endpoint,
                        kind=DeliveryKind.CELERY,
                        request=celery_request,
                    )
                ],
            )
        else:
            await redeliver(session, job_id=job.id)
    await runtime.bells.ring(StageName.SUBMIT, job.endpoint)
    await runtime.bells.ring(StageName.NOTIFY, job.endpoint)
