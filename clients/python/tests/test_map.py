"""Many inputs: their order, how many at once, and what is pulled when."""

import json
from dataclasses import dataclass, field
from typing import Any, assert_type

import httpx
import pytest

from pressroom import (
    AsyncPressroom,
    AsyncResult,
    GenerationFailed,
    InvalidRequest,
    NotFound,
    Pressroom,
    PressroomError,
    RateLimited,
    Result,
    TooLarge,
    Unavailable,
)


@dataclass
class Bulk:
    """What the scripted gateway has taken in, and how each job ends.

    An input {"n": 3} is job "key:3"; it ends at once unless `held` names it.
    """

    facts: Any
    clock: Any
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: set[int] = field(default_factory=set)
    most_unfinished: int = 0
    ended: set[str] = field(default_factory=set)
    refused: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    submits: list[list[str]] = field(default_factory=list)

    def __call__(self, request):
        body = json.loads(request.content)
        if request.url.path.endswith("/bulk"):
            return self.take(body["jobs"])
        return self.wait(body["ids"], body["wait"])

    def take(self, jobs):
        self.submits.append([job["idempotency_key"] for job in jobs])
        items = []
        for index, job in enumerate(jobs):
            refusals = self.refused.get(job["input"]["n"])
            if refusals:
                items.append({"index": index, "error": refusals.pop(0)})
                continue
            job_id = job["idempotency_key"]
            existing = job_id in self.inputs
            self.inputs[job_id] = job["input"]
            items.append({"index": index, "id": job_id, "existing": existing})
        self.most_unfinished = max(self.most_unfinished, len(self.inputs) - len(self.ended))
        return httpx.Response(200, json={"items": items[::-1]})

    def wait(self, ids, seconds):
        known = [job_id for job_id in ids if job_id in self.inputs]
        ended = [job_id for job_id in known if self.inputs[job_id]["n"] not in self.held]
        if not ended:
            self.clock.now += seconds
            self.held.clear()
        self.ended |= set(ended)
        return httpx.Response(
            200,
            json={
                "jobs": [self.end(job_id) for job_id in ended[::-1]],
                "pending": [job_id for job_id in known if job_id not in ended],
                "unknown": [job_id for job_id in ids if job_id not in known],
            },
        )

    def end(self, job_id):
        given = self.inputs[job_id]
        status = given.get("status", "COMPLETED")
        return self.facts(job_id, status, output=given["n"])


@pytest.fixture
def bulk(facts, clock):
    return Bulk(facts, clock)


def numbers(count, **odd):
    return [{"n": n, **odd.get(f"at{n}", {})} for n in range(count)]


def test_results_come_in_the_order_of_the_inputs(script, bulk):
    bulk.held = {0, 3}

    results = list(script(bulk).client().map("flux", numbers(7), key="run"))

    assert [result.output for result in results] == list(range(7))
    assert bulk.submits == [[f"run:{n}" for n in range(7)]]


def test_a_second_run_with_the_key_finds_the_same_jobs(script, bulk):
    client = script(bulk).client()

    first = [result.job_id for result in client.map("flux", numbers(5), key="run")]
    second = [result.job_id for result in client.map("flux", numbers(5), key="run")]
    third = [result.job_id for result in client.map("flux", numbers(5))]

    assert first == second
    assert len(bulk.inputs) == 10
    assert not set(first) & set(third)


def test_a_chunk_that_got_no_answer_is_sent_again_under_its_keys(script, bulk):
    failures = [httpx.ReadTimeout("silent"), httpx.Response(502)]
    gateway = script(lambda request: failures.pop() if failures else bulk(request))

    results = list(gateway.client().map("flux", numbers(3)))

    assert len(results) == 3
    assert len({request.content for request in gateway.requests[:3]}) == 1


def test_a_generator_without_end_is_pulled_as_its_results_are(script, bulk):
    pulled = []

    def inputs():
        n = 0
        while True:
            pulled.append(n)
            yield {"n": n}
            n += 1

    results = script(bulk).client().map("flux", inputs(), in_flight=8)

    before = len(pulled)
    first = [next(results).output for _ in range(20)]

    assert before == 0
    assert first == list(range(20))
    assert len(pulled) <= 20 + 8
    assert bulk.most_unfinished <= 8


def test_one_that_is_slow_holds_back_a_bounded_number_of_others(script, bulk):
    bulk.held = {0}
    results = script(bulk).client().map("flux", ({"n": n} for n in range(10_000)), in_flight=4)

    next(results)

    assert 4 < len(bulk.inputs) <= 40


def test_inputs_are_submitted_by_chunks_and_again_when_a_quarter_has_ended(script, bulk):
    list(script(bulk).client().map("flux", numbers(1300), in_flight=1000))

    assert sum(map(len, bulk.submits)) == 1300
    assert all(125 <= len(chunk) <= 500 for chunk in bulk.submits)


def test_what_a_slow_generator_has_given_is_submitted(script, bulk, clock):
    def inputs():
        for n in range(6):
            clock.now += 0.4
            yield {"n": n}

    list(script(bulk).client().map("flux", inputs()))

    assert [len(chunk) for chunk in bulk.submits] == [3, 3]


def test_large_inputs_go_in_more_requests(script, bulk):
    inputs = [{"n": n, "image": "x" * 1_500_000} for n in range(7)]

    list(script(bulk).client().map("flux", inputs))

    assert [len(chunk) for chunk in bulk.submits] == [3, 3, 1]


