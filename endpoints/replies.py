"""Read what the upstream answered, whatever its shape.

Its pages contradict each other, and its own clients cope with more than the pages say: the status
words come in other cases and with synonyms, errors under several keys and with JSON inside their
text, ids in six shapes (so an id is opaque), and a 400 carries the id of a job that never was.
What cannot be read is never taken for a success.
"""

import re
from typing import Any

import httpx
import orjson

from endpoints.outcomes import (
    Accepted,
    Busy,
    BusyCause,
    Ended,
    Fault,
    Missing,
    PollOutcome,
    Refused,
    Running,
    SubmitOutcome,
    Unknown,
    UpstreamState,
)

KEY_REFUSED_SECONDS = 30.0  # until a refused key is tried again: somebody has to change it
ERROR_TEXT_LIMIT = 2_000  # characters

_STATES = {
    "IN_QUEUE": UpstreamState.IN_QUEUE,
    "QUEUED": UpstreamState.IN_QUEUE,
    "IN_PROGRESS": UpstreamState.IN_PROGRESS,
    "RUNNING": UpstreamState.IN_PROGRESS,
    "COMPLETED": UpstreamState.COMPLETED,
    "FAILED": UpstreamState.FAILED,
    "ERROR": UpstreamState.FAILED,  # in no list, but a sample of the upstream's tests for it
    "CANCELLED": UpstreamState.CANCELLED,
    "CANCELED": UpstreamState.CANCELLED,
    "TIMED_OUT": UpstreamState.TIMED_OUT,
}
_RUNNING = (UpstreamState.IN_QUEUE, UpstreamState.IN_PROGRESS)

# Statuses of an intermediary that passed the request on and did not get the answer back.
_REPLY_LOST = frozenset({502, 504, 520, 522, 524})
# 4xx that say "not now" and not "not ever".
_LATER = frozenset({408, 425})


def read_submit(response: httpx.Response) -> SubmitOutcome:
    """What an answer to `/run` means."""
    status = response.status_code
    body = _read_json(response)
    if busy := _read_busy(response, body):
        return busy
    state = _read_state(body)
    if isinstance(body, dict) and state is not UpstreamState.FAILED and (found := _read_id(body)):
        return Accepted(found, status)  # even under a 5xx: it has an id, so it may be billed
    if response.is_client_error and status not in _LATER:
        return Refused(_read_error(response, body), status)
    if status in _REPLY_LOST or response.is_success:
        return Unknown(_read_error(response, body), status)
    return Fault(_read_error(response, body), status)


def read_poll(response: httpx.Response) -> PollOutcome:
    """What an answer to `/status` or `/cancel` means.

    The body comes before the HTTP status: that of a failed job is undocumented.
    """
    body = _read_json(response)
    if busy := _read_busy(response, body):
        return busy
    if response.status_code == httpx.codes.NOT_FOUND:
        return Missing()
    state = _read_state(body)
    if not isinstance(body, dict) or state is None:
        return Fault(_read_error(response, body), response.status_code)
    if state in _RUNNING:
        return Running(state)
    return Ended(
        state=state,
        output=body.get("output"),
        error=None if state is UpstreamState.COMPLETED else _read_error(response, body),
        delay_ms=_read_milliseconds(body.get("delayTime")),
        execution_ms=_read_milliseconds(body.get("executionTime")),
        worker_id=_read_text(body.get("workerId")),
    )


def read_retry_after(response: httpx.Response) -> float | None:
    """Seconds, if the header is there and holds a number; its date form is not worth a clock."""
    value = response.headers.get("retry-after", "")
    return float(value) if re.fullmatch(r"\d+(\.\d+)?", value) else None


def _read_busy(response: httpx.Response, body: object) -> Busy | None:
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return Busy(
            BusyCause.RATE_LIMITED,
            _read_error(response, body),
            read_retry_after(response),
            status,
        )
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return Busy(BusyCause.KEY_REFUSED, _read_error(response, body), KEY_REFUSED_SECONDS, status)
    if status == httpx.codes.PAYMENT_REQUIRED:
        return Busy(
            BusyCause.PAYMENT_REQUIRED, _read_error(response, body), KEY_REFUSED_SECONDS, status
        )
    return None


def _read_json(response: httpx.Response) -> object:
    """The body, or None if it is not JSON. NUL is taken out: Postgres cannot keep it."""
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None
    return _without_nul(body) if b"\\u0000" in response.content else body


def _without_nul(value: Any) -> Any:  # noqa: ANN401 -- any JSON
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _read_state(body: object) -> UpstreamState | None:
    status = body.get("status") if isinstance(body, dict) else None
    return _STATES.get(status.strip().upper()) if isinstance(status, str) else None


def _read_id(body: dict[str, Any]) -> str | None:
    return _read_text(body.get("id"))


def _read_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _read_milliseconds(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value) if 0 <= value < 2**31 else None


def _read_error(response: httpx.Response, body: object) -> str:
    """The upstream's own words, or failing that the HTTP status and the start of the body."""
    if isinstance(body, dict):
        output = body.get("output")
        for holder in (body, output if isinstance(output, dict) else {}):
            for key in ("error", "message", "detail"):
                if text := _error_text(holder.get(key)):
                    return text[:ERROR_TEXT_LIMIT]
    shown = response.text[:200].replace("\x00", "").strip()
    return f"HTTP {response.status_code}" + (f": {shown}" if shown else "")


def _error_text(value: object) -> str | None:
    """An error given as text, as an object, or as text with a JSON object inside."""
    if isinstance(value, dict):
        return _error_text(value.get("message")) or orjson.dumps(value).decode()
    if not isinstance(value, str) or not value.strip():
        return None
    start = value.find("{")
    if start >= 0:
        try:
            inner = orjson.loads(value[start:])
        except orjson.JSONDecodeError:
            return value
        if isinstance(inner, dict) and (message := _error_text(inner.get("message"))):
            return (value[:start].rstrip(" ,:") + ": " + message).lstrip(": ")
    return value
