"""`/stream/<job>`: the pieces of a job's output, passed on as the upstream hands them out.

The upstream hands each piece out once, so a piece that was read here is gone there. Once it keeps
them no longer, what was never streamed is handed out from the stored result, once too.

Published clients ask again without a pause, so a request is held until there is news.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from endpoints.catalogue import Operation
from endpoints.client import POLL_SECONDS
from endpoints.outcomes import Pieces, Running, UpstreamState
from gateway.callers import Reading
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import GatewayState, get_state
from gateway.upstream_api.jobs import find_job
from models.interventions import count_streamed, hasten_polls
from models.job import IN_FLIGHT, Job, JobState
from models.lane import StageName
from tasks.results import say_error, say_status
from workers.permit import QuotaSpent, one_call

routes = APIRouter(prefix="/v2/{endpoint}", tags=["the upstream's protocol"])

RUNNING = (None, UpstreamState.IN_QUEUE, UpstreamState.IN_PROGRESS)
NEWS_SECONDS = 4.0  # that a request is held for news: clients give up after 10
LOOK_SECONDS = 0.25


@routes.api_route("/stream/{job_id}", methods=["GET", "POST"], summary="The newest pieces")
async def stream(request: Request, endpoint: str, job_id: str, caller: Reading) -> Response:
    """`{status, stream: [{output}]}`; over once the status is an end and the list is empty."""
    state = get_state(request)
    status = "IN_QUEUE"
    outputs: list[Any] = []
    for _ in range(round(NEWS_SECONDS / LOOK_SECONDS)):
        job = await find_job(request, endpoint, job_id, caller)
        status, outputs = say_status(job.state), []
        if job.upstream_id and job.state in {*IN_FLIGHT, JobState.COMPLETED}:
            status, outputs = await _ask(state, job)
        if outputs or status not in {"IN_QUEUE", "IN_PROGRESS"}:
            break
        await asyncio.sleep(LOOK_SECONDS)
    if job.state is JobState.COMPLETED and not outputs and not job.streamed:
        outputs = job.output if isinstance(job.output, list) else [job.output]
    if outputs:
        async with state.runtime.database.begin() as session:
            await count_streamed(session, job.id, pieces=len(outputs))
    reply: dict[str, Any] = {
        "id": str(job.id),
        "status": status,
        "stream": [{"output": output} for output in outputs],
    }
    if job.finished_at and job.state is not JobState.COMPLETED:
        reply["error"] = say_error(job)
        if status == "CANCELLED":
            # The vendor's Python client takes it for no end, and would ask for ever.
            reply["status"] = "FAILED"
    return JsonResponse(reply, headers=request.state.limits)


async def _ask(state: GatewayState, job: Job) -> tuple[str, list[Any]]:
    """What the upstream has, and the job's status as far as we know it then."""
    runtime = state.runtime
    assert job.upstream_id is not None  # noqa: S101 -- the caller looked
    try:
        async with one_call(runtime, job.endpoint, Operation.STREAM, seconds=POLL_SECONDS):
            found = await runtime.upstream.read_pieces(job.endpoint, job.upstream_id)
    except QuotaSpent as error:
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "the upstream's limit of stream requests is used up",
            headers={"Retry-After": str(max(round(error.retry_in), 1))},
        ) from error
    outputs = list(found.outputs) if isinstance(found, Pieces) else []
    more = isinstance(found, Pieces) and found.state in RUNNING and bool(outputs or found.state)
    if job.state is JobState.COMPLETED:
        # It may have more to hand out, and clients end at the first word of an end.
        return "IN_PROGRESS" if more else say_status(job.state), outputs
    if more or (isinstance(found, Running) and found.state in RUNNING):
        return (found.state or job.state).upper(), outputs
    # It ended, or says nothing of use: the poll finds out what is true.
    async with runtime.database.begin() as session:
        await hasten_polls(session, job_ids=[job.id])
    await runtime.bells.ring(StageName.POLL, job.endpoint)
    return "IN_PROGRESS", outputs
