"""The calls to the upstream. Each ends in an outcome, whatever happens.

httpx speaks through aiohttp's connections: its own pool fails at a few hundred requests at once.
That transport reports a connection that broke *after* the request was sent as a
`ConnectTimeout`, so what was raised is not what is asked: only aiohttp's own connector errors,
found as the cause, prove that nothing was sent. A POST whose connection broke is never repeated
here, by us or by aiohttp (which repeats idempotent methods only).
"""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from endpoints.outcomes import (
    Busy,
    BusyCause,
    Fault,
    Pieces,
    PollOutcome,
    SubmitOutcome,
    Unknown,
)
from endpoints.replies import read_pieces, read_poll, read_submit, read_workers

CONNECT_SECONDS = 5.0
SUBMIT_SECONDS = 30.0  # total, for one /run
POLL_SECONDS = 15.0  # total, for one /status or /cancel
# What the upstream takes, in bytes; ours are never larger.
RUN_BODY_BYTES = 10_000_000
RUNSYNC_BODY_BYTES = 20_000_000
SHORTEST_WAIT_MS = 1_000  # of a /runsync
KEEPALIVE_SECONDS = 10.0  # well under what servers allow: a POST into a closed one is an unknown
# aiohttp's own pass through the transport where it knows no httpx word for them: a garbled reply.
READ_FAILURES = (httpx.HTTPError, aiohttp.ClientError, TimeoutError, OSError)
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_TIMEOUT = httpx.Timeout(SUBMIT_SECONDS, connect=CONNECT_SECONDS, pool=None)
WORKERS_SECONDS = 1.5
SILENCE_SECONDS = 300.0  # of an answer that is read as it comes: a text may take long to begin
_OPEN_TIMEOUT = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS, pool=None)


# Told of each call: endpoint, operation, HTTP's code (None: no answer), and seconds.
NoteCall = Callable[[str, str, int | None, float], None]


class CallFailed(Exception):
    """There was no answer.

    Attributes:
        never_sent: it is sure that nothing reached the upstream.
    """

    def __init__(self, error: str, *, never_sent: bool) -> None:
        super().__init__(error)
        self.never_sent = never_sent


