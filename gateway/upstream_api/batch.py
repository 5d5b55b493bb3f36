"""Batches: requests that are collected, and handed in together, in the upstream's own words.

A batch is a DRAFT until it is finalized: then its requests become jobs, with their ids, so that
/status and the rest know them, too. Where the upstream documents no reply, it is the batch.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.actors import actor_of
from gateway.bodies import parse_object, read_body
from gateway.callers import Reading, Running
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import get_links, get_state
from gateway.submission import refuse_in_maintenance
from gateway.upstream_api.jobs import resolve
from gateway.upstream_api.run_body import read_run_body
from models import batch as batches
from models.artifact import Artifact, list_artifacts
from models.audit import Action, note_act
from models.base import new_id
from models.batch import Batch, BatchState
from models.errors import NotFound
from models.interventions import cancel_jobs
from models.job import IN_FLIGHT, Job, JobState, OnUnknown
from models.key import Caller
from models.lane import StageName
from tasks import intake
from tasks.batch import enqueue_batch
from tasks.results import describe_job_upstream
from workers.links import Links
from workers.runtime import Runtime

ACTIVE_MOST = 10  # batches of a key at an endpoint
REQUESTS_MOST = 5_000  # of a batch
CALL_BYTES = 10 * 1024 * 1024
PROBLEMS_SAID = 20
NAME_LENGTH = 255
NOT_TAKEN = ("webhook", "policy", "s3Config")

Offset = Annotated[int, Query(ge=0, le=2**31)]
Limit = Annotated[int, Query(ge=1, le=500)]

routes = APIRouter(prefix="/v2/{endpoint}/batch", tags=["the upstream's protocol"])


@routes.post("", summary="Make a batch")
async def create(request: Request, endpoint: str, caller: Running) -> Response:
    """Of an array of `{input}`, which may be empty. Nothing runs before it is finalized."""
    listed = resolve(request, endpoint)
    await refuse_in_maintenance(get_state(request))
    body = await _read_body(request)
    inputs = await _check(request, listed, body.get("requests", []))
    batch = Batch(id=new_id(), key_id=caller.key_id, endpoint=listed, name=_read_name(body))
    async with get_state(request).runtime.database.begin() as session:
        active = await batches.count_active(session, key_id=caller.key_id, endpoint=listed)
        if active >= ACTIVE_MOST:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"the key {caller.name!r} has {active} batches at {listed} that are drafts or have "
                f"not ended; there may be {ACTIVE_MOST}",
            )
        session.add(batch)
        await session.flush()
        await batches.add_requests(session, batch.id, inputs)
    return JsonResponse({"id": str(batch.id), "status": "DRAFT"}, headers=request.state.limits)


@routes.get("", summary="List an endpoint's batches, the newest first")
async def list_(
    request: Request, endpoint: str, caller: Reading, offset: Offset = 0, limit: Limit = 50
) -> Response:
    async with get_state(request).runtime.database.begin() as session:
        rows = await batches.summarize_batches(
            session,
            endpoint=_find_name(request, endpoint),
            owner=caller.owner,
            offset=offset,
            limit=limit,
        )
    reply = {"batches": [_describe(row) for row in rows]}
    return JsonResponse(reply, headers=request.state.limits)


@routes.get("/{batch_id}", summary="How far a batch is")
async def read(request: Request, endpoint: str, batch_id: str, caller: Reading) -> Response:
    """All has ended when `requestCompleted` and `requestFailed` add up to `requestTotal`."""
    async with _open(request, endpoint, batch_id, caller) as (session, batch):
        return await _answer(request, session, batch)


@routes.put("/{batch_id}", summary="Name a batch")
async def name(request: Request, endpoint: str, batch_id: str, caller: Running) -> Response:
    body = await _read_body(request)
    async with _open(request, endpoint, batch_id, caller, *BatchState) as (session, batch):
        if "name" in body:
            batch.name = _read_name(body)
        return await _answer(request, session, batch)


@routes.post("/{batch_id}/requests", summary="Add requests to a draft")
async def add(request: Request, endpoint: str, batch_id: str, caller: Running) -> Response:
    """All of `{requests: [{input}]}`, or none if one is wrong."""
    body = await _read_body(request)
    inputs = await _check(request, resolve(request, endpoint), body.get("requests"))
    async with _open(request, endpoint, batch_id, caller, BatchState.DRAFT) as (session, batch):
        [summary] = await batches.summarize_batches(session, batch_id=batch.id)
        _require_room(summary.total, len(inputs))
        await batches.add_requests(session, batch.id, inputs)
        return await _answer(request, session, batch)


@routes.delete("/{batch_id}/requests/{request_id}", summary="Take a request out of a draft")
async def remove(
    request: Request, endpoint: str, batch_id: str, request_id: str, caller: Running
) -> Response:
    async with _open(request, endpoint, batch_id, caller, BatchState.DRAFT) as (session, batch):
        if not await batches.remove_request(session, batch.id, request_id):
            raise NotFound("request of the batch", request_id[:100])
        return await _answer(request, session, batch)


@routes.get("/{batch_id}/requests", summary="The requests of a batch, and their results")
async def read_requests(
    request: Request,
    endpoint: str,
    batch_id: str,
    caller: Reading,
    *,
    offset: Offset = 0,
    limit: Limit = 50,
) -> Response:
    """In the order in which they were added; each as /status shows it."""
    links = await get_links(request)
    async with _open(request, endpoint, batch_id, caller) as (session, batch):
        [summary] = await batches.summarize_batches(session, batch_id=batch.id)
        rows = await batches.list_requests(session, batch.id, offset=offset, limit=limit)
        completed = [job.id for _, job in rows if job and job.state is JobState.COMPLETED]
        files = await list_artifacts(session, job_ids=completed)
    reply = {
        "requests": [
            _describe_job(job, [file for file in files if file.job_id == job.id], links)
            if job
            else _describe_unsent(request_id, batch)
            for request_id, job in rows
        ],
        "total": summary.total,
        "offset": offset,
        "limit": limit,
        "hasMore": offset + len(rows) < summary.total,
    }
    return JsonResponse(reply, headers=request.state.limits)


@routes.post("/{batch_id}/finalize", summary="Enqueue a batch")
async def finalize(request: Request, endpoint: str, batch_id: str, caller: Running) -> Response:
    """Its requests become jobs, and no more can be added. Safe to repeat."""
    await refuse_in_maintenance(get_state(request))
    from_states = (BatchState.DRAFT, BatchState.FINALIZED)
    async with _open(request, endpoint, batch_id, caller, *from_states) as (_, batch):
        batch.state = BatchState.FINALIZED
    await enqueue_batch(get_state(request).runtime, batch.id)
    return await read(request, endpoint, batch_id, caller)


@routes.post("/{batch_id}/cancel", summary="Cancel a batch")
async def cancel(request: Request, endpoint: str, batch_id: str, caller: Running) -> Response:
    """What waits is dropped; what runs goes on, and then the batch is CANCELLED."""
    from_states = (BatchState.DRAFT, BatchState.FINALIZED, BatchState.CANCELLED)
    async with _open(request, endpoint, batch_id, caller, *from_states) as (session, batch):
        batch.state = BatchState.CANCELLED
        waiting = await batches.find_waiting_jobs(session, batch.id)
        changed = await cancel_jobs(session, job_ids=waiting)
        told = {"batch": str(batch.id), "jobs": len(changed)}
        actor = actor_of(request, caller)
        await note_act(session, actor, Action.JOBS_CANCEL, f"{len(changed)} jobs", after=told)
    to_stop = {of for state, of in changed.values() if state in IN_FLIGHT}
    await get_state(request).runtime.bells.ring_each(StageName.CANCEL, to_stop)
    return await read(request, endpoint, batch_id, caller)


@asynccontextmanager
async def _open(
    request: Request, endpoint: str, batch_id: str, caller: Caller, *states: BatchState
) -> AsyncIterator[tuple[AsyncSession, Batch]]:
    """A transaction, and the batch: to be changed, if states are given that it may be in.

    Raises:
        NotFound: it is none of the caller's at this endpoint.
        ApiError: 400 it is in another state.
    """
    listed = _find_name(request, endpoint)
    async with get_state(request).runtime.database.begin() as session:
        batch = await batches.get_batch(
            session, batch_id, endpoint=listed, owner=caller.owner, hold=bool(states)
        )
        if states and batch.state not in states:
            wanted = " or ".join(state.upper() for state in states)
            raise ApiError(
                HTTPStatus.BAD_REQUEST, f"the batch is {batch.state.upper()}; {wanted} was wanted"
            )
        yield session, batch


def _find_name(request: Request, endpoint: str) -> str:
    """The endpoint's own id, even if it was withdrawn: its batches can be read."""
    listed = get_state(request).runtime.catalogue.find(endpoint)
    return listed.id if listed else endpoint


