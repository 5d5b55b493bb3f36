"""The OpenAI-compatible routes: passed through as they come, and written down as jobs.

The job is written down before anything is sent; its text, tokens and cost when it is over. A client
that goes away ends the upstream's work too: the call to it is closed. A retry with the same
Idempotency-Key is answered from what is written, and is never sent again.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

import httpx
import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from endpoints.catalogue import Operation
from endpoints.client import READ_FAILURES, RUNSYNC_BODY_BYTES, CallFailed
from endpoints.replies import REPLY_LOST, read_error, read_json
from gateway.bodies import read_object
from gateway.callers import Reading, Running
from gateway.disconnect import ClientGone, unless_gone
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import GatewayState, get_state
from gateway.submission import METHOD, ROUTE, conflict, refuse_in_maintenance
from gateway.upstream_api.call import OUR_KEY, Call
from gateway.upstream_api.completion import split_events
from gateway.upstream_api.jobs import resolve
from gateway.upstream_api.run_body import read_idempotency_key
from models.base import new_id
from models.handle import HandleKind, HeldBy, NewHandle, find_held
from models.job import JobState, Route
from models.job_queries import get_job
from models.key import Caller
from models.reservation import OverBudget
from models.transitions import NewJob
from tasks.direct import HeldByAnother, open_direct_job
from tasks.intake import NUL, hash_json
from tasks.job_trace import begin_job_trace
from tasks.results import say_status
from workers.permit import QuotaSpent, one_call
from workers.trace_context import HEADER

LONGEST_SECONDS = 600.0  # one text, from the request to its last word

routes = APIRouter(prefix="/v2/{endpoint}/openai/v1", tags=["the upstream's protocol"])


@routes.post("/chat/completions", summary="A chat's next message")
async def chat_completions(request: Request, endpoint: str, caller: Running) -> Response:
    """OpenAI's own body and reply; with `stream: true` as events."""
    return await _complete(request, endpoint, caller, path="chat/completions")


@routes.post("/completions", summary="A text's continuation")
async def completions(request: Request, endpoint: str, caller: Running) -> Response:
    """OpenAI's own body and reply; with `stream: true` as events."""
    return await _complete(request, endpoint, caller, path="completions")


@routes.get("/models", summary="The models of an endpoint")
async def models(request: Request, endpoint: str, _caller: Reading) -> Response:
    name = resolve(request, endpoint)
    upstream = get_state(request).runtime.upstream
    try:
        async with upstream.open("GET", f"{name}/openai/v1/models") as response:
            await response.aread()
    except (CallFailed, *READ_FAILURES) as error:
        raise _unreachable(str(error)) from error
    if not response.is_success:
        return _pass_on_error(response, headers=request.state.limits)
    return _pass_on(response, headers=request.state.limits)


async def _complete(request: Request, endpoint: str, caller: Caller, *, path: str) -> Response:
    name = resolve(request, endpoint)
    state = get_state(request)
    body = await read_object(request, most_bytes=RUNSYNC_BODY_BYTES)
    if NUL.search(orjson.dumps(body)):
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body holds a NUL character, which is not text")
    key = read_idempotency_key(request.headers)
    trace = begin_job_trace(
        state.runtime,
        traceparent=request.headers.get(HEADER),
        kind="SERVER",
        facts={METHOD: "POST", ROUTE: request.scope["route"].path},
    )
    job = NewJob(
        id=new_id(),
        endpoint=name,
        input=body,
        key_id=caller.key_id,
        route=Route.OPENAI,
        trace_context=trace.kept,
    )
    handle = None
    if key is not None:
        handle = NewHandle(
            key_id=caller.key_id,
            kind=HandleKind.IDEMPOTENCY_KEY,
            name=key,
            job_id=job.id,
            request_hash=hash_json([name, path, body]),
        )
    try:
        await refuse_in_maintenance(state, unsent=False)
    except ApiError:
        # What was done before is told again: nothing is sent for that.
        if (known := await _find_held(state, handle)) is None:
            raise
        return await _replay(request, known, handle, body)
    async with AsyncExitStack() as held:
        try:
            await held.enter_async_context(
                one_call(state.runtime, name, Operation.OPENAI, seconds=LONGEST_SECONDS)
            )
            direct = await held.enter_async_context(open_direct_job(state.runtime, job, handle))
        except (QuotaSpent, OverBudget, HeldByAnother) as error:
            trace.refused(error)
            if isinstance(error, QuotaSpent):
                raise refuse_spent(error) from error
            if isinstance(error, OverBudget):
                raise ApiError(HTTPStatus.PAYMENT_REQUIRED, str(error)) from error
            return await _replay(request, error.held, handle, body)
        trace.accepted(job.id, name)
        call = Call(
            runtime=state.runtime,
            endpoint=name,
            listed=state.runtime.catalogue.find(name),
            body=body,
            job=direct,
        )
        return await _send(request, call, path, held)


