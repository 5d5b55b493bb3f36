"""What the gateway answers over HTTP: its health, and the upstream's webhooks."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import uvicorn
from fastapi import Body, FastAPI, HTTPException, Response

from gateway.hints import HintCollector, read_upstream_id
from workers import telemetry
from workers.app import make_app
from workers.runtime import hint_token, open_runtime
from workers.settings import Settings


def make_gateway(settings: Settings) -> FastAPI:
    """The ASGI app; it opens what it needs when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_runtime(settings, make_app(settings), name="gateway") as runtime:
            app.state.hints = HintCollector(runtime)
            collecting = asyncio.create_task(app.state.hints.run())
            yield
            collecting.cancel()

    gateway = FastAPI(title="Pressroom", lifespan=lifespan, docs_url=None, redoc_url=None)

    @gateway.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @gateway.post("/hints/{job_id}/{lease}/{token}")
    async def hint(
        job_id: UUID,
        lease: UUID,
        token: str,
        body: Annotated[Any, Body()] = None,  # noqa: ANN401 -- anybody's JSON
    ) -> Response:
        """A webhook of the upstream. It wants a 200, and would come again without."""
        if not hmac.compare_digest(token.encode(), hint_token(settings, job_id, lease).encode()):
            raise HTTPException(404)
        upstream_id = read_upstream_id(body)
        if upstream_id is None:
            raise HTTPException(422, "the body names no job: a string `id` was wanted")
        if not gateway.state.hints.add((job_id, lease, upstream_id)):
            raise HTTPException(503)
        return Response(status_code=200)

    return gateway


def run_gateway(settings: Settings) -> None:
    """Serve until a signal."""
    telemetry.set_up(settings)
    uvicorn.run(
        make_gateway(settings),
        host=settings.gateway_host,
        port=settings.gateway_port,
        log_config=None,
        access_log=False,
    )
