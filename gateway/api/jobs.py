"""Jobs: hand them in, one or many; read them; wait for them."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncSession

from endpoints.client import RUN_BODY_BYTES
from gateway.api.answers.attempts import Attempts
from gateway.api.answers.jobs import BulkReply, JobDetail, JobPage, Timeline, WaitReply
from gateway.api.answers.problems import BODY_ERRORS, ERRORS
from gateway.api.form_reader import body_of, hold_to, read_form
from gateway.api.forms import (
    BULK_MOST,
    WAIT_SECONDS_MOST,
    BulkItem,
    BulkRequest,
    JobRequest,
    Name,
    WaitRequest,
)
from gateway.api.pages import Cursor, Limit, cut_page, read_cursor
from gateway.bodies import read_object
from gateway.callers import Reading, Running
from gateway.disconnect import unless_gone
from gateway.errors import ApiError, read_refusal
from gateway.explain import explain
from gateway.json_response import JsonResponse
from gateway.listed_jobs import Known
from gateway.state import GatewayState, get_links, get_state
from gateway.submission import Submission, accept, check, conflict
from gateway.upstream_api.run_body import check_idempotency_key
from gateway.waiting import find_waiting
from models.artifact import list_artifacts
from models.budget import name_budgets
from models.doubt import sum_doubts
from models.errors import DatabaseUnavailable
from models.job import Job, JobState, Reason
from models.job_queries import (
    JobFilter,
    get_job,
    list_attempts,
    list_jobs,
    list_timeline,
)
from models.key import Caller, name_keys
from models.lane import find_lanes
from tasks.accept import Accepted, Incoming
from tasks.intake import InvalidRequest
from tasks.results import describe_attempt, describe_doubts, describe_job, say_status
from workers.trace_context import HEADER

BULK_BODY_BYTES = 100_000_000
BULK_STEP = 500  # jobs a transaction
CHECKED_AT_ONCE = 50  # before others are served

routes = APIRouter(prefix="/jobs", tags=["jobs"], responses=ERRORS)

IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=255,
        description="Sent again within a day, it is the same job. Any printable text.",
        json_schema_extra={
            "minLength": 1,
            "pattern": "^[\\x20-\\x7e]+$",
        },
    ),
]
WaitSeconds = Annotated[
    float, Query(ge=0, le=WAIT_SECONDS_MOST, description="Seconds, for its end.")
]


@routes.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobDetail,
    summary="Hand in a generation",
    openapi_extra=body_of(JobRequest),
    responses={200: {"description": "It was handed in before.", "model": JobDetail}, **BODY_ERRORS},
)
async def create(
    request: Request, caller: Running, idempotency_key: IdempotencyKey = None
) -> Response:
    """It is committed before this answers. What comes of it: `GET`, `?wait=`, events, a webhook."""
    state = get_state(request)
    body = await read_object(request, most_bytes=RUN_BODY_BYTES)
    asked = hold_to(JobRequest, body)
    size = len(orjson.dumps(body))
    key = None if idempotency_key is None else check_idempotency_key(idempotency_key)
    incoming = await check(state, caller, _submission(request, asked, key, size))
    [accepted] = await accept(state, [incoming], size=size)
    if accepted.conflict:
        raise conflict(key)
    headers = {**request.state.limits, "Location": f"/api/v1/jobs/{accepted.job_id}"}
    if accepted.existing:
        headers["Idempotency-Replayed"] = "true"
    if accepted.cached:
        headers["Pressroom-Cache"] = "hit"
    try:
        described = await describe_one(request, accepted.job_id, caller)
    except DatabaseUnavailable as error:
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"the job was accepted as {accepted.job_id}; the database cannot be reached to show it",
            headers=headers,
        ) from error
    status = HTTPStatus.OK if accepted.existing else HTTPStatus.ACCEPTED
    return JsonResponse(described, status, headers)


@routes.post(
    "/bulk",
    response_model=BulkReply,
    summary="Hand in up to 10,000",
    openapi_extra=body_of(BulkRequest),
    responses=BODY_ERRORS,
)
async def create_bulk(
    request: Request, caller: Running, idempotency_key: IdempotencyKey = None
) -> Response:
    """Each is taken or refused by itself; the answer has an item for each, in order.

    With an `Idempotency-Key` of the request, each item has that key and its index as its own, so
    that the whole call may be sent again after a dropped connection.
    """
    asked = await read_form(request, BulkRequest, most_bytes=BULK_BODY_BYTES)
    if idempotency_key is not None:
        check_idempotency_key(f"{idempotency_key}:{BULK_MOST}")
    items: list[dict[str, Any]] = []
    for start in range(0, len(asked.jobs), BULK_STEP):
        step = asked.jobs[start : start + BULK_STEP]
        items += await _take_step(request, caller, step, start, idempotency_key)
    refused = sum("error" in item for item in items)
    reply = {"accepted": len(items) - refused, "refused": refused, "items": items}
    return JsonResponse(reply, headers=request.state.limits)


@routes.post(
    "/wait",
    response_model=WaitReply,
    summary="Wait for the first end of several",
    openapi_extra=body_of(WaitRequest),
    responses=BODY_ERRORS,
)
async def wait_for_any(request: Request, caller: Reading) -> Response:
    """Answers once at least one of them has ended, with all that have; or when the wait is over.

    Without their inputs, which who waits has.
    """
    state = get_state(request)
    asked = await read_form(request, WaitRequest)
    ids = list(dict.fromkeys(asked.ids))
    known, ended = await _look(state, ids, caller)
    if asked.wait and not ended and known:
        await unless_gone(request, state.ends.wait(known, seconds=asked.wait))
        known, ended = await _look(state, ids, caller)
    links = await get_links(request)
    async with state.runtime.database.begin() as session:
        files = await list_artifacts(session, job_ids=[job.id for job in ended])
    reply = {
        "jobs": [
            {
                **describe_job(job, [file for file in files if file.job_id == job.id], links),
                "why": explain(job, [], {}),
                "input": None,
            }
            for job in ended
        ],
        "pending": [str(one) for one in known if one not in {job.id for job in ended}],
        "unknown": [str(one) for one in ids if one not in set(known)],
    }
    return JsonResponse(reply, headers=request.state.limits)


@routes.get("", response_model=JobPage, summary="List jobs, the newest first")
async def list_(
    request: Request,
    caller: Reading,
    state: Annotated[list[JobState] | None, Query()] = None,
    endpoint: Annotated[Name | None, Query()] = None,
    reason: Annotated[list[Reason] | None, Query(description="For which they ended.")] = None,
    campaign: UUID | None = None,
    created_after: dt.datetime | None = None,
    created_before: dt.datetime | None = None,
    *,
    mine: Annotated[bool, Query(description="Those of this key alone, if it sees others.")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """A key sees its own; one with `operate` everybody's. Without inputs, outputs and files, but
    with a prompt's beginning and a thumbnail.
    """
    runtime = get_state(request).runtime
    listed = runtime.catalogue.find(endpoint) if endpoint else None
    wanted = JobFilter(
        states=state,
        endpoint=listed.id if listed else endpoint,
        reasons=reason,
        campaign_id=campaign,
        owner=caller.owner,
        key_id=caller.key_id if mine else None,
        created_after=in_zone(created_after),
        created_before=in_zone(created_before),
    )
    async with runtime.database.begin() as session:
        rows = await list_jobs(
            session, wanted, limit=limit + 1, before=read_cursor(cursor), brief=True
        )
        lanes = await find_lanes(session)
        budgets = await name_budgets(session, {job.held_by for job in rows if job.held_by})
        page, following = cut_page(rows, limit, lambda job: job.id)
        known = await Known.read(session, page)
    links = await get_links(request)
    jobs = [
        {
            **describe_job(job, [], links, brief=True),
            "why": explain(job, lanes, budgets),
            **known.of(job, links),
        }
        for job in page
    ]
    return JsonResponse({"jobs": jobs, "next": following}, headers=request.state.limits)


@routes.get("/{job_id}", response_model=JobDetail, summary="Read a job")
async def read(
    request: Request, job_id: UUID, caller: Reading, wait: WaitSeconds = 0.0
) -> Response:
    """With `wait`, answers when it has ended, or with the state that it is in then."""
    state = get_state(request)
    job = await _find(request, job_id, caller)
    if wait and job.finished_at is None:
        await unless_gone(request, state.ends.wait([job_id], seconds=wait))
    described = await describe_one(request, job_id, caller)
    return JsonResponse(described, headers=request.state.limits)


@routes.get(
    "/{job_id}/attempts", response_model=Attempts, summary="Every call that was sent for it"
)
async def attempts(request: Request, job_id: UUID, caller: Reading) -> Response:
    await _find(request, job_id, caller)
    async with get_state(request).runtime.database.begin() as session:
        rows = await list_attempts(session, job_id)
        doubts = await sum_doubts(session, job_id=job_id)
    reply = {
        "attempts": [describe_attempt(row) for row in rows],
        "doubts": describe_doubts(doubts),
    }
    return JsonResponse(reply, headers=request.state.limits)


@routes.get("/{job_id}/timeline", response_model=Timeline, summary="What happened to it, in order")
async def timeline(request: Request, job_id: UUID, caller: Reading) -> Response:
    """Its states and its files' as far back as events are kept, and every call that was sent."""
    job = await _find(request, job_id, caller)
    async with get_state(request).runtime.database.begin() as session:
        happened = await list_timeline(session, job_id)
        sent = await list_attempts(session, job_id)
    entries: list[dict[str, Any]] = [
        {
            "at": event.at,
            "what": event.type,
            "artifact_id": str(event.artifact_id) if event.artifact_id else None,
        }
        for event in happened
    ]
    if not happened or happened[0].type != "job.queued":
        entries.append({"at": job.created_at, "what": "job.queued", "artifact_id": None})
    for attempt in sent:
        entries.append({"at": attempt.sent_at, "what": "attempt.sent", "number": attempt.number})
        if attempt.answered_at:
            answered = {"answer": attempt.answer, "error": attempt.error}
            entries.append(
                {
                    "at": attempt.answered_at,
                    "what": "attempt.answered",
                    "number": attempt.number,
                    **answered,
                }
            )
    entries.sort(key=lambda entry: entry["at"])
    return JsonResponse({"timeline": entries}, headers=request.state.limits)


