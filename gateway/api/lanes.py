"""Lanes: what waits in each, what holds it up, and how much of its quota is used."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import Response

from endpoints.catalogue import Operation
from gateway.actors import actor_of
from gateway.api.answers.lanes import LaneDetail, Lanes
from gateway.api.answers.problems import BODY_ERRORS, ERRORS
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import LaneRequest
from gateway.callers import Operating, Reading
from gateway.errors import ApiError, read_refusal
from gateway.json_response import JsonResponse
from gateway.lane_acts import has_limit, limit_lane, pause_lane, resume_lane
from gateway.lane_facts import OPERATIONS, describe_lane, inspect_lane
from gateway.state import get_state
from models.key import Caller
from models.lane import StageName, list_lane_states
from tasks.intake import InvalidRequest, find_endpoint
from workers.operator_settings import LimitOverride, find_beyond

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


@routes.get("/{stage}/{endpoint}", response_model=LaneDetail, summary="Read of a lane")
async def read(request: Request, stage: StageName, endpoint: str, caller: Reading) -> Response:
    """Who shares its line is told to keys that operate."""
    return await _answer(request, stage, _resolve(request, endpoint), caller=caller)


@routes.patch(
    "/{stage}/{endpoint}",
    response_model=LaneDetail,
    summary="Pause, drain or resume a lane, or change its limit",
    openapi_extra=body_of(LaneRequest),
    responses=BODY_ERRORS,
)
async def change(request: Request, stage: StageName, endpoint: str, caller: Operating) -> Response:
    """Takes effect within seconds. A lane that is resumed is open, whatever had closed it. More
    than the upstream documents is refused, unless `beyond` says that it is meant.
    """
    asked = await read_form(request, LaneRequest)
    runtime = get_state(request).runtime
    name = _resolve(request, endpoint)
    override = LimitOverride(per_10_seconds=asked.per_10_seconds, concurrent=asked.concurrent)
    limited = override != LimitOverride() or asked.reset_limit
    _check(stage, name, asked, override if limited else None)
    actor = actor_of(request, caller)
    async with runtime.database.begin() as session:
        if asked.paused or asked.drain:
            await pause_lane(
                session,
                actor,
                stage,
                name,
                reason=asked.reason,
                seconds=asked.pause_seconds,
                drain=asked.drain,
            )
        elif asked.paused is False:
            await resume_lane(session, actor, stage, name)
        if limited:
            await limit_lane(session, actor, stage, name, None if asked.reset_limit else override)
    await runtime.operator.get(fresh=True)
    if asked.paused is False or limited:
        await runtime.bells.ring(stage, name)
    return await _answer(request, stage, name, caller=caller)


def _check(
    stage: StageName, endpoint: str, asked: LaneRequest, override: LimitOverride | None
) -> None:
    """
    Raises:
        ApiError: 422 it cannot be, or was not meant.
    """
    pauses = asked.paused or asked.drain
    if (asked.reason or asked.pause_seconds) and not pauses:
        said = "reason and pause_seconds are of a pause: paused or drain was wanted with them"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, said)
    if asked.drain and asked.paused is False:
        said = "drain pauses the lane, and paused false lets it go on: one of them was wanted"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, said)
    if asked.reset_limit and override != LimitOverride():
        said = "reset_limit puts the catalogue's limit back, and another came: one was wanted"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, said)
    if override is not None and not has_limit(stage):
        said = f"the {stage} lane calls no operation of the upstream: it has no limit to change"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, said)
    if asked.drain and stage is not StageName.SUBMIT:
        said = f"drain: the submit lane was wanted, {stage} came: what it holds would stay there"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, said)
    if override is not None and not asked.beyond:
        beyond = find_beyond(endpoint, Operation(OPERATIONS[stage]), override)
        if beyond is not None:
            said = f"more than the upstream documents ({beyond}); say `beyond` if it is meant"
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, said)


def _resolve(request: Request, endpoint: str) -> str:
    try:
        listed = find_endpoint(get_state(request).runtime.catalogue, endpoint)
    except InvalidRequest as error:
        raise read_refusal(error, status=HTTPStatus.NOT_FOUND) from error
    return listed.id if listed else endpoint


async def _answer(request: Request, stage: StageName, endpoint: str, *, caller: Caller) -> Response:
    described = await inspect_lane(get_state(request).runtime, stage, endpoint)
    if not caller.operates:
        described["shares"] = []  # names of others' keys
    return JsonResponse(described, headers=request.state.limits)
