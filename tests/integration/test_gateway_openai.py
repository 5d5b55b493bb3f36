"""The OpenAI-compatible routes: passed through as they come, recorded whatever happens.

Against the emulator where it can do what is asked; else against an upstream of the test's own.
"""

import asyncio
import socket

import httpx
import orjson
import pytest
import uvicorn
from aiohttp import web
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import text

from endpoints.catalogue import Operation
from endpoints.client import RUNSYNC_BODY_BYTES
from models.attempt import Answer
from models.base import new_id
from models.handle import HandleKind, NewHandle
from models.job import JobState, OnUnknown, Reason, Route
from models.job_queries import JobFilter, list_attempts, list_jobs
from models.key import Scope
from models.setting import put_setting
from models.transitions import NewJob, claim_submissions
from tasks import control
from tasks.direct import HeldByAnother, open_direct_job
from tasks.sweep import sweep_lanes
from tests.integration.conftest import client_of, find_job

QWEN = "qwen3-32b-awq"
MODEL = "Qwen/Qwen3-32B-AWQ"
CHAT = f"/v2/{QWEN}/openai/v1/chat/completions"
TEXT = f"/v2/{QWEN}/openai/v1/completions"
FOXES = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me about foxes."}]}
STREAMED = {**FOXES, "stream": True}
WHOLE = {
    "id": "chatcmpl-1",
    "model": MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "A fox."}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 2000, "total_tokens": 3000},
}
DONE = b"data: [DONE]\n\n"


def event(text, **choice):
    """An event of a chat with more of its text."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None, **choice}]
    return b"data: " + orjson.dumps({"id": "chatcmpl-1", "choices": choices}) + b"\n\n"


def usage_event(input_tokens=1000, output_tokens=2000):
    usage = {"prompt_tokens": input_tokens, "completion_tokens": output_tokens}
    return b"data: " + orjson.dumps({"choices": [], "usage": usage}) + b"\n\n"


class Upstream:
    """An upstream that answers as the test says."""

    def __init__(self):
        self.bodies = []
        self.asked = asyncio.Event()
        self.cut_off = asyncio.Event()  # a call was closed while it was being answered
        self.reply()

    async def handle(self, request):
        self.bodies.append(orjson.loads(await request.read() or b"null"))
        self.asked.set()
        try:
            return await self.answer(request)
        except asyncio.CancelledError:
            self.cut_off.set()
            raise

    def reply(self, status=200, body=b"", content_type="application/json", **headers):
        async def answer(_request):
            content = body if isinstance(body, bytes) else orjson.dumps(body)
            headers_ = {"Content-Type": content_type, **headers}
            return web.Response(status=status, body=content, headers=headers_)

        self.answer = answer

    def stream(self, *parts, cut=False):
        """Parts are bytes to send, or events to wait for."""

        async def answer(request):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for part in parts:
                await (part.wait() if isinstance(part, asyncio.Event) else response.write(part))
            if cut:
                request.transport.close()
            return response

        self.answer = answer

    def drop(self):
        """The connection ends without an answer."""

        async def answer(request):
            request.transport.abort()
            return web.Response()

        self.answer = answer


@pytest.fixture
async def upstream(settings):
    upstream = Upstream()
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", settings.emulator_port).start()
    yield upstream
    await runner.cleanup()


@pytest.fixture
async def server(gateway_app, issue):
    """A client of the gateway over real connections, which can be closed."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(gateway_app, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        key, _ = await issue("server", Scope.RUN)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{listening.getsockname()[1]}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=10,
        ) as client:
            yield client
        server.should_exit = True
        await serving


@pytest.fixture(autouse=True)
async def _remembered_quota(runtime):
    """Redis has been there for long: what it does not know of was not sent."""
    await runtime.redis.set(f"{runtime.settings.redis_prefix}quota:since", 0)


async def find_jobs(runtime):
    async with runtime.database.begin() as session:
        return await list_jobs(session, JobFilter(), limit=None)


async def the_job(runtime):
    """The only job, and its only attempt."""
    [job] = await find_jobs(runtime)
    async with runtime.database.begin() as session:
        [attempt] = await list_attempts(session, job.id)
    return job, attempt


async def ended_job(runtime):
    """The same, once it has ended."""
    async with asyncio.timeout(5):
        while not (job := await the_job(runtime))[0].finished_at:  # noqa: ASYNC110 -- Postgres's
            await asyncio.sleep(0.01)
    return job


async def in_use(runtime, endpoint=QWEN):
    return (await runtime.quota.usage(Operation.OPENAI, endpoint)).at_once


async def until_unused(runtime):
    async with asyncio.timeout(5):
        while await in_use(runtime):  # noqa: ASYNC110 -- Redis's
            await asyncio.sleep(0.01)


