"""The floor and its workers: what runs, what waits and why, in one answer."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from redis.exceptions import RedisError

from gateway.api.answers.floor import Floor, Workers
from gateway.api.answers.problems import ERRORS
from gateway.callers import Reading
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import get_state
from gateway.worker_facts import describe_workers

routes = APIRouter(tags=["floor"], responses=ERRORS)


@routes.get("/floor", response_model=Floor, summary="Look at everything that lives")
async def read(
    request: Request,
    caller: Reading,
    *,
    every: Annotated[
        bool, Query(alias="all", description="With lanes in which nothing happens, too.")
    ] = False,
) -> Response:
    """As it was a second ago at most; of money, ten. A key that does not operate is told of its own
    money and jobs.
    """
    found = await get_state(request).floor.read(owner=caller.owner, quiet=every)
    return JsonResponse(found, headers=request.state.limits)


@routes.get("/workers", response_model=Workers, summary="List workers")
async def workers(request: Request, _caller: Reading) -> Response:
    """By the signs that each leaves every three seconds, on whatever host it is."""
    try:
        described = await describe_workers(get_state(request).runtime)
    except RedisError as error:
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"Redis did not answer: {error}",
            headers={"Retry-After": "5"},
        ) from error
    return JsonResponse({"workers": described}, headers=request.state.limits)
