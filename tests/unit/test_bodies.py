"""What a client sends is read whole and as it is, or refused with a reason; quickly either way."""

import asyncio
import contextlib
import time

import orjson
import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway import bodies
from gateway.bodies import parse_object, read_body, read_object
from gateway.errors import ApiError
from tasks.intake import DEPTH_LIMIT

MEGABYTES = 1_000_000
SECONDS = 5.0  # many times what it takes; a reader that steps back takes minutes


def request_of(*chunks, headers=(), leaves=False):
    """A request whose body comes in chunks, and the messages that were not asked for."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.disconnect"} if leaves else {"type": "http.request"})

    async def receive():
        return messages.pop(0)

    scope = {"type": "http", "headers": [(name, value) for name, value in headers]}
    return Request(scope, receive), messages


def refusal(raw):
    with pytest.raises(ApiError) as refused:
        parse_object(raw)
    return refused.value


@pytest.mark.parametrize(
    "number",
    [
        "0",
        "-1",
        "9223372036854775807",
        "18446744073709551615",
        "-9223372036854775808",
        "1.5",
        "1e300",
        "1E+30",
        "12345678901234567890123.5",
        "1.12345678901234567890123",
        "1e-12345678901234567890",
        "123456789012345678901e5",
        "0.0000000000000000000000001",
    ],
)
@pytest.mark.parametrize("around", ["{}", "[{}, 1]", '{{"b": {}}}', '["\\"", {}]'])
def test_a_number_that_is_passed_on_as_it_came_is_taken(number, around):
    raw = b'{"a": %s}' % around.format(number).encode()

    assert parse_object(raw) == orjson.loads(raw)


@pytest.mark.parametrize(
    "number",
    [
        "18446744073709551616",
        "18446744073709551617",
        "-9223372036854775809",
        "-18446744073709551615",
        "123456789012345678901234567890",
    ],
)
@pytest.mark.parametrize("around", ["{}", "[{}, 1]", "[1,{}]", '{{"b":{}}}', '["\\"", {}]'])
def test_an_integer_that_would_be_changed_is_refused(number, around):
    error = refusal(b'{"a": %s}' % around.format(number).encode())

    assert error.status == 400
    assert "64 bits" in error.detail


@pytest.mark.parametrize(
    "text",
    [
        "123456789012345678901234567890",
        '\\"123456789012345678901234567890',
        "\\\\",
        '\\\\\\"-99999999999999999999999',
        ": 99999999999999999999999, ",
    ],
)
def test_digits_in_a_text_are_no_number(text):
    raw = b'{"%s": "%s", "b": ["%s"]}' % ((text.encode(),) * 3)

    assert parse_object(raw) == orjson.loads(raw)


def test_a_long_integer_behind_texts_that_look_like_the_end_of_one_is_found():
    assert refusal(b'{"a": "\\\\", "b": "\\"", "c": 123456789012345678901}').status == 400


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e400}',
        b'{"a": %s}' % (b"9" * 5000),
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": 1} {"b": 2}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_json_is_refused(raw):
    error = refusal(raw)

    assert error.status == 400
    assert "not JSON" in error.detail


@pytest.mark.parametrize(
    ("raw", "kind"),
    [(b"[]", "array"), (b'"x"', "text"), (b"7", "number"), (b"true", "boolean"), (b"null", "null")],
)
def test_what_is_no_object_is_named(raw, kind):
    assert kind in refusal(raw).detail


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_body_may_be_nested_so_deep_and_no_deeper(opening, closing):
    def nested(levels):
        return b'{"a":' + opening * (levels - 1) + b"1" + closing * (levels - 1) + b"}"

    assert parse_object(nested(DEPTH_LIMIT))
    assert "nested deeper" in refusal(nested(DEPTH_LIMIT + 1)).detail


def test_brackets_in_a_text_and_side_by_side_are_not_deep():
    body = {"a": "[{" * 1000, "b": [[]] * 1000}

    assert parse_object(orjson.dumps(body)) == body


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": "data:image/png;base64,%s"}' % (b"QUJD" * 5_000_000),
        b'{"a": "%s"}' % (b"1" * 20_000_000),
        b'{"a": "%s"}' % (rb"\"" * 10_000_000),
        b'{"a": "%s", "b": 123456789012345678901}' % (rb"\\" * 10_000_000),
        b'{"a": [%s0]}' % (b'"",' * 2_000_000),
        b'{"a": [%s0]}' % (b"1234567890123456789," * 500_000),
        b'{"a": [%s0]}' % (b"-1.5e-30," * 1_000_000),
    ],
    ids=["data URL", "digits", "escapes", "backslashes", "texts", "long numbers", "floats"],
)
def test_however_large_a_body_is_it_is_read_at_once(content):
    began = time.monotonic()

    with contextlib.suppress(ApiError):  # one of them
        parse_object(content)

    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize("chunks", [[b"abcdef"], [b"abc", b"", b"def"], [b"a"] * 6, [b""], []])
async def test_a_body_is_put_together_from_its_chunks(chunks):
    request, _ = request_of(*chunks)

    assert await read_body(request, most_bytes=6) == b"".join(chunks)


@pytest.mark.parametrize("chunks", [[b"abcdefg"], [b"abc", b"def", b"g"], [b"a"] * 7])
async def test_one_byte_more_is_too_large_and_read_to_its_end(chunks):
    request, left = request_of(*chunks)

    with pytest.raises(ApiError) as refused:
        await read_body(request, most_bytes=6)

    assert refused.value.status == 413
    assert "7 bytes; at most 6" in refused.value.detail
    assert refused.value.headers == {"Connection": "close"}
    assert left == []


async def test_what_never_ends_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(bodies, "DRAINED_BYTES", 10)
    request, left = request_of(*[b"abcdef"] * 10)

    with pytest.raises(ApiError) as refused:
        await read_body(request, most_bytes=6)

    assert "more than 18 bytes" in refused.value.detail
    assert len(left) == 8


async def test_who_leaves_in_the_middle_has_sent_no_body():
    request, _ = request_of(b"abc", leaves=True)

    with pytest.raises(ClientDisconnect):
        await read_body(request, most_bytes=6)


@pytest.mark.parametrize(
    "kind", [None, "application/json", "Application/JSON; charset=utf-8", "application/x+json"]
)
async def test_json_may_be_called_so_or_not_at_all(kind):
    headers = [] if kind is None else [(b"content-type", kind.encode())]
    request, _ = request_of(b'{"a": ', b"1}", headers=headers)

    assert await read_object(request, most_bytes=100) == {"a": 1}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "json", ""])
async def test_what_says_that_it_is_something_else_is_not_read(kind):
    request, left = request_of(b"{}", headers=[(b"content-type", kind.encode())])

    with pytest.raises(ApiError) as refused:
        await read_object(request, most_bytes=100)

    assert refused.value.status == 415
    assert len(left) == 2


async def test_the_reader_takes_turns_with_others():
    """A body that comes in many chunks holds nobody up."""
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def receive():
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"x", "more_body": turns < 50}

    counting = asyncio.create_task(count())
    await read_body(Request({"type": "http", "headers": []}, receive), most_bytes=1000)
    counting.cancel()

    assert turns >= 50
