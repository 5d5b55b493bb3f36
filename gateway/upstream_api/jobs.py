"""Jobs in the upstream's own words: run, runsync, status, cancel, retry, purge-queue, health."""

import asyncio
import time
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncSession

from endpoints.client import RUN_BODY_BYTES, RUNSYNC_BODY_BYTES
from gateway.actors import actor_of
from gateway.bodies import read_object
from gateway.callers import Reading, Running
from gateway.disconnect import unless_gone
from gateway.errors import ApiError, read_refusal
from gateway.json_response import JsonResponse
from gateway.state import get_links, get_state
from gateway.submission import Submission, accept, check, conflict
from gateway.upstream_api.run_body import (
    read_cache_header,
    read_idempotency_key,
    read_priority_header,
    read_run_body,
)
from models.artifact import list_artifacts
from models.errors import NotFound
from models.job import TERMINAL, Job, JobState
from models.job_queries import JobFilter, count_jobs_of, get_job, list_jobs
from models.key import Caller
from tasks import control
from tasks.accept import Accepted
from tasks.intake import InvalidRequest, find_endpoint
from tasks.results import describe_job_upstream, say_status
from workers.trace_context import HEADER

WAIT_MS = (1_000, 300_000)
USUAL_WAIT_MS = 90_000
CANCEL_SECONDS = 2.0  # so long a cancel waits for the upstream: clients give up after 3
REQUESTS_LISTED = 100
CLIENT_OPTIONS = ("pollIntervalMillis", "maxPollAttempts")
WORKERS_KNOWN_SECONDS = 5.0
NO_WORKERS = dict.fromkeys(("idle", "initializing", "ready", "running", "throttled"), 0)

routes = APIRouter(prefix="/v2/{endpoint}", tags=["the upstream's protocol"])


@routes.post("/run", summary="Enqueue a job")
async def run(request: Request, endpoint: str, caller: Running) -> Response:
    """Answers with the job's id as soon as the job is committed."""
    accepted = await _hand_in(request, endpoint, caller, sync=False)
    reply = {"id": str(accepted.job_id), "status": say_status(accepted.state)}
    return JsonResponse(reply, headers=_headers(request, accepted))


@routes.post("/runsync", summary="Enqueue a job, and wait for its end")
async def runsync(request: Request, endpoint: str, caller: Running) -> Response:
    """Answers when the job has ended, or after `?wait=` ms (90,000) with its state then."""
    wait_seconds = _read_wait(request)
    accepted = await _hand_in(request, endpoint, caller, sync=True)
    reply = await _wait_and_describe(request, accepted.job_id, caller, seconds=wait_seconds)
    return JsonResponse(reply, headers=_headers(request, accepted))


@routes.get("/status/{job_id}", summary="What has become of a job")
async def status(request: Request, endpoint: str, job_id: str, caller: Reading) -> Response:
    reply = await _describe(request, endpoint, job_id, caller)
    return JsonResponse(reply, headers=request.state.limits)


@routes.get("/status-sync/{job_id}", summary="Wait for the end of a job")
async def status_sync(request: Request, endpoint: str, job_id: str, caller: Reading) -> Response:
    """An operation of earlier days that clients still call: `?wait=` as of runsync."""
    wait_seconds = _read_wait(request)
    job = await find_job(request, endpoint, job_id, caller)
    reply = await _wait_and_describe(request, job.id, caller, seconds=wait_seconds)
    return JsonResponse(reply, headers=request.state.limits)


@routes.post("/cancel/{job_id}", summary="Stop a job")
async def cancel(request: Request, endpoint: str, job_id: str, caller: Running) -> Response:
    """One that is with the upstream is stopped there; one that had ended is answered with how."""
    state = get_state(request)
    job = await find_job(request, endpoint, job_id, caller)
    changed = await control.cancel(state.runtime, [job.id], by=actor_of(request, caller))
    if changed.get(job.id) not in (None, *TERMINAL):
        await state.ends.wait([job.id], seconds=CANCEL_SECONDS)
    job = await find_job(request, endpoint, job_id, caller)
    reply = {"id": str(job.id), "status": say_status(job.state)}
    return JsonResponse(reply, headers=request.state.limits)


