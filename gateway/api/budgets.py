"""Budgets: what may be spent, how much of it is left, and each movement; and what was spent."""

import datetime as dt
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.actors import actor_of
from gateway.api.answers.budgets import BudgetForm, Budgets, Movements, Spending, Waits
from gateway.api.answers.problems import BODY_ERRORS, ERRORS, problems
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import BudgetChange, BudgetRequest
from gateway.api.jobs import in_zone
from gateway.audit_facts import terms_of_budget
from gateway.budget_facts import (
    BadBudget,
    describe_budget,
    describe_held,
    describe_movement,
    describe_spend,
    read_zone,
)
from gateway.callers import Operating, Reading
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import get_state
from models.audit import Action, note_act
from models.budget import (
    WARN_AT,
    BelowSpent,
    BudgetTaken,
    change_budget,
    list_budgets,
    list_held,
    remove_budget,
)
from models.errors import NotFound
from models.movement import list_movements
from models.spend import SpendBy, sum_spend
from tasks.budgets import set_budget
from tasks.limits import release

DAYS = 30

routes = APIRouter(tags=["money"], responses=ERRORS)


@routes.get("/budgets", response_model=Budgets, summary="List budgets")
async def list_(
    request: Request,
    caller: Reading,
    *,
    ended: Annotated[bool, Query(description="Those of campaigns that are complete, too.")] = False,
) -> Response:
    """A key that does not operate sees its own."""
    async with get_state(request).runtime.database.begin() as session:
        states = await list_budgets(session, owner=caller.owner, ended=ended)
    return _answer(request, {"budgets": [describe_budget(state) for state in states]})


@routes.post(
    "/budgets",
    status_code=HTTPStatus.CREATED,
    response_model=BudgetForm,
    summary="Set a new budget",
    openapi_extra=body_of(BudgetRequest),
    responses=BODY_ERRORS | problems({409: "There is one of this name."}),
)
async def create(request: Request, caller: Operating) -> Response:
    """From then on no job is sent whose price does not fit."""
    asked = await read_form(request, BudgetRequest)
    holders = (asked.key_id, asked.campaign_id, asked.tag)
    if sum(one is not None for one in holders) > 1:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "at most one of key_id, campaign_id and tag was wanted, several came",
        )
    try:
        zone = read_zone(asked.zone).key
        async with get_state(request).runtime.database.begin() as session:
            budget_id = await set_budget(
                session,
                **asked.model_dump(exclude={"zone", "warn_at"}),
                zone=zone,
                warn_at=asked.warn_at or WARN_AT,
            )
            after = await _find_terms(session, budget_id)
            await note_act(
                session, actor_of(request, caller), Action.BUDGET_SET, budget_id, after=after
            )
    except (BadBudget, BelowSpent) as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    except BudgetTaken as error:
        raise ApiError(HTTPStatus.CONFLICT, str(error)) from error
    return _answer(request, await _read(request, budget_id, None), HTTPStatus.CREATED)


@routes.get("/budgets/{budget_id}", response_model=BudgetForm, summary="Read of a budget")
async def read(request: Request, budget_id: UUID, caller: Reading) -> Response:
    return _answer(request, await _read(request, budget_id, caller.owner))


@routes.patch(
    "/budgets/{budget_id}",
    response_model=BudgetForm,
    summary="Change a budget",
    openapi_extra=body_of(BudgetChange),
    responses=BODY_ERRORS,
)
async def change(request: Request, budget_id: UUID, caller: Operating) -> Response:
    """A raised limit lets go on at once what waited for it. One below what is spent is refused."""
    asked = await read_form(request, BudgetChange)
    runtime = get_state(request).runtime
    try:
        async with runtime.database.begin() as session:
            before = await _find_terms(session, budget_id)
            await change_budget(session, budget_id, **asked.model_dump())
            after = await _find_terms(session, budget_id)
            actor = actor_of(request, caller)
            await note_act(session, actor, Action.BUDGET_SET, budget_id, before=before, after=after)
    except BelowSpent as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    await release(runtime, [budget_id])
    return _answer(request, await _read(request, budget_id, None))


@routes.delete("/budgets/{budget_id}", response_model=BudgetForm, summary="Remove a budget")
async def remove(request: Request, budget_id: UUID, caller: Operating) -> Response:
    """What waited for it goes on. Its ledger is kept."""
    described = await _read(request, budget_id, None)
    runtime = get_state(request).runtime
    async with runtime.database.begin() as session:
        before = await _find_terms(session, budget_id)
        await remove_budget(session, budget_id)
        actor = actor_of(request, caller)
        await note_act(session, actor, Action.BUDGET_REMOVE, budget_id, before=before)
    await release(runtime, [budget_id])
    return _answer(request, described)


@routes.get(
    "/budgets/{budget_id}/ledger", response_model=Movements, summary="List a budget's movements"
)
async def ledger(
    request: Request,
    budget_id: UUID,
    caller: Reading,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> Response:
    """The latest first."""
    await _read(request, budget_id, caller.owner)
    async with get_state(request).runtime.database.begin() as session:
        movements = await list_movements(session, budget_id, limit=limit)
    return _answer(request, {"movements": [describe_movement(one) for one in movements]})


@routes.get("/budgets/{budget_id}/held", response_model=Waits, summary="List whom a budget holds")
async def held(request: Request, budget_id: UUID, caller: Reading) -> Response:
    """Those with the most jobs first."""
    await _read(request, budget_id, caller.owner)
    async with get_state(request).runtime.database.begin() as session:
        found, more = await list_held(session, budget_id)
    described = [describe_held(one) for one in found]
    return _answer(request, {"held": described, "more": more})


@routes.get("/spend", response_model=Spending, summary="Sum up what was spent")
async def spend(
    request: Request,
    caller: Reading,
    by: SpendBy = SpendBy.DAY,
    since: Annotated[
        dt.datetime | None, Query(description=f"{DAYS} days ago if it is not given.")
    ] = None,
    until: Annotated[dt.datetime | None, Query(description="Not within; or now.")] = None,
    zone: Annotated[str, Query(max_length=100, description="Where days begin.")] = "UTC",
) -> Response:
    """What the upstream named, when it was sent; a key that does not operate sees its own."""
    end = in_zone(until) or dt.datetime.now(dt.UTC)
    begin = in_zone(since) or end - dt.timedelta(days=DAYS)
    if begin >= end:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "since: a time before `until` was wanted")
    try:
        read_zone(zone)
    except BadBudget as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    async with get_state(request).runtime.database.begin() as session:
        rows = await sum_spend(session, by, since=begin, until=end, zone=zone, owner=caller.owner)
    described = [describe_spend(row) for row in rows]
    return _answer(request, {"by": by, "since": begin, "until": end, "spend": described})


async def _find_terms(session: AsyncSession, budget_id: UUID) -> dict[str, Any] | None:
    """What the audit log keeps of it."""
    states = await list_budgets(session, ids=[budget_id])
    return terms_of_budget(states[0]) if states else None


async def _read(request: Request, budget_id: UUID, owner: UUID | None) -> dict[str, Any]:
    async with get_state(request).runtime.database.begin() as session:
        states = await list_budgets(session, ids=[budget_id], owner=owner)
    if not states:
        raise NotFound("budget", str(budget_id))
    return describe_budget(states[0])


def _answer(request: Request, body: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    return JsonResponse(body, status, headers=request.state.limits)
