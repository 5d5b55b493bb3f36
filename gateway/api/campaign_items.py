"""Items of campaigns, looked through: in their order, by endpoint, and side by side."""

from collections.abc import Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from gateway.api.answers.campaigns import ComparisonForm, EndpointShares, ItemPage
from gateway.api.answers.problems import ERRORS
from gateway.api.pages import Limit
from gateway.callers import Reading
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.reports.compare import NothingToCompare, Side, match_campaigns
from gateway.state import get_links, get_state
from gateway.words import say_prompt
from models.artifact import Artifact, list_artifacts
from models.campaign import get_campaign
from models.campaign_figures import sum_by_endpoint
from models.campaign_items import list_item_ids
from models.job import JobState
from models.job_queries import JobFilter, list_jobs
from tasks.results import describe_artifact

PROMPT_CHARACTERS = 500
START_MOST = 10_000_000

Start = Annotated[int, Query(ge=0, le=START_MOST, description="So many are left out.")]

routes = APIRouter(prefix="/campaigns", tags=["campaigns"], responses=ERRORS)


@routes.get("/compare", response_model=ComparisonForm, summary="Lay two campaigns side by side")
async def compare(
    request: Request,
    caller: Reading,
    a: UUID,
    b: UUID | None = None,
    start: Start = 0,
    limit: Limit = 20,
) -> Response:
    """Without `b`: the two endpoints of `a`. Items belong together by their ids, else by prompt and
    seed, else by prompt.
    """
    try:
        matched = await match_campaigns(get_state(request).runtime, a, b, owner=caller.owner)
    except NothingToCompare as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    pairs = matched.pairs[start : start + limit]
    items = await _describe_items(request, [one for pair in pairs for one in pair])
    told = {
        "matched_by": matched.matched_by,
        "sides": [_describe_side(side) for side in matched.sides],
        "pairs": len(matched.pairs),
        "start": start,
        "shown": [[items[one], items[other]] for one, other in pairs],
    }
    return JsonResponse(told, headers=request.state.limits)


@routes.get("/{campaign_id}/items", response_model=ItemPage, summary="List its items, in order")
async def items(
    request: Request,
    campaign_id: UUID,
    caller: Reading,
    state: Annotated[list[JobState] | None, Query(max_length=len(JobState))] = None,
    start: Start = 0,
    limit: Limit = 100,
) -> Response:
    """Any stretch of them, wherever it begins; new ones come at the end."""
    async with get_state(request).runtime.database.begin() as session:
        await get_campaign(session, campaign_id, owner=caller.owner)
        ids = await list_item_ids(
            session, campaign_id, states=state or [], start=start, limit=limit
        )
    described = await _describe_items(request, ids)
    told = {"items": [described[one] for one in ids], "start": start}
    return JsonResponse(told, headers=request.state.limits)


@routes.get(
    "/{campaign_id}/endpoints", response_model=EndpointShares, summary="Its share of endpoints"
)
async def endpoints(request: Request, campaign_id: UUID, caller: Reading) -> Response:
    async with get_state(request).runtime.database.begin() as session:
        await get_campaign(session, campaign_id, owner=caller.owner)
        figures = await sum_by_endpoint(session, campaign_id)
    told = [
        {**asdict(one), "estimate_usd": float(one.estimate_usd), "cost_usd": float(one.cost_usd)}
        for one in figures
    ]
    return JsonResponse({"endpoints": told}, headers=request.state.limits)


async def _describe_items(request: Request, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    async with get_state(request).runtime.database.begin() as session:
        jobs = await list_jobs(session, JobFilter(job_ids=ids), limit=None) if ids else []
        files = await list_artifacts(session, job_ids=ids) if ids else []
    links = await get_links(request)
    first: dict[UUID, Artifact] = {}
    for file in files:
        first.setdefault(file.job_id, file)
    return {
        job.id: {
            "job_id": str(job.id),
            "custom_id": job.custom_id,
            "endpoint": job.endpoint,
            "state": job.state,
            "prompt": say_prompt(job.input)[:PROMPT_CHARACTERS],
            "seed": _read_seed(job.input.get("seed")),
            "cost_usd": None if job.cost_usd is None else float(job.cost_usd),
            "artifact": describe_artifact(first[job.id], links) if job.id in first else None,
        }
        for job in jobs
    }


def _read_seed(seed: object) -> int | float | str | None:
    return seed if isinstance(seed, int | float | str) else None


def _describe_side(side: Side) -> dict[str, Any]:
    each = side.usd_per_result
    return {
        "name": side.name,
        "jobs": side.jobs,
        "completed": side.completed,
        "failed": side.failed,
        "alone": side.alone,
        "bytes": side.bytes,
        "cost_usd": float(side.cost_usd),
        "usd_per_result": None if each is None else float(each),
    }
