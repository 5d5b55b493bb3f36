"""`GET /metrics`: the facts of the whole system, and what this gateway has counted.

It opens to the token of the settings, which needs no server to be looked up, or to a key that may
operate: it tells of everybody's jobs and money.
"""

import time

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api import PREFIX
from gateway.errors import CLIENT_CLOSED
from gateway.state import get_state
from gateway.web.addresses import WEB
from models import key
from workers.metrics import OTHER, REGISTRY, note_request
from workers.metrics_server import opens

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
FAULT = 500
PREFIXES = (PREFIX, WEB)

routes = APIRouter()


@routes.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    state = get_state(request)
    if not opens(state.runtime.settings, request.headers.get("authorization", "")):
        await state.callers.admit(request, key.Scope.OPERATE)
    facts = await state.facts.read()
    body = generate_latest(facts) + generate_latest(REGISTRY)
    return Response(body, media_type=CONTENT_TYPE_PLAIN_0_0_4)


class CountRequests:
    """Counts requests by the route that took them, and times them until their answer begins.

    A middleware of ASGI's own kind: FastAPI's costs a task for each request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, code, seconds = time.perf_counter(), 0, 0.0

        async def noting(message: Message) -> None:
            nonlocal code, seconds
            if message["type"] == "http.response.start":
                code, seconds = message["status"], time.perf_counter() - began
            await send(message)

        ended = CLIENT_CLOSED  # unless it is answered: who goes on before may be left without
        try:
            await self._app(scope, receive, noting)
        except BaseException:
            ended = FAULT
            raise
        finally:
            method = scope["method"] if scope["method"] in METHODS else OTHER
            seconds = seconds or time.perf_counter() - began
            note_request(_name_route(scope), method, code or ended, seconds)


def _name_route(scope: Scope) -> str:
    """As the code says it, with the prefix of what is included or mounted, which is left out."""
    if "route" not in scope:
        return OTHER
    prefix = next((one for one in PREFIXES if scope["path"].startswith(f"{one}/")), "")
    path: str = scope["route"].path
    return path if path.startswith(prefix) else f"{prefix}{path}"
