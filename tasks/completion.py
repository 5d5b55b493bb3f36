"""End the Celery task that asked for a job, as the worker that ran it would have.

    job                                   task       raised at its producer
    completed                             SUCCESS
    cancelled, by `revoke` or otherwise   REVOKED    TaskRevokedError
    not begun before the task's `expires` REVOKED    TaskRevokedError("expired")
    any other end                         FAILURE    GenerationFailed

Celery sends an error as its class's module and name, with its arguments, and the reader makes it
anew. Ours bear the names that they have in `clients/python`: who has imported that gets its class,
and who has not, a stand-in of the same name with the same arguments.
"""

import time
from typing import Any

from celery import Celery, signature, states
from celery.app.task import Context
from celery.exceptions import TaskRevokedError

from models.errors import PressroomError
from models.job import JobState, Reason
from tasks.intake import CLIENT_ERRORS

CLAIM_SECONDS = 14.0  # that a worker which died completing a chord may have claimed it for
LOOK_SECONDS = 0.5


class GenerationFailed(PressroomError):
    """A job ended without a result; the error of its Celery task."""

    __module__ = CLIENT_ERRORS

    def __init__(
        self, job_id: str, state: str, reason: str | None, error: str | None, endpoint: str
    ) -> None:
        super().__init__(job_id, state, reason, error, endpoint)
        self.job_id = job_id
        self.state = state
        self.reason = reason
        self.error = error
        self.endpoint = endpoint

    def __str__(self) -> str:
        said = f": {self.error}" if self.error else ""
        return f"job {self.job_id} of {self.endpoint} ended {self.state} ({self.reason}){said}"


def complete_task(
    app: Celery, request: dict[str, Any], result: dict[str, Any], *, again: bool = False
) -> None:
    """End the task with the job's result, as JSON.

    Callbacks and the next link of its chain go first, as in Celery: a crash between applies them
    again rather than never.

    Args:
        again: it was tried before, by a worker that may have died while it completed a chord.
    """
    context = _make_context(request)
    if result["state"] != JobState.COMPLETED:
        fail_task(app, request, *_read_end(request, result), again=again)
        return
    family: dict[str, Any] = {"parent_id": context.id, "root_id": context.root_id or context.id}
    for callback in context.callbacks or []:
        sent = signature(callback, app=app).apply_async((result,), **family)
        context.children.extend([sent] if sent else [])  # an empty chain has no result
    if chain := context.chain:
        link = signature(chain[-1], app=app)
        context.children.append(link.apply_async((result,), chain=chain[:-1], **family))
    app.backend.mark_as_done(context.id, result, request=context)
    if again and context.chord:
        _make_sure_of_chord(app, context, states.SUCCESS, result)


def fail_task(
    app: Celery, request: dict[str, Any], state: str, error: Exception, *, again: bool = False
) -> None:
    """End the task, and what was to follow it, with an error; its errbacks are called."""
    context = _make_context(request)
    app.backend.mark_as_failure(
        context.id,
        error,
        request=context,
        store_result=not context.ignore_result,
        state=state,
    )
    if again and context.chord:
        _make_sure_of_chord(app, context, state, error)


def _make_context(request: dict[str, Any]) -> Any:  # noqa: ANN401 -- what is in it is Celery's
    return Context({**request, "delivery_info": {}})  # which Celery looks into without asking


def _read_end(request: dict[str, Any], result: dict[str, Any]) -> tuple[str, Exception]:
    if result["reason"] == Reason.CANCELLED:
        return states.REVOKED, TaskRevokedError("revoked")
    if result["reason"] == Reason.NOT_STARTED and request.get("expires"):
        return states.REVOKED, TaskRevokedError("expired")
    return states.FAILURE, GenerationFailed(
        result["id"], result["state"], result["reason"], result["error"], result["endpoint"]
    )


def _make_sure_of_chord(app: Celery, context: Any, state: str, result: object) -> None:  # noqa: ANN401
    """Complete the chord if all of it is there and nobody does.

    Who counts the last part claims the chord, for seconds: if it died before it called the body,
    the part is handed in again while the claim still stands, and again would do nothing.

    Raises:
        TimeoutError: another worker is still at it.
    """
    backend: Any = app.backend
    claim = backend.get_key_for_group(context.group, ".c")
    size = backend.get_key_for_group(context.group, ".s")
    deadline = time.monotonic() + CLAIM_SECONDS
    while backend.client.exists(size):
        if not backend.client.exists(claim):
            backend.on_chord_part_return(context, state, result)
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the chord is still being completed by another worker")
        time.sleep(LOOK_SECONDS)
