"""Events as they happen: server-sent, and gone on with after the last one that was seen."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from gateway.api.answers.problems import ERRORS
from gateway.callers import Reading
from gateway.errors import ApiError
from gateway.event_feed import EventFeed, place_of
from gateway.state import get_state
from models.event import Event, Place
from models.key import Caller

QUIET_TURNS = 15  # seconds of silence after which a comment shows that the line is open

routes = APIRouter(tags=["events"], responses=ERRORS)


@routes.get(
    "/events",
    summary="Listen",
    response_class=Response,
    responses={200: {"description": "Events, until you go.", "content": {"text/event-stream": {}}}},
)
async def listen(
    request: Request,
    caller: Reading,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
    after: Annotated[
        str | None, Query(max_length=64, description="In place of the header Last-Event-ID.")
    ] = None,
    job: Annotated[UUID | None, Query(description="Of this job alone.")] = None,
) -> Response:
    """`event` is job.queued, job.in_queue, job.in_progress, job.completed, ..., artifact.stored.

    Besides, campaign.completed, and of budgets budget.warned and budget.reached.

    Each has an `id`; `Last-Event-ID` goes on after it. Without it, from now on.
    """
    given = last_event_id or after
    try:
        place = Place.parse(given) if given else None
    except ValueError as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    return StreamingResponse(
        _events(get_state(request).events, caller, place, job),
        headers={
            **request.state.limits,
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        },
        media_type="text/event-stream",
    )


async def _events(
    feed: EventFeed, caller: Caller, place: Place | None, job: UUID | None
) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    silent = 0
    async for event in feed.listen(owner=caller.owner, after=place):
        if event is None:
            silent += 1
            if silent % QUIET_TURNS == 0:
                yield b": nothing new\n\n"
        elif job is None or event.job_id == job:
            silent = 0
            yield _write(event)


def _write(event: Event) -> bytes:
    data = {"type": event.type, "state": event.state, "at": event.at}
    for name in ("job_id", "endpoint", "artifact_id", "campaign_id", "budget_id"):
        if (value := getattr(event, name)) is not None:
            data[name] = value
    written = orjson.dumps(data).decode()
    return f"id: {place_of(event)}\nevent: {event.type}\ndata: {written}\n\n".encode()
