"""The floor: a FastAPI app on the gateway's server that reads a request and records nothing."""

import asyncio
import contextlib
import multiprocessing
from collections.abc import Iterator
from uuid import uuid4

import orjson
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

from gateway.app import BACKLOG
from gateway.json_response import JsonResponse
from workers.health import check_http
from workers.stack.lifecycle import wait_for


def make_bare_app() -> FastAPI:
    """Answers as the gateway does; who waits is answered once `/release` is called."""
    app = FastAPI(openapi_url=None)
    released = asyncio.Event()
    waiting: set[str] = set()

    @app.post("/v2/{endpoint}/run")
    async def run(request: Request, endpoint: str) -> Response:  # noqa: ARG001 -- of the path
        orjson.loads(await request.body())
        return JsonResponse({"id": str(uuid4()), "status": "IN_QUEUE"})

    @app.post("/v2/{endpoint}/runsync")
    async def runsync(request: Request, endpoint: str) -> Response:  # noqa: ARG001 -- of the path
        orjson.loads(await request.body())
        job_id = str(uuid4())
        waiting.add(job_id)
        await released.wait()
        return JsonResponse({"id": job_id, "status": "COMPLETED"})

    @app.get("/waiting")
    async def count_waiting() -> Response:
        return JsonResponse(len(waiting))

    @app.post("/release")
    async def release() -> Response:
        released.set()
        return JsonResponse({})

    @app.get("/healthz")
    async def health() -> Response:
        return JsonResponse({"status": "ok"})

    return app


def serve(port: int) -> None:
    """With the gateway's own settings of the server."""
    config = uvicorn.Config(
        make_bare_app(),
        port=port,
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        server_header=False,
    )
    uvicorn.Server(config).run()


@contextlib.contextmanager
def run_bare_app(port: int) -> Iterator[int]:
    """A process of it, for so long; its id."""
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    process.start()
    try:
        wait_for("the bare app", lambda: check_http(f"http://127.0.0.1:{port}/healthz"))
        yield process.pid or 0
    finally:
        process.terminate()
        process.join()
