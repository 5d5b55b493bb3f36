"""A worker that sees no sweep for ten seconds runs it itself.

Beat may have died, or Redis with its message. That there was a sweep is kept in Redis, for ten of
its own seconds, so every worker knows of every other's; if Redis cannot say, one more sweep does no
harm.
"""

import threading

import structlog
from redis.exceptions import RedisError

from workers.runtime import Process, Runtime

MISSED_SECONDS = 10
LOOK_SECONDS = 2.0

log = structlog.get_logger()


async def note_sweep(runtime: Runtime) -> None:
    """A sweep has just run."""
    try:
        await runtime.redis.set(_key(runtime), 1, ex=MISSED_SECONDS)
    except RedisError as error:
        log.warning("sweep_not_noted", error=str(error))


async def is_overdue(runtime: Runtime) -> bool:
    try:
        return not await runtime.redis.exists(_key(runtime))
    except RedisError:
        return True


def start_sweep_watch(process: Process) -> None:
    """Watch on a thread of its own: Celery's may all be busy."""
    threading.Thread(target=_watch, args=(process,), name="sweep-watch", daemon=True).start()


def _watch(process: Process) -> None:
    sweep = process.runtime.app.tasks["pressroom.sweep"]
    while not process.runtime.stopping.wait(LOOK_SECONDS):
        try:
            if process.loop.run(is_overdue(process.runtime), seconds=MISSED_SECONDS):
                log.warning("sweep_missed")
                sweep.run()
        except Exception as error:  # noqa: BLE001 -- Postgres or Redis is away: look again
            log.warning("sweep_failed", error=repr(error))


def _key(runtime: Runtime) -> str:
    return f"{runtime.settings.redis_prefix}swept"