def test_a_failure_raises_in_its_turn(script, bulk):
    results = script(bulk).client().map("flux", numbers(5, at2={"status": "FAILED"}))

    assert [next(results).output, next(results).output] == [0, 1]
    with pytest.raises(GenerationFailed):
        next(results)


def test_failures_may_be_given_back(script, bulk):
    bulk.refused = {1: [{"status": 422, "detail": "no", "problems": ["n: 1"]}]}
    inputs = numbers(5, at2={"status": "CANCELLED"}, at3={"x": float("nan")})

    outcomes = list(script(bulk).client().map("flux", inputs, return_exceptions=True))

    assert [type(outcome) for outcome in outcomes] == [
        Result,
        InvalidRequest,
        GenerationFailed,
        InvalidRequest,
        Result,
    ]
    assert isinstance(outcomes[1], InvalidRequest)
    assert outcomes[1].problems == ["n: 1"]


def test_an_item_that_the_gateway_is_too_busy_for_is_sent_again(script, bulk):
    bulk.refused = {1: [{"status": 429}, {"status": 503}]}

    results = list(script(bulk).client().map("flux", numbers(3), key="run"))

    assert [result.output for result in results] == [0, 1, 2]
    assert bulk.submits[1:] == [["run:1"], ["run:1"]]


def test_a_gateway_that_stays_too_busy_ends_the_map(script, bulk):
    bulk.refused = {1: [{"status": 429}] * 20}

    with pytest.raises(RateLimited):
        list(script(bulk).client(retries=2).map("flux", numbers(3), return_exceptions=True))


def test_a_chunk_that_is_too_large_is_sent_in_halves(script, bulk):
    def answer(request):
        if request.url.path.endswith("/bulk") and len(json.loads(request.content)["jobs"]) > 2:
            return httpx.Response(413, json={"detail": "too large"})
        if b'"n":4' in request.content:
            return httpx.Response(413, json={"detail": "too large"})
        return bulk(request)

    outcomes = list(script(answer).client().map("flux", numbers(6), return_exceptions=True))

    assert [type(outcome) for outcome in outcomes] == [Result] * 4 + [TooLarge, Result]


def test_a_gateway_that_is_gone_ends_the_map_even_if_exceptions_are_given_back(script):
    gateway = script(lambda _: httpx.ConnectError("refused"))

    with pytest.raises(Unavailable):
        list(gateway.client().map("flux", numbers(3), return_exceptions=True))


def test_a_job_that_the_gateway_forgot_is_that_inputs_failure(script, bulk):
    def answer(request):
        reply = bulk(request)
        bulk.inputs.pop("run:1", None)
        return reply

    outcomes = list(
        script(answer).client().map("flux", numbers(3), key="run", return_exceptions=True)
    )

    assert [type(outcome) for outcome in outcomes] == [Result, NotFound, Result]


def test_files_are_waited_for_a_while(script, bulk, clock):
    started_at = clock.now

    def end(job_id):
        n = bulk.inputs[job_id]["n"]
        stored = n == 2 or (n == 0 and clock.now - started_at > 3)
        file = {"id": f"file-{n}", "state": "stored" if stored else "pending"}
        return bulk.facts(job_id, artifacts=[file])

    bulk.end = end
    results = script(bulk).client().map("flux", numbers(3))

    soon = next(results)
    waited = clock.now - started_at
    never, at_once = results

    assert [result.artifacts[0].state for result in (soon, never, at_once)] == [
        "stored",
        "pending",
        "stored",
    ]
    assert 3 < waited < 5
    assert 30 <= clock.now - started_at < 33


def test_nothing_is_asked_for_of_no_inputs(script):
    assert list(script([]).client().map("flux", [])) == []


@pytest.mark.parametrize(
    "options", [{"in_flight": 0}, {"key": "x" * 250}, {"in_flght": 5}, {"key": ""}]
)
def test_a_map_that_cannot_be_is_refused_before_it_begins(script, options):
    with pytest.raises((ValueError, TypeError, InvalidRequest)):
        script([]).client().map("flux", numbers(1), **options)


def test_what_the_inputs_raise_goes_through(script, bulk):
    def inputs():
        yield {"n": 0}
        raise LookupError("row 2")

    with pytest.raises(LookupError, match="row 2"):
        list(script(bulk).client().map("flux", inputs()))


async def test_the_async_map_takes_both_kinds_of_generator(script, bulk):
    async def inputs():
        for n in range(3):
            yield {"n": n}

    client = script(bulk).async_client()

    from_async = [result.output async for result in client.map("flux", inputs())]
    from_list = [result.output async for result in client.map("flux", numbers(3))]

    assert from_async == from_list == [0, 1, 2]


async def test_types_say_whether_exceptions_are_given_back(script, bulk):
    client: Pressroom = script(bulk).client()
    async_client: AsyncPressroom = script(bulk).async_client()

    for result in client.map("flux", numbers(1)):
        assert_type(result, Result)
    for outcome in client.map("flux", numbers(1), return_exceptions=True):
        assert_type(outcome, Result | PressroomError)
    async for async_result in async_client.map("flux", numbers(1), return_exceptions=False):
        assert_type(async_result, AsyncResult)
