"""`pressroom.generate`: a request that comes in as a Celery task.

Its task id is the job's id, so sending it twice is one job. The task writes the job down and lets
go of the worker; the job's end completes the Celery task (`tasks/completion.py`), so its callers
may wait for it, link to it, and put it into groups and chords. It is acknowledged late: a worker
that dies here has promised nothing, and the second copy finds what the first wrote.

Of Celery's own options `countdown` and `eta` are when the job may be sent: it is written down at
once (`workers/at_once.py`). `expires` is until when it must have begun. `priority` is Redis's: 0,
which is also that of none, is our usual 5, and 9, which goes last, our 0.
"""

import datetime as dt
import time
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog
from celery import Celery, shared_task, states
from celery.exceptions import BackendGetMetaError, Ignore, Reject, TaskRevokedError
from celery.worker.state import revoked
from redis.exceptions import RedisError

from models.delivery import DeliveryKind, NewDelivery, add_deliveries, redeliver
from models.errors import DatabaseUnavailable
from models.fairness import USUAL
from models.job import OnUnknown
from models.job_queries import JobFilter, list_job_ids
from models.lane import StageName
from models.transitions import enqueue_jobs
from tasks.completion import fail_task
from tasks.control import cancel
from tasks.intake import InvalidRequest, Request, check_request, read_deadlines
from tasks.job_trace import begin_job_trace
from tasks.links import name_links
from tasks.previous import fill_input
from workers import clock
from workers.at_once import DUE_AT, TakenAtOnce
from workers.runtime import Runtime, get_process
from workers.trace_context import HEADER

RECORD_SECONDS = 12.0  # less than after which a request is taken to be abandoned
RETRY_SECONDS = 5.0  # while Postgres is away
LAST = 9  # of Celery's priorities on Redis

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
    "expires",
)

log = structlog.get_logger()


@shared_task(
    name="pressroom.generate",
    bind=True,
    base=TakenAtOnce,
    acks_late=True,
    ignore_result=False,
    max_retries=None,
    send_events=False,  # Flower is told of the job: workers/flower_jobs.py
    typing=False,  # of what does not fit, the result tells, not whoever sends the next link
)
def generate(
    self: TakenAtOnce,
    *previous: Any,  # noqa: ANN401 -- any JSON
    endpoint: str,
    input: dict[str, Any],  # noqa: A002 -- the upstream's word, and ours on the wire
    from_previous: dict[str, str] | None = None,
    on_unknown: str | None = None,
    start_within: float | None = None,
    finish_within: float | None = None,
    priority: int | None = None,
) -> None:
    """Enqueue a generation; the result comes when it ends.

    Args:
        previous: what a chain, a chord or a link hands on; nothing is taken of it but what
            `from_previous` says. Of several they are one list.
        endpoint: an id of the catalogue, or of any endpoint that the key may call.
        input: as the upstream takes it.
        from_previous: places in the input to paths into the previous result: `tasks/previous.py`.
        on_unknown: `resubmit` or `fail`; see `models/job.py`.
        start_within: seconds in which it must begin to be generated, or it is given up.
        finish_within: the same, to its end; ten at least, which is the upstream's least.
        priority: 0 to 9; 9 goes first, and 5 is usual.
    """
    process = get_process()
    asked: Any = self.request
    kept = {name: getattr(asked, name) for name in KEPT}
    if start_within is not None:
        kept["expires"] = None
    trace = begin_job_trace(
        process.runtime,
        traceparent=getattr(asked, HEADER, None),
        kind="CONSUMER",
        facts={
            "messaging.system": "celery",
            "messaging.operation.type": "process",
            "messaging.destination.name": "generate",
            "messaging.message.id": str(asked.id),
        },
    )
    try:
        if _is_revoked(process.runtime, asked.id):
            fail_task(self.app, kept, states.REVOKED, TaskRevokedError("revoked"))
            raise Ignore
        request = Request(
            endpoint=endpoint,
            input=_fill(process.runtime, endpoint, input, from_previous, previous),
            id=_read_id(asked.id),
            on_unknown=OnUnknown(on_unknown) if on_unknown else None,
            priority=_read_priority(asked.delivery_info) if priority is None else priority,
            due_seconds=_read_due(asked.headers),
            trace_context=trace.kept,
            **read_deadlines(
                _read_expiry(asked.expires) if start_within is None else start_within,
                finish_within,
            ),
        )
        kept["callbacks"] = name_links(UUID(asked.id), "link", asked.callbacks)
        kept["errbacks"] = name_links(UUID(asked.id), "link_error", asked.errbacks)
        if not asked.ignore_result:
            _note_taken(self.app, asked.id, endpoint)
        process.loop.run(take_in(process.runtime, request, kept), seconds=RECORD_SECONDS)
    except (DatabaseUnavailable, TimeoutError) as error:
        trace.refused(error)
        try:
            raise self.retry(exc=error, countdown=RETRY_SECONDS) from error
        except Reject as refused:  # Redis does not take it: this copy stays
            raise Reject(refused, requeue=True) from error
    except InvalidRequest as error:
        refusal: InvalidRequest = error
    except ValueError as error:
        refusal = InvalidRequest(endpoint, [str(error)])
    else:
        trace.accepted(UUID(asked.id), endpoint)
        raise Ignore
    trace.refused(refusal)
    log.info("request_refused", job=asked.id, problems=len(refusal.problems))
    fail_task(self.app, kept, states.FAILURE, refusal)
    # Of what is no job Flower hears so; what is wrong with it may quote a prompt.
    said = f"refused, for {len(refusal.problems)} reasons that its result has"
    self.send_event("task-failed", name=self.name, exception=said, traceback="")
    raise Ignore


