"""Webhooks that were sent, or are still to be: what became of each, and sending one again."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from gateway.actors import actor_of
from gateway.api.answers.deliveries import Deliveries, DeliveryForm, DeliveryPage
from gateway.api.answers.problems import ERRORS, problems
from gateway.api.pages import Cursor, Limit, cut_page, read_cursor
from gateway.callers import Reading, Running
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import get_state
from models.audit import Action, note_act
from models.delivery import (
    STAGES,
    DeliveryState,
    find_owner_of_delivery,
    list_deliveries,
    replay_delivery,
)
from models.errors import NotFound
from models.job_queries import get_job
from tasks.results import describe_delivery

routes = APIRouter(tags=["webhooks"], responses=ERRORS)


@routes.get("/deliveries", response_model=DeliveryPage, summary="List deliveries, the newest first")
async def list_(
    request: Request,
    caller: Reading,
    state: Annotated[DeliveryState | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """`failed`: tried for a day, and given up until it is replayed."""
    async with get_state(request).runtime.database.begin() as session:
        rows = await list_deliveries(
            session, limit=limit + 1, owner=caller.owner, state=state, before=read_cursor(cursor)
        )
    page, following = cut_page(rows, limit, lambda delivery: delivery.id)
    reply = {"deliveries": [describe_delivery(row) for row in page], "next": following}
    return JsonResponse(reply, headers=request.state.limits)


@routes.get("/jobs/{job_id}/deliveries", response_model=Deliveries, summary="A job's deliveries")
async def of_job(request: Request, job_id: UUID, caller: Reading) -> Response:
    async with get_state(request).runtime.database.begin() as session:
        await get_job(session, job_id, owner=caller.owner)
        rows = await list_deliveries(session, limit=100, job_id=job_id)
    reply = {"deliveries": [describe_delivery(row) for row in rows]}
    return JsonResponse(reply, headers=request.state.limits)


@routes.post(
    "/deliveries/{delivery_id}/replay",
    response_model=DeliveryForm,
    summary="Send it again",
    responses=problems({409: "Its job has not ended: there is nothing to tell."}),
)
async def replay(request: Request, delivery_id: UUID, caller: Running) -> Response:
    """With the id that it had, so that who received it before can tell; for another day."""
    runtime = get_state(request).runtime
    async with runtime.database.begin() as session:
        owner = await find_owner_of_delivery(session, delivery_id)
        if caller.owner is not None and owner != caller.owner:
            raise NotFound("delivery", str(delivery_id))
        delivery = await replay_delivery(session, delivery_id)
        if delivery is not None:
            actor = actor_of(request, caller)
            await note_act(session, actor, Action.DELIVERY_REPLAY, delivery_id)
    if delivery is None:
        raise ApiError(HTTPStatus.CONFLICT, "its job has not ended: there is nothing to tell yet")
    await runtime.bells.ring(STAGES[delivery.kind], delivery.endpoint)
    return JsonResponse(describe_delivery(delivery), headers=request.state.limits)
