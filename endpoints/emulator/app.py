"""The emulator's routes, and how it is started and stopped."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web

from endpoints.emulator import operations
from endpoints.emulator.admin import add_admin_routes
from endpoints.emulator.calls import json_response, route
from endpoints.emulator.clock import Clock
from endpoints.emulator.config import EmulatorConfig
from endpoints.emulator.downloads import download
from endpoints.emulator.line import LINE, Line
from endpoints.emulator.openai import add_openai_routes
from endpoints.emulator.upstream import UPSTREAM, Upstream

STOP_SECONDS: Final = 0.5  # that open requests are given when the emulator stops

log = logging.getLogger(__name__)


def create_app(config: EmulatorConfig, *, clock: Clock | None = None) -> web.Application:
    """Return the emulator as an application; `clock` replaces the one that `config` describes.

    To run it, `listening` is better: with it, whoever hangs up stops counting as concurrent.
    """
    # One byte more than the largest body that is taken, so that its refusal is ours to word.
    app = web.Application(client_max_size=operations.RUNSYNC_BODY_BYTES + 1)

    async def live(app: web.Application) -> AsyncIterator[None]:
        app[UPSTREAM] = Upstream(config, clock=clock)
        yield
        await app[UPSTREAM].close()

    app.cleanup_ctx.append(live)
    app.on_shutdown.append(_let_go)
    for name, act in {
        "run": operations.run,
        "runsync": operations.runsync,
        "purge-queue": operations.purge_queue,
    }.items():
        app.router.add_post(f"/v2/{{endpoint}}/{name}", route(name, act))
    for name, act in {"cancel": operations.cancel, "retry": operations.retry}.items():
        app.router.add_post(f"/v2/{{endpoint}}/{name}/{{job}}", route(name, act))
    for name, act in {"status": operations.status, "stream": operations.stream}.items():
        app.router.add_get(f"/v2/{{endpoint}}/{name}/{{job}}", route(name, act))
    # An older operation that clients still use; it shares the limits of status.
    app.router.add_get("/v2/{endpoint}/status-sync/{job}", route("status", operations.status_sync))
    app.router.add_get("/v2/{endpoint}/health", route("health", operations.health))
    app.router.add_get("/files/{name}", download)
    app.router.add_get("/healthz", _healthz)
    add_openai_routes(app)
    add_admin_routes(app)
    return app


@asynccontextmanager
async def listening(config: EmulatorConfig, *, clock: Clock | None = None) -> AsyncIterator[str]:
    """Run the emulator and give its URL; port 0 takes a free one."""
    app = create_app(config, clock=clock)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        handle_signals=False,
        shutdown_timeout=STOP_SECONDS,
    )
    line = app[LINE] = Line(runner, config.host, config.port)
    await runner.setup()
    try:
        yield await line.open()
    finally:
        await line.close()
        await runner.cleanup()


async def serve(config: EmulatorConfig) -> None:
    """Run the emulator until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with listening(config) as url:
        log.info("emulator listening on %s, clock x %g", url, config.clock_factor)
        await stop.wait()


async def _let_go(app: web.Application) -> None:
    app[UPSTREAM].stopping.set()


async def _healthz(_request: web.Request) -> web.Response:
    return json_response({"emulator": "ok"}, status=HTTPStatus.OK)
