"""Clients of Redis, of its server or of the one that its sentinels name.

After a failover the sentinels name another: a connection that breaks asks them for it. Until they
have chosen, Redis is away, as in any other outage.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from workers.redis_url import RedisUrl
from workers.settings import Settings

SECONDS = 5.0
TIMEOUTS: dict[str, Any] = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
# They are asked one after the other, and a host that is gone swallows what is sent to it.
SENTINEL_SECONDS = 1.0
SENTINEL_TIMEOUTS = {
    "socket_timeout": SENTINEL_SECONDS,
    "socket_connect_timeout": SENTINEL_SECONDS,
}


@asynccontextmanager
async def open_redis(
    settings: Settings, *, decode_responses: bool = False
) -> AsyncIterator[redis.asyncio.Redis]:
    """A client on the running loop; nothing is connected to before it is used."""
    where = settings.redis_where
    if where.service is None:
        connection = redis.asyncio.Redis.from_url(
            settings.redis_dsn, decode_responses=decode_responses, **TIMEOUTS
        )
        async with connection:
            yield connection
        return
    sentinel = AsyncSentinel(  # type: ignore[no-untyped-call]  # redis-py has no types for it
        where.hosts,
        sentinel_kwargs=_of_sentinel(where),
        decode_responses=decode_responses,
        **where.server_options,
        **TIMEOUTS,
    )
    async with sentinel, sentinel.master_for(where.service) as connection:
        yield connection


def open_sentinel(where: RedisUrl, host: str, port: int) -> redis.asyncio.Redis:
    """A client of one of the sentinels; whoever asked closes it."""
    return redis.asyncio.Redis(host=host, port=port, **_of_sentinel(where))


def _of_sentinel(where: RedisUrl) -> dict[str, Any]:
    retry = AsyncRetry(NoBackoff(), 0)
    return {**where.sentinel_options, **SENTINEL_TIMEOUTS, "retry": retry}


def connect_redis(settings: Settings) -> redis.Redis:
    """The same for a thread; whoever asked closes it."""
    where = settings.redis_where
    if where.service is None:
        return redis.Redis.from_url(settings.redis_dsn, **TIMEOUTS)
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        where.hosts,
        sentinel_kwargs=sentinel_arguments(settings),
        **where.server_options,
        **TIMEOUTS,
    )
    connection: redis.Redis = sentinel.master_for(where.service)  # type: ignore[no-untyped-call]
    return connection


def sentinel_arguments(settings: Settings) -> dict[str, Any]:
    """Of a client of a sentinel that waits for it on a thread."""
    return {
        **settings.redis_where.sentinel_options,
        **SENTINEL_TIMEOUTS,
        "retry": Retry(NoBackoff(), 0),
    }