async def sweep(runtime):
    """The sweep, when all that is waited for has run out; twice: unknown first, then decided."""
    for _ in range(2):
        async with runtime.database.begin() as session:
            await session.execute(text("UPDATE jobs SET next_at = now() WHERE next_at > now()"))
        await sweep_lanes(runtime)


def events_of(content):
    """The data of a stream's events."""
    lines = content.decode().split("\n\n")
    assert lines[-1] == ""
    data = [line.removeprefix("data: ") for line in lines[:-1]]
    return [one if one == "[DONE]" else orjson.loads(one) for one in data]


# Passed through


@pytest.mark.parametrize(
    ("path", "body"), [(CHAT, FOXES), (TEXT, {"model": MODEL, "prompt": "Tell me about foxes."})]
)
async def test_a_whole_reply_is_passed_on_and_its_job_recorded(
    client, runtime, emulator, path, body
):
    response = await client.post(path, json={**body, "max_tokens": 40})

    reply = response.json()
    job, attempt = await the_job(runtime)
    assert response.status_code == 200
    assert response.headers["Pressroom-Job"] == str(job.id)
    assert (job.state, job.route, job.endpoint) == (JobState.COMPLETED, Route.OPENAI, QWEN)
    assert job.input == {**body, "max_tokens": 40}
    assert job.output == reply
    assert (job.upstream_id, job.error, job.reason) == (reply["id"], None, None)
    assert (job.input_tokens, job.output_tokens) == (
        reply["usage"]["prompt_tokens"],
        reply["usage"]["completion_tokens"],
    )
    assert job.execution_ms > 0
    assert (attempt.answer, attempt.http_status, attempt.upstream_id) == (
        Answer.ACCEPTED,
        200,
        reply["id"],
    )
    ledger = (await emulator.get("/admin/ledger")).json()
    assert float(ledger["total_usd"]) == float(job.cost_usd) == float(attempt.cost_usd) > 0
    assert await in_use(runtime) == 0


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("shown", [False, True])
async def test_a_streamed_chat_ends_with_done_and_shows_usage_only_if_asked_for(
    client, runtime, shown
):
    asked = {"stream_options": {"include_usage": True}} if shown else {}

    response = await client.post(CHAT, json={**STREAMED, "max_tokens": 40, **asked})

    *events, done = events_of(response.content)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert done == "[DONE]"
    assert [event["choices"] == [] for event in events].count(True) == shown
    assert bool(events[-1].get("usage")) == shown
    said = "".join(
        choice["delta"].get("content", "") for event in events for choice in event["choices"]
    )
    job, attempt = await the_job(runtime)
    assert job.state is JobState.COMPLETED
    assert job.output["choices"][0]["message"] == {"role": "assistant", "content": said}
    assert job.output["choices"][0]["finish_reason"] == "length"
    assert job.output_tokens == 40
    assert job.output["usage"]["completion_tokens"] == 40
    assert job.cost_usd == attempt.cost_usd > 0
    assert await in_use(runtime) == 0


@pytest.mark.usefixtures("emulator")
async def test_a_streamed_text_is_recorded_as_it_would_have_come_whole(client, runtime):
    body = {"model": MODEL, "prompt": "Tell me about foxes.", "stream": True}

    response = await client.post(TEXT, json=body)

    *events, done = events_of(response.content)
    job, _ = await the_job(runtime)
    said = "".join(choice["text"] for event in events for choice in event["choices"])
    assert done == "[DONE]"
    assert job.output["choices"][0]["text"] == said != ""


async def test_the_cost_is_that_of_the_price_list(client, runtime, upstream):
    upstream.reply(body=WHOLE)

    await client.post(CHAT, json=FOXES)

    job, attempt = await the_job(runtime)
    assert float(job.cost_usd) == float(attempt.cost_usd) == 3000 * 10 / 1_000_000


async def test_the_first_event_arrives_before_the_last_is_sent(server, runtime, upstream):
    more = asyncio.Event()
    first, last = event("A "), event("fox.", finish_reason="stop")
    upstream.stream(first, more, last, usage_event(), DONE)

    async with server.stream("POST", CHAT, json=STREAMED) as response:
        parts = response.aiter_raw()
        came = await anext(parts)
        meanwhile = await in_use(runtime), (await the_job(runtime))[0].state
        more.set()
        rest = b"".join([part async for part in parts])

    assert (came, rest) == (first, last + DONE)
    assert meanwhile == (1, JobState.SUBMITTING)
    job, _ = await ended_job(runtime)
    assert (job.state, job.output_tokens) == (JobState.COMPLETED, 2000)


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_events_pass_byte_for_byte_however_they_are_cut(client, runtime, upstream, size):
    first = 'data: {"choices": [{"index": 0, "delta": {"content": "a\u2028b\x85c"}}]}\n\n'.encode()
    comment = b": ping\r\n\r\n"
    second = b'event: x\r\nid: 7\r\ndata:{"choices": [{"index": 0,\r\ndata: "delta": {}}]}\r\n\r\n'
    sent = first + comment + second + DONE
    usage = usage_event()
    whole = first + comment + usage + second + DONE
    upstream.stream(*(whole[at : at + size] for at in range(0, len(whole), size)))

    response = await client.post(CHAT, json=STREAMED)

    job, _ = await the_job(runtime)
    assert response.content == sent
    assert job.output["choices"][0]["message"]["content"] == "a\u2028b\x85c"
    assert job.input_tokens == 1000


