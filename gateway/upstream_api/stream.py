"""`/stream/<job>`: the pieces of a job's output, passed on as the upstream hands them out.

The upstream hands each piece out once, so a piece that was read here is gone there. Once it keeps
them no longer, what was never streamed is handed out from the stored result, once too.

Published clients ask again without a pause, so a request is held until there is news.
"""

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from endpoints.catalogue import Operation
from endpoints.client import POLL_SECONDS
from endpoints.outcomes import Busy, Fault, Pieces, PollOutcome, Running, UpstreamState
from gateway.callers import Reading
from gateway.disconnect import unless_gone
from gateway.json_response import JsonResponse
from gateway.state import GatewayState, get_links, get_state
from gateway.upstream_api.jobs import find_job
from gateway.upstream_api.openai import refuse_spent
from models.artifact import list_artifacts
from models.interventions import begin_streaming, count_streamed, hasten_polls
from models.job import IN_FLIGHT, Job, JobState
from models.lane import StageName
from tasks.results import say_error, say_status
from workers.permit import QuotaSpent, one_call

routes = APIRouter(prefix="/v2/{endpoint}", tags=["the upstream's protocol"])

UNDER_WAY = (UpstreamState.IN_QUEUE, UpstreamState.IN_PROGRESS)
NEWS_SECONDS = 4.0  # that a request is held for news: clients give up after 10
LOOK_SECONDS = 0.25


@routes.post("/stream/{job_id}", operation_id="stream_by_post", summary="The same as GET")
@routes.get("/stream/{job_id}", summary="The newest pieces")
async def stream(request: Request, endpoint: str, job_id: str, caller: Reading) -> Response:
    """`{status, stream: [{output}]}`; over once the status is an end and the list is empty."""
    state = get_state(request)
    deadline = time.monotonic() + NEWS_SECONDS
    hastened = False
    while True:
        job = await find_job(request, endpoint, job_id, caller)
        found = await _ask(state, job)
        status, outputs = _read(job, found)
        if job.state in IN_FLIGHT and _has_ended(found) and not hastened:
            await _hasten_poll(state, job)
            hastened = True
        late = time.monotonic() >= deadline
        if outputs or late or status not in {"IN_QUEUE", "IN_PROGRESS"}:
            break
        # Whoever has gone must not be handed a piece that another request is to have.
        await unless_gone(request, asyncio.sleep(LOOK_SECONDS))
    if outputs:
        async with state.runtime.database.begin() as session:
            await count_streamed(session, job.id, pieces=len(outputs))
    elif job.state is JobState.COMPLETED:
        status, outputs = "COMPLETED", await _take_stored(request, job)
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


async def _ask(state: GatewayState, job: Job) -> Pieces | PollOutcome | None:
    """What the upstream has of the job; None if it has nothing of it."""
    if job.upstream_id is None or job.state not in {*IN_FLIGHT, JobState.COMPLETED}:
        return None
    runtime = state.runtime
    try:
        async with one_call(runtime, job.endpoint, Operation.STREAM, seconds=POLL_SECONDS):
            return await runtime.upstream.read_pieces(job.endpoint, job.upstream_id)
    except QuotaSpent as error:
        raise refuse_spent(error) from error


def _read(job: Job, found: Pieces | PollOutcome | None) -> tuple[str, list[Any]]:
    """The job's status as far as its reader is to know, and the new pieces."""
    outputs = list(found.outputs) if isinstance(found, Pieces) else []
    under_way = isinstance(found, Pieces | Running) and found.state in UNDER_WAY
    if job.state is JobState.COMPLETED:
        # It may have more to hand out, and clients end at the first word of an end.
        unsaid = isinstance(found, Busy | Fault)
        unsaid = unsaid or (isinstance(found, Pieces) and found.state is None and bool(outputs))
        return "IN_PROGRESS" if under_way or unsaid else "COMPLETED", outputs
    return "IN_PROGRESS" if outputs else say_status(job.state), outputs


def _has_ended(found: Pieces | PollOutcome | None) -> bool:
    """Whether the job is likely to have ended; the poll finds out what is true."""
    if isinstance(found, Pieces | Running):
        return found.state not in UNDER_WAY
    return not isinstance(found, Busy | Fault)


async def _hasten_poll(state: GatewayState, job: Job) -> None:
    async with state.runtime.database.begin() as session:
        await hasten_polls(session, job_ids=[job.id])
    await state.runtime.bells.ring(StageName.POLL, job.endpoint)


async def _take_stored(request: Request, job: Job) -> list[Any]:
    """The stored result, if nothing of it was ever handed out."""
    pieces = job.output if isinstance(job.output, list) else [job.output]
    if job.streamed or job.output is None or not pieces:
        return []
    async with get_state(request).runtime.database.begin() as session:
        if not await begin_streaming(session, job.id, pieces=len(pieces)):
            return []  # another request was first
        files = await list_artifacts(session, job_ids=[job.id])
    links = await get_links(request)
    return [links.rewrite(piece, files) for piece in pieces]
