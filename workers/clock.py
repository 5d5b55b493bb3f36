"""The time that all hosts agree on: Redis's.

A host's own clock may be an hour off, or step while a message waits. So a countdown's time is
Redis's, and each worker knows how far Redis's clock is from its own monotonic one, which never
steps. Until it has asked Redis for the first time, it goes by its own clock.
"""

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.worker import strategy

_offset: float | None = None  # Redis's time less our monotonic one

Handler = Callable[..., Any]


def learn(redis_seconds: float) -> None:
    """Redis has just said that it is so late."""
    global _offset  # noqa: PLW0603 -- one a process is what it is
    _offset = redis_seconds - time.monotonic()


def now() -> float:
    """Redis's time, in seconds."""
    return time.time() if _offset is None else time.monotonic() + _offset


def read_moment(moment: str) -> dt.datetime:
    """A time as Celery writes it: where it names no zone, it is UTC."""
    at = dt.datetime.fromisoformat(moment)
    return at if at.tzinfo else at.replace(tzinfo=dt.UTC)


def to_own_clock(moment: str) -> str:
    """What this host's clock shows at that moment of Redis's."""
    return (read_moment(moment) + dt.timedelta(seconds=time.time() - now())).isoformat()


class ClockedTask(Task[Any, Any]):
    """A task whose `eta` and `expires` are read as Redis's time, whatever this host's clock says.

    Celery compares them with the host's: an hour ahead, it would drop and hurry messages; an hour
    behind, it would hold them for an hour.
    """

    Strategy = "workers.clock:read_clocked"


def read_clocked(task: Task[Any, Any], app: Celery, consumer: Any) -> Handler:  # noqa: ANN401 -- Celery has no types for it
    """Celery's way to take a message, with its times on this host's clock."""
    handle = strategy.default(task, app, consumer)

    def handle_clocked(message: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        for name in ("eta", "expires"):
            if moment := message.headers.get(name):
                message.headers[name] = to_own_clock(moment)
        return handle(message, *args, **kwargs)

    return handle_clocked