def _submission(
    request: Request, asked: JobRequest, key: str | None, size: int, *, one_of_many: bool = False
) -> Submission:
    return Submission(
        endpoint=asked.endpoint,
        input=asked.input,
        size=size,
        webhook=asked.webhook,
        policy=asked.policy.model_dump(exclude_none=True) if asked.policy else None,
        s3_config=asked.s3Config.model_dump() if asked.s3Config else None,
        on_unknown=asked.on_unknown,
        start_within=asked.start_within,
        priority=asked.priority,
        idempotency_key=key,
        cache=asked.cache,
        traceparent=request.headers.get(HEADER),
        route=request.scope["route"].path,
        one_of_many=one_of_many,
    )


async def _take_step(
    request: Request,
    caller: Caller,
    step: Sequence[Any],
    start: int,
    prefix: str | None,
) -> list[dict[str, Any]]:
    """What became of each of some items: one transaction for those that may be enqueued."""
    state = get_state(request)
    items: dict[int, dict[str, Any]] = {}
    taken: list[tuple[int, str | None, Incoming]] = []
    size = 0
    for index, given in enumerate(step, start):
        if index % CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
        try:
            asked = hold_to(BulkItem, given)
            key = asked.idempotency_key or (prefix and f"{prefix}:{index}")
            if key is not None:
                check_idempotency_key(key)
            submission = _submission(request, asked, key, 0, one_of_many=True)
            one = await check(state, caller, submission)
            taken.append((index, key, one))
            size += len(orjson.dumps(given))
        except (ApiError, InvalidRequest) as error:
            items[index] = {"index": index, "error": _say_refusal(error)}
    accepted = await accept(state, [one for _, _, one in taken], size=size) if taken else []
    for (index, key, _), answer in zip(taken, accepted, strict=True):
        items[index] = _say_accepted(index, key, answer)
    return [items[index] for index in sorted(items)]


