"""What is asked of the gateway for one job or a few, as flows (`effects.py`).

A job is handed about as its facts: the JSON object that the gateway has for it.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypedDict, TypeVar
from urllib.parse import quote

from pressroom.effects import Emit, Flow, Json, Pause, Sink, Stream
from pressroom.errors import (
    ArtifactUnavailable,
    GenerationFailed,
    InvalidRequest,
    NotFound,
    Unavailable,
    WaitTimeout,
)
from pressroom.exchange import NEVER, Deadline, Facts, ask, call, encode

JOBS: Final = "/api/v1/jobs"
ARTIFACTS: Final = "/api/v1/artifacts"
ENDED: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
POLL_SECONDS = 50  # proxies often cut a silent connection after 60
POLLED_AT_ONCE = 1000  # ids, by the gateway's limit
FILES_SECONDS = 30.0  # how long a result waits for its files after the job's end, as in Celery
LONGEST_KEY = 255


class Options(TypedDict, total=False):
    """What a submit may say beyond its input; None is as good as unsaid."""

    webhook: str | None  # where the end is posted to; see `verify_webhook`
    policy: Json | None  # ttl and executionTimeout (ms), lowPriority
    on_unknown: Literal["resubmit", "fail"] | None  # if the upstream's reply is lost
    start_within: float | None  # seconds in which it must begin, or it is given up
    priority: int | None  # 0 to 9; the highest goes first, 5 is usual
    cache: bool | None  # whether an earlier result for the same input will do


class SubmitOptions(Options, total=False):
    idempotency_key: str | None  # None: a new one


class Handle(Protocol):
    """A job that somebody holds."""

    id: str
    facts: Facts


H = TypeVar("H", bound=Handle)


def describe_request(endpoint: str, input: Json, options: Mapping[str, Any]) -> Facts:
    if unknown := options.keys() - Options.__annotations__.keys():
        raise TypeError(f"no option {sorted(unknown)}; there are {sorted(Options.__annotations__)}")
    said = {name: value for name, value in options.items() if value is not None}
    return {"endpoint": endpoint, "input": input, **said}


def submit(endpoint: str, input: Json, options: Mapping[str, Any]) -> Flow[Facts]:
    said = dict(options)
    key = said.pop("idempotency_key", None)
    key = str(uuid.uuid4()) if key is None else check_key(key)
    content = encode(describe_request(endpoint, input, said))
    return (yield from ask("POST", JOBS, content=content, headers={"Idempotency-Key": key}))


def check_key(key: str) -> str:
    """The idempotency key, if it can be a header.

    Raises:
        InvalidRequest: it cannot.
    """
    if key.isascii() and key.isprintable() and key.strip() == key and 0 < len(key) <= LONGEST_KEY:
        return key
    raise InvalidRequest(
        f"an idempotency key is 1 to {LONGEST_KEY} printable ASCII characters, not {key[:300]!r}"
    )


def get_job(job_id: str, *, wait: int = 0, deadline: Deadline = NEVER) -> Flow[Facts]:
    params = {"wait": wait} if wait else {}
    path = f"{JOBS}/{quote(job_id, safe='')}"
    return (yield from ask("GET", path, params=params, wait_seconds=wait, deadline=deadline))


def change_job(job_id: str, verb: Literal["cancel", "retry"]) -> Flow[Facts]:
    return (yield from ask("POST", f"{JOBS}/{quote(job_id, safe='')}/{verb}"))


def wait_for_end(job_id: str, deadline: Deadline) -> Flow[Facts]:
    """Poll, each time for as long as the gateway will hold the answer back.

    Raises:
        WaitTimeout: the deadline passed.
        Unavailable: the gateway was gone for longer than the retries last.
    """
    while True:
        asked_at = time.monotonic()
        try:
            facts = yield from get_job(job_id, wait=_hold_back(deadline), deadline=deadline)
        except Unavailable as error:
            raise Unavailable(error.detail, job_id) from error
        if facts["status"] in ENDED:
            return facts
        yield from _pause_after(asked_at, deadline, job_id)


def get_result(job_id: str, facts: Facts, timeout: float | None) -> Flow[Facts]:
    """Wait for the job, then for a while for its files.

    Raises:
        GenerationFailed: it ended without a result.
        WaitTimeout, Unavailable: see `wait_for_end`.
    """
    deadline = Deadline(timeout)
    if facts.get("status") not in ENDED:
        facts = yield from wait_for_end(job_id, deadline)
    check_completed(facts)
    files = Deadline(min(FILES_SECONDS, deadline.left()))
    pause = 0.25
    while has_files_to_come(facts) and not files.passed:
        yield Pause(min(pause, files.left()))
        pause = min(pause * 2, 2.0)
        facts = yield from get_job(job_id)
    return facts


def check_completed(facts: Facts) -> None:
    if facts["status"] != "COMPLETED":
        raise GenerationFailed(facts["id"], facts["state"], facts.get("reason"), facts.get("error"))


def has_files_to_come(facts: Facts) -> bool:
    return any(file["state"] == "pending" for file in facts.get("artifacts") or ())


def as_completed(jobs: Sequence[H], timeout: float | None) -> Stream[H]:
    """Emit each job when it has ended, with its facts brought up to date.

    Raises:
        WaitTimeout: the deadline passed; it names one of those that go on.
        NotFound: the gateway does not know one of them.
    """
    deadline = Deadline(timeout)
    pending: dict[str, list[H]] = {}
    for job in jobs:
        if job.facts.get("status") in ENDED:
            yield Emit(job)
        else:
            pending.setdefault(job.id, []).append(job)
    while pending:
        asked_at = time.monotonic()
        ended, unknown = yield from poll(pending, _hold_back(deadline), deadline)
        for facts in ended:
            for job in pending.pop(facts["id"]):
                job.facts = facts
                yield Emit(job)
        if unknown:
            raise NotFound(f"no job {unknown[0]}")
        if pending and not ended:
            yield from _pause_after(asked_at, deadline, next(iter(pending)))


def poll(
    pending: dict[str, Any], seconds: int, deadline: Deadline = NEVER
) -> Flow[tuple[list[Facts], list[str]]]:
    """Those of `pending` that have ended, and those that there are not, once there is one.

    With more than can be asked for at once, those asked for go to the end of the dict, and the
    wait is short.
    """
    ids = list(islice(pending, POLLED_AT_ONCE))
    if len(ids) < len(pending):
        seconds = min(seconds, 1)
        for job_id in ids:
            pending[job_id] = pending.pop(job_id)
    content = encode({"ids": ids, "wait": seconds})
    reply = yield from ask(
        "POST", f"{JOBS}/wait", content=content, wait_seconds=seconds, deadline=deadline
    )
    return reply["jobs"], reply["unknown"]


def save_artifact(artifact_id: str, path: Path, timeout: float | None) -> Flow[Path]:
    """Write the file to `path`, once all of it has come and its length and SHA-256 are right.

    Raises:
        ArtifactUnavailable: it is not stored in time, or something else came.
    """
    deadline = Deadline(timeout)
    address = f"{ARTIFACTS}/{quote(artifact_id, safe='')}"
    pause = 0.25
    while (facts := (yield from ask("GET", address)))["state"] != "stored":
        if facts["state"] != "pending" or deadline.passed:
            raise ArtifactUnavailable(artifact_id, f"it is {facts['state']} ({facts.get('error')})")
        yield Pause(min(pause, deadline.left()))
        pause = min(pause * 2, 2.0)
    with Sink(path) as sink:
        # As it is stored: an encoded body would be hashed decoded.
        headers = {"Accept-Encoding": "identity"}
        yield from call("GET", f"{address}/content", headers=headers, sink=sink)
        came = (sink.size_bytes, sink.digest.hexdigest())
        wanted = (facts["size_bytes"], facts["sha256"])
        if came != wanted:
            raise ArtifactUnavailable(artifact_id, f"bytes and SHA-256 are {came}, not {wanted}")
        sink.keep()
    return path


def _hold_back(deadline: Deadline) -> int:
    """How long the gateway may hold an answer back, in whole seconds."""
    return int(min(deadline.left(), POLL_SECONDS))


def _pause_after(asked_at: float, deadline: Deadline, job_id: str) -> Flow[None]:
    """After a poll that found no end: stop at the deadline, and never ask without a pause."""
    if deadline.passed:
        raise WaitTimeout(job_id, deadline.seconds)
    if time.monotonic() - asked_at < 1:
        yield Pause(min(0.5, deadline.left()))