def open_transport() -> AiohttpTransport:
    """httpx on aiohttp's connections, as many as are asked for: quota.py limits them.

    Must be called on the event loop that will use it.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    return AiohttpTransport(client=session)


class UpstreamClient:
    """Calls to one upstream with one key.

    Args:
        transport: from `open_transport`; closed with this client.
        base_url: up to and with the version, `https://api.runpod.ai/v2`.
        key: sent as a bearer token, and found nowhere else.
        note: is told of each call.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        base_url: str,
        key: str,
        note: NoteCall = lambda *_call: None,
    ) -> None:
        self._transport = transport
        self._note = note
        self._base_url = base_url.rstrip("/")
        self._headers = httpx.Headers(
            {
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
                "User-Agent": "pressroom",
            }
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.aclose()

    async def submit(
        self,
        endpoint: str,
        input_: dict[str, Any],
        *,
        webhook: str | None = None,
        policy: dict[str, Any] | None = None,
        s3_config: dict[str, Any] | None = None,
        sync: bool = False,
    ) -> SubmitOutcome:
        """POST /run, or /runsync with the shortest wait, for its larger bodies.

        Args:
            webhook: where the upstream is to say that the job has ended; left out where it would
                make the body too large.
            policy: ttl and executionTimeout in ms, lowPriority.
            s3_config: where a worker is to put its files; holds a secret.
        """
        body: dict[str, Any] = {"input": input_}
        if policy:
            body["policy"] = policy
        if s3_config:
            body["s3Config"] = s3_config
        content = orjson.dumps(body)
        if webhook:
            with_hint = orjson.dumps({**body, "webhook": webhook})
            most = RUNSYNC_BODY_BYTES if sync else RUN_BODY_BYTES
            content = with_hint if len(with_hint) <= most else content
        operation = f"runsync?wait={SHORTEST_WAIT_MS}" if sync else "run"
        try:
            async with asyncio.timeout(SUBMIT_SECONDS):
                response = await self._send("POST", f"{endpoint}/{operation}", content)
        except READ_FAILURES as error:
            if isinstance(error.__cause__, _NEVER_SENT):
                return Busy(BusyCause.UNREACHABLE, _say(error))
            return Unknown(f"no reply to /run: {_say(error)}")
        return read_submit(response)

    async def poll(self, endpoint: str, upstream_id: str) -> PollOutcome:
        """GET /status."""
        return await self._ask("GET", f"{endpoint}/status/{quote(upstream_id, safe='')}")

    async def cancel(self, endpoint: str, upstream_id: str) -> PollOutcome:
        """POST /cancel. Safe to repeat: it ends a job and starts none."""
        return await self._ask("POST", f"{endpoint}/cancel/{quote(upstream_id, safe='')}")

    async def check(self, endpoint: str) -> str | None:
        """GET /health, which bills nothing: None if the key is taken, else what is wrong."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                response = await self._send("GET", f"{endpoint}/health")
        except READ_FAILURES as error:
            return f"{BusyCause.UNREACHABLE}: {_say(error)}"
        if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return f"{BusyCause.KEY_REFUSED} (HTTP {response.status_code})"
        return None if response.is_success else f"HTTP {response.status_code}"

    async def read_pieces(self, endpoint: str, upstream_id: str) -> Pieces | PollOutcome:
        """GET /stream: the pieces of a job's output that came since they were last asked for."""
        response = await self._try("GET", f"{endpoint}/stream/{quote(upstream_id, safe='')}")
        return response if not isinstance(response, httpx.Response) else read_pieces(response)

    async def count_workers(self, endpoint: str) -> dict[str, int] | None:
        """GET /health: the endpoint's workers by what they do; None if it does not say."""
        try:
            async with asyncio.timeout(WORKERS_SECONDS):
                response = await self._try("GET", f"{endpoint}/health")
        except TimeoutError:
            return None
        return read_workers(response) if isinstance(response, httpx.Response) else None

    @asynccontextmanager
    async def open(
        self, method: str, path: str, *, content: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        """A call whose answer is read as it comes, by whoever waits for it.

        Raises:
            CallFailed: there was no answer. What breaks while it is read is raised as it is: one of
                `READ_FAILURES`.
        """
        request = self._request(method, path, content, timeout=_OPEN_TIMEOUT)
        began, code = time.perf_counter(), None
        try:
            response = await self._transport.handle_async_request(request)
            code = response.status_code
        except READ_FAILURES as error:
            raise CallFailed(
                _say(error), never_sent=isinstance(error.__cause__, _NEVER_SENT)
            ) from error
        finally:
            self._tell(path, code, began)
        try:
            yield response
        finally:
            await response.aclose()

    async def _ask(self, method: str, path: str) -> PollOutcome:
        response = await self._try(method, path)
        return response if not isinstance(response, httpx.Response) else read_poll(response)

    async def _try(self, method: str, path: str) -> httpx.Response | Busy | Fault:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                return await self._send(method, path)
        except READ_FAILURES as error:
            if isinstance(error.__cause__, _NEVER_SENT):
                return Busy(BusyCause.UNREACHABLE, _say(error))
            return Fault(f"no answer: {_say(error)}")

    async def _send(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
        """Ask, and read the whole answer.

        By the transport itself: of what an httpx client does around it (redirects, cookies, logins)
        these calls want nothing, and it would take as much time as all the rest.
        """
        request = self._request(method, path, content, timeout=_TIMEOUT)
        began, code = time.perf_counter(), None
        try:
            response = await self._transport.handle_async_request(request)
            try:
                await response.aread()
            finally:
                await response.aclose()
            code = response.status_code
        finally:
            self._tell(path, code, began)
        return response

    def _tell(self, path: str, code: int | None, began: float) -> None:
        endpoint, _, rest = path.partition("/")
        operation = rest.partition("/")[0].partition("?")[0]
        self._note(endpoint, operation, code, time.perf_counter() - began)

    def _request(
        self, method: str, path: str, content: bytes | None, *, timeout: httpx.Timeout
    ) -> httpx.Request:
        """As `httpx.Request(content=...)` makes it, for half the time: aiohttp adds the rest."""
        url = f"{self._base_url}/{path}"
        request = httpx.Request(
            method,
            # To read an address takes a tenth of a call, and all POSTs go to a few.
            _read_url(url) if method == "POST" else url,
            headers=self._headers,
            stream=httpx.ByteStream(content or b""),
            extensions={"timeout": timeout.as_dict()},
        )
        request.headers.encoding = "ascii"  # it would be looked for in each of them
        request.read()
        return request


@functools.lru_cache(maxsize=256)
def _read_url(url: str) -> httpx.URL:
    return httpx.URL(url)


def _say(error: BaseException) -> str:
    return f"{type(error.__cause__ or error).__name__}: {error}".rstrip(": ")
