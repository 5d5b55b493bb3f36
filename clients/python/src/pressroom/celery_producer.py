"""Submit by Celery message: the task's id is the job's, its result comes when the job ends.

Celery itself is not imported here: whoever calls this has an app.
"""

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from celery import Celery
    from celery.result import AsyncResult as CeleryResult

TASK = "pressroom.generate"
QUEUE = "generate"
PREFIX = "pressroom:"
_PREFIXED = ("broker_transport_options", "result_backend_transport_options")


def configure_celery(app: "Celery", *, prefix: str = PREFIX) -> None:
    """Point the app at Pressroom's keys in Redis, before it first connects.

    All of its messages go there then, so workers of tasks of your own need it, too.
    """
    for name in _PREFIXED:
        app.conf[name] = {**(app.conf[name] or {}), "global_keyprefix": prefix}


def enqueue(
    app: "Celery",
    endpoint: str,
    input: Mapping[str, Any],
    *,
    job_id: str | uuid.UUID | None = None,
    on_unknown: Literal["resubmit", "fail"] | None = None,
    start_within: float | None = None,
    finish_within: float | None = None,
    priority: int | None = None,
    **send_options: Any,
) -> "CeleryResult[Any]":
    """Send the job; sending it again with the same `job_id` is the same job.

    It is given up if it has not begun, or not ended, within so many seconds. Of those that wait,
    the highest priority (0 to 9; 5 is usual) goes first.

    Raises:
        ValueError: `job_id` is no UUID, or nothing would ever read what this app sends.
    """
    if not all((app.conf[name] or {}).get("global_keyprefix") for name in _PREFIXED):
        raise ValueError("this Celery app is not Pressroom's yet: call configure_celery(app)")
    kwargs: dict[str, Any] = {"endpoint": endpoint, "input": dict(input)}
    said = {
        "on_unknown": on_unknown,
        "start_within": start_within,
        "finish_within": finish_within,
        "priority": priority,
    }
    kwargs |= {name: value for name, value in said.items() if value is not None}
    task_id = str(uuid.UUID(str(job_id))) if job_id is not None else str(uuid.uuid4())
    options = {"queue": QUEUE, **send_options, "task_id": task_id}
    return app.send_task(TASK, kwargs=kwargs, **options)