def _note_taken(app: Celery, task_id: str, endpoint: str) -> None:
    """Its state is STARTED from now on; before there is a job, which may end at once."""
    with suppress(RedisError):  # then it is PENDING until the end
        app.backend.store_result(task_id, {"endpoint": endpoint}, states.STARTED)


def _is_revoked(runtime: Runtime, task_id: str) -> bool:
    """Whether it was revoked before it was taken in, perhaps by workers that are no more."""
    try:
        if runtime.app.backend.get_state(task_id) != states.REVOKED:
            return False
    except (RedisError, BackendGetMetaError):
        return False  # that it was is seldom, and nobody may be there to send it again
    known = get_process().loop.run(_is_job(runtime, task_id), seconds=RECORD_SECONDS)
    return not known  # a job's end was REVOKED: its producer is told again


async def _is_job(runtime: Runtime, task_id: str) -> bool:
    async with runtime.database.begin() as session:
        wanted = JobFilter(job_ids=[_read_id(task_id)])
        return bool(await list_job_ids(session, wanted, limit=1))


def _fill(
    runtime: Runtime,
    endpoint: str,
    given: dict[str, Any],
    wanted: dict[str, str] | None,
    previous: tuple[Any, ...],
) -> dict[str, Any]:
    if not wanted:
        return given
    if not isinstance(wanted, dict) or not all(isinstance(path, str) for path in wanted.values()):
        raise InvalidRequest(endpoint, ["from_previous: an object of places to paths was wanted"])
    if not previous:
        raise InvalidRequest(endpoint, ["from_previous: no result came before this task"])
    return fill_input(
        endpoint,
        given,
        wanted,
        previous[0] if len(previous) == 1 else list(previous),
        reachable=runtime.settings.gateway_base is not None,
        now=dt.datetime.now(dt.UTC),
    )


def _read_id(task_id: str) -> UUID:
    try:
        return UUID(task_id)
    except ValueError as error:
        raise ValueError(f"a task id that is a UUID was wanted, {task_id!r} came") from error


def _read_priority(delivery_info: dict[str, Any]) -> int:
    """Celery's, on ours: 0 to 9 become 5 to 0."""
    given = min(max(delivery_info.get("priority") or 0, 0), LAST)
    return USUAL - round(given * USUAL / LAST)


def _read_due(headers: dict[str, Any] | None) -> float:
    """Seconds until it may be sent."""
    due_at = (headers or {}).get(DUE_AT)
    if due_at is None:
        return 0.0
    return max(clock.read_moment(due_at).timestamp() - clock.now(), 0.0)


def _read_expiry(expires: str | None) -> float | None:
    """Seconds until it must have begun; by this host's clock, as it was put on receipt."""
    if expires is None:
        return None
    return max(clock.read_moment(expires).timestamp() - time.time(), 0.0)


async def take_in(runtime: Runtime, request: Request, celery_request: dict[str, Any]) -> None:
    """Write down the job and the promise to complete the Celery task, then ring.

    Raises:
        InvalidRequest: nothing was written.
    """
    operator = await runtime.operator_settings()
    job = check_request(runtime.catalogue, request, on_unknown=operator.on_unknown).job
    async with runtime.database.begin() as session:
        added = await enqueue_jobs(session, [job])
        if added:
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
    if str(job.id) in revoked:  # while it was on its way
        await cancel(runtime, [job.id])
    await runtime.bells.ring(StageName.SUBMIT, job.endpoint)
    if not added:
        await runtime.bells.ring(StageName.NOTIFY, job.endpoint)
