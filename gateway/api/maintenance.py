"""Maintenance: nothing new is submitted upstream for a while; all else goes on."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.actors import actor_of
from gateway.api.answers.floor import MaintenanceForm
from gateway.api.answers.problems import BODY_ERRORS, ERRORS
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import MaintenanceRequest
from gateway.callers import Operating, Reading
from gateway.json_response import JsonResponse
from gateway.maintenance_acts import describe_maintenance, switch_off, switch_on
from gateway.state import get_state
from workers.maintenance import find_maintenance

routes = APIRouter(prefix="/maintenance", tags=["maintenance"], responses=ERRORS)


@routes.get("", response_model=MaintenanceForm, summary="Read whether there is maintenance")
async def read(request: Request, _caller: Reading) -> Response:
    async with get_state(request).runtime.database.begin() as session:
        now = await find_maintenance(session)
    return JsonResponse(describe_maintenance(now), headers=request.state.limits)


@routes.put(
    "",
    response_model=MaintenanceForm,
    summary="Begin or end maintenance",
    openapi_extra=body_of(MaintenanceRequest),
    responses=BODY_ERRORS,
)
async def change(request: Request, caller: Operating) -> Response:
    """Every worker knows within 5 s. What was sent goes on; what is handed in waits, or (`refuse`)
    is answered with 503.
    """
    asked = await read_form(request, MaintenanceRequest)
    runtime = get_state(request).runtime
    actor = actor_of(request, caller)
    now = None
    async with runtime.database.begin() as session:
        if asked.on:
            now = await switch_on(session, actor, reason=asked.reason, refuse=asked.refuse)
        else:
            await switch_off(session, actor)
    await runtime.operator.get(fresh=True)
    return JsonResponse(describe_maintenance(now), headers=request.state.limits)
