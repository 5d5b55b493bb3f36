"""The OpenAI-compatible route: chat and text completions, whole or as a stream of events.

Behind it is an ordinary runsync job of the same endpoint, so that workers, faults and bills are the
same whichever way a text is asked for.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from endpoints.emulator.bodies import BadRequest, RunBody, parse_object
from endpoints.emulator.calls import Call, json_response, route
from endpoints.emulator.jobs import Policy, State
from endpoints.emulator.operations import (
    RUNSYNC_BODY_BYTES,
    base_url,
    read_bytes,
    wait_for_end,
)
from endpoints.emulator.outputs import prompt_of, text_pieces

USUAL_MAX_TOKENS: Final = 16  # a trap of the documented kind: native routes default to 512 and more
WAIT_SECONDS: Final = 600.0
PIECE_SECONDS: Final = 0.05  # between two events of a stream, on the emulated clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A finished text and the figures that go with it."""

    id: str
    model: str
    pieces: list[str]
    input_tokens: int
    output_tokens: int
    finish_reason: str

    @property
    def usage(self) -> dict[str, int]:
        """The token counts, in OpenAI's words."""
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }


class Rejected(Exception):
    """The request is answered with an error in OpenAI's form."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error


def add_openai_routes(app: web.Application) -> None:
    """Add the three paths below /openai/v1."""
    base = "/v2/{endpoint}/openai/v1"
    app.router.add_post(f"{base}/chat/completions", route("openai", complete_chat))
    app.router.add_post(f"{base}/completions", route("openai", complete_text))
    app.router.add_get(f"{base}/models", route("openai-models", list_models))


async def complete_chat(call: Call) -> web.StreamResponse:
    """Answer POST /chat/completions."""
    return await _answer(call, chat=True)


async def complete_text(call: Call) -> web.StreamResponse:
    """Answer POST /completions."""
    return await _answer(call, chat=False)


async def list_models(call: Call) -> web.Response:
    """Answer GET /models."""
    models = [{"id": name, "object": "model", "owned_by": "emulator"} for name in _models(call)]
    return json_response({"object": "list", "data": models})


async def _answer(call: Call, *, chat: bool) -> web.StreamResponse:
    try:
        body = parse_object(await read_bytes(call.request, most_bytes=RUNSYNC_BODY_BYTES))
        completion = await _complete(call, body, needs="messages" if chat else "prompt")
    except BadRequest as error:
        return _error(HTTPStatus.BAD_REQUEST, str(error))
    except Rejected as rejected:
        return _error(rejected.status, rejected.error)
    if body.get("stream"):
        return await _stream(call, completion, chat=chat, wants_usage=_wants_usage(body))
    text = "".join(completion.pieces)
    said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    choice = {"index": 0, **said, "finish_reason": completion.finish_reason}
    kind = "chat.completion" if chat else "text_completion"
    return json_response(_envelope(completion, kind, [choice]) | {"usage": completion.usage})


async def _complete(call: Call, body: dict[str, object], *, needs: str) -> Completion:
    """Run the job behind a request."""
    models = _models(call)
    model = body.get("model")
    if model not in models:
        raise Rejected(
            HTTPStatus.NOT_FOUND, f"model: {model!r} is not one of {', '.join(models) or 'any'}"
        )
    if not body.get(needs):
        raise BadRequest(f"{needs}: missing or empty")
    max_tokens = body.get("max_tokens", USUAL_MAX_TOKENS)
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1:
        raise BadRequest(f"max_tokens: {max_tokens!r} is not an integer of at least 1")
    values = _native_input(call, body, max_tokens=max_tokens)
    problems = call.served.find_problems(values)
    if problems:
        raise BadRequest("; ".join(problems))
    run_body = RunBody(input=values, webhook=None, policy=Policy())
    job = call.upstream.accept(call.served, run_body, sync=True, base_url=base_url(call.request))
    await wait_for_end(call, job, WAIT_SECONDS)
    if job.state is not State.COMPLETED:
        raise Rejected(HTTPStatus.INTERNAL_SERVER_ERROR, job.error or f"the job is {job.state}")
    used = _usage(job.output)
    return Completion(
        id=f"chatcmpl-{job.id}",
        model=str(model),
        pieces=_joinable(text_pieces(job.output)),
        input_tokens=used.get("input", 0),
        output_tokens=used.get("output", 0),
        finish_reason="length" if used.get("output", 0) >= max_tokens else "stop",
    )


async def _stream(
    call: Call, completion: Completion, *, chat: bool, wants_usage: bool
) -> web.StreamResponse:
    """Send a completion as server-sent events."""
    kind = "chat.completion.chunk" if chat else "text_completion"
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(call.request)

    async def send(choices: list[object], **more: object) -> None:
        event = _envelope(completion, kind, choices) | more
        await response.write(f"data: {json.dumps(event)}\n\n".encode())

    if chat:
        start = {"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}
        await send([start])
    for piece in completion.pieces:
        said = {"delta": {"content": piece}} if chat else {"text": piece}
        await send([{"index": 0, **said, "finish_reason": None}])
        if call.upstream.clock.factor:
            await asyncio.sleep(call.upstream.clock.real_seconds(PIECE_SECONDS))
    end: dict[str, object] = {"delta": {}} if chat else {"text": ""}
    await send([{"index": 0, **end, "finish_reason": completion.finish_reason}])
    if wants_usage:
        await send([], usage=completion.usage)
    await response.write(b"data: [DONE]\n\n")
    return response


def _native_input(call: Call, body: Mapping[str, object], *, max_tokens: int) -> dict[str, object]:
    """Say an OpenAI body in the words of the endpoint's own input."""
    endpoint = call.served.endpoint
    if endpoint is None:
        return dict(body)
    if "messages" not in endpoint.schema["properties"]:
        return {"prompt": prompt_of(body), "max_tokens": max_tokens}
    messages = body.get("messages", [{"role": "user", "content": body.get("prompt")}])
    values: dict[str, object] = {
        "messages": messages,
        "sampling_params": {"max_tokens": max_tokens},
    }
    model = endpoint.schema["properties"].get("model", {})
    if body["model"] in model.get("enum", ()):  # the endpoint's own name stands for its default
        values["model"] = body["model"]
    return values


def _models(call: Call) -> tuple[str, ...]:
    endpoint = call.served.endpoint
    return (call.served.name,) if endpoint is None else endpoint.openai or ()


def _usage(output: object) -> dict[str, int]:
    match output[0] if isinstance(output, list) else output:
        case {"usage": dict(usage)}:
            return usage
    return {}


def _joinable(pieces: list[object]) -> list[str]:
    """Return pieces that make up the text when they are put together."""
    texts = [piece if isinstance(piece, str) else json.dumps(piece) for piece in pieces]
    return [text + " " for text in texts[:-1]] + texts[-1:]


def _wants_usage(body: Mapping[str, object]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, Mapping) and bool(options.get("include_usage"))


def _envelope(completion: Completion, kind: str, choices: list[object]) -> dict[str, object]:
    return {
        "id": completion.id,
        "object": kind,
        "created": int(time.time()),
        "model": completion.model,
        "choices": choices,
    }


def _error(status: int, message: str) -> web.Response:
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    error = {"message": message, "type": kind, "code": int(status)}
    return json_response({"error": error}, status=status)
