"""Webhooks of the upstream are hints: a job is said to have ended, so it is asked for now.

They are unsigned, undocumented and may come twice, early or never. Their URL is what we made it:
it names the attempt, and holds a token that nobody else can make. Of the body only the upstream's
id is read, and only followed up: the next poll says what is true.

They come in storms, so those that come while others are written, and for a moment after, are
collected and written in one statement. What is not written yet is not thanked for: the upstream
sends it again.
"""

import asyncio
import hmac
from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_body
from gateway.errors import ApiError
from models import pulse
from models.endpoint_stats import note_hints
from models.errors import DatabaseUnavailable
from models.lane import StageName
from models.transitions import follow_hints
from workers.runtime import Runtime, hint_token

COLLECT_SECONDS = 0.1
RETRY_SECONDS = 1.0  # while Postgres is away
ANSWER_SECONDS = 5.0  # a webhook waits so long to be written down
BEAT_SECONDS = 3.0  # well under what counts as a gap
WAITING_MOST = 50_000  # more are dropped: a poll finds out anyway

Hint = tuple[UUID, UUID, str]  # job, lease of the attempt, the upstream's id

BODY_BYTES = 25_000_000  # of a webhook: a status reply with a result of the largest kind

log = structlog.get_logger()

routes = APIRouter()


def read_upstream_id(body: Any) -> str | None:  # noqa: ANN401 -- anybody's JSON
    """The id in a webhook's body, or None."""
    found = body.get("id") if isinstance(body, dict) else None
    if not isinstance(found, str) or not found.isascii() or not found.isprintable():
        return None  # a NUL, which Postgres refuses, would cost the whole batch
    return found if 0 < len(found) < 200 else None  # noqa: PLR2004 -- six times any seen


@routes.post("/hints/{job_id}/{lease}/{token}", include_in_schema=False)
async def hint(request: Request, job_id: str, lease: str, token: str) -> Response:
    """A webhook of the upstream. It wants a 200, and would come again without."""
    state = request.app.state.gateway
    nothing = ApiError(HTTPStatus.NOT_FOUND, "there is no such hint")
    try:
        job, attempt = UUID(job_id), UUID(lease)
    except ValueError:
        raise nothing from None
    wanted = hint_token(state.runtime.settings, job, attempt)
    if not hmac.compare_digest(token.encode("utf-8", "replace"), wanted.encode()):
        raise nothing
    try:
        body = orjson.loads(await read_body(request, most_bytes=BODY_BYTES))
    except orjson.JSONDecodeError:
        body = None
    upstream_id = read_upstream_id(body)
    if upstream_id is None:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "the body names no job: a string `id` was wanted"
        )
    written = state.hints.add((job, attempt, upstream_id))
    if written is None:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "too many hints wait to be followed")
    try:
        await asyncio.wait_for(written.wait(), ANSWER_SECONDS)
    except TimeoutError:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "PostgreSQL cannot be reached") from None
    return Response(status_code=HTTPStatus.OK)


class HintCollector:
    """Takes hints one by one and follows them in batches."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: set[Hint] = set()
        self._any = asyncio.Event()
        self._written = asyncio.Event()  # what waits now
        self._ringing: set[asyncio.Task[None]] = set()  # beside it: a Redis that hangs holds it up

    def add(self, hint: Hint) -> asyncio.Event | None:
        """What is set once the hint is written down; None if there is no room."""
        if len(self._waiting) >= WAITING_MOST:
            return None
        self._waiting.add(hint)
        self._any.set()
        return self._written

    async def run(self) -> None:
        """Follow hints until cancelled."""
        while True:
            await self._any.wait()
            batch, written = sorted(self._waiting), self._written
            self._waiting, self._written = set(), asyncio.Event()
            self._any.clear()
            while (endpoints := await self._try_follow(batch)) is None:  # noqa: ASYNC110 -- Postgres tells nobody
                await asyncio.sleep(RETRY_SECONDS)
            written.set()
            ring = self._runtime.bells.ring_each(StageName.POLL, endpoints)
            task = asyncio.create_task(ring)
            self._ringing.add(task)
            task.add_done_callback(self._ringing.discard)
            await asyncio.sleep(COLLECT_SECONDS)

    async def _try_follow(self, hints: list[Hint]) -> set[str] | None:
        """The endpoints that now have something to be asked for; None while Postgres is away."""
        try:
            async with self._runtime.database.begin() as session:
                followed = await follow_hints(session, hints)
                await note_hints(session, [(job_id, lease) for job_id, lease, _ in hints])
        except DatabaseUnavailable as error:
            log.warning("hints_kept_waiting", hints=len(hints), error=str(error))
            return None
        return {endpoint for _, endpoint in followed}


class Listening:
    """Notes that webhooks are taken: while they are, silence of one tells something."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                async with self._runtime.database.begin() as session:
                    await pulse.beat(session, pulse.LISTENING)
            except DatabaseUnavailable as error:
                log.warning("beat_missed", error=str(error))
            await asyncio.sleep(BEAT_SECONDS)
