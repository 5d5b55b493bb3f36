"""Many inputs through one endpoint: submitted in bulk, awaited together, given back in order.

    input --pull, encode--> chunk --bulk submit--> waiting --end--> settling --files--> ended
                                                                                in order --> caller

At most `in_flight` jobs are unfinished, and `AHEAD` times as many results are held back for one
that is slow: so memory is bounded, whatever the number of inputs.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from pressroom.effects import END, Emit, Flow, Pause, Pull, Stream
from pressroom.errors import (
    InvalidRequest,
    NotFound,
    PressroomError,
    RateLimited,
    TooLarge,
    Unavailable,
    read_problem,
)
from pressroom.exchange import Deadline, Facts, ask, backoff, encode
from pressroom.flows import (
    FILES_SECONDS,
    JOBS,
    POLL_SECONDS,
    POLLED_AT_ONCE,
    check_completed,
    check_key,
    describe_request,
    has_files_to_come,
    poll,
)
from pressroom.progress import Bar

AHEAD = 10
CHUNK_JOBS = 500
CHUNK_BYTES = 4_000_000
CHUNK_SECONDS = 1.0  # what a slow generator has given by then is submitted
GATHER_SECONDS = 0.1  # ends that come one by one are fetched by the tenth of a second
FILES_EVERY_SECONDS = 1.0
R = TypeVar("R")
Chunk = list[tuple[int, bytes]]  # the input's index, and its request


@dataclass(kw_only=True)
class Map(Generic[R]):
    """One `map` under way."""

    endpoint: str
    key: str  # with the input's index, its idempotency key
    options: Mapping[str, Any]
    in_flight: int
    return_exceptions: bool
    make_result: Callable[[Facts], R]
    bar: Bar
    pulled: int = 0
    emitted: int = 0
    exhausted: bool = False
    waiting: dict[str, list[int]] = field(default_factory=dict)  # indices, by job
    settling: dict[str, tuple[list[int], Deadline]] = field(default_factory=dict)
    settling_asked: Deadline = field(default_factory=lambda: Deadline(0))
    ended: dict[int, R | PressroomError] = field(default_factory=dict)

    def run(self) -> Stream[R | PressroomError]:
        """Emit what each input came to.

        Raises:
            PressroomError: of an input, unless they are emitted; or the gateway takes none.
        """
        try:
            while True:
                while self.emitted in self.ended:
                    outcome = self.ended.pop(self.emitted)
                    self.emitted += 1
                    if isinstance(outcome, PressroomError) and not self.return_exceptions:
                        raise outcome
                    yield Emit(outcome)
                if self.exhausted and self.emitted == self.pulled:
                    return
                if self.room:
                    yield from self.submit((yield from self.pull()))
                yield from self.collect()
        finally:
            self.bar.close()

    @property
    def room(self) -> int:
        """How many to pull next: none until a good part of the flight has landed."""
        held = self.pulled - self.emitted
        unfinished = held - len(self.ended)
        room = min(self.in_flight - unfinished, AHEAD * self.in_flight - held, CHUNK_JOBS)
        worthwhile = max(min(self.in_flight, CHUNK_JOBS) // 4, 1)
        return 0 if self.exhausted or room < worthwhile else room

    def pull(self) -> Flow[Chunk]:
        chunk: Chunk = []
        limit, size_bytes, until = self.room, 0, Deadline(CHUNK_SECONDS)
        while len(chunk) < limit and size_bytes < CHUNK_BYTES and not until.passed:
            value = yield Pull()
            if value is END:
                self.exhausted = True
                break
            request = describe_request(self.endpoint, value, self.options)
            request["idempotency_key"] = f"{self.key}:{self.pulled}"
            self.pulled += 1
            try:
                chunk.append((self.pulled - 1, encode(request)))
                size_bytes += len(chunk[-1][1])
            except InvalidRequest as error:
                self.end([self.pulled - 1], error)
        return chunk

    def submit(self, chunk: Chunk) -> Flow[None]:
        """Submit the chunk; what is too busy is sent again, what is too much in halves."""
        tries = 0
        while chunk:
            content = b'{"jobs":[' + b",".join(request for _, request in chunk) + b"]}"
            try:
                reply = yield from ask("POST", f"{JOBS}/bulk", content=content)
            except (TooLarge, InvalidRequest) as error:
                if len(chunk) == 1:
                    self.end([chunk[0][0]], error)
                    return
                yield from self.submit(chunk[: len(chunk) // 2])
                chunk = chunk[len(chunk) // 2 :]
                continue
            if len(reply["items"]) != len(chunk):
                raise PressroomError(f"{len(chunk)} sent, {len(reply['items'])} answered")
            busy: dict[tuple[int, bytes], PressroomError] = {}
            for item in reply["items"]:
                sent = chunk[item["index"]]
                if "error" not in item:
                    self.waiting.setdefault(item["id"], []).append(sent[0])
                    continue
                refusal = read_problem(item["error"], int(item["error"].get("status", 422)))
                if isinstance(refusal, (RateLimited, Unavailable)):
                    busy[sent] = refusal
                else:
                    self.end([sent[0]], refusal)
            chunk, tries = list(busy), tries + 1
            if busy and not (yield Pause(backoff(tries), tries)):
                raise busy[chunk[0]]

    def collect(self) -> Flow[None]:
        """Fetch what has ended: at once while there is more to submit, else when something has."""
        asked_at = time.monotonic()
        if self.settling and self.settling_asked.passed:
            self.settling_asked = Deadline(FILES_EVERY_SECONDS)
            ids = dict.fromkeys(islice(self.settling, POLLED_AT_ONCE))
            ended, unknown = yield from poll(ids, 0)
            for facts in ended:
                self.settle(facts, *self.settling.pop(facts["id"]))
            for job_id in unknown:
                self.end(self.settling.pop(job_id)[0], NotFound(f"no job {job_id}"))
        if self.waiting:
            seconds = 0 if self.room else 1 if self.settling else POLL_SECONDS
            ended, unknown = yield from poll(self.waiting, seconds)
            for facts in ended:
                self.settle(facts, self.waiting.pop(facts["id"]), Deadline(FILES_SECONDS))
            for job_id in unknown:
                self.end(self.waiting.pop(job_id), NotFound(f"no job {job_id}"))
        if (self.waiting or self.settling) and not self.room:
            yield Pause(max(asked_at + GATHER_SECONDS - time.monotonic(), 0.0))

    def settle(self, facts: Facts, indices: list[int], files: Deadline) -> None:
        """The job has ended: keep its result, or wait for its files."""
        try:
            check_completed(facts)
        except PressroomError as error:
            self.end(indices, error)
            return
        if has_files_to_come(facts) and not files.passed:
            self.settling[facts["id"]] = (indices, files)
        else:
            self.end(indices, self.make_result(facts))

    def end(self, indices: list[int], outcome: R | PressroomError) -> None:
        for index in indices:
            self.ended[index] = outcome
            self.bar.count(outcome)


def start_map(
    endpoint: str, inputs: object, make_result: Callable[[Facts], R], options: Mapping[str, Any]
) -> Stream[R | PressroomError]:
    """A `Map` of what its caller said."""
    said = dict(options)
    in_flight = said.pop("in_flight", 1000)
    if in_flight < 1:
        raise ValueError(f"in_flight is at least 1, not {in_flight}")
    key = said.pop("key", None)
    key = str(uuid.uuid4()) if key is None else check_key(key)
    check_key(f"{key}:{10**9}")
    return_exceptions, shown = said.pop("return_exceptions", False), said.pop("progress", True)
    describe_request(endpoint, {}, said)  # an option that there is not is known before any input
    return Map(
        endpoint=endpoint,
        key=key,
        options=said,
        in_flight=in_flight,
        return_exceptions=return_exceptions,
        make_result=make_result,
        bar=Bar(inputs, shown=shown),
    ).run()
