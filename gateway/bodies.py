"""Read what a client sends: bounded, and as strictly as every reader after us needs it."""

import asyncio
import re
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import Request

from endpoints.replies import depth
from gateway.errors import ApiError
from tasks.intake import DEPTH_LIMIT

# Of a body that is too large so much is read and thrown away: who is still sending hears no answer.
DRAINED_BYTES = 64_000_000
PARSED_AT_ONCE_BYTES = 1_000_000
# Over all that is no integer of 19 digits or more; it never steps back, however large the body is.
_NEXT_LONG_INTEGER = re.compile(
    rb"""(?: [^"0-9-]++
        | "[^"\\]*+ (?: \\. [^"\\]*+ )*+"
        | -?[0-9]++ (?: \.[0-9]++ (?:[eE][+-]?[0-9]++)? | [eE][+-]?[0-9]++ )
        | -?[0-9]{1,18}+ (?![0-9.eE])
    )*+ (-?[0-9]++)""",
    re.VERBOSE,
)


async def read_body(request: Request, *, most_bytes: int) -> bytes:
    """The body.

    Raises:
        ApiError: 413 it is larger than `most_bytes`.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most_bytes:
            chunks.append(chunk)
        else:
            chunks.clear()
            if size > most_bytes + DRAINED_BYTES:
                break
    if size > most_bytes:
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body has {'more than ' if size > most_bytes + DRAINED_BYTES else ''}{size:,} "
            f"bytes; at most {most_bytes:,} are taken. Leave large media at a URL",
            headers={"Connection": "close"},
        )
    return b"".join(chunks)


async def read_object(request: Request, *, most_bytes: int) -> dict[str, Any]:
    """The JSON object that the body is.

    Raises:
        ApiError: 415 it does not say that it is JSON, 413 too large, 400 no JSON object.
    """
    declared = request.headers.get("content-type", "application/json")
    kind = declared.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type: {kind[:100]!r} came, application/json was wanted",
        )
    raw = await read_body(request, most_bytes=most_bytes)
    if len(raw) > PARSED_AT_ONCE_BYTES:
        return await asyncio.to_thread(parse_object, raw)  # others are answered meanwhile
    return parse_object(raw)


def parse_object(raw: bytes) -> dict[str, Any]:
    """
    Raises:
        ApiError: 400 it is no JSON object, or one that could not be passed on as it is.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _malformed(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise _malformed(f"the body is a JSON {_say_type(body)}; an object was wanted")
    opened = raw.count(b"[") + raw.count(b"{")
    if opened > DEPTH_LIMIT and depth(body, most=DEPTH_LIMIT) > DEPTH_LIMIT:
        raise _malformed(f"the body is nested deeper than {DEPTH_LIMIT} levels")
    if _changes_a_number(raw):
        raise _malformed("a number has more digits than 64 bits hold: it would be changed")
    return body


def _changes_a_number(raw: bytes) -> bool:
    """Whether there is an integer that was read as a float; digits in texts do not count.

    Args:
        raw: JSON.
    """
    end = 0
    while found := _NEXT_LONG_INTEGER.match(raw, end):
        value, end = int(found[1]), found.end()
        if not -(2**63) <= value < 2**64:
            return True
    return False


def _malformed(detail: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, detail)


def _say_type(value: object) -> str:
    names = {list: "array", str: "text", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
