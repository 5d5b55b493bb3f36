"""Repairs of kombu 5.7.0: a worker must outlive its Redis, and other hosts' clocks.

- When Redis goes away, Celery 5.7 collects the broken connection and then closes it once more. The
  second close finds its transport detached (`client` is None) and dies of an AttributeError, which
  ends the worker if it holds any unacknowledged message, as a worker with a countdown always does.
  Nothing is lost by letting that close pass: the messages are in Redis and come back.
- A message that was taken is noted in Redis until it is acknowledged. If Redis refuses the note
  (out of memory) or goes away, kombu drops the message, which is in our hands and nowhere else. It
  is run all the same.
- Notes bear the time of the host that took the message, and any host gives back those that it
  finds too old: one whose clock is an hour ahead would give back everything at once, to be run
  twice. So they bear Redis's time.

And two additions:

- What carries requests is noted in a list of its own, too (`workers/taken.py`).
- A channel keeps its client of Redis. kombu makes one for each command, and each of them a table of
  all that Redis answers: a thirtieth of a busy worker's time.
"""

from importlib.metadata import version
from typing import Any

import structlog
from kombu.transport import redis, virtual
from redis.exceptions import RedisError

from workers import clock

REPAIRED_VERSION = "5.7.0"

GENERATE = "pressroom.generate"
REQUESTS = (GENERATE, "celery.map", "celery.starmap")
TAKEN_KEY = "requests_taken"

# What is patched; some of it is kombu's own, and untyped.
_close = redis.Channel.close
_append = redis.QoS.append
_create_client = redis.Channel._create_client  # type: ignore[attr-defined]  # noqa: SLF001
_remove = redis.QoS._remove_from_indices  # type: ignore[attr-defined]  # noqa: SLF001

log = structlog.get_logger()


def _close_detached(channel: Any) -> None:  # noqa: ANN401 -- kombu has no types
    try:
        _close(channel)
    except AttributeError:
        if getattr(channel.connection, "client", None) is not None:
            raise


def _append_noted_or_not(qos: Any, message: Any, delivery_tag: str) -> None:  # noqa: ANN401
    try:
        if message.headers.get("task") in REQUESTS:
            with qos.pipe_or_acquire() as pipe:
                pipe.zadd(TAKEN_KEY, {delivery_tag: clock.now()}).execute()
        _append(qos, message, delivery_tag)
    except RedisError as error:
        log.warning("message_not_noted", error=str(error))
        virtual.QoS.append(qos, message, delivery_tag)


def _remove_from_all(qos: Any, delivery_tag: str, pipe: Any = None) -> Any:  # noqa: ANN401
    return _remove(qos, delivery_tag, pipe).zrem(TAKEN_KEY, delivery_tag)


def _keep_client(channel: Any, *, asynchronous: bool = False) -> Any:  # noqa: ANN401 -- no types
    """One for each pool of connections; what listens has a connection of its own, so another."""
    if asynchronous:
        return _create_client(channel, asynchronous=True)
    kept = getattr(channel, "kept_client", None)
    if kept is None or kept.connection_pool is not channel.pool:
        kept = channel.kept_client = _create_client(channel)
    return kept


def repair() -> None:
    """Patch kombu, if it is the version that needs it."""
    # What mypy and ruff say of it is right: it reaches into kombu, which is why it goes by version.
    if version("kombu") == REPAIRED_VERSION:
        redis.Channel.close = _close_detached  # type: ignore[assignment,method-assign]  # so a patch is
        redis.QoS.append = _append_noted_or_not  # type: ignore[assignment,method-assign]
        redis.QoS._remove_from_indices = _remove_from_all  # type: ignore[attr-defined]  # noqa: SLF001
        redis.Channel._create_client = _keep_client  # type: ignore[attr-defined]  # noqa: SLF001
        redis.time = clock.now  # type: ignore[attr-defined]
