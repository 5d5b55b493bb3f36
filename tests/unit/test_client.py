"""How a call ends when the connection breaks, on servers on 127.0.0.1 that break it on purpose."""

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

import httpx
import orjson
import pytest

from endpoints.client import READ_FAILURES, CallFailed, UpstreamClient, open_transport
from endpoints.outcomes import (
    Accepted,
    Busy,
    BusyCause,
    Ended,
    Fault,
    Pieces,
    Running,
    Unknown,
    UpstreamState,
)

ACCEPTED = b'{"id": "job-1", "status": "IN_QUEUE"}'


@dataclass
class Server:
    """A raw server, and what it was asked."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def serving(answer):
    """Serve until the end of the block.

    `answer` writes what it likes to each request, and says whether the connection stays open.
    """
    server = Server()
    handlers: set[asyncio.Task[None]] = set()

    async def connected(reader, writer):
        handler = asyncio.current_task()
        assert handler is not None
        handlers.add(handler)
        try:
            while request := await read_request(reader):
                server.requests.append(request)
                if not await answer(server, writer):
                    break
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v2"
    try:
        yield server
    finally:
        listening.close()
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def read_request(reader):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    body = await reader.readexactly(int(length[0].partition(b":")[2])) if length else b""
    return head + body


def reply(body, status=b"200 OK"):
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )


def reset(writer):
    """Close the connection with a RST, as a crashed machine's kernel does."""
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@asynccontextmanager
async def client_of(url):
    async with UpstreamClient(open_transport(), base_url=url, key="rpa_secret") as client:
        yield client


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_a_submit_carries_the_key_the_input_and_the_webhook():
    async def answer(_server, writer):
        writer.write(reply(ACCEPTED))
        return True

    async with serving(answer) as server, client_of(server.url) as client:
        outcome = await client.submit("flux", {"prompt": "a fox"}, webhook="http://we/hints/1")

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert outcome == Accepted("job-1", 200)
    assert head.startswith(b"POST /v2/flux/run HTTP/1.1\r\n")
    assert b"authorization: bearer rpa_secret" in head.lower()
    assert orjson.loads(body) == {"input": {"prompt": "a fox"}, "webhook": "http://we/hints/1"}


async def test_nothing_listening_is_busy_for_it_is_sure_that_nothing_was_sent():
    async with client_of(f"http://127.0.0.1:{closed_port()}/v2") as client:
        submitted = await client.submit("flux", {})
        polled = await client.poll("flux", "job-1")
        checked = await client.check("flux")

    for outcome in (submitted, polled):
        assert isinstance(outcome, Busy)
        assert (outcome.cause, outcome.http_status) == (BusyCause.UNREACHABLE, None)
    assert checked is not None
    assert "cannot be reached" in checked


async def test_a_name_that_does_not_resolve_is_busy():
    async with client_of("http://nowhere.invalid/v2") as client:
        outcome = await client.submit("flux", {})

    assert isinstance(outcome, Busy)
    assert outcome.cause is BusyCause.UNREACHABLE


async def close_after_reading(_server, _writer):
    return False


async def reset_after_reading(_server, writer):
    reset(writer)
    return False


async def break_off_the_body(_server, writer):
    writer.write(reply(ACCEPTED)[:-10])
    await writer.drain()
    return False


async def break_off_the_headers(_server, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    return False


async def speak_another_protocol(_server, writer):
    writer.write(b"220 mail.example.org ESMTP\r\n")
    await writer.drain()
    return False


async def promise_gzip(_server, writer):
    writer.write(reply(ACCEPTED).replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1))
    await writer.drain()
    return False


@pytest.mark.parametrize(
    "answer",
    [
        close_after_reading,
        reset_after_reading,
        break_off_the_body,
        break_off_the_headers,
        speak_another_protocol,
        promise_gzip,
    ],
)
async def test_a_reply_that_breaks_after_the_request_was_read_is_unknown_and_sent_once(answer):
    async with serving(answer) as server, client_of(server.url) as client:
        outcome = await client.submit("flux", {"prompt": "a fox"})

        assert isinstance(outcome, Unknown)
        assert outcome.error.startswith("no reply to /run: ")
        assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [reset_after_reading, break_off_the_body, promise_gzip])
async def test_a_poll_whose_reply_breaks_is_a_fault(answer):
    async with serving(answer) as server, client_of(server.url) as client:
        outcome = await client.poll("flux", "job-1")

    assert isinstance(outcome, Fault)
    assert outcome.error.startswith("no answer: ")


