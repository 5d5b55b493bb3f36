"""What a browser may load and run: nothing of other hosts, no script that we did not write.

NiceGUI's page has its scripts inline, so each answer has a nonce of its own, which the template of
the page is given before anything of ours or of others is put into it. NiceGUI compiles templates in
the browser, which takes 'unsafe-eval'; Quasar sets styles on elements, which takes 'unsafe-inline'.
"""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from jinja2 import BaseLoader, Environment
from nicegui import client
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web.addresses import GATEWAY, NICEGUI, WEB

if TYPE_CHECKING:
    from fastapi import FastAPI

NONCE_BYTES = 16
UNCHANGING = f"{NICEGUI}/"  # its files: the version is in their addresses
DYNAMIC = f"{UNCHANGING}dynamic_resources/"


class Policy:
    """Heads every answer under /web with the policy, and tells pages whose gateway they are of."""

    def __init__(self, app: ASGIApp, gateway: "FastAPI") -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if not path.startswith(WEB):
            await self._app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(NONCE_BYTES)
        scope[GATEWAY] = self._gateway
        scope.setdefault("state", {})["nonce"] = nonce

        async def heading(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _write_policy(nonce)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                headers["Cache-Control"] = _say_how_long(path, headers.get("cache-control"))
            await send(message)

        await self._app(scope, receive, heading)


def _write_policy(nonce: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def _say_how_long(path: str, said: str | None) -> str:
    if path.startswith(UNCHANGING) and not path.startswith(DYNAMIC):
        return "public, max-age=31536000, immutable"
    if path.startswith(f"{WEB}/static/"):
        return "no-cache"  # asked for again each time, and mostly answered with 304
    return said or "no-store"


class _NonceLoader(BaseLoader):
    """Another loader's templates, with the answer's nonce in each script tag."""

    def __init__(self, inner: BaseLoader) -> None:
        self._inner = inner

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, name, fresh = self._inner.get_source(environment, template)
        return source.replace("<script", '<script nonce="{{ request.state.nonce }}"'), name, fresh


def give_scripts_a_nonce() -> None:
    """In the templates of NiceGUI."""
    environment = client.templates.env
    if not isinstance(environment.loader, _NonceLoader) and environment.loader is not None:
        environment.loader = _NonceLoader(environment.loader)
