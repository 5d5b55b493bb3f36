"""Downloads: files as any web server gives them, without a key, whole or in part."""

from http import HTTPStatus
from typing import Final

from aiohttp import web

from endpoints.emulator.calls import Call, answer, error_response, is_dropped
from endpoints.emulator.faults import FILES, FaultKind
from endpoints.emulator.stats import DROPPED
from endpoints.emulator.upstream import UPSTREAM

GONE_TEXT: Final = "no such file"


async def download(request: web.Request) -> web.StreamResponse:
    """Answer GET and HEAD of /files/{name}."""
    upstream = request.app[UPSTREAM]
    now = upstream.tick()
    file = upstream.shelf.find_file(request.match_info["name"], now)
    if file is None:
        return error_response(HTTPStatus.NOT_FOUND, GONE_TEXT)
    tally = upstream.stats.tally(file.endpoint, FILES)
    tally.requests += 1
    call = Call(upstream, upstream.served[file.endpoint], request, FILES, now)
    answered = DROPPED
    try:
        response = await answer(call, _serve)
        answered = DROPPED if is_dropped(request) else str(response.status)
    finally:
        tally.answered[answered] += 1
    return response


async def _serve(call: Call) -> web.StreamResponse:
    upstream, request = call.upstream, call.request
    file = upstream.shelf.find_file(request.match_info["name"], call.now)
    where = {"endpoint": call.served.name, "operation": FILES}
    if file is None:
        return error_response(HTTPStatus.NOT_FOUND, GONE_TEXT)
    if upstream.faults.strike(FaultKind.FILE_ERROR, **where):
        return error_response(HTTPStatus.SERVICE_UNAVAILABLE, "an emulated fault")
    content = await upstream.shelf.read(file)
    if upstream.faults.strike(FaultKind.BROKEN_FILE, **where):
        return await _break_off(request, content, file.spec.content_type)
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "public, max-age=604800"}
    try:
        part = request.http_range
    except ValueError:
        part = slice(None)  # a range in no known form is ignored, as RFC 9110 asks
    if part == slice(None, None, 1) or part == slice(None):
        return web.Response(body=content, headers=headers, content_type=file.spec.content_type)
    start, stop, _ = part.indices(len(content))
    if start >= stop:
        headers["Content-Range"] = f"bytes */{len(content)}"
        return web.Response(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return web.Response(
        body=content[start:stop],
        status=HTTPStatus.PARTIAL_CONTENT,
        headers=headers,
        content_type=file.spec.content_type,
    )


async def _break_off(request: web.Request, content: bytes, content_type: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type})
    response.content_length = len(content)
    await response.prepare(request)
    await response.write(content[: len(content) // 2])
    if request.transport is not None:
        # What was written must arrive: a reset would throw it away at the receiver.
        request.transport.close()
    return response