async def hang(_server, _writer):
    await asyncio.Event().wait()


async def drip(_server, writer):
    for byte in reply(ACCEPTED):
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
    return True


@pytest.mark.parametrize("answer", [hang, drip])
async def test_a_reply_that_takes_too_long_is_unknown(monkeypatch, answer):
    monkeypatch.setattr("endpoints.client.SUBMIT_SECONDS", 0.1)
    async with serving(answer) as server, client_of(server.url) as client:
        outcome = await client.submit("flux", {})

        assert isinstance(outcome, Unknown)
        assert len(server.requests) == 1


async def test_a_poll_that_takes_too_long_is_a_fault(monkeypatch):
    monkeypatch.setattr("endpoints.client.POLL_SECONDS", 0.1)
    async with serving(hang) as server, client_of(server.url) as client:
        outcome = await client.poll("flux", "job-1")

    assert isinstance(outcome, Fault)


async def test_a_submit_into_a_kept_connection_that_the_server_closed_is_never_sent_twice():
    async def answer_once(server, writer):
        if len(server.requests) > 1:
            return False  # the second request on the connection is read, and then it is closed
        writer.write(reply(ACCEPTED))
        return True

    async with serving(answer_once) as server, client_of(server.url) as client:
        first = await client.submit("flux", {})
        second = await client.submit("flux", {})

        assert isinstance(first, Accepted)
        assert isinstance(second, Unknown)
        assert len(server.requests) == 2


async def test_a_redirect_is_not_followed():
    async def answer(server, writer):
        location = b"307 Temporary Redirect\r\nLocation: " + server.url.encode()
        writer.write(reply(b"", location))
        return True

    async with serving(answer) as server, client_of(server.url) as client:
        outcome = await client.submit("flux", {})

    assert isinstance(outcome, Fault)
    assert len(server.requests) == 1


def scripted(respond):
    transport = httpx.MockTransport(respond)
    return UpstreamClient(transport, base_url="https://upstream.test/v2/", key="rpa_secret")


@pytest.mark.parametrize("upstream_id", ["../../x/purge-queue", "a b?c=d#e", "ü\n", "sync-1/u"])
async def test_an_id_stays_one_part_of_the_path_whatever_is_in_it(upstream_id):
    async def answer(_server, writer):
        writer.write(reply(b'{"id": "job-1", "status": "IN_PROGRESS"}'))
        return True

    async with serving(answer) as server, client_of(server.url) as client:
        outcome = await client.poll("flux", upstream_id)

    assert isinstance(outcome, Running)
    path = server.requests[0].split(b" ")[1].decode()
    assert path.count("/") == 4
    assert unquote(path) == f"/v2/flux/status/{upstream_id}"


async def test_a_cancel_is_a_post_and_its_reply_is_read_as_a_poll():
    asked = []

    def respond(request):
        asked.append((request.method, request.url.path))
        return httpx.Response(200, json={"id": "job-1", "status": "CANCELLED"})

    async with scripted(respond) as client:
        outcome = await client.cancel("flux", "job-1")

    assert isinstance(outcome, Ended)
    assert asked == [("POST", "/v2/flux/cancel/job-1")]


@pytest.mark.parametrize(
    ("status", "said"),
    [(200, None), (401, "refused the key"), (403, "refused the key"), (503, "HTTP 503")],
)
async def test_a_check_says_what_is_wrong_with_the_key(status, said):
    async with scripted(lambda _: httpx.Response(status, json={})) as client:
        found = await client.check("flux")

    assert found == said or (said is not None and found is not None and said in found)


async def test_the_key_is_in_no_outcome():
    async with serving(reset_after_reading) as server, client_of(server.url) as client:
        outcome = await client.submit("flux", {})

    assert "rpa_secret" not in repr(outcome)


async def read_answer(client):
    async with client.open("POST", "flux/openai/v1/completions", content=b"{}") as response:
        return response.status_code, await response.aread()


async def test_an_open_call_is_read_as_it_comes_whatever_its_status():
    async def answer(_server, writer):
        writer.write(reply(b"nonsense", b"400 Bad Request"))
        return True

    async with serving(answer) as server, client_of(server.url) as client:
        assert await read_answer(client) == (400, b"nonsense")

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/flux/openai/v1/completions HTTP/1.1\r\n")
    assert b"authorization: bearer rpa_secret" in head.lower()
    assert body == b"{}"


