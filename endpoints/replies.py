"""Read what the upstream answered, whatever its shape.

Its pages contradict each other, and its own clients cope with more than the pages say: the status
words come in other cases and with synonyms, errors under several keys and with JSON inside their
text, ids in six shapes (so an id is opaque), and a 400 carries the id of a job that never was.
What cannot be read is never taken for a success.
"""

import json
import math
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
    Pieces,
    PollOutcome,
    Refused,
    Running,
    SubmitOutcome,
    Unknown,
    UpstreamState,
)

KEY_REFUSED_SECONDS = 30.0  # until a refused key is tried again: somebody has to change it
RETRY_AFTER_MOST_SECONDS = 600.0  # a lane held for longer is an operator's decision
ERROR_TEXT_LIMIT = 2_000  # characters
DEPTH_LIMIT = 250  # of what orjson can write again

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
REPLY_LOST = frozenset({502, 504, 520, 522, 524})
# 4xx that say "not now" and not "not ever".
_LATER = frozenset({408, 425})


def read_submit(response: httpx.Response) -> SubmitOutcome:
    """What an answer to `/run` means."""
    status = response.status_code
    body = read_json(response.content)
    if busy := _read_busy(response, body):
        return busy
    state = _read_state(body)
    found = _read_id(body)
    refused = response.is_client_error and status not in _LATER
    if found and (response.is_success or not (refused or state is UpstreamState.FAILED)):
        return Accepted(found, status)  # even under a 5xx: it has an id, so it may be billed
    if refused:
        return Refused(read_error(response, body), status)
    if status in REPLY_LOST or response.is_success:
        return Unknown(read_error(response, body), status)
    return Fault(read_error(response, body), status)


def read_poll(response: httpx.Response) -> PollOutcome:
    """What an answer to `/status` or `/cancel` means.

    The body comes before the HTTP status: that of a failed job is undocumented. Under an error it
    counts only if it names a job: `{"status": "error"}` is how intermediaries speak of themselves.
    """
    body = read_json(response.content)
    if busy := _read_busy(response, body):
        return busy
    if response.status_code == httpx.codes.NOT_FOUND:
        return Missing()
    state = _read_state(body)
    named = response.is_success or _read_id(body) is not None
    if not isinstance(body, dict) or state is None or not named:
        return Fault(read_error(response, body), response.status_code)
    if state in _RUNNING:
        return Running(state)
    return Ended(
        state=state,
        output=body.get("output"),
        error=None if state is UpstreamState.COMPLETED else read_error(response, body),
        delay_ms=_read_milliseconds(body.get("delayTime")),
        execution_ms=_read_milliseconds(body.get("executionTime")),
        worker_id=_read_text(body.get("workerId")),
    )


def read_pieces(response: httpx.Response) -> Pieces | PollOutcome:
    """What an answer to `/stream` holds: an object with a list, a bare list, or JSON a line.

    A reply that is none of these is read as one to `/status`.
    """
    body = read_json(response.content)
    if response.is_success:
        if isinstance(body, dict) and isinstance(body.get("stream"), list):
            return Pieces(_read_state(body), _read_pieces(body["stream"]))
        if isinstance(body, list):
            return Pieces(None, _read_pieces(body))
        if body is None or (isinstance(body, dict) and "output" in body and "status" not in body):
            lines = [line for line in response.content.splitlines() if line.strip()]
            items = [_read_loose_json(line) for line in lines] if body is None else [body]
            if items and None not in items:
                return Pieces(None, _read_pieces(items))
    return read_poll(response)


def _read_pieces(items: list[Any]) -> tuple[Any, ...]:
    return tuple(
        item["output"] if isinstance(item, dict) and "output" in item else item for item in items
    )


def read_workers(response: httpx.Response) -> dict[str, int] | None:
    """How many workers do what, of an answer to `/health`."""
    body = read_json(response.content)
    workers = body.get("workers") if isinstance(body, dict) and response.is_success else None
    if not isinstance(workers, dict):
        return None
    return {
        str(name): count
        for name, count in workers.items()
        if isinstance(count, int) and not isinstance(count, bool)
    }