async def test_usage_is_asked_for_beside_the_clients_own_options(client, upstream):
    upstream.stream(DONE)

    await client.post(CHAT, json={**STREAMED, "stream_options": {"chunk": 3}, "seed": 7})

    assert upstream.bodies == [
        {**STREAMED, "seed": 7, "stream_options": {"chunk": 3, "include_usage": True}}
    ]


async def test_a_whole_request_is_sent_as_it_came(client, upstream):
    upstream.reply(body=WHOLE)

    await client.post(CHAT, json={**FOXES, "n": 2, "logit_bias": {"50256": -100}})

    assert upstream.bodies == [{**FOXES, "n": 2, "logit_bias": {"50256": -100}}]


async def test_an_upstream_that_answers_whole_though_asked_to_stream_is_recorded(
    client, runtime, upstream
):
    upstream.reply(body=WHOLE)

    response = await client.post(CHAT, json=STREAMED)

    job, _ = await the_job(runtime)
    assert response.json() == WHOLE
    assert (job.state, job.output) == (JobState.COMPLETED, WHOLE)


@pytest.mark.usefixtures("emulator")
async def test_the_models_of_an_endpoint_are_the_upstreams(client, runtime):
    response = await client.get(f"/v2/{QWEN}/openai/v1/models")

    assert [model["id"] for model in response.json()["data"]] == [MODEL]
    assert await find_jobs(runtime) == []


# Clients that go away


async def leave(server, upstream, body, *, after):
    """Ask, and close the connection when `after` has come."""

    async def ask():
        async with server.stream("POST", CHAT, json=body) as response:
            async for _ in response.aiter_raw():
                seen.set()

    seen = asyncio.Event()
    asking = asyncio.create_task(ask())
    async with asyncio.timeout(5):
        await (seen if after == "an event" else upstream.asked).wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize(
    ("body", "parts", "after"),
    [
        (FOXES, "nothing", "the request"),
        (STREAMED, "nothing", "the request"),
        (FOXES, "half a body", "the request"),
        (STREAMED, "headers", "the request"),
        (STREAMED, "an event", "an event"),
    ],
)
async def test_a_client_that_goes_away_closes_the_upstreams_call_and_is_recorded_as_cancelled(
    server, runtime, upstream, *, body, parts, after
):
    never = asyncio.Event()

    async def answer(request):
        if parts != "nothing":
            kind = "text/event-stream" if body is STREAMED else "application/json"
            response = web.StreamResponse(headers={"Content-Type": kind})
            await response.prepare(request)
            if parts != "headers":
                await response.write(event("A ") if body is STREAMED else b'{"id": "x", ')
        await never.wait()

    upstream.answer = answer

    await leave(server, upstream, body, after=after)

    async with asyncio.timeout(5):
        await upstream.cut_off.wait()
    job, attempt = await ended_job(runtime)
    assert (job.state, job.reason) == (JobState.CANCELLED, Reason.CANCELLED)
    assert "client went away" in job.error
    assert attempt.answer is (Answer.ACCEPTED if parts == "an event" else Answer.UNKNOWN)
    if parts == "an event":
        assert job.output["choices"][0]["message"]["content"] == "A "
    await until_unused(runtime)


async def test_a_client_that_goes_after_the_last_word_has_had_it_all(server, runtime, upstream):
    never = asyncio.Event()
    upstream.stream(event("A fox."), usage_event(), DONE, never)

    async with server.stream("POST", CHAT, json=STREAMED) as response:
        async for part in response.aiter_raw():
            if part.endswith(DONE):
                break

    job, _ = await ended_job(runtime)
    assert (job.state, job.output_tokens) == (JobState.COMPLETED, 2000)


# Errors of the upstream


OPENAI_ERROR = {"error": {"message": "no such model", "type": "invalid_request_error", "code": 1}}


