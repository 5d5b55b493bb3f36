"""The OpenAI-compatible routes: passed through as they come, and written down as jobs.

The job is written down before anything is sent; its text, tokens and cost when it is over. A client
that goes away ends the upstream's work too: the call to it is closed. A retry with the same
Idempotency-Key is answered from what is written, and is never sent again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx
import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from endpoints.catalogue import Endpoint, Operation, bill
from endpoints.client import READ_FAILURES, RUNSYNC_BODY_BYTES, CallFailed
from gateway.bodies import read_object
from gateway.callers import Reading, Running
from gateway.disconnect import ClientGone, unless_gone
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import get_state
from gateway.submission import conflict
from gateway.upstream_api.completion import Completion
from gateway.upstream_api.jobs import resolve
from gateway.upstream_api.run_body import read_idempotency_key
from models.attempt import Answer, AttemptEnd
from models.base import new_id
from models.handle import HandleKind, HeldBy, NewHandle
from models.job import JobState, Reason, Route
from models.job_queries import get_job
from models.key import Caller
from models.transitions import Move, NewJob, end, lose_sight
from tasks.direct import DirectJob, HeldByAnother, end_direct_job, open_direct_job
from tasks.intake import hash_json
from tasks.results import say_status
from workers.permit import QuotaSpent, one_call
from workers.runtime import Runtime

LONGEST_SECONDS = 1_800.0  # one text, from the request to its last word
RESOLVE_SECONDS = 1.0  # a lost one is decided at once: nothing more will be heard of it

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
            content = await response.aread()
    except (CallFailed, *READ_FAILURES) as error:
        raise _unreachable(str(error)) from error
    _refuse_upstream_key(response)
    return Response(
        content,
        response.status_code,
        headers=request.state.limits,
        media_type=response.headers.get("content-type"),
    )


@dataclass(slots=True, kw_only=True)
class Call:
    """One request that is passed through."""

    runtime: Runtime
    endpoint: str
    listed: Endpoint | None
    body: dict[str, Any]
    job: DirectJob
    completion: Completion = field(default_factory=Completion)
    started: float = field(default_factory=time.monotonic)

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def shows_usage(self) -> bool:
        """Whether its client asked for token counts."""
        options = self.body.get("stream_options")
        return isinstance(options, dict) and bool(options.get("include_usage"))

    @property
    def content(self) -> bytes:
        """What is sent: with token counts asked for, without which nobody knows the cost."""
        body = dict(self.body)
        if self.streams:
            options = body.get("stream_options")
            body["stream_options"] = {
                **(options if isinstance(options, dict) else {}),
                "include_usage": True,
            }
        return orjson.dumps(body)

    async def ended(self, http_status: int) -> None:
        """It was answered, to the end."""
        output = self.completion.output
        move = end(
            self.job.id,
            self.job.lease,
            state=JobState.COMPLETED,
            output=output,
            upstream_id=self.completion.id,
            execution_ms=round((time.monotonic() - self.started) * 1000),
            delay_ms=0,
            input_tokens=self.completion.input_tokens,
            output_tokens=self.completion.output_tokens,
            cost_usd=self._cost(),
        )
        await self._record(move, Answer.ACCEPTED, http_status)

    async def refused(self, http_status: int, error: str) -> None:
        """The upstream answered that it will not, or cannot."""
        busy = http_status == HTTPStatus.TOO_MANY_REQUESTS
        client = http_status < HTTPStatus.INTERNAL_SERVER_ERROR
        reason = Reason.UPSTREAM_REFUSED if client and not busy else Reason.UPSTREAM_FAULT
        answer = Answer.BUSY if busy else Answer.REFUSED if client else Answer.FAULT
        await self._fail(error, reason, answer, http_status)

    async def failed(self, error: CallFailed) -> None:
        """There was no answer."""
        if error.never_sent:
            await self._fail(str(error), Reason.UPSTREAM_FAULT, Answer.UNSENT)
        else:
            move = lose_sight(
                self.job.id, self.job.lease, error=f"no reply: {error}", due_in=RESOLVE_SECONDS
            )
            await self._record(move, Answer.UNKNOWN)

    async def broke_off(self, error: str) -> None:
        """Its answer ended in the middle."""
        await self._fail(error, Reason.UPSTREAM_FAULT, Answer.ACCEPTED)

    async def left(self) -> None:
        """Its client went away."""
        said = f"the client went away after {self.completion.events} events"
        move = end(
            self.job.id,
            self.job.lease,
            state=JobState.CANCELLED,
            reason=Reason.CANCELLED,
            error=said,
            output=self.completion.output,
            upstream_id=self.completion.id,
        )
        await self._record(
            move, Answer.ACCEPTED if self.completion.events else Answer.UNKNOWN, error=said
        )

    async def _fail(
        self, error: str, reason: Reason, answer: Answer, http_status: int | None = None
    ) -> None:
        move = end(
            self.job.id,
            self.job.lease,
            state=JobState.FAILED,
            reason=reason,
            error=error,
            output=self.completion.output,
            upstream_id=self.completion.id,
        )
        await self._record(move, answer, http_status, error=error)

    async def _record(
        self,
        move: Move,
        answer: Answer,
        http_status: int | None = None,
        *,
        error: str | None = None,
    ) -> None:
        await end_direct_job(
            self.runtime,
            move,
            AttemptEnd(
                job_id=self.job.id,
                lease=self.job.lease,
                answer=answer,
                http_status=http_status,
                upstream_id=self.completion.id,
                error=error,
            ),
        )

    def _cost(self) -> str | None:
        if self.listed is None:
            return None
        known = self.listed.schema["properties"]
        cost = bill(
            self.listed,
            {"model": self.body["model"]} if "model" in self.body and "model" in known else {},
            input_tokens=self.completion.input_tokens,
            output_tokens=self.completion.output_tokens,
        )
        return None if cost is None else str(cost)


async def _complete(request: Request, endpoint: str, caller: Caller, *, path: str) -> Response:
    name = resolve(request, endpoint)
    state = get_state(request)
    body = await read_object(request, most_bytes=RUNSYNC_BODY_BYTES)
    if b"\\u0000" in orjson.dumps(body):
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body holds a NUL character, which is not text")
    key = read_idempotency_key(request.headers)
    job = NewJob(id=new_id(), endpoint=name, input=body, key_id=caller.key_id, route=Route.OPENAI)
    handle = None
    if key is not None:
        handle = NewHandle(
            key_id=caller.key_id,
            kind=HandleKind.IDEMPOTENCY_KEY,
            name=key,
            job_id=job.id,
            request_hash=hash_json([name, path, body]),
        )
    held = AsyncExitStack()
    try:
        try:
            await held.enter_async_context(
                one_call(state.runtime, name, Operation.OPENAI, seconds=LONGEST_SECONDS)
            )
            direct = await held.enter_async_context(open_direct_job(state.runtime, job, handle))
        except QuotaSpent as error:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "the upstream's limit of these requests is used up",
                headers={"Retry-After": str(max(round(error.retry_in), 1))},
            ) from error
        except HeldByAnother as error:
            return await _replay(request, error.held, handle, body)
        call = Call(
            runtime=state.runtime,
            endpoint=name,
            listed=state.runtime.catalogue.find(name),
            body=body,
            job=direct,
        )
        return await _send(request, call, path, held)
    except BaseException:
        await held.aclose()
        raise


async def _send(request: Request, call: Call, path: str, held: AsyncExitStack) -> Response:
    """Send it, and pass on what comes; `held` is closed by who has the last word."""
    headers = {**request.state.limits, "Pressroom-Job": str(call.job.id)}
    opening = call.runtime.upstream.open(
        "POST", f"{call.endpoint}/openai/v1/{path}", content=call.content
    )
    try:
        response = await unless_gone(request, held.enter_async_context(opening))
        if response.is_success and call.streams:
            return PassedThrough(call, response, held, headers=headers)
        content = await unless_gone(request, response.aread())
    except ClientGone:
        await call.left()
        raise
    except CallFailed as error:
        await call.failed(error)
        say = _unreachable if error.never_sent else _lost
        raise say(str(error), headers=headers) from error
    except READ_FAILURES as error:
        await call.broke_off(f"{type(error).__name__}: {error}")
        raise _lost(str(error), headers=headers) from error
    await held.aclose()
    if not response.is_success:
        await call.refused(response.status_code, response.text[:2_000].replace("\x00", ""))
        _refuse_upstream_key(response)
        if retry_after := response.headers.get("retry-after"):
            headers["Retry-After"] = retry_after
    else:
        try:
            call.completion.read_whole(orjson.loads(content))
        except (orjson.JSONDecodeError, AttributeError):
            await call.broke_off("what came is no completion")
            raise _lost("what came is no completion", headers=headers) from None
        await call.ended(response.status_code)
    return Response(
        content,
        response.status_code,
        headers=headers,
        media_type=response.headers.get("content-type"),
    )


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
            self._events(),
            response.status_code,
            headers={**headers, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
            media_type=response.headers.get("content-type", "text/event-stream"),
        )
        self._call = call
        self._response = response
        self._held = held
        self._broke: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await asyncio.shield(self._close())

    async def _events(self) -> AsyncIterator[bytes]:
        """Whole events, each ended by an empty line."""
        event: list[str] = []
        try:
            async for line in self._response.aiter_lines():
                event.append(line)
                if not line:
                    if self._is_shown(event):
                        yield ("\n".join(event) + "\n").encode()
                    event = []
        except READ_FAILURES as error:
            self._broke = f"{type(error).__name__}: {error}"
            said = {"message": "the upstream's answer broke off", "type": "api_error"}
            yield b"data: " + orjson.dumps({"error": said}) + b"\n\n"
        else:
            if any(event) and self._is_shown(event):
                yield ("\n".join(event) + "\n\n").encode()

    def _is_shown(self, event: list[str]) -> bool:
        data = "\n".join(
            line.partition(":")[2].removeprefix(" ") for line in event if line.startswith("data:")
        )
        usage_alone = bool(data) and self._call.completion.read_event(data.encode())
        return self._call.shows_usage or not usage_alone

    async def _close(self) -> None:
        await self._held.aclose()
        if self._broke is not None:
            await self._call.broke_off(f"the answer broke off: {self._broke}")
        elif self._call.completion.done:
            await self._call.ended(self._response.status_code)
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
        raise ApiError(
            HTTPStatus.CONFLICT,
            f"this Idempotency-Key was used before, by the job {job.id}, which is "
            f"{say_status(job.state)}: GET /api/v1/jobs/{job.id} shows it",
            headers=headers,
        )
    return JsonResponse(job.output, headers=headers)


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


def _refuse_upstream_key(response: httpx.Response) -> None:
    """The upstream's refusal of our key must not pass for our refusal of the client's.

    Raises:
        ApiError: 502, if it is one.
    """
    if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise ApiError(
            HTTPStatus.BAD_GATEWAY,
            "the upstream refused Pressroom's own key (PRESSROOM_UPSTREAM_KEY)",
        )