async def _find_held(state: GatewayState, handle: NewHandle | None) -> HeldBy | None:
    """The job that has the name, if one has."""
    async with state.runtime.database.begin() as session:
        found = await find_held(session, [handle] if handle else [])
    return next(iter(found.values()), None)


async def _send(request: Request, call: Call, path: str, held: AsyncExitStack) -> Response:
    """Send it, and pass on what comes; `held` is closed before its end is written down."""
    headers = {**request.state.limits, "Pressroom-Job": str(call.job.id)}
    opening = call.runtime.upstream.open(
        "POST", f"{call.endpoint}/openai/v1/{path}", content=call.content
    )
    try:
        response = await unless_gone(request, held.enter_async_context(opening))
        if response.is_success and _is_stream(response):
            return PassedThrough(call, response, held.pop_all(), headers=headers)
        content = await unless_gone(request, response.aread())
    except ClientGone:
        await held.aclose()
        await call.left()
        raise
    except CallFailed as error:
        await held.aclose()
        if error.never_sent:
            await call.never_sent(str(error))
            raise _unreachable(str(error), headers=headers) from error
        await call.lost(str(error))
        raise _lost(str(error), headers=headers) from error
    except READ_FAILURES as error:
        await held.aclose()
        said = f"the answer broke off: {type(error).__name__}: {error}"
        await call.broke_off(said)
        raise _lost(said, headers=headers) from error
    await held.aclose()
    if response.status_code in REPLY_LOST:
        said = read_error(response, read_json(content))
        await call.lost(said, response.status_code)
        raise _lost(said, headers=headers)
    if not response.is_success:
        await call.refused(response.status_code, read_error(response, read_json(content)))
        return _pass_on_error(response, headers=headers)
    call.completion.read_whole(content)
    if not call.completion.done:
        said = str(call.completion.error)
        await call.broke_off(said, response.status_code)
        raise _lost(said, headers=headers)
    await call.ended(response.status_code)
    return _pass_on(response, headers=headers)


def _is_stream(response: httpx.Response) -> bool:
    return bool(response.headers.get("content-type", "").startswith("text/event-stream"))