@pytest.mark.parametrize(
    ("status", "said", "to_client", "message", "answer", "reason"),
    [
        (400, OPENAI_ERROR, 400, "no such model", Answer.REFUSED, Reason.UPSTREAM_REFUSED),
        (404, OPENAI_ERROR, 404, "no such model", Answer.REFUSED, Reason.UPSTREAM_REFUSED),
        (422, OPENAI_ERROR, 422, "no such model", Answer.REFUSED, Reason.UPSTREAM_REFUSED),
        (
            400,
            {"object": "error", "message": "too long", "code": 400},
            400,
            "too long",
            Answer.REFUSED,
            Reason.UPSTREAM_REFUSED,
        ),
        (
            404,
            {"status": "FAILED", "error": "no such endpoint"},
            404,
            "no such endpoint",
            Answer.REFUSED,
            Reason.UPSTREAM_REFUSED,
        ),
        (401, OPENAI_ERROR, 502, "Pressroom's own key", Answer.BUSY, Reason.UPSTREAM_FAULT),
        (402, {}, 502, "Pressroom's own key", Answer.BUSY, Reason.UPSTREAM_FAULT),
        (403, b"<html>", 502, "Pressroom's own key", Answer.BUSY, Reason.UPSTREAM_FAULT),
        (429, OPENAI_ERROR, 429, "no such model", Answer.BUSY, Reason.UPSTREAM_FAULT),
        (500, OPENAI_ERROR, 500, "no such model", Answer.FAULT, Reason.UPSTREAM_FAULT),
        (500, b"<html>oops</html>", 500, "oops", Answer.FAULT, Reason.UPSTREAM_FAULT),
        (503, b"", 503, "HTTP 503", Answer.FAULT, Reason.UPSTREAM_FAULT),
        (302, b"", 502, "HTTP 302", Answer.REFUSED, Reason.UPSTREAM_REFUSED),
    ],
)
async def test_an_error_of_the_upstream_is_passed_on_in_openais_form(
    client, runtime, upstream, *, status, said, to_client, message, answer, reason
):
    upstream.reply(status, said, **{"Retry-After": "7"})

    response = await client.post(CHAT, json=FOXES)

    job, attempt = await the_job(runtime)
    assert response.status_code == to_client
    assert message in response.json()["error"]["message"]
    assert response.headers["Pressroom-Job"] == str(job.id)
    assert to_client == 502 or response.headers["Retry-After"] == "7"
    assert (job.state, job.reason) == (JobState.FAILED, reason)
    assert (attempt.answer, attempt.http_status) == (answer, status)
    assert await in_use(runtime) == 0


async def test_an_error_in_place_of_a_stream_is_one(client, runtime, upstream):
    upstream.reply(400, OPENAI_ERROR)

    response = await client.post(CHAT, json=STREAMED)

    assert (response.status_code, response.json()) == (400, OPENAI_ERROR)
    assert (await the_job(runtime))[0].state is JobState.FAILED


@pytest.mark.parametrize(
    ("body", "came"),
    [
        (FOXES, b"<html><body>It works!</body></html>"),
        (STREAMED, b"<html><body>It works!</body></html>"),
        (FOXES, orjson.dumps(WHOLE)[:50]),
        (FOXES, b""),
        (STREAMED, b""),
        (FOXES, b"[]"),
        (FOXES, b"null"),
        (FOXES, b'{"choices": 7}'),
        (FOXES, b'{"error": {"message": "CUDA out of memory"}}'),
    ],
)
async def test_a_success_that_is_no_completion_is_a_failure_that_clients_do_not_repeat(
    client, runtime, upstream, body, came
):
    upstream.reply(200, came)

    response = await client.post(CHAT, json=body)

    job, attempt = await the_job(runtime)
    assert (response.status_code, response.headers["x-should-retry"]) == (424, "false")
    assert (job.state, attempt.answer) == (JobState.FAILED, Answer.ACCEPTED)
    assert ("CUDA" in job.error) == (b"CUDA" in came)
    assert await in_use(runtime) == 0


@pytest.mark.parametrize("body", [FOXES, STREAMED])
@pytest.mark.parametrize("how", ["dropped", 502, 504, 524])
async def test_no_reply_is_an_outcome_unknown_that_is_never_sent_again(
    client, runtime, upstream, body, how
):
    upstream.drop() if how == "dropped" else upstream.reply(how, b"bad gateway")

    response = await client.post(CHAT, json=body)

    job, attempt = await the_job(runtime)
    assert (response.status_code, response.headers["x-should-retry"]) == (424, "false")
    assert (job.state, attempt.answer) == (JobState.UNKNOWN, Answer.UNKNOWN)
    assert await in_use(runtime) == 0
    await sweep(runtime)
    job, _ = await the_job(runtime)
    assert (job.state, job.reason) == (JobState.FAILED, Reason.OUTCOME_UNKNOWN)
    assert len(upstream.bodies) == 1


async def test_what_never_reached_the_upstream_may_be_sent_again(client, runtime):
    response = await client.post(CHAT, json=FOXES)

    job, attempt = await the_job(runtime)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert "cannot be reached" in response.json()["error"]["message"]
    assert (job.state, attempt.answer) == (JobState.FAILED, Answer.UNSENT)
    assert await in_use(runtime) == 0


