"""Is each part well, and if not, what is to be done?

A worker that answers pings may yet take no messages, so the workers are asked by a canary: a task
sent through every queue, which must come back; and each worker leaves signs of its own that it
does (`workers/sign.py`). Each check returns None if all is well, else one
line that says what is wrong.
"""

import asyncio
from collections.abc import Collection
from uuid import UUID

import httpx
import redis.asyncio
from celery import Celery, shared_task
from kombu.exceptions import OperationalError
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import RedisError, ResponseError

from models.base import new_id
from models.database import Database, ping
from models.errors import DatabaseUnavailable
from workers.app import QUEUES, make_app
from workers.redis_client import open_redis, open_sentinel
from workers.runtime import get_process
from workers.settings import Settings
from workers.sign import FORGET_SECONDS, read_signs
from workers.watch import own_queue

CANARY_SECONDS = 5.0
NEWEST = 1000  # messages of a queue among which a canary is, seconds after it was sent
HTTP_SECONDS = 3.0


@shared_task(name="pressroom.canary", ignore_result=True, send_events=False)
def canary(queue: str, token: str) -> None:
    """Say through Redis that a worker takes messages from `queue`."""
    process = get_process()
    key = _canary_key(process.runtime.settings, token)
    process.loop.run(_sing(process.runtime.redis, key, queue), seconds=CANARY_SECONDS)


async def _sing(connection: redis.asyncio.Redis, key: str, queue: str) -> None:
    await connection.sadd(key, queue)
    await connection.expire(key, 60)


async def check_database(settings: Settings) -> str | None:
    """Whether Postgres answers."""
    database = Database(settings.database_dsn, name="check")
    try:
        async with database.begin() as session:
            await ping(session)
    except DatabaseUnavailable as error:
        return str(error)
    finally:
        await database.close()
    return None


async def check_redis(settings: Settings) -> str | None:
    """Whether Redis answers, and evicts nothing."""
    try:
        async with open_redis(settings, decode_responses=True) as connection:
            await connection.ping()
            policy = await _find_policy(connection)
    except MasterNotFoundError:
        return await _ask_sentinels(settings)
    except RedisError as error:
        return f"Redis did not answer: {error}"
    if policy not in {None, "noeviction"}:
        return f"Redis may evict keys (maxmemory-policy is {policy}): set it to noeviction"
    return None


async def _ask_sentinels(settings: Settings) -> str:
    """Why none of them names a server: redis-py does not tell."""
    where = settings.redis_where
    said = []
    for host, port in where.hosts:
        async with open_sentinel(where, host, port) as sentinel:
            try:
                found = await sentinel.sentinel_get_master_addr_by_name(where.service)
            except RedisError as error:
                said.append(f"{host}:{port}: {error}")
            else:
                known = "names one that does not work" if found else "does not know it"
                said.append(f"{host}:{port} {known}")
    return f"no sentinel names a working server {where.service}: {'; '.join(said)}"


async def _find_policy(connection: redis.asyncio.Redis) -> str | None:
    """What Redis does when its memory is full; None if we may not ask."""
    try:
        found = await connection.config_get("maxmemory-policy")
    except ResponseError:
        return None
    return found.get("maxmemory-policy")


def check_http(url: str, *, seconds: float = HTTP_SECONDS) -> str | None:
    """Whether a GET of `url` is answered with 200, in time."""
    try:
        response = httpx.get(url, timeout=seconds)
    except httpx.HTTPError as error:
        return f"{url}: {error}"
    return None if response.status_code == httpx.codes.OK else f"{url}: HTTP {response.status_code}"


async def check_queues(settings: Settings) -> str | None:
    """Whether a worker takes messages from every queue, within a few seconds, and none is deaf."""
    app = make_app(settings)
    token = new_id()
    key = _canary_key(settings, token.hex)
    try:
        async with open_redis(settings, decode_responses=True) as connection:
            await asyncio.to_thread(_release, app, token)
            heard: set[str] = set()
            for _ in range(round(CANARY_SECONDS / 0.1)):
                heard = {str(queue) for queue in await connection.smembers(key)}
                if heard == set(QUEUES):
                    return await find_silent_workers(settings, connection)
                await asyncio.sleep(0.1)
            await _take_back(settings, connection, token, set(QUEUES) - heard)
    except (RedisError, OperationalError) as error:
        return f"Redis did not answer: {error}"
    finally:
        app.close()
    silent = ", ".join(sorted(set(QUEUES) - heard))
    return f"no worker took a message from {silent} within {CANARY_SECONDS:.0f} s"


async def check_worker(settings: Settings, node: str) -> str | None:
    """Whether one worker takes messages, within a few seconds.

    Args:
        node: Celery's name of it: name@host.
    """
    app = make_app(settings)
    queue, token = own_queue(node), new_id()
    app.amqp.queues.add(queue)
    key = _canary_key(settings, token.hex)
    try:
        async with open_redis(settings, decode_responses=True) as connection:
            await asyncio.to_thread(
                app.send_task,
                "pressroom.canary",
                args=(queue.name, token.hex),
                queue=queue.name,
                ignore_result=True,
            )
            # If nobody ever comes to read it.
            await connection.expire(f"{settings.redis_prefix}{queue.name}", FORGET_SECONDS)
            for _ in range(round(CANARY_SECONDS / 0.1)):
                if await connection.sismember(key, queue.name):
                    return None
                await asyncio.sleep(0.1)
    except (RedisError, OperationalError) as error:
        return f"Redis did not answer: {error}"
    finally:
        app.close()
    return f"{node} took no message within {CANARY_SECONDS:.0f} s"


async def list_signs(settings: Settings) -> dict[str, tuple[float, str | None]]:
    """Of each worker, on whatever host: how many seconds ago it left a sign, and what is wrong.

    Raises:
        RedisError: Redis did not answer.
    """
    async with open_redis(settings, decode_responses=True) as connection:
        now, signs = await read_signs(settings, connection)
    return {node: (float(now - sign.at), sign.problem(now)) for node, sign in signs.items()}


async def find_silent_workers(settings: Settings, connection: redis.asyncio.Redis) -> str | None:
    """Which workers have left no sign of life for a while, or have said what is wrong."""
    now, signs = await read_signs(settings, connection)
    problems = {node: sign.problem(now) for node, sign in signs.items()}
    return "; ".join(sorted(f"{node} {said}" for node, said in problems.items() if said)) or None


def _release(app: Celery, token: UUID) -> None:
    for queue in QUEUES:
        app.send_task(
            "pressroom.canary",
            args=(queue, token.hex),
            task_id=_canary_id(queue, token),
            queue=queue,
            ignore_result=True,
        )


async def _take_back(
    settings: Settings, connection: redis.asyncio.Redis, token: UUID, queues: Collection[str]
) -> None:
    """Take canaries that nobody heard out of their queues, so that they do not pile up there."""
    for queue in queues:
        key = f"{settings.redis_prefix}{queue}"
        for message in await connection.lrange(key, 0, NEWEST - 1):
            if _canary_id(queue, token) in str(message):
                await connection.lrem(key, 1, str(message))


def _canary_id(queue: str, token: UUID) -> str:
    return f"canary-{queue}-{token.hex}"


def _canary_key(settings: Settings, token: str) -> str:
    return f"{settings.redis_prefix}canary:{token}"
