"""Load on `POST /v2/{endpoint}/run`, from a process of its own.

Requests are due by a clock, whether or not those before were answered, and each is measured from
when it was due: a server that stalls is charged for everybody who would have come meanwhile.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson
import uvloop

REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "black-forest-labs-flux-1-schnell",
        {"prompt": "a lighthouse of stacked books at dusk", "width": 512, "height": 512},
    ),
    ("p-image-t2i", {"prompt": "a stone bridge in autumn ivy, mist", "aspect_ratio": "1:1"}),
    ("chatterbox-turbo", {"prompt": "The last ferry leaves in ten minutes.", "voice": "lucy"}),
    (
        "qwen3-32b-awq",
        {"prompt": "Two sentences on a floating city.", "max_tokens": 80, "temperature": 0.8},
    ),
)
ANSWER_SECONDS = 10.0  # then a request counts as unanswered
RETRY_SECONDS = 0.1
GIVE_UP_SECONDS = 60.0  # what is still not accepted then, is an error


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    Attributes:
        name: begins every prompt and every Idempotency-Key.
        retries: what is not accepted is sent again under its key.
    """

    base_url: str
    key: str
    name: str
    rate: int
    connections: int
    retries: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended: `job_id` if it was accepted, else what was wrong."""

    number: int
    job_id: str | None
    error: str | None
    answered_at: float  # of `time.monotonic`, which processes share
    seconds: float  # since it was due


def run_load(plan: Plan, seconds: float) -> list[Answer]:
    """Send for so long; how each request ended."""
    return uvloop.run(send_load(plan, range(round(plan.rate * seconds))))


async def send_load(plan: Plan, numbers: Iterable[int]) -> list[Answer]:
    """Send those requests; how each ended."""
    answers: list[Answer] = []
    left = iter(numbers)
    began = time.monotonic()
    async with asyncio.TaskGroup() as senders:
        for _ in range(plan.connections):
            senders.create_task(_send(plan, left, began, answers))
    return answers


def make_request(name: str, number: int) -> tuple[str, bytes]:
    """The endpoint and the body of one of a load's requests; no two have the same prompt."""
    endpoint, values = REQUESTS[number % len(REQUESTS)]
    prompt = f"{name} {number}: {values['prompt']}"
    return endpoint, orjson.dumps({"input": {**values, "prompt": prompt}})


async def _send(plan: Plan, numbers: Iterator[int], began: float, answers: list[Answer]) -> None:
    """One connection: it takes the next request whenever it is free."""
    async with aiohttp.ClientSession(
        base_url=plan.base_url,
        headers={"Authorization": f"Bearer {plan.key}", "Content-Type": "application/json"},
        connector=aiohttp.TCPConnector(limit=1),
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
    ) as session:
        for number in numbers:
            due = began + number / plan.rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
            since = min(due, time.monotonic())  # a timer may be a little early
            job_id, error = await _ask(session, plan, number, until=since + GIVE_UP_SECONDS)
            now = time.monotonic()
            answers.append(Answer(number, job_id, error, now, now - since))


async def _ask(
    session: aiohttp.ClientSession, plan: Plan, number: int, *, until: float
) -> tuple[str | None, str | None]:
    endpoint, body = make_request(plan.name, number)
    headers = {"Idempotency-Key": f"{plan.name}-{number}"}
    while True:
        try:
            async with session.post(f"/v2/{endpoint}/run", data=body, headers=headers) as response:
                reply = await response.read()
            if response.status == HTTPStatus.OK:
                return str(orjson.loads(reply)["id"]), None
            error = f"{response.status} {reply[:200].decode(errors='replace')}"
        except (aiohttp.ClientError, TimeoutError) as reason:
            error = repr(reason)
        if not plan.retries or time.monotonic() > until:
            return None, error
        await asyncio.sleep(RETRY_SECONDS)