async def test_an_open_call_that_reaches_nobody_was_never_sent():
    async with client_of(f"http://127.0.0.1:{closed_port()}/v2") as client:
        with pytest.raises(CallFailed) as failed:
            await read_answer(client)

    assert failed.value.never_sent


@pytest.mark.parametrize(
    "answer", [close_after_reading, reset_after_reading, break_off_the_headers]
)
async def test_an_open_call_without_an_answer_may_have_been_sent_and_is_not_repeated(answer):
    async with serving(answer) as server, client_of(server.url) as client:
        with pytest.raises(CallFailed) as failed:
            await read_answer(client)

    assert not failed.value.never_sent
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [break_off_the_body, promise_gzip])
async def test_what_breaks_while_an_open_call_is_read_is_one_of_the_failures_of_reading(answer):
    async with serving(answer) as server, client_of(server.url) as client:
        with pytest.raises(READ_FAILURES):
            await read_answer(client)

    assert len(server.requests) == 1


async def test_an_open_call_that_is_left_is_closed():
    """The upstream sees that nobody reads on."""
    closed = asyncio.Event()

    async def answer(_server, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"1\r\na\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        closed.set()
        return False

    async with serving(answer) as server, client_of(server.url) as client:
        async with client.open("GET", "flux/openai/v1/models") as response:
            assert await anext(response.aiter_bytes()) == b"a"
        async with asyncio.timeout(5):
            await closed.wait()


async def test_pieces_are_asked_for_by_the_id_as_one_part_of_the_path():
    async def answer(_server, writer):
        writer.write(reply(b'{"status": "IN_PROGRESS", "stream": [{"output": "a"}]}'))
        return True

    async with serving(answer) as server, client_of(server.url) as client:
        pieces = await client.read_pieces("flux", "a/b?c")

    assert pieces == Pieces(UpstreamState.IN_PROGRESS, ("a",))
    assert server.requests[0].startswith(b"GET /v2/flux/stream/a%2Fb%3Fc HTTP/1.1\r\n")


async def test_pieces_of_an_upstream_out_of_reach_are_busy_and_of_one_that_breaks_a_fault():
    async with client_of(f"http://127.0.0.1:{closed_port()}/v2") as client:
        away = await client.read_pieces("flux", "job-1")
    async with serving(close_after_reading) as server, client_of(server.url) as client:
        broken = await client.read_pieces("flux", "job-1")

    assert isinstance(away, Busy)
    assert isinstance(broken, Fault)


async def test_workers_that_are_not_counted_in_time_are_not_known(monkeypatch):
    monkeypatch.setattr("endpoints.client.WORKERS_SECONDS", 0.05)

    async with serving(hang) as server, client_of(server.url) as client:
        assert await client.count_workers("flux") is None


@pytest.mark.parametrize("sync", [False, True])
async def test_what_comes_beside_the_input_is_sent_by_run_and_by_runsync_alike(sync):
    async def answer(_server, writer):
        writer.write(reply(ACCEPTED))
        return True

    policy, s3_config = {"ttl": 10_000}, {"accessSecret": "s"}
    async with serving(answer) as server, client_of(server.url) as client:
        await client.submit("flux", {"a": 1}, policy=policy, s3_config=s3_config, sync=sync)

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    path = b"/v2/flux/runsync?wait=1000" if sync else b"/v2/flux/run"
    assert head.startswith(b"POST " + path + b" HTTP/1.1\r\n")
    assert orjson.loads(body) == {"input": {"a": 1}, "policy": policy, "s3Config": s3_config}


@pytest.mark.parametrize(
    ("sync", "most"), [(False, "RUN_BODY_BYTES"), (True, "RUNSYNC_BODY_BYTES")]
)
@pytest.mark.parametrize("over", [0, 1])
async def test_a_webhook_that_would_make_the_body_too_large_is_left_out(
    monkeypatch, *, sync, most, over
):
    async def answer(_server, writer):
        writer.write(reply(ACCEPTED))
        return True

    with_webhook = {"input": {"a": 1}, "webhook": "http://we/hints/1"}
    monkeypatch.setattr(f"endpoints.client.{most}", len(orjson.dumps(with_webhook)) - over)

    async with serving(answer) as server, client_of(server.url) as client:
        await client.submit("flux", {"a": 1}, webhook="http://we/hints/1", sync=sync)

    _, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert orjson.loads(body) == ({"input": {"a": 1}} if over else with_webhook)