async def _read_body(request: Request) -> dict[str, Any]:
    """A batch's fields; an array is its `requests`."""
    raw = await read_body(request, most_bytes=CALL_BYTES)
    return await asyncio.to_thread(_parse, raw)


def _parse(raw: bytes) -> dict[str, Any]:
    if not raw.lstrip().startswith(b"["):
        return parse_object(raw)
    try:
        orjson.loads(raw)  # by itself, before it is put among what could make good JSON of it
    except orjson.JSONDecodeError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from None
    return parse_object(b'{"requests":%b}' % raw)


async def _check(request: Request, endpoint: str, items: object) -> list[dict[str, Any]]:
    """The inputs that came.

    Raises:
        ApiError: 400, with what is wrong with which.
    """
    if not isinstance(items, list):
        raise ApiError(HTTPStatus.BAD_REQUEST, "requests: an array of {input: {...}} was wanted")
    _require_room(0, len(items))
    runtime = get_state(request).runtime
    problems = await asyncio.to_thread(_find_problems, runtime, endpoint, items)
    if problems:
        said = "; ".join(problems[:PROBLEMS_SAID])
        if len(problems) > PROBLEMS_SAID:
            said += f"; and {len(problems) - PROBLEMS_SAID:,} problems more"
        raise ApiError(HTTPStatus.BAD_REQUEST, said)
    return [item["input"] for item in items]


