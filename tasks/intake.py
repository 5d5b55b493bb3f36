"""Take requests in: check them, write them down, and only then answer and ring.

Whatever way a request comes (Celery, command line, HTTP), it passes here. Nothing of a request that
is refused is kept; a request that was written down is kept even if the process dies on the next
line, for the sweep rings where nobody rang.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from endpoints.catalogue import Basis, Catalogue, Endpoint, Estimate, estimate
from endpoints.client import RUN_BODY_BYTES, RUNSYNC_BODY_BYTES
from endpoints.guard import ForbiddenAddress, Guard
from endpoints.size_class import find_size_class
from models.base import new_id
from models.errors import PressroomError
from models.fairness import HIGHEST, LOWEST, USUAL
from models.job import OnUnknown, Route
from models.lane import StageName
from models.transitions import NewJob, enqueue_jobs
from tasks.job_trace import trace_jobs
from workers.runtime import Runtime
from workers.secret import Secret

ENDPOINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # in JSON; a backslash may be text, too
LEAST_TTL_SECONDS = 10.0  # that the upstream takes
MOST_TTL_SECONDS = 604_800.0
CLIENT_ERRORS = "pressroom.errors"  # where producers have the errors: see `completion.py`
DEPTH_LIMIT = 200  # of an input: what every reader on its way can read


class InvalidRequest(PressroomError):
    """A request that will never run; `problems` holds one line for each thing that is wrong."""

    __module__ = CLIENT_ERRORS

    def __init__(self, endpoint: str, problems: Sequence[str]) -> None:
        super().__init__(endpoint, list(problems))
        self.endpoint = endpoint
        self.problems = list(problems)

    def __str__(self) -> str:
        return f"{self.endpoint}: " + "; ".join(self.problems)


class TooLarge(InvalidRequest):
    """A request of more bytes than the upstream takes."""

    __module__ = CLIENT_ERRORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a producer asks for.

    Attributes:
        sync: it may be as large as the upstream takes by /runsync.
    """

    endpoint: str
    input: Mapping[str, Any]
    id: UUID | None = None  # None: a new one
    on_unknown: OnUnknown | None = None  # None: as operators set it
    start_within: float | None = None  # seconds in which it must begin to be generated
    priority: int | None = None  # 0 to 9, which goes first; None: as usual
    due_seconds: float = 0.0  # until it may be sent
    campaign_id: UUID | None = None
    position: int | None = None
    custom_id: str | None = None
    key_id: UUID | None = None
    policy: Mapping[str, Any] | None = None
    s3_config: Mapping[str, Any] | None = None
    sync: bool = False
    trace_context: str | None = None  # hexadecimal


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that may be enqueued, and what it will cost."""

    job: NewJob
    estimate: Estimate


def check_request(
    catalogue: Catalogue,
    request: Request,
    *,
    on_unknown: OnUnknown,
    secret: Secret | None = None,
    guard: Guard | None = None,
) -> Checked:
    """Hold a request against the catalogue. Of an endpoint not listed, only the form is checked.

    Args:
        secret: seals an s3Config; wanted where one may come.
        guard: says which addresses of supplied files are refused; None: none are.

    Raises:
        InvalidRequest: with everything that is wrong, not the first thing alone.
    """
    name = request.endpoint
    listed = find_endpoint(catalogue, name)
    values = dict(request.input)
    problems = [str(problem) for problem in listed.check(values)] if listed else []
    if listed and guard:
        problems += _find_forbidden_media(listed, values, guard)
    size, nul = _measure(request, values, problems)
    most = RUNSYNC_BODY_BYTES if request.sync else RUN_BODY_BYTES
    if size > most:
        raise TooLarge(
            name, [*problems, f"the request has {size:,} bytes; at most {most:,} are taken"]
        )
    if nul:
        problems.append("the input holds a NUL character, which is not text")
    if request.priority not in (None, *range(LOWEST, HIGHEST + 1)):
        problems.append(f"priority: {LOWEST} to {HIGHEST} was wanted, {request.priority!r} came")
    if problems:
        raise InvalidRequest(name, problems)
    cost = estimate(listed, values) if listed else Estimate(None, Basis.UNLISTED)
    sealed = None
    if request.s3_config:
        assert secret is not None  # noqa: S101 -- who lets one in has what seals it
        sealed = base64.b64encode(secret.seal(dict(request.s3_config))).decode()
    ttl = (request.policy or {}).get("ttl")
    return Checked(
        NewJob(
            id=request.id or new_id(),
            endpoint=listed.id if listed else name,
            input=values,
            on_unknown=request.on_unknown or on_unknown,
            estimate_usd=None if cost.usd is None else str(cost.usd),
            campaign_id=request.campaign_id,
            position=request.position,
            custom_id=request.custom_id,
            key_id=request.key_id,
            route=Route.RUNSYNC if size > RUN_BODY_BYTES else Route.RUN,
            policy=dict(request.policy) if request.policy else None,
            sealed=sealed,
            live_seconds=None if ttl is None else ttl / 1000,
            start_seconds=request.start_within,
            fingerprint=fingerprint(listed, name, values),
            priority=USUAL if request.priority is None else request.priority,
            due_seconds=request.due_seconds,
            size_class=find_size_class(listed, values),
            trace_context=request.trace_context,
        ),
        cost,
    )


def find_endpoint(catalogue: Catalogue, name: str) -> Endpoint | None:
    """The endpoint of that name; None if it is not listed, but may be somebody's own.

    Raises:
        InvalidRequest: it was withdrawn, or is no name of an endpoint.
    """
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
    return listed


def _measure(request: Request, values: dict[str, Any], problems: list[str]) -> tuple[int, bool]:
    """How many bytes the upstream will be sent, and whether a NUL is among them."""
    body: dict[str, Any] = {"input": values}
    if request.policy:
        body["policy"] = dict(request.policy)
    if request.s3_config:
        body["s3Config"] = dict(request.s3_config)
    try:
        written = orjson.dumps(body)
    except (TypeError, ValueError) as error:  # no JSON, or a lone surrogate in a text
        raise InvalidRequest(
            request.endpoint, [*problems, f"the input is no JSON: {error}"]
        ) from error
    return len(written), b"\\u0000" in written and NUL.search(written) is not None


def _find_forbidden_media(listed: Endpoint, values: dict[str, Any], guard: Guard) -> list[str]:
    problems = []
    for path, url in listed.supplied_urls(values):
        try:
            guard.check_literal(url)
        except (ForbiddenAddress, ValueError) as error:
            problems.append(f"{path}: {error}")
    return problems


def fingerprint(listed: Endpoint | None, name: str, values: dict[str, Any]) -> str | None:
    """What two requests share that must give the same result; None if it is left to chance."""
    seed = values.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        return None
    whole = listed.with_defaults(values) if listed else values
    return hash_json([listed.id if listed else name, whole])


def hash_json(value: Any) -> str:  # noqa: ANN401 -- any JSON
    """The same for the same JSON, in whatever order its fields stand."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def read_deadlines(start_within: float | None, finish_within: float | None) -> dict[str, Any]:
    """The fields of a `Request` that say so: of the whole, the upstream's own is used.

    Raises:
        ValueError: out of bounds; in seconds, as they came.
    """
    for name, value, least in (
        ("start_within", start_within, 0.0),
        ("finish_within", finish_within, LEAST_TTL_SECONDS),
    ):
        if value is not None and not (
            isinstance(value, int | float) and least <= value <= MOST_TTL_SECONDS
        ):
            raise ValueError(
                f"{name}: {least:g} to {MOST_TTL_SECONDS:g} seconds were wanted, {value!r} came"
            )
    fields: dict[str, Any] = {"start_within": start_within}
    if finish_within is not None:
        fields["policy"] = {"ttl": round(finish_within * 1000)}
    return fields


async def enqueue(runtime: Runtime, jobs: Sequence[NewJob]) -> set[UUID]:
    """Commit the jobs, then ring their lanes. Returns the ids that were not there before."""
    with trace_jobs(runtime, jobs) as traced:
        async with runtime.database.begin() as session:
            added = await enqueue_jobs(session, traced)
    await runtime.bells.ring_each(StageName.SUBMIT, {job.endpoint for job in jobs})
    return added


def say_suggestions(catalogue: Catalogue, name: str) -> str:
    suggestions = catalogue.suggest(name)
    return f"; did you mean {' or '.join(map(repr, suggestions))}?" if suggestions else ""
