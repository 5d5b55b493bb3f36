"""Under `pressroom up`, what lives and does nothing is replaced within a minute, by itself."""

import asyncio
import os
import signal
import socket

import httpx
import psutil
import pytest
import redis.asyncio

from workers.app import QUEUES, make_app
from workers.health import check_queues, find_silent_workers
from workers.sign import Sign
from workers.stack.supervisor import Supervisor
from workers.watch import DEAF_SECONDS, LEAVE_SECONDS, own_queue

# What a deaf worker waits for its stages, and a restart.
REPLACED_SECONDS = DEAF_SECONDS + LEAVE_SECONDS + 35.0
FROZEN = ("worker-1", "gateway", "beat")
DEAF = "worker-2"


def pids(stack):
    return {state.name: state.pid for state in Supervisor(stack).states() if state.running}


def deafen(stack, node):
    """Have a worker take no more messages, although it is connected and answers pings."""
    with make_app(stack) as app:
        for queue in (*QUEUES, own_queue(node).name):
            while not app.control.cancel_consumer(queue, destination=[node], reply=True):
                pass  # it is not ready yet
        assert app.control.ping(destination=[node])


async def wait_until_seen(stack, wanted):
    """Until a first sign of life the watchdog is patient with a process: it may be starting."""
    log = Supervisor(stack).logs / "watchdog.log"
    async with asyncio.timeout(60):
        while not all(  # noqa: ASYNC110 -- a log tells nobody
            f'"pid": {wanted[name]}, "event": "process_seen"' in log.read_text() for name in FROZEN
        ):
            await asyncio.sleep(0.2)


async def is_healthy(settings, client):
    try:
        return (await client.get(f"http://127.0.0.1:{settings.gateway_port}/healthz")).is_success
    except httpx.TransportError:
        return False  # the new process does not listen yet


async def test_what_is_frozen_or_deaf_is_replaced_and_nothing_else(stack):
    before = pids(stack)
    if DEAF not in before:
        pytest.skip("it has one worker")
    await asyncio.to_thread(deafen, stack, f"{DEAF}@{socket.gethostname()}")
    await wait_until_seen(stack, before)
    for name in FROZEN:
        os.kill(before[name], signal.SIGSTOP)

    replaced = {*FROZEN, DEAF}
    async with asyncio.timeout(REPLACED_SECONDS), httpx.AsyncClient() as client:
        while not all(pids(stack).get(name, before[name]) != before[name] for name in replaced):  # noqa: ASYNC110 -- supervisord tells nobody
            await asyncio.sleep(0.5)
        while await check_queues(stack) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        while not await is_healthy(stack, client):  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    after = pids(stack)
    assert {name for name in before if after.get(name) != before[name]} == replaced
    assert not [name for name in FROZEN if psutil.pid_exists(before[name])]
    assert "worker_went_deaf" in (Supervisor(stack).logs / f"{DEAF}.log").read_text()


async def test_a_worker_that_is_silent_is_told_of_before_it_is_replaced(stack):
    """`doctor` names it; here the silence of another host is put into Redis."""
    connection = redis.asyncio.Redis.from_url(stack.redis_dsn, decode_responses=True)
    key = f"{stack.redis_prefix}worker:w@elsewhere"
    try:
        assert await find_silent_workers(stack, connection) is None
        now, _ = await connection.time()
        await connection.set(key, Sign(now - 50, "").to_json(), ex=60)

        assert "w@elsewhere has shown no sign of life for 5" in str(await check_queues(stack))
    finally:
        await connection.delete(key)
        await connection.aclose()
