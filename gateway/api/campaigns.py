"""Campaigns: planned, started, watched, held, retried."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.actors import actor_of
from gateway.api.answers.acts import RetryCount
from gateway.api.answers.campaigns import CampaignForm, CampaignNames, CampaignPage, PlanForm
from gateway.api.answers.problems import BODY_ERRORS, ERRORS, problems
from gateway.api.campaign_rows import open_ticket
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import CampaignChange, CampaignRequest, CampaignRetry
from gateway.api.pages import Cursor, Limit, cut_page, read_cursor
from gateway.callers import Reading, Running
from gateway.campaign_facts import summarize
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import get_state
from gateway.submission import refuse_in_maintenance
from models.audit import Action, note_act
from models.base import new_id
from models.budget import BudgetTaken
from models.campaign import (
    Campaign,
    NameTaken,
    close_campaign,
    find_retriable,
    find_unended_jobs,
    get_campaign,
    list_campaigns,
)
from models.job import RETRIABLE
from models.key import Caller
from tasks import control
from tasks import pause as hold
from tasks.campaigns.items import Item, Items
from tasks.campaigns.opening import open_campaign
from tasks.campaigns.plan import Plan, plan_inline, plan_items
from tasks.campaigns.spec import CampaignSpec, PromptFile, SpecError, parse_spec
from tasks.expand import open_rows, send_expand
from tasks.repace import KEPT, NoSpecification, repace
from workers.runtime import Runtime

ITEMS_MOST = 20_000  # that are checked while somebody waits; the command line takes more
FILE_ITEMS_MOST = 100_000  # of a file, the same
SPEC_BYTES = 5_000_000
AT_ONCE = 500  # jobs a statement

routes = APIRouter(prefix="/campaigns", tags=["campaigns"], responses=ERRORS)


@routes.get("", response_model=CampaignPage, summary="List campaigns")
async def list_(
    request: Request, caller: Reading, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """The newest first; a key that does not operate sees its own."""
    page, following = await _list_page(request, caller, limit, cursor)
    runtime = get_state(request).runtime
    settled = get_state(request).settled
    told = [await summarize(runtime, campaign.id, settled=settled) for campaign in page]
    return JsonResponse({"campaigns": told, "next": following}, headers=request.state.limits)


@routes.get("/names", response_model=CampaignNames, summary="Names of campaigns")
async def names(
    request: Request, caller: Reading, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """As the list, without figures: to choose one."""
    page, following = await _list_page(request, caller, limit, cursor)
    told = [
        {
            "campaign_id": one.id,
            "name": one.name,
            "created_at": one.created_at,
            "completed_at": one.completed_at,
        }
        for one in page
    ]
    return JsonResponse({"campaigns": told, "next": following}, headers=request.state.limits)


@routes.post(
    "",
    response_model=PlanForm,
    summary="Plan a campaign, or start it",
    openapi_extra=body_of(CampaignRequest),
    responses=BODY_ERRORS
    | problems({409: "There is a campaign of this name."})
    | {201: {"model": PlanForm, "description": "It is started."}},
)
async def create(request: Request, caller: Running) -> Response:
    """Every item is checked and priced. It is started if `dry_run` is false."""
    asked = await read_form(request, CampaignRequest, most_bytes=SPEC_BYTES)
    runtime = get_state(request).runtime
    spec = await asyncio.to_thread(_read_spec, asked.spec)
    if spec.on_complete.celery is not None and not caller.operates:
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            f"on_complete.celery: the key {caller.name!r} may not send tasks; this takes operate",
        )
    rows_key = open_ticket(runtime, asked.rows) if asked.rows else None
    plan, unused = await _plan(runtime, spec, rows_key)
    campaign_id = None
    if not asked.dry_run:
        await refuse_in_maintenance(get_state(request))
        endpoints = list(plan.per_endpoint)
        try:
            async with runtime.database.begin() as session:
                campaign_id = await open_campaign(
                    session,
                    spec,
                    name=spec.name,
                    endpoint=endpoints[0] if len(endpoints) == 1 else None,
                    rows_key=rows_key,
                    planned=plan.jobs,
                    key_id=caller.key_id,
                )
                after = {"name": spec.name, "jobs": plan.jobs, "estimate_usd": float(plan.usd)}
                actor = actor_of(request, caller)
                await note_act(session, actor, Action.CAMPAIGN_START, campaign_id, after=after)
        except (NameTaken, BudgetTaken) as error:
            raise ApiError(HTTPStatus.CONFLICT, str(error)) from error
        await asyncio.to_thread(send_expand, runtime, campaign_id)
    told = plan.describe()
    limits = {name: await runtime.limit(name, "run") for name in plan.per_endpoint}
    least = plan.least_seconds(
        {name: limit.per_window / limit.window_seconds for name, limit in limits.items()}
    )
    return JsonResponse(
        {
            **{name: told[name] for name in told if name in PlanForm.model_fields},
            "least_seconds": round(max(least, spec.pace.over or 0.0), 3),
            "unused_columns": list(unused),
            "first": _describe_item(plan.first),
            "last": _describe_item(plan.last),
            "campaign_id": campaign_id,
        },
        HTTPStatus.OK if asked.dry_run else HTTPStatus.CREATED,
        headers=request.state.limits,
    )


@routes.get("/{campaign_id}", response_model=CampaignForm, summary="Read of a campaign")
async def read(request: Request, campaign_id: UUID, caller: Reading) -> Response:
    return await _answer(request, campaign_id, caller.owner)


@routes.patch(
    "/{campaign_id}",
    response_model=CampaignForm,
    summary="Pause, resume or pace a campaign",
    openapi_extra=body_of(CampaignChange),
    responses=BODY_ERRORS,
)
async def change(request: Request, campaign_id: UUID, caller: Running) -> Response:
    """Of its budget another request tells: PATCH /budgets."""
    asked = await read_form(request, CampaignChange)
    runtime = get_state(request).runtime
    await _find(runtime, campaign_id, caller.owner)
    given = asked.model_fields_set
    by = actor_of(request, caller)
    if {"over_seconds", "max_in_flight"} & given:
        try:
            await repace(
                runtime,
                campaign_id,
                by=by,
                over_seconds=asked.over_seconds if "over_seconds" in given else KEPT,
                max_in_flight=asked.max_in_flight if "max_in_flight" in given else KEPT,
            )
        except NoSpecification as error:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    if asked.paused:
        await hold.pause(runtime, campaign_id, by=by)
    elif asked.paused is False:
        await hold.resume(runtime, campaign_id, by=by)
        await asyncio.to_thread(send_expand, runtime, campaign_id)
    return await _answer(request, campaign_id, caller.owner)


@routes.post("/{campaign_id}/cancel", response_model=CampaignForm, summary="Cancel a campaign")
async def cancel(request: Request, campaign_id: UUID, caller: Running) -> Response:
    """What of it has not ended; the upstream takes a hundred in ten seconds."""
    runtime = get_state(request).runtime
    await _find(runtime, campaign_id, caller.owner)
    async with runtime.database.begin() as session:
        await close_campaign(session, campaign_id)
        jobs = await find_unended_jobs(session, campaign_id)
        actor = actor_of(request, caller)
        told = {"jobs": len(jobs)}
        await note_act(session, actor, Action.CAMPAIGN_CANCEL, campaign_id, before=told)
    for start in range(0, len(jobs), AT_ONCE):
        await control.cancel(runtime, jobs[start : start + AT_ONCE])
    return await _answer(request, campaign_id, caller.owner)


@routes.post(
    "/{campaign_id}/retry",
    response_model=RetryCount,
    summary="Retry what failed",
    openapi_extra=body_of(CampaignRetry),
    responses=BODY_ERRORS,
)
async def retry(request: Request, campaign_id: UUID, caller: Running) -> Response:
    """Counts them, unless `dry_run` is false."""
    asked = await read_form(request, CampaignRetry)
    if odd := [state for state in asked.only if state not in RETRIABLE]:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"only: {', '.join(odd)} came; of {', '.join(RETRIABLE)} some were wanted",
        )
    runtime = get_state(request).runtime
    await _find(runtime, campaign_id, caller.owner)
    async with runtime.database.begin() as session:
        found = await find_retriable(
            session, campaign_id, states=asked.only or RETRIABLE, reasons=asked.causes
        )
    retried = 0
    by, about = actor_of(request, caller), {"campaign": str(campaign_id)}
    if not asked.dry_run:
        for start in range(0, len(found), AT_ONCE):
            step = [one.id for one in found[start : start + AT_ONCE]]
            retried += len(await control.retry(runtime, step, by=by, asked=about))
    usd = sum((one.estimate_usd or Decimal() for one in found), Decimal())
    return JsonResponse(
        {
            "count": len(found) if asked.dry_run else retried,
            "dry_run": asked.dry_run,
            "estimate_usd": float(usd),
        },
        headers=request.state.limits,
    )


def _read_spec(given: dict[str, Any] | str) -> CampaignSpec:
    content = given.encode() if isinstance(given, str) else orjson.dumps(given)
    try:
        return parse_spec(content, source="spec")
    except SpecError as error:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, str(error), problems=error.problems
        ) from error


def _describe_item(item: Item | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {
        "place": item.place,
        "endpoint": item.endpoint,
        "input": dict(item.input),
        "custom_id": item.custom_id,
    }


async def _plan(
    runtime: Runtime, spec: CampaignSpec, rows_key: str | None
) -> tuple[Plan, Sequence[str]]:
    """And columns of its file that nothing names.

    Raises:
        ApiError: 422 with everything that is wrong.
    """
    unused: Sequence[str] = ()
    if rows_key is None:
        plan = await asyncio.to_thread(plan_inline, runtime.catalogue, spec, most_jobs=ITEMS_MOST)
    elif not isinstance(spec.prompts, PromptFile):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "rows: a file came, and the specification names none: prompts: {file: NAME} was wanted",
        )
    else:
        async with open_rows(runtime, rows_key, of=new_id()) as local:
            items = Items(spec, runtime.catalogue, folder=Path(), local=local)
            plan = await asyncio.to_thread(
                plan_items, runtime.catalogue, spec, items, most_jobs=FILE_ITEMS_MOST
            )
        unused = items.unused
    if plan.problems:
        more = plan.problem_count - len(plan.problems)
        said = [*plan.problems, *([f"and {more:,} more"] if more else [])]
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(said), problems=said)
    return plan, unused


async def _list_page(
    request: Request, caller: Caller, limit: int, cursor: str | None
) -> tuple[Sequence[Campaign], str | None]:
    async with get_state(request).runtime.database.begin() as session:
        rows = await list_campaigns(
            session, limit=limit + 1, owner=caller.owner, before=read_cursor(cursor)
        )
    return cut_page(rows, limit, lambda campaign: campaign.id)


async def _find(runtime: Runtime, campaign_id: UUID, owner: UUID | None) -> None:
    async with runtime.database.begin() as session:
        await get_campaign(session, campaign_id, owner=owner)


async def _answer(request: Request, campaign_id: UUID, owner: UUID | None) -> Response:
    state = get_state(request)
    told = await summarize(state.runtime, campaign_id, owner=owner, settled=state.settled)
    return JsonResponse(told, headers=request.state.limits)
