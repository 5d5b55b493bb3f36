"""Take requests in: check them, write them down, and only then answer and ring.

Whatever way a request comes (Celery, command line, HTTP), it passes here. Nothing of a request that
is refused is kept; a request that was written down is kept even if the process dies on the next
line, for the sweep rings where nobody rang.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from endpoints.catalogue import Basis, Catalogue, Estimate, estimate
from models.base import new_id
from models.endpoint_stats import add_endpoints
from models.errors import PressroomError
from models.job import OnUnknown
from models.lane import StageName
from models.transitions import NewJob, enqueue_jobs
from workers.runtime import Runtime

ENDPOINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
BODY_BYTES = 10_000_000  # of a /run, by the upstream's limit


class InvalidRequest(PressroomError):
    """A request that will never run; `problems` holds one line for each thing that is wrong."""

    def __init__(self, endpoint: str, problems: Sequence[str]) -> None:
        super().__init__(endpoint, list(problems))
        self.endpoint = endpoint
        self.problems = list(problems)

    def __str__(self) -> str:
        return f"{self.endpoint}: " + "; ".join(self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a producer asks for."""

    endpoint: str
    input: Mapping[str, Any]
    id: UUID | None = None  # None: a new one
    on_unknown: OnUnknown | None = None  # None: as operators set it
    campaign_id: UUID | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that may be enqueued, and what it will cost."""

    job: NewJob
    estimate: Estimate


def check_request(catalogue: Catalogue, request: Request, *, on_unknown: OnUnknown) -> Checked:
    """Hold a request against the catalogue. Of an endpoint not listed, only the form is checked.

    Raises:
        InvalidRequest: with everything that is wrong, not the first thing alone.
    """
    name = request.endpoint
    listed = catalogue.find(name)
    if retired := catalogue.retired(name):
        raise InvalidRequest(name, [retired])
    if not ENDPOINT_NAME.fullmatch(name) and not listed:
        raise InvalidRequest(
            name,
            [
                "an endpoint's id is letters, digits, '.', '_' and '-'"
                + say_suggestions(catalogue, name)
            ],
        )
    values = dict(request.input)
    problems = [str(problem) for problem in listed.check(values)] if listed else []
    try:
        body = orjson.dumps({"input": values})
    except (TypeError, ValueError) as error:  # no JSON, or a lone surrogate in a text
        raise InvalidRequest(name, [*problems, f"the input is no JSON: {error}"]) from error
    if len(body) > BODY_BYTES:
        problems.append(f"the request has {len(body):,} bytes; at most {BODY_BYTES:,} are taken")
    if b"\\u0000" in body:
        problems.append("the input holds a NUL character, which is not text")
    if problems:
        raise InvalidRequest(name, problems)
    cost = estimate(listed, values) if listed else Estimate(None, Basis.UNLISTED)
    return Checked(
        NewJob(
            id=request.id or new_id(),
            endpoint=listed.id if listed else name,
            input=values,
            on_unknown=request.on_unknown or on_unknown,
            estimate_usd=None if cost.usd is None else str(cost.usd),
            campaign_id=request.campaign_id,
            position=request.position,
        ),
        cost,
    )


async def enqueue(runtime: Runtime, jobs: Sequence[NewJob]) -> set[UUID]:
    """Commit the jobs, then ring their lanes. Returns the ids that were not there before."""
    async with runtime.database.begin() as session:
        await add_endpoints(session, [job.endpoint for job in jobs])
        added = await enqueue_jobs(session, jobs)
    await runtime.bells.ring_each(StageName.SUBMIT, {job.endpoint for job in jobs})
    return added


def say_suggestions(catalogue: Catalogue, name: str) -> str:
    suggestions = catalogue.suggest(name)
    return f"; did you mean {' or '.join(map(repr, suggestions))}?" if suggestions else ""
