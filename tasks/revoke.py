"""`revoke` of a generation: the job is cancelled, at the upstream too.

Every worker hears it, and each cancels: the second time nothing changes. The task of a job becomes
REVOKED when the job has ended so; where the cancel came too late, its result comes. What is no job
(yet) is REVOKED at once, and is not taken in when it arrives.

It takes the place of Celery's command of that name, which would mark a job's task REVOKED while its
job runs on. `terminate` is the same: there is no process to be killed.
"""

import asyncio
from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

import stamina
import structlog
from celery import states
from celery.utils.functional import maybe_list
from celery.worker import state as worker_state
from celery.worker.control import control_command
from redis.exceptions import RedisError

from models.errors import DatabaseUnavailable
from models.job_queries import JobFilter, list_job_ids
from tasks.control import cancel
from tasks.spread import list_items
from workers.runtime import Runtime, get_process

RECORD_SECONDS = 60.0  # how long it is tried while Postgres is away
AT_ONCE = 1000

log = structlog.get_logger()


@control_command(name="revoke", variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(_state: Any, task_id: str | list[str], **_options: Any) -> dict[str, str]:  # noqa: ANN401 -- Celery's interface
    """Cancel generations by their tasks' ids."""
    task_ids = set(maybe_list(task_id) or [])
    worker_state.revoked.update(task_ids)
    process = get_process()
    process.loop.start(cancel_revoked(process.runtime, task_ids))
    return {"ok": f"tasks {', '.join(sorted(task_ids))} flagged as revoked"}


@control_command(
    name="terminate",
    variadic="task_id",
    args=[("signal", str)],
    signature="<signal> [id1 [id2 [... [idN]]]]",
)
def terminate(state: Any, signal: str, task_id: str | list[str], **_options: Any) -> dict[str, str]:  # noqa: ANN401, ARG001 -- the same
    """Cancel generations by their tasks' ids; no signal is sent."""
    done: dict[str, str] = revoke(state, task_id)
    return done


async def cancel_revoked(runtime: Runtime, task_ids: Collection[str]) -> None:
    """Cancel the jobs among them, and mark what is none."""
    try:
        async for attempt in stamina.retry_context(
            on=DatabaseUnavailable, timeout=RECORD_SECONDS, attempts=None, wait_max=2.0
        ):
            with attempt:
                jobs = await _cancel_jobs(runtime, task_ids)
                for task_id in filter(_read_id, set(task_ids) - jobs):
                    await _cancel_jobs(runtime, map(str, await list_items(runtime, task_id)))
        await asyncio.to_thread(_mark_revoked, runtime, set(task_ids) - jobs)
    except (DatabaseUnavailable, RedisError, RuntimeError) as error:
        log.warning("revoke_failed", tasks=len(task_ids), error=str(error))


async def _cancel_jobs(runtime: Runtime, task_ids: Iterable[str]) -> set[str]:
    """Those of the ids that are jobs', ended or not."""
    known: set[str] = set()
    job_ids = sorted(filter(None, map(_read_id, task_ids)))
    for start in range(0, len(job_ids), AT_ONCE):
        some = job_ids[start : start + AT_ONCE]
        changed = await cancel(runtime, some)
        async with runtime.database.begin() as session:
            found = await list_job_ids(session, JobFilter(job_ids=some), limit=AT_ONCE)
        known |= set(map(str, found))
        log.info("jobs_revoked", jobs=len(changed))
    return known


def _read_id(task_id: str) -> UUID | None:
    try:
        return UUID(task_id)
    except ValueError:
        return None


def _mark_revoked(runtime: Runtime, task_ids: Iterable[str]) -> None:
    backend = runtime.app.backend
    for task_id in task_ids:
        if backend.get_state(task_id) not in states.READY_STATES:
            backend.mark_as_revoked(task_id, reason="revoked")
