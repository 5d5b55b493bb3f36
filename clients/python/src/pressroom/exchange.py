"""One request to the gateway: repeated while that may help, and its answer read.

Any request may be repeated: reads change nothing, submits carry an idempotency key, and a cancel
or a retry asks for a state.
"""

import datetime as dt
import json
import random
import time
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

import httpx

from pressroom.effects import Flow, Pause, Request
from pressroom.errors import InvalidRequest, PressroomError, Unavailable, read_problem

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
LONGEST_RETRY_AFTER_SECONDS = 300.0  # asked to wait for longer, the caller decides
TRANSIENT = (429, 502, 503, 504)

Facts: TypeAlias = dict[str, Any]  # a JSON object of the gateway's


class Deadline:
    """A moment to be done by; `seconds` of None is never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = float("inf") if seconds is None else seconds
        self._at = time.monotonic() + self.seconds

    def left(self) -> float:
        return max(self._at - time.monotonic(), 0.0)

    @property
    def passed(self) -> bool:
        return self.left() <= 0


NEVER = Deadline(None)


def encode(value: object) -> bytes:
    """The value as JSON.

    Raises:
        InvalidRequest: JSON has no form for it.
    """
    try:
        return json.dumps(
            value, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        ).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest("the request is no JSON", [str(error)]) from error


def call(
    method: str, path: str, *, deadline: Deadline = NEVER, **parts: Any
) -> Flow[httpx.Response]:
    """Send a `Request` of these parts until another try would not change the answer.

    Raises:
        PressroomError: the answer is a refusal, or there is none.
    """
    if "content" in parts:
        parts["headers"] = {"Content-Type": "application/json", **parts.get("headers", {})}
    request = Request(method=method, path=path, **parts)
    tries = 0
    while True:
        reply = yield request
        if isinstance(reply, httpx.Response) and reply.is_success:
            return reply
        tries += 1
        pause = _retry_in(reply, tries)
        if pause is None or pause > deadline.left() or not (yield Pause(pause, tries)):
            raise _read_failure(reply)


def ask(method: str, path: str, **parts: Any) -> Flow[Facts]:
    """`call`, for an answer that is a JSON object."""
    reply = yield from call(method, path, **parts)
    facts = _read_json(reply)
    if facts is None:
        raise PressroomError(f"{reply.url} did not answer as Pressroom does: {reply.text[:200]!r}")
    return facts


def backoff(tries: int) -> float:
    """Seconds to wait after so many failures: doubled each time, and spread."""
    longest = min(FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 16), LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter


def _retry_in(reply: httpx.Response | httpx.RequestError, tries: int) -> float | None:
    if isinstance(reply, httpx.RequestError):
        return backoff(tries)
    if reply.status_code not in TRANSIENT:
        return None
    asked = _read_retry_after(reply) or 0.0
    return None if asked > LONGEST_RETRY_AFTER_SECONDS else max(asked, backoff(tries))


def _read_retry_after(reply: httpx.Response) -> float | None:
    """Seconds, from a number of them or a date; None if there is neither."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((at.astimezone(dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds(), 0.0)


def _read_failure(reply: httpx.Response | httpx.RequestError) -> PressroomError:
    if isinstance(reply, httpx.RequestError):
        error = Unavailable(f"no answer of {reply.request.url}: {type(reply).__name__}: {reply}")
        error.__cause__ = reply
        return error
    problem = _read_json(reply) or {"detail": f"HTTP {reply.status_code}: {reply.text[:200]}"}
    return read_problem(problem, reply.status_code, retry_after=_read_retry_after(reply))


def _read_json(reply: httpx.Response) -> Facts | None:
    try:
        facts = reply.json()
    except ValueError:
        return None
    return facts if isinstance(facts, dict) else None
