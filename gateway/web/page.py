"""How every page begins."""

import inspect
import ipaddress
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from nicegui import ui

from gateway.state import GatewayState
from gateway.web.addresses import GATEWAY, WEB
from gateway.web.api import Api
from gateway.web.frame import draw_frame
from gateway.web.login import draw_away, login_address
from gateway.web.sessions import find_visitor
from gateway.web.theme import find_theme
from gateway.web.visit import Visit
from models.errors import DatabaseUnavailable
from models.key import Caller
from workers.settings import Settings

BUILD_SECONDS = 10.0

Build = Callable[..., Awaitable[None]]


def page(path: str, *, title: str) -> Callable[[Build], Build]:
    """A page under /web, in its frame, for who is signed in; others are asked to sign in first.

    The function is given the `Visit`, then what its address holds, as routes of FastAPI are. What
    takes longer than an instant it leaves to `parts/live.py`: the page is there, then what it
    shows.
    """

    def add(build: Build) -> Build:
        @wraps(build)
        async def opened(request: Request, **given: Any) -> Response | None:
            gateway: FastAPI = request.scope[GATEWAY]
            state: GatewayState = gateway.state.gateway
            try:
                caller = await find_visitor(state, request)
            except DatabaseUnavailable:
                return draw_away()
            if caller is None:
                query = f"?{request.url.query}" if request.url.query else ""
                return RedirectResponse(login_address(request.url.path + query))
            visit = _begin_visit(gateway, state.runtime.settings, request, caller)
            with draw_frame(visit, title):
                await build(visit, **given)
            return None

        takes = list(inspect.signature(build).parameters.values())[1:]
        first = inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
        keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in takes]
        opened.__signature__ = inspect.Signature([first, *keywords])  # type: ignore[attr-defined]
        ui.page(path, title=f"{title} · Pressroom", response_timeout=BUILD_SECONDS)(opened)
        return build

    return add


def _begin_visit(gateway: FastAPI, settings: Settings, request: Request, caller: Caller) -> Visit:
    return Visit(
        caller=caller,
        api=Api(gateway, request),
        path=request.url.path.removeprefix(WEB),
        theme=find_theme(request),
        flower_url=_find_flower(settings, request.url.hostname or ""),
        emulated=settings.emulated,
    )


def _find_flower(settings: Settings, visited: str) -> str | None:
    """Where Flower is for who reached the gateway as `visited`."""
    if _is_this_machine(settings.flower_host) and not _is_this_machine(visited):
        return None
    return f"http://{visited}:{settings.flower_port}"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
