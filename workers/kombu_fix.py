"""A repair of kombu 5.7.0: a worker must outlive its Redis.

When Redis goes away, Celery 5.7 collects the broken connection and then closes it once more. The
second close finds its transport detached (`client` is None) and dies of an AttributeError, which
ends the worker if it holds any unacknowledged message, as a worker with a countdown always does.
Nothing is lost by letting that close pass: the messages are in Redis and come back.
"""

from importlib.metadata import version
from typing import Any

from kombu.transport import redis

REPAIRED_VERSION = "5.7.0"

_close = redis.Channel.close


def _close_detached(channel: Any) -> None:  # noqa: ANN401 -- kombu has no types
    try:
        _close(channel)
    except AttributeError:
        if getattr(channel.connection, "client", None) is not None:
            raise


def repair() -> None:
    """Patch kombu, if it is the version that needs it."""
    if version("kombu") == REPAIRED_VERSION:
        redis.Channel.close = _close_detached  # type: ignore[assignment,method-assign]  # so a patch is
