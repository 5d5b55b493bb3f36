"""What pages know and do: the gateway's own API, asked within the process, as who is signed in.

job = await visit.api.get(f"/api/v1/jobs/{job_id}")
await visit.api.patch("/api/v1/lanes/submit/p-video", {"paused": True})
"""

from collections.abc import AsyncIterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from gateway.callers import VISITOR
from gateway.web.sessions import find_visitor
from models.errors import DatabaseUnavailable

AWAY = "the database cannot be reached"
NAMED = "pages"  # what the audit log calls these requests


class Refused(Exception):
    """The API said no: `str()` is why, in a sentence.

    Args:
        problems: a line for each thing that is wrong, where there may be several.
    """

    def __init__(self, status: int, detail: str, problems: list[str] | None = None) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.problems = problems or [detail]

    def __str__(self) -> str:
        return self.detail


class SignedOut(Refused):
    """The visitor's key opens nothing any more, or the week is over."""


class Api:
    """Args:
    request: of the page; its cookie says who asks, anew each time.
    """

    def __init__(self, gateway: FastAPI, request: Request) -> None:
        self._gateway = gateway
        self._request = request
        came_from = request.client
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(
                self._as_visitor,
                client=(came_from.host, came_from.port) if came_from else ("", 0),
                raise_app_exceptions=False,  # they are logged where they arise, and answered
            ),
            base_url=f"{request.url.scheme}://{request.url.netloc}",  # with which links begin
            headers={"X-Request-Id": NAMED},
            timeout=None,  # noqa: S113 -- within the process
        )

    async def get(self, path: str, **query: Any) -> Any:
        """What is at `path`. Of the query what is None is left out.

        Raises:
            Refused, SignedOut
        """
        given = {name: value for name, value in query.items() if value is not None}
        return await self._call("GET", path, params=given)

    async def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """
        Raises:
            Refused, SignedOut
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._call("POST", path, json={} if body is None else body, headers=named)

    async def send(self, path: str, content: AsyncIterable[bytes] | bytes, **query: str) -> Any:
        """A file, as the body of a POST.

        Raises:
            Refused, SignedOut
        """
        return await self._call("POST", path, content=content, params=query)

    async def put(self, path: str, body: Any) -> Any:
        """
        Raises:
            Refused, SignedOut
        """
        return await self._call("PUT", path, json=body)

    async def patch(self, path: str, body: Any) -> Any:
        """
        Raises:
            Refused, SignedOut
        """
        return await self._call("PATCH", path, json=body)

    async def delete(self, path: str) -> Any:
        """
        Raises:
            Refused, SignedOut
        """
        return await self._call("DELETE", path)

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        response = await self._http.request(method, path, **options)
        if response.is_success:
            return response.json() if response.content else None
        said: Mapping[str, Any] = response.json() if response.content else {}
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            raise SignedOut(response.status_code, "You are signed out.")
        detail = said.get("detail") or said.get("error") or response.reason_phrase
        raise Refused(response.status_code, str(detail), said.get("problems"))

    async def _as_visitor(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            visitor = await find_visitor(self._gateway.state.gateway, self._request)
        except DatabaseUnavailable:
            away = JSONResponse({"detail": AWAY}, HTTPStatus.SERVICE_UNAVAILABLE)
            await away(scope, receive, send)
            return
        if visitor is not None:
            scope[VISITOR] = visitor
        await self._gateway(scope, receive, send)


def local(link: str | None) -> str | None:
    """A link to one of our files, as a page has it: whatever name the gateway goes by elsewhere."""
    if link is None:
        return None
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
