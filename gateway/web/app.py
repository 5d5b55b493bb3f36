"""The pages within the gateway: NiceGUI under /web, beside what it needs.

Only the program serves them (`run_gateway`): NiceGUI has one application a process.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from nicegui import app as nicegui_app
from nicegui import core, ui
from starlette.middleware.base import BaseHTTPMiddleware

from gateway.web import login, theme
from gateway.web.addresses import WEB
from gateway.web.policy import Policy, give_scripts_a_nonce

STATIC = Path(__file__).parent / "static"
PING_SECONDS = 4.0
RECONNECT_SECONDS = 60.0  # that a page waits for its browser, with all that was typed into it


def add_web(gateway: FastAPI) -> None:
    """Serve the pages of `gateway`: call it once a process."""
    # Each module adds its pages to NiceGUI's application. They import what stands above.
    from gateway.web import console, playground  # noqa: F401, PLC0415

    give_scripts_a_nonce()
    theme.apply(nicegui_app)
    gateway.include_router(login.routes)
    gateway.mount(f"{WEB}/static", StaticFiles(directory=STATIC))
    gateway.add_api_route("/", to_the_pages, include_in_schema=False)
    gateway.add_api_route(WEB, to_the_pages, include_in_schema=False)
    ui.run_with(
        gateway,
        mount_path=WEB,
        title="Pressroom",
        favicon=STATIC / "favicon.svg",
        dark=None,  # as the system is, until somebody says otherwise: frame.py
        language="en-US",
        reconnect_timeout=RECONNECT_SECONDS,
        tailwind=False,
        show_welcome_message=False,
    )
    # A bar across the top for each long poll would say that the page loads, and has no name.
    nicegui_app.config.quasar_config["loadingBar"]["skipHijack"] = True
    # Its middlewares of this kind fail where a browser goes on before an answer is whole, which
    # would be told as a fault of ours. What they do, policy.py does, or nobody needs.
    nicegui_app.user_middleware = [
        one
        for one in nicegui_app.user_middleware
        if not (isinstance(one.cls, type) and issubclass(one.cls, BaseHTTPMiddleware))
    ]
    nicegui_app.on_startup(notice_lost_lines)
    gateway.add_middleware(Policy, gateway=gateway)


def notice_lost_lines() -> None:
    """Soon, though pages wait long: NiceGUI derives the one from the other when it starts."""
    core.sio.eio.ping_interval = core.sio.eio.ping_timeout = PING_SECONDS


async def to_the_pages() -> RedirectResponse:
    return RedirectResponse(f"{WEB}/")
