"""The calls to the upstream. Each ends in an outcome, whatever happens.

httpx speaks through aiohttp's connections: its own pool fails at a few hundred requests at once.
That transport reports a connection that broke *after* the request was sent as a
`ConnectTimeout`, so what was raised is not what is asked: only aiohttp's own connector errors,
found as the cause, prove that nothing was sent. A POST whose connection broke is never repeated
here, by us or by aiohttp (which repeats idempotent methods only).
"""

import asyncio
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from endpoints.outcomes import Busy, BusyCause, Fault, PollOutcome, SubmitOutcome, Unknown
from endpoints.replies import read_poll, read_submit

CONNECT_SECONDS = 5.0
SUBMIT_SECONDS = 30.0  # total, for one /run
POLL_SECONDS = 15.0  # total, for one /status or /cancel
KEEPALIVE_SECONDS = 10.0  # well under what servers allow: a POST into a closed one is an unknown
# aiohttp's own pass through the transport where it knows no httpx word for them: a garbled reply.
_FAILURES = (httpx.HTTPError, aiohttp.ClientError, TimeoutError, OSError)
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_TIMEOUT = httpx.Timeout(SUBMIT_SECONDS, connect=CONNECT_SECONDS, pool=None)


def open_http() -> httpx.AsyncClient:
    """An httpx client on aiohttp's connections, as many as are asked for: quota.py limits them.

    Must be called on the event loop that will use it.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    return httpx.AsyncClient(transport=AiohttpTransport(client=session), timeout=_TIMEOUT)


class UpstreamClient:
    """Calls to one upstream with one key.

    Args:
        http: from `open_http`; closed with this client.
        base_url: up to and with the version, `https://api.runpod.ai/v2`.
        key: sent as a bearer token, and found nowhere else.
    """

    def __init__(self, http: httpx.AsyncClient, *, base_url: str, key: str) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def submit(
        self, endpoint: str, input_: dict[str, Any], *, webhook: str | None = None
    ) -> SubmitOutcome:
        """POST /run.

        Args:
            webhook: where the upstream is to say that the job has ended.
        """
        body: dict[str, Any] = {"input": input_}
        if webhook:
            body["webhook"] = webhook
        try:
            async with asyncio.timeout(SUBMIT_SECONDS):
                response = await self._http.post(
                    f"{self._base_url}/{endpoint}/run",
                    content=orjson.dumps(body),
                    headers=self._headers,
                )
        except _FAILURES as error:
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
                response = await self._http.get(
                    f"{self._base_url}/{endpoint}/health", headers=self._headers
                )
        except _FAILURES as error:
            return f"{BusyCause.UNREACHABLE}: {_say(error)}"
        if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return f"{BusyCause.KEY_REFUSED} (HTTP {response.status_code})"
        return None if response.is_success else f"HTTP {response.status_code}"

    async def _ask(self, method: str, path: str) -> PollOutcome:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                response = await self._http.request(
                    method, f"{self._base_url}/{path}", headers=self._headers
                )
        except _FAILURES as error:
            if isinstance(error.__cause__, _NEVER_SENT):
                return Busy(BusyCause.UNREACHABLE, _say(error))
            return Fault(f"no answer: {_say(error)}")
        return read_poll(response)


def _say(error: BaseException) -> str:
    return f"{type(error.__cause__ or error).__name__}: {error}".rstrip(": ")