@routes.post("/retry/{job_id}", summary="Run a failed job again")
async def retry(request: Request, endpoint: str, job_id: str, caller: Running) -> Response:
    """Under its id; what it was is dropped. For jobs that are FAILED or TIMED_OUT."""
    job = await find_job(request, endpoint, job_id, caller)
    by = actor_of(request, caller)
    if not await control.retry(get_state(request).runtime, [job.id], by=by):
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"the job is {say_status(job.state)}; FAILED or TIMED_OUT was wanted",
            job_id=str(job.id),
        )
    return JsonResponse({"id": str(job.id), "status": "IN_QUEUE"}, headers=request.state.limits)


@routes.post("/purge-queue", summary="Cancel what waits in the queue")
async def purge_queue(request: Request, endpoint: str, caller: Running) -> Response:
    """Of the key's own jobs; those that run go on."""
    name = resolve(request, endpoint)
    runtime = get_state(request).runtime
    by = actor_of(request, caller)
    removed = await control.purge(runtime, name, owner=caller.key_id, by=by)
    await _wait_for_all(request, removed, seconds=CANCEL_SECONDS)
    reply = {"removed": len(removed), "status": "completed"}
    return JsonResponse(reply, headers=request.state.limits)


@routes.get("/health", summary="Count an endpoint's jobs and workers")
async def health(request: Request, endpoint: str, caller: Reading) -> Response:
    """Jobs are the key's own, ended ones of the last hour; workers are the upstream's."""
    name = resolve(request, endpoint)
    runtime = get_state(request).runtime
    async with runtime.database.begin() as session:
        counts = await count_jobs_of(session, endpoint=name, owner=caller.owner)
    reply = {
        "jobs": {
            "completed": counts.completed,
            "failed": counts.failed,
            "inProgress": counts.in_progress,
            "inQueue": counts.in_queue,
            "retried": counts.retried,
        },
        "workers": await _find_workers(request, name),
    }
    return JsonResponse(reply, headers=request.state.limits)


@routes.get("/requests", summary="The newest jobs of an endpoint")
async def requests(request: Request, endpoint: str, caller: Reading) -> Response:
    """The upstream names this operation and says no more of it: up to 100 of the key's jobs."""
    name = resolve(request, endpoint)
    async with get_state(request).runtime.database.begin() as session:
        wanted = JobFilter(endpoint=name, owner=caller.owner)
        jobs = await list_jobs(session, wanted, limit=REQUESTS_LISTED, brief=True)
    listed = [{"id": str(job.id), "status": say_status(job.state)} for job in jobs]
    return JsonResponse({"requests": listed}, headers=request.state.limits)


async def _hand_in(request: Request, endpoint: str, caller: Caller, *, sync: bool) -> Accepted:
    state = get_state(request)
    most_bytes = RUNSYNC_BODY_BYTES if sync else RUN_BODY_BYTES
    body = await read_object(request, most_bytes=most_bytes)
    read = read_run_body(body)
    size = int(request.headers.get("content-length", most_bytes))
    values = read.input
    if state.runtime.catalogue.find(endpoint):
        # The vendor's AI SDK provider sends its own options along; the endpoint takes none of them.
        values = {name: value for name, value in values.items() if name not in CLIENT_OPTIONS}
    asked = Submission(
        endpoint=endpoint,
        input=values,
        size=size,
        webhook=read.webhook,
        policy=read.policy,
        s3_config=read.s3_config,
        idempotency_key=read_idempotency_key(request.headers),
        cache=read_cache_header(request.headers),
        priority=read_priority_header(request.headers),
        sync=sync,
        traceparent=request.headers.get(HEADER),
        route=request.scope["route"].path,
    )
    try:
        incoming = await check(state, caller, asked)
    except InvalidRequest as error:
        raise read_refusal(error, status=HTTPStatus.BAD_REQUEST) from error
    [accepted] = await accept(state, [incoming], size=size)
    if accepted.conflict:
        raise conflict(asked.idempotency_key)
    return accepted


