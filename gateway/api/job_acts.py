"""Cancel jobs and retry them: one, or all that fit a filter, which are counted first."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.answers import BODY_ERRORS, ERRORS, Count, JobDetail, problems
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import ManyRequest
from gateway.api.jobs import describe_one, in_zone
from gateway.callers import Running
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import get_state
from models.job import RETRIABLE, TERMINAL, JobState, Route
from models.job_queries import JobFilter, count_filtered_jobs, get_job, list_job_ids
from models.key import Caller
from tasks import control
from tasks.results import say_status
from workers.runtime import Runtime

AT_ONCE = 500  # jobs a statement
OPEN = tuple(state for state in JobState if state not in TERMINAL)
RETRIED = (Route.RUN, Route.RUNSYNC)  # nobody waits any more for a text that was streamed

Act = Callable[[Runtime, Sequence[UUID]], Awaitable[Collection[UUID]]]

routes = APIRouter(prefix="/jobs", tags=["jobs"], responses=ERRORS)


@routes.post(
    "/cancel",
    response_model=Count,
    summary="Cancel all that fit",
    openapi_extra=body_of(ManyRequest),
    responses=BODY_ERRORS,
)
async def cancel_many(request: Request, caller: Running) -> Response:
    """Counts them, unless `dry_run` is false."""
    return await _act_on_many(request, caller, OPEN, control.cancel)


@routes.post(
    "/retry",
    response_model=Count,
    summary="Retry all that fit",
    openapi_extra=body_of(ManyRequest),
    responses=BODY_ERRORS,
)
async def retry_many(request: Request, caller: Running) -> Response:
    """Of those that ended without a result. Counts them, unless `dry_run` is false."""
    return await _act_on_many(request, caller, RETRIABLE, control.retry, routes=RETRIED)


@routes.post("/{job_id}/cancel", response_model=JobDetail, summary="Cancel a job")
async def cancel(request: Request, job_id: UUID, caller: Running) -> Response:
    """One that is with the upstream is stopped there, soon. One that had ended stays as it is."""
    await _require(request, job_id, caller)
    await control.cancel(get_state(request).runtime, [job_id])
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
    if not await control.retry(get_state(request).runtime, [job_id]):
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
    reachable: Sequence[JobState],
    act: Act,
    routes: Sequence[Route] | None = None,
) -> Response:
    runtime = get_state(request).runtime
    asked = await read_form(request, ManyRequest)
    given = asked.filter
    listed = runtime.catalogue.find(given.endpoint) if given.endpoint else None
    states = given.state if given.state is not None else reachable
    wanted = JobFilter(
        states=[state for state in states if state in reachable],
        endpoint=listed.id if listed else given.endpoint,
        campaign_id=given.campaign,
        owner=caller.owner,
        routes=routes,
        created_after=in_zone(given.created_after),
        created_before=in_zone(given.created_before),
    )
    async with runtime.database.begin() as session:
        count = await count_filtered_jobs(session, wanted)
    if not asked.dry_run:
        count = await _walk(runtime, wanted, act)
    return JsonResponse({"count": count, "dry_run": asked.dry_run}, headers=request.state.limits)


async def _walk(runtime: Runtime, wanted: JobFilter, act: Act) -> int:
    """Page by page from the newest, so that each job is met once; returns how many were reached."""
    reached, before = 0, None
    while True:
        async with runtime.database.begin() as session:
            ids = await list_job_ids(session, wanted, limit=AT_ONCE, before=before)
        if not ids:
            return reached
        reached += len(await act(runtime, ids))
        before = ids[-1]


async def _require(request: Request, job_id: UUID, caller: Caller) -> None:
    async with get_state(request).runtime.database.begin() as session:
        await get_job(session, job_id, owner=caller.owner)
