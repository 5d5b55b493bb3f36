"""Clients of /runsync that wait for the ends of their jobs, and what they cost who answers them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import psutil

from scripts.benches.load import make_request
from scripts.benches.own_stack import cpu_seconds

ARRIVE_SECONDS = 60.0
SETTLE_SECONDS = 1.0  # in which the most that is used is looked for
END_SECONDS = 200.0


@dataclass(frozen=True, slots=True)
class Target:
    """Who is asked, and the process that answers.

    Attributes:
        count_arrived: how many of the clients wait there.
        count_connections: to Postgres.
        release: lets the jobs end.
    """

    url: str
    key: str
    process: psutil.Process
    count_arrived: Callable[[], Awaitable[int]]
    count_connections: Callable[[], Awaitable[int]]
    release: Callable[[], Awaitable[None]]

    def open_client(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=END_SECONDS),
        )


@dataclass(frozen=True, slots=True)
class Held:
    """What it came to that many clients waited at once; `more` is over what was used idle."""

    mb_more: float
    threads_more: int
    connections_more: int
    cores: float
    unanswered: int
    answered_seconds: float  # from the release to the last answer


@dataclass(frozen=True, slots=True)
class _Use:
    mb: float
    threads: int
    connections: int


async def hold(target: Target, count: int) -> Held:
    """Let `count` clients wait, look at what is used, then let their jobs end."""
    idle = await _look(target)
    async with target.open_client() as client:
        asked = [
            asyncio.create_task(ask(client, "waiting", number, seconds=END_SECONDS))
            for number in range(count)
        ]
        async with asyncio.timeout(ARRIVE_SECONDS):
            while await target.count_arrived() < count:  # noqa: ASYNC110 -- another process's
                await asyncio.sleep(0.05)
        began, used = time.monotonic(), cpu_seconds(target.process)
        seen = [await _look(target)]
        while time.monotonic() - began < SETTLE_SECONDS:
            await asyncio.sleep(0.1)
            seen.append(await _look(target))
        cores = (cpu_seconds(target.process) - used) / (time.monotonic() - began)
        await target.release()
        released = time.monotonic()
        ends = await asyncio.gather(*asked)
    return Held(
        mb_more=max(use.mb for use in seen) - idle.mb,
        threads_more=max(use.threads for use in seen) - idle.threads,
        connections_more=max(use.connections for use in seen) - idle.connections,
        cores=cores,
        unanswered=sum(end != "COMPLETED" for end in ends),
        answered_seconds=time.monotonic() - released,
    )


async def ask(client: aiohttp.ClientSession, name: str, number: int, *, seconds: float) -> str:
    """The state that a client of /runsync is told at last."""
    endpoint, body = make_request(name, number)
    path = f"/v2/{endpoint}/runsync?wait={seconds * 1000:.0f}"
    async with client.post(path, data=body) as response:
        reply = await response.json()
    return str(reply["status"])


async def _look(target: Target) -> _Use:
    return _Use(
        mb=target.process.memory_info().rss / 1e6,
        threads=target.process.num_threads(),
        connections=await target.count_connections(),
    )