class PassedThrough(StreamingResponse):
    """Events as they come. However it ends, what is known by then is written down."""

    def __init__(
        self,
        call: Call,
        response: httpx.Response,
        held: AsyncExitStack,
        *,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(
            self._pass_events(),
            response.status_code,
            headers={**headers, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
            media_type=response.headers["content-type"],
        )
        self._call = call
        self._response = response
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await asyncio.shield(self._close())

    async def _pass_events(self) -> AsyncIterator[bytes]:
        completion = self._call.completion
        try:
            async for event in split_events(self._response.aiter_bytes()):
                usage_alone = completion.read_event(event)
                if self._call.shows_usage or not usage_alone:
                    yield event
        except READ_FAILURES as error:
            broke_off = completion.close(f"{type(error).__name__}: {error}")
        else:
            broke_off = completion.close()
        if broke_off:
            message = f"the upstream's answer broke off: {completion.error}"
            said = {"error": {"message": message, "type": "api_error"}}
            yield b"data: " + orjson.dumps(said) + b"\n\n"

    async def _close(self) -> None:
        await self._held.aclose()
        completion, http_status = self._call.completion, self._response.status_code
        if completion.done:
            await self._call.ended(http_status)
        elif completion.error is not None:
            await self._call.broke_off(f"the answer broke off: {completion.error}", http_status)
        else:
            await self._call.left()


async def _replay(
    request: Request, held: HeldBy, handle: NewHandle | None, body: dict[str, Any]
) -> Response:
    """The same Idempotency-Key again: what its job gave, if it has ended; it is not sent again.

    Raises:
        ApiError: 422 it was another request; 409 its job runs, or has no result.
    """
    assert handle is not None  # noqa: S101 -- without a key nothing is held
    if held.request_hash != handle.request_hash:
        raise conflict(handle.name)
    async with get_state(request).runtime.database.begin() as session:
        job = await get_job(session, held.job_id)
    headers = {
        **request.state.limits,
        "Pressroom-Job": str(job.id),
        "Idempotency-Replayed": "true",
    }
    if job.state is not JobState.COMPLETED or body.get("stream"):
        if job.finished_at:
            headers["x-should-retry"] = "false"  # OpenAI's own clients repeat after a 409
        raise ApiError(
            HTTPStatus.CONFLICT,
            f"this Idempotency-Key was used before, by the job {job.id}, which is "
            f"{say_status(job.state)}: GET /api/v1/jobs/{job.id} shows it",
            headers=headers,
        )
    return JsonResponse(job.output, headers=headers)


def refuse_spent(error: QuotaSpent) -> ApiError:
    """Nothing was sent, for no call may be made now."""
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS if error.known else HTTPStatus.SERVICE_UNAVAILABLE,
        str(error),
        headers={"Retry-After": str(max(math.ceil(error.retry_in), 1))},
    )


def _unreachable(error: str, *, headers: Mapping[str, str] | None = None) -> ApiError:
    """Nothing reached it: it may be asked again."""
    return ApiError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"the upstream cannot be reached: {error}",
        headers={**(headers or {}), "Retry-After": "2"},
    )


def _lost(error: str, *, headers: Mapping[str, str]) -> ApiError:
    """It may have been generated, and billed: no code that clients repeat a request for."""
    return ApiError(
        HTTPStatus.FAILED_DEPENDENCY,
        f"the upstream's answer was lost: {error}. It may have been billed, so it is not repeated",
        headers={**headers, "x-should-retry": "false"},
    )


def _pass_on(response: httpx.Response, *, headers: Mapping[str, str]) -> Response:
    """As it came."""
    return Response(
        response.content,
        response.status_code,
        headers=headers,
        media_type=response.headers.get("content-type"),
    )


def _pass_on_error(response: httpx.Response, *, headers: Mapping[str, str]) -> Response:
    """What the upstream says is wrong, in OpenAI's form.

    Raises:
        ApiError: it is not in that form; 502 if it is about our key, not about the client's.
    """
    status = response.status_code
    body = read_json(response.content)
    said = read_error(response, body)
    if status in OUR_KEY:
        said = f"the upstream refused Pressroom's own key (PRESSROOM_UPSTREAM_KEY): {said}"
        raise ApiError(HTTPStatus.BAD_GATEWAY, said, headers=headers)
    if retry_after := response.headers.get("retry-after"):
        headers = {**headers, "Retry-After": retry_after}
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return _pass_on(response, headers=headers)
    if not response.is_error:  # a redirect, of which nobody here knows anything
        status = HTTPStatus.BAD_GATEWAY
    raise ApiError(status, said, headers=headers)
