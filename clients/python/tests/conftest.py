"""A scripted gateway for the unit tests, time that passes by itself, and the real gateway if any.

`PRESSROOM_TEST_URL` and `PRESSROOM_TEST_KEY` say where a real one is; without them, what needs it
is skipped.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace

import httpx
import pytest

from pressroom import AsyncPressroom, Pressroom

Answer = httpx.Response | Exception


@dataclass
class Clock:
    """Time that passes only when somebody sleeps or a poll is held back."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds):
        self.sleep(seconds)


@dataclass
class Script:
    """A gateway that answers what it is told to, and keeps what it was asked."""

    clock: Clock
    answer: Callable[[httpx.Request], Answer]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **options):
        return Pressroom(
            "http://gateway/base", "prk_1", transport=httpx.MockTransport(self), **options
        )

    def async_client(self, **options):
        return AsyncPressroom(
            "http://gateway/base", "prk_1", transport=httpx.MockTransport(self), **options
        )

    def bodies(self):
        return [json.loads(request.content) for request in self.requests if request.content]


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    fake = SimpleNamespace(monotonic=lambda: clock.now, sleep=clock.sleep)
    for module in ("client", "exchange", "flows", "map_flow"):
        monkeypatch.setattr(f"pressroom.{module}.time", fake)
    monkeypatch.setattr("pressroom.client.asyncio", SimpleNamespace(sleep=clock.sleep_async))
    return clock


@pytest.fixture
def script(clock):
    """Make a `Script` of answers in their order, or of a function of the request."""

    def make(answers: Iterable[Answer] | Callable[[httpx.Request], Answer]) -> Script:
        if callable(answers):
            return Script(clock, answers)
        left = iter(answers)
        return Script(clock, lambda _: next(left))

    return make


@pytest.fixture
def facts():
    """A job, as the gateway has it."""

    def make(job_id="job-1", status="COMPLETED", **more):
        state = more.pop("state", status.lower())
        return {
            "id": job_id,
            "status": status,
            "state": state,
            "reason": None,
            "error": None,
            "output": {"image_url": "http://files/1"} if status == "COMPLETED" else None,
            "cost_usd": 0.003 if status == "COMPLETED" else None,
            "artifacts": [],
            **more,
        }

    return make


@pytest.fixture(scope="session")
def gateway() -> tuple[str, str]:
    """The base URL of a real gateway, and a key."""
    url, key = os.environ.get("PRESSROOM_TEST_URL"), os.environ.get("PRESSROOM_TEST_KEY")
    if not url or not key:
        pytest.skip("PRESSROOM_TEST_URL and PRESSROOM_TEST_KEY name no gateway")
    return url, key
