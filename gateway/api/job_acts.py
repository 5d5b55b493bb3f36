"""Cancel, retry and re-prioritise jobs: one, or all that fit a filter, which are counted first."""

import time
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.actors import actor_of
from gateway.api.answers.acts import ManyReply
from gateway.api.answers.jobs import JobDetail
from gateway.api.answers.problems import BODY_ERRORS, ERRORS, problems
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import ManyRequest, PrioritizeRequest
from gateway.api.jobs import describe_one, in_zone
from gateway.callers import Running
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import get_state
from models.job import Route
from models.job_queries import JobFilter, get_job
from models.key import Caller
from tasks import control
from tasks.bulk import Bulk, Verb, narrow, preview, step
from tasks.results import say_status

ANSWER_SECONDS = 10.0  # after which a request that is not through says where the next begins

routes = APIRouter(prefix="/jobs", tags=["jobs"], responses=ERRORS)


@routes.post(
    "/cancel",
    response_model=ManyReply,
    summary="Cancel all that fit",
    openapi_extra=body_of(ManyRequest),
    responses=BODY_ERRORS,
)
async def cancel_many(request: Request, caller: Running) -> Response:
    """Counts them, unless `dry_run` is false. Many take several requests: see `next`."""
    asked = await read_form(request, ManyRequest)
    return await _act_on_many(request, caller, Verb.CANCEL, asked)


@routes.post(
    "/retry",
    response_model=ManyReply,
    summary="Retry all that fit",
    openapi_extra=body_of(ManyRequest),
    responses=BODY_ERRORS,
)
async def retry_many(request: Request, caller: Running) -> Response:
    """Of those that ended without a result; `estimate_usd` is what it may cost. Counts them, unless
    `dry_run` is false. Many take several requests: see `next`.
    """
    asked = await read_form(request, ManyRequest)
    return await _act_on_many(request, caller, Verb.RETRY, asked)


@routes.post(
    "/prioritize",
    response_model=ManyReply,
    summary="Give all that fit another priority",
    openapi_extra=body_of(PrioritizeRequest),
    responses=BODY_ERRORS,
)
async def prioritize_many(request: Request, caller: Running) -> Response:
    """Of those that are queued: each joins the line of that priority as one that comes just now.
    Counts them, unless `dry_run` is false. Many take several requests: see `next`.
    """
    asked = await read_form(request, PrioritizeRequest)
    return await _act_on_many(request, caller, Verb.PRIORITIZE, asked, priority=asked.priority)


@routes.post("/{job_id}/cancel", response_model=JobDetail, summary="Cancel a job")
async def cancel(request: Request, job_id: UUID, caller: Running) -> Response:
    """One that is with the upstream is stopped there, soon. One that had ended stays as it is."""
    await _require(request, job_id, caller)
    await control.cancel(get_state(request).runtime, [job_id], by=actor_of(request, caller))
    described = await describe_one(request, job_id, caller)
    return JsonResponse(described, headers=request.state.limits)


@routes.post(
    "/{job_id}/retry",
    response_model=JobDetail,
    summary="Run a failed job again",
    responses=problems({409: "It runs, has a result, or was cancelled."}),
)
async def retry(request: Request, job_id: UUID, caller: Running) -> Response:
    """Under its id; what it was is dropped, and its webhook will tell of the new end."""
    await _require(request, job_id, caller)
    by = actor_of(request, caller)
    if not await control.retry(get_state(request).runtime, [job_id], by=by):
        async with get_state(request).runtime.database.begin() as session:
            job = await get_job(session, job_id, owner=caller.owner)
        why = f"the job is {say_status(job.state)}; FAILED or TIMED_OUT was wanted"
        if job.route is Route.OPENAI:
            why = "the job was sent while its client waited, who is not there for another result"
        raise ApiError(HTTPStatus.CONFLICT, why)
    described = await describe_one(request, job_id, caller)
    return JsonResponse(described, headers=request.state.limits)


async def _act_on_many(
    request: Request,
    caller: Caller,
    verb: Verb,
    asked: ManyRequest,
    *,
    priority: int | None = None,
) -> Response:
    runtime = get_state(request).runtime
    given = asked.filter
    if not (asked.dry_run or asked.all or given.model_dump(exclude_none=True)):
        said = "filter: at least one field was wanted, or `all`: true, which means everything"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, said)
    listed = runtime.catalogue.find(given.endpoint) if given.endpoint else None
    wanted = JobFilter(
        job_ids=given.ids,
        states=given.state,
        reasons=given.reason,
        endpoint=listed.id if listed else given.endpoint,
        campaign_id=given.campaign,
        tag=given.tag,
        owner=caller.owner,
        key_id=given.key_id,
        ended_before=given.ended_before,
        created_after=in_zone(given.created_after),
        created_before=in_zone(given.created_before),
    )
    bulk = Bulk(
        verb,
        narrow(verb, wanted, priority=priority),
        priority=priority,
        asked={"filter": given.model_dump(mode="json", exclude_none=True)},
    )
    told = await preview(runtime, bulk)
    answer: dict[str, Any] = {
        "count": told.total.jobs,
        "dry_run": asked.dry_run,
        "left": told.total.jobs,
        "next": None,
        "estimate_usd": float(told.total.estimate_usd) if verb is Verb.RETRY else None,
        "unpriced": told.total.unpriced if verb is Verb.RETRY else None,
        "sample": [str(one) for one in told.sample],
        "ended_before": told.ended_before.isoformat(),
    }
    if not asked.dry_run:
        done, following = await _walk(request, bulk, caller, after=asked.cursor)
        left = (await preview(runtime, bulk)).total.jobs if following else 0
        answer |= {"count": done, "left": left, "next": following and str(following)}
    return JsonResponse(answer, headers=request.state.limits)


async def _walk(
    request: Request, bulk: Bulk, caller: Caller, *, after: UUID | None
) -> tuple[int, UUID | None]:
    """How many were reached, and where the next request goes on; None: it is through."""
    by = actor_of(request, caller)
    began, done = time.monotonic(), 0
    while True:
        one = await step(get_state(request).runtime, bulk, after=after, by=by)
        done, after = done + one.done, one.last
        if after is None or time.monotonic() - began >= ANSWER_SECONDS:
            return done, after


async def _require(request: Request, job_id: UUID, caller: Caller) -> None:
    async with get_state(request).runtime.database.begin() as session:
        await get_job(session, job_id, owner=caller.owner)
