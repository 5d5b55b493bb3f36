"""The way of each request of the job API: key, endpoint, limits, and faults around the work."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

from aiohttp import web

from endpoints.emulator.bodies import BadRequest
from endpoints.emulator.faults import Fault, FaultKind
from endpoints.emulator.line import abort
from endpoints.emulator.replies import refusal
from endpoints.emulator.served import Served
from endpoints.emulator.stats import DROPPED
from endpoints.emulator.upstream import UPSTREAM, Upstream

HTML: Final = b"<!doctype html><title>Down for maintenance</title><h1>We will be right back</h1>"
BUSY_TEXT: Final = "too many requests for this endpoint"


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was let in; `now` is its emulated second."""

    upstream: Upstream
    served: Served
    request: web.Request
    operation: str
    now: float


Act: TypeAlias = Callable[[Call], Awaitable[web.StreamResponse]]
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """The request is answered with an HTTP error."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error


def route(operation: str, act: Act) -> Handler:
    """Return the handler of one operation: `act`, behind the key, the limits and the faults."""

    async def handle(request: web.Request) -> web.StreamResponse:
        upstream = request.app[UPSTREAM]
        key = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if key not in upstream.config.keys:
            return error_response(HTTPStatus.UNAUTHORIZED, "the API key is missing or unknown")
        served = upstream.served.get(request.match_info["endpoint"])
        if served is None:
            return error_response(HTTPStatus.NOT_FOUND, "no such endpoint")
        tally = upstream.stats.tally(served.name, operation)
        tally.requests += 1
        gate = upstream.gate(key, served, operation)
        if not gate.enter(time.monotonic()):
            tally.rejected_429 += 1
            tally.answered[str(HTTPStatus.TOO_MANY_REQUESTS.value)] += 1
            return error_response(HTTPStatus.TOO_MANY_REQUESTS, BUSY_TEXT)
        answered = DROPPED
        try:
            call = Call(upstream, served, request, operation, upstream.tick())
            response = await answer(call, act)
            answered = DROPPED if is_dropped(request) else str(response.status)
        finally:
            gate.leave()
            tally.answered[answered] += 1
        return response

    return handle


async def answer(call: Call, act: Act) -> web.StreamResponse:
    """Do what was asked, between the faults that strike before it and those that strike after."""
    struck = await strike_before(call)
    if struck is not None:
        return struck
    try:
        response = await act(call)
    except BadRequest as error:
        return json_response(refusal(str(error)), status=HTTPStatus.BAD_REQUEST)
    except Refused as refused:
        return error_response(refused.status, refused.error)
    return await strike_after(call, response)


async def strike_before(call: Call) -> web.StreamResponse | None:
    """Let the faults strike that know nothing of what is asked."""
    faults = call.upstream.faults
    where = {"endpoint": call.served.name, "operation": call.operation}
    if slow := faults.strike(FaultKind.SLOW, **where):
        await pause(call.upstream, slow.seconds)
    fault = faults.strike(
        FaultKind.BUSY,
        FaultKind.ERROR,
        FaultKind.HTML,
        FaultKind.HANG,
        FaultKind.RESET_BEFORE,
        **where,
    )
    if fault is None:
        return None
    match fault.kind:
        case FaultKind.BUSY:
            response = error_response(HTTPStatus.TOO_MANY_REQUESTS, BUSY_TEXT)
            if fault.retry_after is not None:
                response.headers["Retry-After"] = f"{fault.retry_after:g}"
            return response
        case FaultKind.ERROR:
            return error_response(fault.status, fault.body or "an emulated fault")
        case FaultKind.HTML:
            return web.Response(body=HTML, status=fault.status, content_type="text/html")
        case FaultKind.HANG:
            await call.upstream.stopping.wait()
    return drop(call.request)


async def strike_after(call: Call, response: web.StreamResponse) -> web.StreamResponse:
    """Let the faults strike that spoil the reply of work that was done."""
    fault = call.upstream.faults.strike(
        FaultKind.RESET_AFTER,
        FaultKind.ERROR_AFTER,
        FaultKind.GARBAGE,
        FaultKind.TRUNCATED,
        FaultKind.DRIP,
        endpoint=call.served.name,
        operation=call.operation,
    )
    if fault is None or not isinstance(response, web.Response):
        return response
    content = response.body if isinstance(response.body, bytes) else b""
    match fault.kind:
        case FaultKind.RESET_AFTER:
            return drop(call.request)
        case FaultKind.ERROR_AFTER:
            return error_response(fault.status, fault.body or "bad gateway")
        case FaultKind.GARBAGE:
            forms = (
                b"<html><body>It works!</body></html>",
                content[: len(content) // 2],
                b'{"status": "IN_QUEUE"}',
                b"[]",
                b"",
            )
            form = forms[(fault.fired - 1) % len(forms)]
            return web.Response(body=form, content_type="application/json")
        case FaultKind.TRUNCATED:
            half = content[: len(content) // 2]
            return web.Response(body=half, content_type="application/json")
    return await drip(call, response, content, fault)


async def drip(call: Call, like: web.Response, content: bytes, fault: Fault) -> web.StreamResponse:
    """Send `content` one byte a real second, under the status and headers of `like`.

    Once the fault was taken away, the rest is sent at once.
    """
    response = web.StreamResponse(status=like.status, headers={"Content-Type": like.content_type})
    response.content_length = len(content)
    await response.prepare(call.request)
    for sent, byte in enumerate(content, start=1):
        await response.write(bytes([byte]))
        await pause(call.upstream, 1.0)
        if call.upstream.stopping.is_set():
            return drop(call.request)
        if not call.upstream.faults.is_armed(fault):
            await response.write(content[sent:])
            break
    return response


async def pause(upstream: Upstream, seconds: float) -> None:
    """Wait some real seconds, or until the emulator stops."""
    with suppress(TimeoutError):
        await asyncio.wait_for(upstream.stopping.wait(), seconds)


def drop(request: web.Request) -> web.Response:
    """Cut the connection at once, with a reset; what is returned is never sent."""
    if request.transport is not None:
        abort(request.transport)
    return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)


def is_dropped(request: web.Request) -> bool:
    """Whether the connection is gone."""
    return request.transport is None or request.transport.is_closing()


def json_response(body: object, *, status: int = HTTPStatus.OK) -> web.Response:
    """Return a JSON reply."""
    return web.Response(
        body=json.dumps(body).encode(), status=status, content_type="application/json"
    )


def error_response(status: int, error: str) -> web.Response:
    """Return an HTTP error with a text; what its body looks like upstream stands on no page."""
    return json_response({"error": error}, status=status)