async def test_a_whole_reply_that_is_cut_off_is_a_failure(client, runtime, upstream):
    async def answer(request):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"id": ')
        request.transport.abort()
        return response

    upstream.answer = answer

    response = await client.post(CHAT, json=FOXES)

    job, _ = await the_job(runtime)
    assert response.status_code == 424
    assert (job.state, job.reason) == (JobState.FAILED, Reason.UPSTREAM_FAULT)
    assert await in_use(runtime) == 0


async def read_stream(server, upstream, *parts, cut):
    """All that comes of a stream that ends, or is cut off, once its parts were received."""
    received = asyncio.Event()
    upstream.stream(*parts, received, cut=cut)
    content = b""
    async with server.stream("POST", CHAT, json=STREAMED) as response:
        async for part in response.aiter_raw():
            content += part
            if parts[-1] in content:
                received.set()
    return content


@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_is_cut_off_ends_with_an_error_and_is_recorded_as_failed(
    server, runtime, upstream, cut
):
    content = await read_stream(server, upstream, event("A "), event("fo"), cut=cut)

    first, second, last = events_of(content)
    job, attempt = await ended_job(runtime)
    assert first["choices"][0]["delta"] == {"content": "A "}
    assert second["choices"][0]["delta"] == {"content": "fo"}
    assert "broke off" in last["error"]["message"]
    assert (job.state, job.reason) == (JobState.FAILED, Reason.UPSTREAM_FAULT)
    assert job.output["choices"][0]["message"]["content"] == "A fo"
    assert (attempt.answer, attempt.http_status) == (Answer.ACCEPTED, 200)
    await until_unused(runtime)


@pytest.mark.parametrize("cut", [True, False])
async def test_after_its_last_word_a_stream_may_end_as_it_likes(server, runtime, upstream, cut):
    content = await read_stream(server, upstream, event("A fox."), usage_event(), DONE, cut=cut)

    job, _ = await ended_job(runtime)
    assert content == event("A fox.") + DONE
    assert (job.state, job.output_tokens) == (JobState.COMPLETED, 2000)


async def test_a_text_that_says_it_is_finished_needs_no_last_word(client, runtime, upstream):
    upstream.stream(event("A fox.", finish_reason="stop"), usage_event())

    response = await client.post(CHAT, json=STREAMED)

    job, _ = await the_job(runtime)
    assert response.content == event("A fox.", finish_reason="stop")
    assert (job.state, job.output_tokens) == (JobState.COMPLETED, 2000)


async def test_an_error_event_is_passed_on_and_recorded(client, runtime, upstream):
    error = b'data: {"error": {"message": "CUDA out of memory"}}\n\n'
    upstream.stream(event("A "), error, DONE)

    response = await client.post(CHAT, json=STREAMED)

    job, _ = await the_job(runtime)
    assert response.content == event("A ") + error + DONE
    assert job.state is JobState.FAILED
    assert "CUDA out of memory" in job.error


@pytest.mark.parametrize("status", [401, 403])
async def test_models_never_pass_on_a_refusal_of_our_own_key(client, upstream, status):
    upstream.reply(status, b"")

    response = await client.get(f"/v2/{QWEN}/openai/v1/models")

    assert response.status_code == 502


async def test_models_of_an_upstream_out_of_reach_are_to_be_asked_for_later(client):
    response = await client.get(f"/v2/{QWEN}/openai/v1/models")

    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")


# What Postgres cannot keep


@pytest.mark.parametrize("text", ["a\x00b", {"a\x00b": 1}])
async def test_a_nul_is_refused_before_anything_is_recorded_or_sent(
    client, runtime, upstream, text
):
    response = await client.post(CHAT, json={**FOXES, "user": text})

    assert response.status_code == 400
    assert "NUL" in response.json()["error"]["message"]
    assert await find_jobs(runtime) == []
    assert upstream.bodies == []


async def test_a_text_about_nul_is_none(client, runtime, upstream):
    upstream.reply(body=WHOLE)
    body = {**FOXES, "user": r"what is \u0000?"}

    response = await client.post(CHAT, json=body)

    assert response.status_code == 200
    assert (await the_job(runtime))[0].input == body


@pytest.mark.parametrize(
    ("said", "kept"),
    [(rb"a\u0000b", "ab"), (rb"a\ud83d", "a?"), (rb"a\ud83d\ude00", "a\U0001f600")],
)
@pytest.mark.parametrize("body", [FOXES, STREAMED])
async def test_what_postgres_cannot_keep_is_passed_on_and_the_rest_kept(
    client, runtime, upstream, *, body, said, kept
):
    key = b"delta" if body is STREAMED else b"message"
    reply = b'{"id": "x", "choices": [{"index": 0, "%s": {"content": "%s"}}]}' % (key, said)
    if body is STREAMED:
        reply = b"data: " + reply + b"\n\n" + DONE
        upstream.stream(reply)
    else:
        upstream.reply(body=reply)

    response = await client.post(CHAT, json=body)

    job, _ = await the_job(runtime)
    assert (response.status_code, response.content) == (200, reply)
    assert job.state is JobState.COMPLETED
    assert job.output["choices"][0]["message"]["content"] == kept


