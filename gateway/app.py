"""The gateway: one ASGI app, made of the ways in.

/v2/...                 the upstream's protocol        upstream_api/
/api/v1/...             our own                        api/
/files/, /thumbnails/   stored files, by signed links  files.py
/hints/...              the upstream's webhooks        hints.py
/healthz, /readyz       is it up, is all well          health.py
/metrics                figures for Prometheus         metrics.py
/web/                   the pages for people           web/
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from gateway import files, health, hints, metrics
from gateway.api import add_api
from gateway.errors import add_error_handlers
from gateway.state import open_state
from gateway.upstream_api import batch, jobs, openai, stream
from gateway.web.app import add_web
from workers import telemetry
from workers.garbage import keep_what_is_loaded
from workers.settings import Settings

GRACE_SECONDS = 10  # that requests under way are given when the gateway stops
BACKLOG = 2048
DESCRIPTION = """
A durable job queue for image, video, audio and text generation on hosted endpoints.

`/v2/...` speaks the upstream's own protocol, so any client of it works with this base URL and a key
made here. `/api/v1/...` is Pressroom's own. A key is sent as `Authorization: Bearer prk_...`.
"""


def make_gateway(settings: Settings) -> FastAPI:
    """The ASGI app; it opens what it needs when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_state(settings) as state:
            app.state.gateway = state
            keep_what_is_loaded()
            yield

    gateway = FastAPI(
        title="Pressroom",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts of other hosts
        redoc_url=None,
        openapi_url=None,  # it is served to who has a key: api/document.py
        # Its own spans would tell of paths that open files. Ours: tasks/job_trace.py.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    gateway.state.workers_known = {}
    add_error_handlers(gateway)
    for part in (jobs, batch, stream, openai, files, hints, health, metrics):
        gateway.include_router(part.routes)
    add_api(gateway)
    gateway.add_middleware(metrics.CountRequests)
    return gateway


class GatewayServer(uvicorn.Server):
    """Lets those who wait for a job go when it is told to stop, so that it can."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if state := getattr(self._app.state, "gateway", None):
            state.ends.stop()
            state.events.stop()


def run_gateway(settings: Settings) -> None:
    """Serve until a signal."""
    telemetry.set_up(settings)
    # What it says of sockets has the page's id in it, which is as good as being that page.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    app = make_gateway(settings)
    add_web(app)
    config = uvicorn.Config(
        app,
        host=settings.gateway_host,
        port=settings.gateway_port,
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
    )
    GatewayServer(config, app).run()
