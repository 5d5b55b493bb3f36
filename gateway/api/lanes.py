"""Lanes: what waits in each, what holds it up, and how much of its quota is used."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from endpoints.catalogue import Operation
from gateway.api.answers import BODY_ERRORS, ERRORS, LaneForm, Lanes
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import LaneRequest
from gateway.callers import Operating, Reading
from gateway.errors import ApiError, read_refusal
from gateway.json_response import JsonResponse
from gateway.lane_facts import OPERATIONS, describe_lane
from gateway.state import get_state
from models.lane import LaneState, StageName, list_lane_states, reopen_lane, set_paused
from tasks.intake import InvalidRequest, find_endpoint
from workers.operator_settings import LimitOverride, override_limit

routes = APIRouter(prefix="/lanes", tags=["lanes"], responses=ERRORS)


@routes.get(
    "",
    response_model=Lanes,
    summary="List lanes in which something waits, or that something holds up",
)
async def list_(request: Request, _caller: Reading) -> Response:
    runtime = get_state(request).runtime
    async with runtime.database.begin() as session:
        states = await list_lane_states(session)
    lanes = [await describe_lane(runtime, state) for state in states]
    return JsonResponse({"lanes": lanes}, headers=request.state.limits)


@routes.get("/{stage}/{endpoint}", response_model=LaneForm, summary="Read of a lane")
async def read(request: Request, stage: StageName, endpoint: str, _caller: Reading) -> Response:
    described = await _read(request, stage, _resolve(request, endpoint))
    return JsonResponse(described, headers=request.state.limits)


@routes.patch(
    "/{stage}/{endpoint}",
    response_model=LaneForm,
    summary="Pause or resume a lane, or change its limit",
    openapi_extra=body_of(LaneRequest),
    responses=BODY_ERRORS,
)
async def change(request: Request, stage: StageName, endpoint: str, _caller: Operating) -> Response:
    """Takes effect within seconds. A lane that is resumed is open, whatever had closed it."""
    asked = await read_form(request, LaneRequest)
    runtime = get_state(request).runtime
    name = _resolve(request, endpoint)
    limited = asked.per_10_seconds or asked.concurrent or asked.reset_limit
    if limited and OPERATIONS[stage] not in set(Operation):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the {stage} lane calls no operation of the upstream: it has no limit to change",
        )
    async with runtime.database.begin() as session:
        if asked.paused is not None:
            await set_paused(session, stage, name, paused=asked.paused)
        if asked.paused is False:
            await reopen_lane(session, stage, name)
        if limited:
            override = None
            if not asked.reset_limit:
                override = LimitOverride(
                    per_10_seconds=asked.per_10_seconds, concurrent=asked.concurrent
                )
            await override_limit(session, name, Operation(OPERATIONS[stage]), override)
    await runtime.operator.get(fresh=True)
    if asked.paused is False or limited:
        await runtime.bells.ring(stage, name)
    described = await _read(request, stage, name)
    return JsonResponse(described, headers=request.state.limits)


def _resolve(request: Request, endpoint: str) -> str:
    try:
        listed = find_endpoint(get_state(request).runtime.catalogue, endpoint)
    except InvalidRequest as error:
        raise read_refusal(error, status=HTTPStatus.NOT_FOUND) from error
    return listed.id if listed else endpoint


async def _read(request: Request, stage: StageName, endpoint: str) -> dict[str, Any]:
    runtime = get_state(request).runtime
    async with runtime.database.begin() as session:
        states = await list_lane_states(session, stage=stage, endpoint=endpoint)
    empty = LaneState(
        stage=stage,
        endpoint=endpoint,
        waiting=0,
        due_seconds=None,
        paused=False,
        closed_seconds=None,
        closed_reason=None,
        closures=0,
    )
    return await describe_lane(runtime, states[0] if states else empty)