def _find_problems(runtime: Runtime, endpoint: str, items: list[Any]) -> list[str]:
    problems: list[str] = []
    for index, item in enumerate(items):
        body = item if isinstance(item, dict) else {}
        found = [f"{field}: a batch takes none" for field in NOT_TAKEN if body.get(field)]
        try:
            asked = intake.Request(endpoint=endpoint, input=read_run_body(body).input)
            intake.check_request(
                runtime.catalogue, asked, on_unknown=OnUnknown.RESUBMIT, guard=runtime.guard
            )
        except (ApiError, intake.InvalidRequest) as error:
            found += error.problems
        problems += [f"requests[{index}].{problem}" for problem in found]
    return problems


def _require_room(there: int, more: int) -> None:
    if there + more > REQUESTS_MOST:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"{more:,} requests came, the batch has {there:,}; it takes {REQUESTS_MOST:,} in all",
        )


def _read_name(body: dict[str, Any]) -> str | None:
    name = body.get("name")
    if name is None or (isinstance(name, str) and len(name) <= NAME_LENGTH and name.isprintable()):
        return name
    raise ApiError(
        HTTPStatus.BAD_REQUEST, f"name: up to {NAME_LENGTH} printable characters were wanted"
    )


async def _answer(request: Request, session: AsyncSession, batch: Batch) -> Response:
    await session.flush()
    [summary] = await batches.summarize_batches(session, batch_id=batch.id)
    return JsonResponse(_describe(summary), headers=request.state.limits)


def _describe(batch: Row[Any]) -> dict[str, Any]:
    described = {
        "id": str(batch.id),
        "name": batch.name,
        "endpointId": batch.endpoint,
        "status": batch.status.upper(),
        "requestTotal": batch.total,
        "requestInProgress": batch.in_progress,
        "requestCompleted": batch.completed,
        "requestFailed": batch.failed,
        "createdAt": int(batch.created_at.timestamp() * 1000),
        "error": batch.error,
    }
    return {name: value for name, value in described.items() if value is not None}


def _describe_unsent(request_id: UUID, batch: Batch) -> dict[str, Any]:
    """A request that is no job yet, or never will be."""
    never = batch.state in {BatchState.FAILED, BatchState.CANCELLED}
    described = {"id": str(request_id), "status": batch.state.upper() if never else "IN_QUEUE"}
    return described | ({"error": batch.error or "the batch was cancelled"} if never else {})


def _describe_job(job: Job, files: Sequence[Artifact], links: Links) -> dict[str, Any]:
    described = describe_job_upstream(job, files, links)
    if job.submitted_at and described["status"] != "IN_QUEUE":
        described["startedAt"] = job.submitted_at.isoformat()
    if job.finished_at:
        described["completedAt"] = job.finished_at.isoformat()
    return described