def read_retry_after(response: httpx.Response) -> float | None:
    """Seconds, if the header is there and holds a number above 0, and at most ten minutes.

    Its date form is not worth a clock.
    """
    value = response.headers.get("retry-after", "")
    if not re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):
        return None
    return min(float(value), RETRY_AFTER_MOST_SECONDS) or None


def _read_busy(response: httpx.Response, body: object) -> Busy | None:
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return Busy(
            BusyCause.RATE_LIMITED,
            read_error(response, body),
            read_retry_after(response),
            status,
        )
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return Busy(BusyCause.KEY_REFUSED, read_error(response, body), KEY_REFUSED_SECONDS, status)
    if status == httpx.codes.PAYMENT_REQUIRED:
        return Busy(
            BusyCause.PAYMENT_REQUIRED, read_error(response, body), KEY_REFUSED_SECONDS, status
        )
    return None


def read_json(content: bytes) -> object:
    """The JSON as Postgres can keep it, or None if it is none."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return _read_loose_json(content)
    if (
        content.count(b"{") + content.count(b"[") > DEPTH_LIMIT
        and depth(body, most=DEPTH_LIMIT) > DEPTH_LIMIT
    ):
        return None
    return _clean(body) if b"\\u0000" in content else body


def _read_loose_json(content: bytes) -> object:
    """What Python's own `json` writes and orjson refuses: NaN, and half of a surrogate pair.

    A text model that is cut off in the middle of an emoji answers so, and its text is paid for.
    """
    try:
        body = json.loads(content.decode("utf-8-sig", "replace"), parse_int=_read_int)
    except (ValueError, RecursionError):
        return None
    return _clean(body) if depth(body, most=DEPTH_LIMIT) <= DEPTH_LIMIT else None


def _read_int(digits: str) -> int | float:
    """As orjson reads it: one that 64 bits cannot hold is a float."""
    number = float(digits)
    return int(digits) if abs(number) < 2.0**63 else number


def depth(value: object, *, most: int) -> int:
    """How deep the lists and objects are nested; of what is nested deeper than `most`, one more."""
    found, level = 0, [value]
    while found <= most and (level := [one for one in level if isinstance(one, dict | list)]):
        found += 1
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return found


def _clean(value: Any) -> Any:  # noqa: ANN401 -- any JSON
    """Without what Postgres cannot keep: NUL, half of a surrogate pair, infinity."""
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _clean_text(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _read_state(body: object) -> UpstreamState | None:
    status = body.get("status") if isinstance(body, dict) else None
    return _STATES.get(status.strip().upper()) if isinstance(status, str) else None


def _read_id(body: object) -> str | None:
    return _read_text(body.get("id")) if isinstance(body, dict) else None


def _read_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _read_milliseconds(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < 2**31 else None


def read_error(response: httpx.Response, body: object) -> str:
    """The upstream's own words, or failing that the HTTP status and the start of the body."""
    if isinstance(body, dict):
        output = body.get("output")
        for holder in (body, output if isinstance(output, dict) else {}):
            for key in ("error", "message", "detail"):
                if text := read_error_text(holder.get(key)):
                    return _clean_text(text[:ERROR_TEXT_LIMIT])
    shown = _clean_text(response.text[:200]).strip()
    return f"HTTP {response.status_code}" + (f": {shown}" if shown else "")


def read_error_text(value: object) -> str | None:
    """An error given as text, as an object, or as text with a JSON object inside."""
    if isinstance(value, dict):
        return read_error_text(value.get("message")) or orjson.dumps(value).decode()
    if not isinstance(value, str) or not value.strip():
        return None
    start = value.find("{")
    if start >= 0:
        try:
            inner = orjson.loads(value[start:])
        except orjson.JSONDecodeError:
            return value
        if isinstance(inner, dict) and (message := read_error_text(inner.get("message"))):
            return (value[:start].rstrip(" ,:") + ": " + message).lstrip(": ")
    return value
