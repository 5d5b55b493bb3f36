"""What may have been billed twice, or for nothing: in money, by key, and of which jobs."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.answers.attempts import DoubtfulJobs, DoubtsReply
from gateway.api.answers.problems import ERRORS
from gateway.api.pages import Cursor, Limit, cut_page, read_cursor
from gateway.callers import Reading
from gateway.json_response import JsonResponse
from gateway.state import get_state
from models.doubt import list_doubtful_jobs, sum_doubts, sum_doubts_by_key
from tasks.results import describe_doubts, describe_doubts_of_key

routes = APIRouter(prefix="/doubts", tags=["doubts"], responses=ERRORS)


@routes.get("", response_model=DoubtsReply, summary="What may have been billed twice, in money")
async def read(request: Request, caller: Reading) -> Response:
    """Of the key's own jobs; of everybody's, and key by key, for one that may read all."""
    async with get_state(request).runtime.database.begin() as session:
        total = await sum_doubts(session, owner=caller.owner)
        each = await sum_doubts_by_key(session) if caller.owner is None else []
    keys = [describe_doubts_of_key(one) for one in each]
    return JsonResponse({**describe_doubts(total), "keys": keys}, headers=request.state.limits)


@routes.get("/jobs", response_model=DoubtfulJobs, summary="List the jobs that it is of")
async def list_(
    request: Request, caller: Reading, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """The newest first. `/jobs/{id}/attempts` shows why."""
    async with get_state(request).runtime.database.begin() as session:
        rows = await list_doubtful_jobs(
            session, owner=caller.owner, before=read_cursor(cursor), limit=limit + 1
        )
    page, following = cut_page(rows, limit, lambda job_id: job_id)
    reply = {"jobs": [str(job_id) for job_id in page], "next": following}
    return JsonResponse(reply, headers=request.state.limits)
