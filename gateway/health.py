"""`/healthz`: this process answers. `/readyz`: so does all that it rests on, or what does not.

Load balancers go by the code: 200, or 503 when requests cannot be taken. What is only slow or held
up (workers that are silent, lanes that are closed) is told, and is no reason to take none: a
request that is written down will be worked on. It asks for no key, so what the upstream said as it
closed a lane is not told here: `pressroom lanes list` does.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from redis.exceptions import RedisError

from gateway.api.answers.floor import Readiness
from gateway.json_response import JsonResponse
from gateway.state import get_state
from models.database import ping
from models.errors import DatabaseUnavailable
from models.lane import find_lanes
from workers.maintenance import find_maintenance
from workers.runtime import Runtime
from workers.sweep_watch import is_overdue

CHECK_SECONDS = 3.0

routes = APIRouter(tags=["health"])


@routes.get("/healthz", summary="This process answers")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@routes.get(
    "/readyz",
    summary="What it rests on answers",
    response_model=Readiness,
    responses={503: {"description": "Requests cannot be taken; it says why.", "model": Readiness}},
)
async def readyz(request: Request) -> Response:
    """`ready` is about taking requests; `problems` are also of what works on them."""
    report = await check(get_state(request).runtime)
    status = HTTPStatus.OK if report["ready"] else HTTPStatus.SERVICE_UNAVAILABLE
    return JsonResponse(report, status)


async def check(runtime: Runtime) -> dict[str, Any]:
    """Each part as "ok", or what is wrong with it."""
    postgres, redis, workers = await asyncio.gather(
        _bounded(_check_postgres(runtime)),
        _bounded(_check_redis(runtime)),
        _bounded(_check_workers(runtime)),
    )
    lanes = await _bounded(_check_lanes(runtime)) if postgres == "ok" else "not known"
    parts = {"postgres": postgres, "redis": redis, "workers": workers, "lanes": lanes}
    return {
        "ready": postgres == "ok",
        "parts": parts,
        "problems": [f"{name}: {said}" for name, said in parts.items() if said != "ok"],
    }


async def _bounded(checking: Any) -> str:  # noqa: ANN401 -- a coroutine
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return str(await checking)
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:.0f} s"


async def _check_postgres(runtime: Runtime) -> str:
    try:
        async with runtime.database.begin() as session:
            await ping(session)
    except DatabaseUnavailable as error:
        return str(error)
    return "ok"


async def _check_redis(runtime: Runtime) -> str:
    try:
        await runtime.redis.ping()
    except RedisError as error:
        return f"Redis did not answer: {error}"
    return "ok"


async def _check_workers(runtime: Runtime) -> str:
    """A worker that works sweeps, or sees that another does; when one last did is in Redis."""
    overdue = await is_overdue(runtime)
    return "no worker has swept for 10 s: none runs, or none takes messages" if overdue else "ok"


async def _check_lanes(runtime: Runtime) -> str:
    try:
        async with runtime.database.begin() as session:
            maintenance = await find_maintenance(session)
            lanes = await find_lanes(session)
    except DatabaseUnavailable as error:
        return str(error)
    if maintenance is not None:
        return f"nothing is submitted: {maintenance}"
    held = [
        f"the {lane.stage} lane of {lane.endpoint} {lane.stopped}" for lane in lanes if lane.stopped
    ]
    more = f", and {len(held) - 1} more" if len(held) > 1 else ""
    return f"{held[0]}{more}" if held else "ok"