def _say_accepted(index: int, key: str | None, answer: Accepted) -> dict[str, Any]:
    if answer.conflict:
        return {"index": index, "error": conflict(key).describe()}
    return {
        "index": index,
        "id": str(answer.job_id),
        "status": say_status(answer.state),
        "state": answer.state,
        "existing": answer.existing,
        "cached": answer.cached,
    }


def _say_refusal(error: ApiError | InvalidRequest) -> dict[str, Any]:
    if isinstance(error, InvalidRequest):
        error = read_refusal(error, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    return error.describe()


async def describe_one(request: Request, job_id: UUID, caller: Caller) -> dict[str, Any]:
    """A job as JSON.

    Raises:
        NotFound: it is none of the caller's.
    """
    runtime = get_state(request).runtime
    async with runtime.database.begin() as session:
        job = await get_job(session, job_id, owner=caller.owner)
        files = await list_artifacts(session, job_ids=[job_id])
        waiting = await find_waiting(runtime, session, job, files, owner=caller.owner)
        keys = await name_keys(session, {job.key_id} if job.key_id else ())
    links = await get_links(request)
    key = keys.get(job.key_id) if job.key_id else None
    return {**describe_job(job, files, links), "key": key, **waiting.describe()}


async def _find(request: Request, job_id: UUID, caller: Caller) -> Job:
    async with get_state(request).runtime.database.begin() as session:
        return await get_job(session, job_id, owner=caller.owner)


async def _look(
    state: GatewayState, ids: Sequence[UUID], caller: Caller
) -> tuple[list[UUID], list[Job]]:
    """Which of them there are, and those that have ended."""
    async with state.runtime.database.begin() as session:
        known = await _find_known(session, ids, caller)
        ended = [job.id for job in known if job.finished_at is not None]
        wanted = JobFilter(job_ids=ended, owner=caller.owner)
        whole = await list_jobs(session, wanted, limit=None) if ended else []
    order = {job_id: place for place, job_id in enumerate(ids)}
    return (
        sorted((job.id for job in known), key=order.__getitem__),
        sorted(whole, key=lambda job: order[job.id]),
    )


async def _find_known(session: AsyncSession, ids: Sequence[UUID], caller: Caller) -> Sequence[Job]:
    wanted = JobFilter(job_ids=ids, owner=caller.owner)
    return await list_jobs(session, wanted, limit=None, brief=True)


def in_zone(moment: dt.datetime | None) -> dt.datetime | None:
    """UTC, where none was said."""
    return moment.replace(tzinfo=dt.UTC) if moment and moment.tzinfo is None else moment