def resolve(request: Request, endpoint: str) -> str:
    """The endpoint's own id.

    Raises:
        ApiError: 404 it was withdrawn, or is no name of an endpoint.
    """
    try:
        listed = find_endpoint(get_state(request).runtime.catalogue, endpoint)
    except InvalidRequest as error:
        raise read_refusal(error, status=HTTPStatus.NOT_FOUND) from error
    return listed.id if listed else endpoint


async def find_job(request: Request, endpoint: str, job_id: str, caller: Caller) -> Job:
    """
    Raises:
        ApiError: 404 it is none of the caller's at this endpoint.
    """
    async with get_state(request).runtime.database.begin() as session:
        return await _get_job(session, request, endpoint, job_id, caller)


async def _get_job(
    session: AsyncSession, request: Request, endpoint: str, job_id: str, caller: Caller
) -> Job:
    listed = get_state(request).runtime.catalogue.find(endpoint)
    try:
        job = await get_job(session, UUID(job_id), owner=caller.owner)
    except (NotFound, ValueError):
        job = None
    if job is None or job.endpoint != (listed.id if listed else endpoint):
        raise ApiError(HTTPStatus.NOT_FOUND, "job not found", job_id=job_id[:100])
    return job


async def _describe(
    request: Request, endpoint: str, job_id: str, caller: Caller
) -> Mapping[str, Any]:
    async with get_state(request).runtime.database.begin() as session:
        job = await _get_job(session, request, endpoint, job_id, caller)
        files = await list_artifacts(session, job_ids=[job.id]) if _has_files(job) else []
    return describe_job_upstream(job, files, await get_links(request))


async def _wait_and_describe(
    request: Request, job_id: UUID, caller: Caller, *, seconds: float
) -> Mapping[str, Any]:
    state = get_state(request)
    await unless_gone(request, state.ends.wait([job_id], seconds=seconds))
    async with state.runtime.database.begin() as session:
        job = await get_job(session, job_id, owner=caller.owner)
        files = await list_artifacts(session, job_ids=[job_id]) if _has_files(job) else []
    return describe_job_upstream(job, files, await get_links(request))


async def _wait_for_all(request: Request, job_ids: Collection[UUID], *, seconds: float) -> None:
    """Until all have ended, or in vain."""
    ends = get_state(request).ends
    await asyncio.gather(*(ends.wait([job_id], seconds=seconds) for job_id in job_ids))


def _has_files(job: Job) -> bool:
    return job.state is JobState.COMPLETED


def _read_wait(request: Request) -> float:
    """Seconds that `?wait=` asks for, in ms.

    Raises:
        ApiError: 400 no whole number, or out of bounds.
    """
    came = request.query_params.get("wait", str(USUAL_WAIT_MS))
    least, most = WAIT_MS
    # Seven digits at most: more are no number that could be within bounds.
    if not came.isascii() or not came.isdigit() or len(came) > 7 or not least <= int(came) <= most:  # noqa: PLR2004
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"wait: {came[:100]!r} came, an integer {least:,} to {most:,} (ms) was wanted",
        )
    return int(came) / 1000


def _headers(request: Request, accepted: Accepted) -> dict[str, str]:
    headers = dict(request.state.limits)
    if accepted.existing:
        headers["Idempotency-Replayed"] = "true"
    if accepted.cached:
        headers["Pressroom-Cache"] = "hit"
    return headers


async def _find_workers(request: Request, endpoint: str) -> dict[str, int]:
    """The upstream's own count, a few seconds old; zeros while it does not say."""
    known: dict[str, tuple[float, dict[str, int]]] = request.app.state.workers_known
    now = time.monotonic()
    if endpoint not in known or known[endpoint][0] < now:
        counts = await get_state(request).runtime.upstream.count_workers(endpoint)
        if len(known) > 1_000:  # noqa: PLR2004 -- endpoints that anybody may make up
            known.clear()
        known[endpoint] = (now + WORKERS_KNOWN_SECONDS, {**NO_WORKERS, **(counts or {})})
    return known[endpoint][1]