# The process dies


async def begin(runtime, issue, *, on_unknown=OnUnknown.RESUBMIT):
    """A job whose process is about to die: its lease is never extended again."""
    _, key_id = await issue("tests", Scope.RUN)
    job = NewJob(
        id=new_id(),
        endpoint=QWEN,
        input=FOXES,
        key_id=key_id,
        route=Route.OPENAI,
        on_unknown=on_unknown,
    )
    opened = open_direct_job(runtime, job, None)
    await opened.__aenter__()
    await opened.__aexit__(None, None, None)
    return job.id


async def test_a_job_whose_gateway_died_is_unknown_and_never_sent_again(runtime, issue):
    async with runtime.database.begin() as session:
        await put_setting(session, name="on_unknown", value="resubmit")
    job_id = await begin(runtime, issue, on_unknown=OnUnknown.RESUBMIT)
    async with runtime.database.begin() as session:
        await session.execute(text("UPDATE endpoint_stats SET hinted_at = now() + interval '1 s'"))

    await sweep(runtime)

    job = await find_job(runtime, job_id)
    assert (job.state, job.reason) == (JobState.FAILED, Reason.OUTCOME_UNKNOWN)
    async with runtime.database.begin() as session:
        claimed = await claim_submissions(
            session, endpoint=QWEN, limit=10, lease=new_id(), lease_seconds=60, proven=True
        )
    assert claimed == []
    assert await control.retry(runtime, [job_id]) == set()


async def test_a_job_that_is_being_sent_is_not_taken_from_a_gateway_that_lives(runtime, issue):
    job_id = await begin(runtime, issue)

    await sweep_lanes(runtime)

    assert (await find_job(runtime, job_id)).state is JobState.SUBMITTING


async def test_a_heart_beats_while_the_call_lasts_and_no_longer(runtime, issue, monkeypatch):
    monkeypatch.setattr("tasks.direct.HEARTBEAT_SECONDS", 0.01)
    _, key_id = await issue("tests", Scope.RUN)
    job = NewJob(id=new_id(), endpoint=QWEN, input=FOXES, key_id=key_id, route=Route.OPENAI)
    async with open_direct_job(runtime, job, None):
        async with runtime.database.begin() as session:
            await session.execute(text("UPDATE jobs SET next_at = now()"))
        async with asyncio.timeout(5):
            while True:
                held = await find_job(runtime, job.id)
                assert held.next_at is not None
                if (held.next_at - held.created_at).total_seconds() > 10:
                    break
                await asyncio.sleep(0.01)
        assert held.state is JobState.SUBMITTING
    left = [task for task in asyncio.all_tasks() if not task.cancelling()]
    assert not any("coro=<_beat(" in repr(task) for task in left)


# Idempotency-Key


async def test_a_name_of_a_completed_job_is_answered_from_what_is_stored(client, runtime, upstream):
    upstream.reply(body=WHOLE)
    named = {"Idempotency-Key": "fox-1"}

    first = await client.post(CHAT, json=FOXES, headers=named)
    again = await client.post(CHAT, json=FOXES, headers=named)

    assert first.json() == again.json() == WHOLE
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Pressroom-Job"] == first.headers["Pressroom-Job"]
    assert len(upstream.bodies) == len(await find_jobs(runtime)) == 1
    assert await in_use(runtime) == 0


async def test_a_name_of_a_job_under_way_is_a_conflict_and_sent_once(client, runtime, upstream):
    more = asyncio.Event()

    async def answer(_request):
        await more.wait()
        return web.json_response(WHOLE)

    upstream.answer = answer
    named = {"Idempotency-Key": "fox-1"}
    first = asyncio.create_task(client.post(CHAT, json=FOXES, headers=named))
    await upstream.asked.wait()

    again = await client.post(CHAT, json=FOXES, headers=named)
    used = await in_use(runtime)
    more.set()

    assert again.status_code == 409
    assert "IN_QUEUE" in again.json()["error"]["message"]
    assert "x-should-retry" not in again.headers
    assert used == 1  # that of the first alone
    assert (await first).status_code == 200
    assert len(upstream.bodies) == 1


async def test_of_many_at_once_under_one_name_one_is_sent(client, runtime, upstream):
    upstream.reply(body=WHOLE)
    named = {"Idempotency-Key": "fox-1"}

    responses = await asyncio.gather(
        *(client.post(CHAT, json=FOXES, headers=named) for _ in range(10))
    )

    assert {response.status_code for response in responses} <= {200, 409}
    assert len(upstream.bodies) == len(await find_jobs(runtime)) == 1
    assert await in_use(runtime) == 0


