"""What may be run, what each takes, and what it will cost."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from endpoints.catalogue import Endpoint, Operation
from endpoints.client import RUN_BODY_BYTES
from gateway.api.answers.endpoints import EndpointDetail, Endpoints, EstimateForm
from gateway.api.answers.problems import BODY_ERRORS, ERRORS
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import EstimateRequest
from gateway.callers import Reading
from gateway.endpoint_facts import describe_endpoint, describe_measured
from gateway.json_response import JsonResponse
from gateway.state import get_state
from models.endpoint_stats import get_durations, list_durations
from models.errors import NotFound
from tasks.intake import Request as Generation
from tasks.intake import check_request
from workers.runtime import Runtime

routes = APIRouter(prefix="/endpoints", tags=["endpoints"], responses=ERRORS)

LIMITED = (Operation.RUN, Operation.STATUS, Operation.CANCEL)


@routes.get("", response_model=Endpoints, summary="List the endpoints that are known")
async def list_(request: Request, _caller: Reading) -> Response:
    """Others may be run too, unchecked and without a price: anybody's own."""
    runtime = get_state(request).runtime
    async with runtime.database.begin() as session:
        durations = await list_durations(session)
    listed = [
        {
            **describe_endpoint(endpoint),
            "measured": describe_measured(durations.get(endpoint.id, ())),
        }
        for endpoint in runtime.catalogue
    ]
    reply = {"endpoints": listed, "emulated": runtime.settings.emulated}
    return JsonResponse(reply, headers=request.state.limits)


@routes.get(
    "/{endpoint}", response_model=EndpointDetail, summary="What an endpoint takes and gives back"
)
async def read(request: Request, endpoint: str, _caller: Reading) -> Response:
    """`input_schema` is JSON Schema (draft 2020-12) of its `input`."""
    runtime = get_state(request).runtime
    listed = _get(runtime, endpoint)
    async with runtime.database.begin() as session:
        durations = await get_durations(session, listed.id)
    described = {
        **describe_endpoint(listed),
        "measured": describe_measured(durations),
        "input_schema": dict(listed.schema),
        "limits": {
            operation.value: await _describe_limit(runtime, listed.id, operation)
            for operation in LIMITED
        },
    }
    return JsonResponse(described, headers=request.state.limits)


@routes.post(
    "/{endpoint}/estimate",
    response_model=EstimateForm,
    summary="What a generation will cost",
    openapi_extra=body_of(EstimateRequest),
    responses=BODY_ERRORS,
)
async def estimate(request: Request, endpoint: str, _caller: Reading) -> Response:
    """Nothing is run. `usd` is null of an endpoint that is not known.

    `basis`: exact; ceiling (at most so much); media (a supplied file decides); after (the result
    decides); unlisted.
    """
    runtime = get_state(request).runtime
    asked = await read_form(request, EstimateRequest, most_bytes=RUN_BODY_BYTES)
    operator = await runtime.operator_settings()
    checked = check_request(
        runtime.catalogue,
        Generation(endpoint=endpoint, input=asked.input),
        on_unknown=operator.on_unknown,
        guard=runtime.guard,
    )
    usd = checked.estimate.usd
    reply = {
        "endpoint": checked.job.endpoint,
        "usd": None if usd is None else float(usd),
        "basis": checked.estimate.basis,
    }
    return JsonResponse(reply, headers=request.state.limits)


def _get(runtime: Runtime, name: str) -> Endpoint:
    """
    Raises:
        NotFound: it is not in the catalogue.
    """
    listed = runtime.catalogue.find(name)
    if listed is None:
        raise NotFound("endpoint", name)
    return listed


async def _describe_limit(runtime: Runtime, endpoint: str, operation: Operation) -> dict[str, Any]:
    limit = await runtime.limit(endpoint, operation)
    return {
        "per_window": limit.per_window,
        "window_seconds": limit.window_seconds,
        "concurrent": limit.concurrent,
    }
