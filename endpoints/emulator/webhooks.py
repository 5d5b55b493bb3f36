"""Webhooks of ended jobs: a POST of the status reply, tried three times, and not signed."""

import asyncio
import heapq
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp

from endpoints.emulator.clock import Clock

ATTEMPTS: Final = 3
RETRY_SECONDS: Final = 10.0  # on the emulated clock
ANSWER_SECONDS: Final = 10.0  # real ones, that a receiver may take
AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST to be made; `attempt` is 1 the first time."""

    url: str
    body: bytes
    attempt: int


class Webhooks:
    """What is still to be delivered, by the emulated second when it is due."""

    def __init__(self, clock: Clock, *, on_plan: Callable[[], None]) -> None:
        """`on_plan` is called whenever a POST has been planned for later."""
        self.sent = 0  # POSTs that were answered with 200
        self.failed = 0  # POSTs that were not
        self.given_up = 0  # webhooks whose last attempt failed
        self._clock = clock
        self._on_plan = on_plan
        self._due: list[tuple[float, int, Delivery]] = []
        self._sequence = itertools.count()
        self._sending: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    @property
    def next_at(self) -> float | None:
        """When the next POST is due, on the emulated clock."""
        return self._due[0][0] if self._due else None

    def send(self, url: str, payload: Mapping[str, object], *, at: float, copies: int = 1) -> None:
        """Plan `copies` POSTs of `payload`."""
        delivery = Delivery(url, json.dumps(payload).encode(), attempt=1)
        for _ in range(copies):
            heapq.heappush(self._due, (at, next(self._sequence), delivery))

    def dispatch(self, now: float) -> None:
        """Start every POST that is due; needs a running event loop."""
        while self._due and self._due[0][0] <= now:
            _, _, delivery = heapq.heappop(self._due)
            task = asyncio.get_running_loop().create_task(self._deliver(delivery))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def clear(self) -> None:
        """Forget what is planned, and the counts."""
        self._due.clear()
        self.sent = self.failed = self.given_up = 0

    async def close(self) -> None:
        """Give up what is being sent and let go of the connections."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _deliver(self, delivery: Delivery) -> None:
        async with self._slots:
            delivered = await self._post(delivery)
        if delivered:
            self.sent += 1
            return
        self.failed += 1
        if delivery.attempt < ATTEMPTS:
            again = Delivery(delivery.url, delivery.body, delivery.attempt + 1)
            due = self._clock.now() + RETRY_SECONDS
            heapq.heappush(self._due, (due, next(self._sequence), again))
            self._on_plan()
        else:
            self.given_up += 1

    async def _post(self, delivery: Delivery) -> bool:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                headers={"Content-Type": "application/json"},
            )
        try:
            async with self._session.post(delivery.url, data=delivery.body) as answer:
                return answer.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError, ValueError):  # ValueError: no URL at all
            return False