@pytest.mark.parametrize(
    ("path", "body"), [(CHAT, {**FOXES, "seed": 1}), (CHAT, STREAMED), (TEXT, FOXES)]
)
async def test_a_name_of_another_request_is_refused(client, upstream, path, body):
    upstream.reply(body=WHOLE)
    named = {"Idempotency-Key": "fox-1"}
    await client.post(CHAT, json=FOXES, headers=named)

    response = await client.post(path, json=body, headers=named)

    assert response.status_code == 422
    assert len(upstream.bodies) == 1


@pytest.mark.parametrize("body", [FOXES, STREAMED])
async def test_a_name_of_a_job_without_a_reply_to_show_is_a_conflict_not_to_be_repeated(
    client, upstream, body
):
    upstream.stream(DONE) if body is STREAMED else upstream.reply(400, OPENAI_ERROR)
    named = {"Idempotency-Key": "fox-1"}
    await client.post(CHAT, json=body, headers=named)

    response = await client.post(CHAT, json=body, headers=named)

    assert (response.status_code, response.headers["x-should-retry"]) == (409, "false")
    assert len(upstream.bodies) == 1


async def test_a_name_is_free_again_where_the_client_is_asked_to_come_again(
    client, runtime, upstream
):
    named = {"Idempotency-Key": "fox-1"}
    upstream.reply(429, OPENAI_ERROR)
    refused = await client.post(CHAT, json=FOXES, headers=named)
    upstream.reply(200, WHOLE)

    response = await client.post(CHAT, json=FOXES, headers=named)

    assert (refused.status_code, response.status_code) == (429, 200)
    assert len(await find_jobs(runtime)) == 2


async def test_a_text_without_an_id_is_in_the_ledger_with_its_cost(client, runtime, upstream):
    upstream.reply(200, {name: value for name, value in WHOLE.items() if name != "id"})

    await client.post(CHAT, json=FOXES)

    job, attempt = await the_job(runtime)
    assert job.upstream_id is None
    assert attempt.cost_usd == job.cost_usd > 0


async def test_a_name_is_one_keys_own(client, gateway_app, issue, upstream):
    upstream.reply(body=WHOLE)
    named = {"Idempotency-Key": "fox-1"}
    await client.post(CHAT, json=FOXES, headers=named)
    other, _ = await issue("other", Scope.RUN)

    async with client_of(gateway_app, other) as others:
        response = await others.post(CHAT, json=FOXES, headers=named)

    assert "Idempotency-Replayed" not in response.headers
    assert len(upstream.bodies) == 2


async def test_a_job_of_a_taken_name_writes_nothing(runtime, issue):
    _, key_id = await issue("tests", Scope.RUN)

    def named(job_id):
        return NewHandle(
            key_id=key_id,
            kind=HandleKind.IDEMPOTENCY_KEY,
            name="fox-1",
            job_id=job_id,
            request_hash="a",
        )

    jobs = [NewJob(id=new_id(), endpoint=QWEN, input=FOXES, key_id=key_id) for _ in range(2)]
    async with open_direct_job(runtime, jobs[0], named(jobs[0].id)):
        with pytest.raises(HeldByAnother) as held:
            await open_direct_job(runtime, jobs[1], named(jobs[1].id)).__aenter__()

    assert held.value.held.job_id == jobs[0].id
    assert [job.id for job in await find_jobs(runtime)] == [jobs[0].id]


# The upstream's limits


async def limit(runtime, gateway_app, **override):
    """A limit of the operator's own, known to the gateway at once."""
    async with runtime.database.begin() as session:
        await put_setting(session, name="limits", value={QWEN: {"openai": override}})
    await gateway_app.state.gateway.runtime.operator.get(fresh=True)


async def test_beyond_the_upstreams_limit_a_call_waits_and_then_is_refused(
    client, runtime, gateway_app, upstream, monkeypatch
):
    monkeypatch.setattr("workers.permit.PATIENCE_SECONDS", 0.1)
    await limit(runtime, gateway_app, concurrent=1)
    more = asyncio.Event()

    async def answer(_request):
        await more.wait()
        return web.json_response(WHOLE)

    upstream.answer = answer
    first = asyncio.create_task(client.post(CHAT, json=FOXES))
    await upstream.asked.wait()

    second = await client.post(CHAT, json=FOXES)
    more.set()
    await first
    third = await client.post(CHAT, json=FOXES)

    assert (second.status_code, third.status_code) == (429, 200)
    assert int(second.headers["Retry-After"]) >= 1
    assert "limit" in second.json()["error"]["message"]
    assert len(await find_jobs(runtime)) == len(upstream.bodies) == 2


