"""Requests are taken in at once, whenever they are due: Postgres keeps them until then.

A worker would hold a message with a countdown in its memory, 9 KB each, unacknowledged: none could
be cancelled, and after an hour Redis would hand it out a second time. So its time becomes a header,
which the task reads. Only a task's own retry is held, for seconds.

Nor do arguments go on to logs, events and Flower, whatever their sender says of them: they hold
prompts.
"""

from typing import Any

from celery import Celery, Task

from workers.clock import ClockedTask, Handler, read_clocked

DUE_AT = "due_at"
HIDDEN = "..."


class TakenAtOnce(ClockedTask):
    """A task that reads from the header `DUE_AT` when it is due."""

    Strategy = "workers.at_once:take_at_once"


def take_at_once(task: Task[Any, Any], app: Celery, consumer: Any) -> Handler:  # noqa: ANN401 -- Celery has no types for it
    """Celery's way to take a message, with its `eta` as a header of ours."""
    handle = read_clocked(task, app, consumer)

    def handle_at_once(message: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        headers = message.headers
        headers["argsrepr"] = headers["kwargsrepr"] = HIDDEN
        if headers.get("eta") and not headers.get("retries"):
            headers[DUE_AT] = headers.pop("eta")
        return handle(message, *args, **kwargs)

    return handle_at_once
