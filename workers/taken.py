"""Requests that workers have taken from Redis, and those of dead workers, given back in seconds.

Redis itself gives back what was not acknowledged after an hour, which may not be shortened: it
holds for the messages of all who share the database. So requests are noted in a list of their own,
beside Redis's, from when they are taken until they are acknowledged. That takes seconds; what is
older is a dead worker's, or a frozen one's, and a second copy does no harm: its id is the job's.
"""

import asyncio
from typing import Any

import structlog
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from workers import clock
from workers.kombu_fix import TAKEN_KEY
from workers.runtime import Runtime

ABANDONED_SECONDS = 20.0
AT_ONCE = 500

log = structlog.get_logger()


async def give_back_abandoned(runtime: Runtime) -> int:
    """The sweep's part; returns how many were given back."""
    key, latest = f"{runtime.settings.redis_prefix}{TAKEN_KEY}", clock.now() - ABANDONED_SECONDS
    try:
        found: list[Any] = await runtime.redis.zrangebyscore(
            key, "-inf", latest, start=0, num=AT_ONCE
        )
        if found:
            await asyncio.to_thread(_give_back, runtime, [tag.decode() for tag in found])
    except (RedisError, OperationalError, OSError) as error:
        log.warning("requests_not_given_back", error=str(error))
        return 0
    if found:
        log.warning("requests_given_back", requests=len(found))
    return len(found)


def _give_back(runtime: Runtime, tags: list[str]) -> None:
    with runtime.app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        for tag in tags:
            channel.qos.restore_by_tag(tag)