async def test_a_permit_that_comes_free_in_time_is_waited_for(
    client, runtime, gateway_app, upstream, monkeypatch
):
    monkeypatch.setattr("endpoints.quota.RECHECK_SECONDS", 0.01)
    await limit(runtime, gateway_app, concurrent=1)
    upstream.reply(body=WHOLE)

    responses = await asyncio.gather(*(client.post(CHAT, json=FOXES) for _ in range(4)))

    assert [response.status_code for response in responses] == [200] * 4


async def test_without_redis_a_call_is_not_made_and_the_client_told_to_come_again(
    client, runtime, gateway_app, upstream, monkeypatch
):
    async def take(*_args, **_options):
        raise RedisConnectionError("no Redis")

    monkeypatch.setattr(gateway_app.state.gateway.runtime.quota, "take", take)

    response = await client.post(CHAT, json=FOXES)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert "Redis" in response.json()["error"]["message"]
    assert await find_jobs(runtime) == upstream.bodies == []


async def test_permits_that_cannot_be_given_back_spoil_no_reply(
    client, runtime, gateway_app, upstream, monkeypatch
):
    async def give_back(*_args, **_options):
        raise RedisConnectionError("no Redis")

    upstream.reply(body=WHOLE)
    monkeypatch.setattr(gateway_app.state.gateway.runtime.quota, "give_back", give_back)

    response = await client.post(CHAT, json=FOXES)

    assert response.status_code == 200
    assert (await the_job(runtime))[0].state is JobState.COMPLETED


async def test_a_quota_that_redis_forgot_is_taken_to_have_been_used_in_full(
    client, runtime, gateway_app, upstream, monkeypatch
):
    monkeypatch.setattr("workers.permit.PATIENCE_SECONDS", 0.1)
    await limit(runtime, gateway_app, per_10_seconds=20)
    await runtime.redis.flushall()
    upstream.reply(body=WHOLE)

    response = await client.post(CHAT, json=FOXES)

    assert response.status_code == 429
    usage = await runtime.quota.usage(Operation.OPENAI, QWEN)
    assert (usage.in_window, usage.at_once) == (20, 0)
    assert upstream.bodies == []


async def test_each_end_counts_against_the_window_once(client, runtime, upstream):
    for answer in (lambda: upstream.reply(body=WHOLE), lambda: upstream.reply(500), upstream.drop):
        answer()
        await client.post(CHAT, json=FOXES)
    upstream.stream(DONE)
    await client.post(CHAT, json=STREAMED)

    usage = await runtime.quota.usage(Operation.OPENAI, QWEN)

    assert (usage.in_window, usage.at_once) == (4, 0)


# Who may, and how much


@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("POST", TEXT), ("GET", "models")])
async def test_without_a_key_nothing_is_sent(gateway, runtime, upstream, method, path):
    path = path if path != "models" else f"/v2/{QWEN}/openai/v1/models"

    response = await gateway.request(method, path, json=FOXES)

    assert response.status_code == 401
    assert response.json()["error"]["type"] == "authentication_error"
    assert upstream.bodies == await find_jobs(runtime) == []


async def test_a_key_that_may_read_alone_sends_nothing(gateway_app, issue, upstream):
    key, _ = await issue("reader", Scope.READ)

    async with client_of(gateway_app, key) as reader:
        response = await reader.post(CHAT, json=FOXES)

    assert response.status_code == 403
    assert upstream.bodies == []


def body_of(size):
    """A request of so many bytes."""
    empty = len(orjson.dumps({**FOXES, "user": ""}))
    return orjson.dumps({**FOXES, "user": "x" * (size - empty)})


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp's advice: it takes 10 ms
@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 413)])
async def test_a_body_may_have_twenty_megabytes_and_no_byte_more(client, upstream, over, status):
    upstream.reply(body=WHOLE)

    response = await client.post(
        CHAT,
        content=body_of(RUNSYNC_BODY_BYTES + over),
        headers={"Content-Type": "application/json"},
    )

    assert response.status_code == status
    assert len(upstream.bodies) == (status == 200)
    if status == 413:
        assert "20,000,001" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"nonsense", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"a": NaN}', "application/json", 400),
        (b'{"a": "\xff"}', "application/json", 400),
        (b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "application/json", 400),
        (b"{}", "text/plain", 415),
    ],
)
async def test_a_body_that_is_no_object_is_refused_in_openais_form(
    client, runtime, upstream, *, content, content_type, status
):
    response = await client.post(CHAT, content=content, headers={"Content-Type": content_type})

    assert response.status_code == status
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert upstream.bodies == await find_jobs(runtime) == []


@pytest.mark.parametrize("endpoint", ["a%20b", "%2e%2e", "a%2Fb", "x" * 200])
async def test_what_is_no_endpoint_is_not_found(client, runtime, upstream, endpoint):
    response = await client.post(f"/v2/{endpoint}/openai/v1/chat/completions", json=FOXES)

    assert response.status_code == 404
    assert upstream.bodies == await find_jobs(runtime) == []
