"""Jobs' traces, whatever way a job comes in; lanes are run in this process."""

import asyncio
import dataclasses

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from endpoints.outcomes import Busy, BusyCause, Ended, Fault, Missing, Running, UpstreamState
from models.base import new_id
from models.claims import Poll
from models.job import JobState, OnUnknown, Route
from models.transitions import NewJob
from tasks.call_traces import POLL_TRACE, SUBMIT_TRACE
from tasks.intake import enqueue
from tasks.poll import Polled
from tasks.submit import SUBMIT
from tests.integration.conftest import FLUX, find_job
from workers.lane import LaneRun
from workers.trace_context import find_trace_id, read_traceparent

QWEN = "qwen3-32b-awq"
SENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def exporter(monkeypatch):
    """What keeps the spans of this process, which records them."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr("workers.tracer.make_exporter", lambda _protocol: exporter)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    return exporter


@pytest.fixture
async def runtime(exporter, runtime):  # noqa: ARG001 -- before it
    return runtime


@pytest.fixture
async def gateway_app(exporter, gateway_app):  # noqa: ARG001 -- before it
    return gateway_app


async def wait_for(exporter, name, count=1):
    found: list[ReadableSpan] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            await asyncio.sleep(0.02)
            found = [one for one in exporter.get_finished_spans() if one.name == name]
    return found


async def find_trace_ids(runtime, job_ids):
    return [find_trace_id((await find_job(runtime, one)).trace_context) for one in job_ids]


async def test_jobs_that_are_handed_in_together_have_a_trace_each(runtime, exporter):
    jobs = [NewJob(id=new_id(), endpoint=FLUX, input={}) for _ in range(3)]

    await enqueue(runtime, jobs)

    spans = await wait_for(exporter, "accept", 3)
    ids = await find_trace_ids(runtime, [job.id for job in jobs])
    assert len(set(ids)) == 3
    assert [f"{span.context.trace_id:032x}" for span in spans] == ids


async def test_the_jobs_of_a_batch_have_one_each_too(client, runtime, exporter):
    made = (await client.post(f"/v2/{FLUX}/batch", json={"name": "two"})).json()
    requests = {"requests": [{"input": {"prompt": f"fox {n}"}} for n in range(2)]}
    batch = f"/v2/{FLUX}/batch/{made['id']}"
    assert (await client.post(f"{batch}/requests", json=requests)).is_success

    assert (await client.post(f"{batch}/finalize")).is_success

    listed = (await client.get(f"{batch}/requests")).json()["requests"]
    spans = await wait_for(exporter, "accept", 2)
    ids = await find_trace_ids(runtime, [one["id"] for one in listed])
    assert sorted(f"{span.context.trace_id:032x}" for span in spans) == sorted(ids)


@pytest.mark.usefixtures("emulator")
async def test_a_text_that_the_gateway_sends_itself_is_traced_with_its_call(client, exporter):
    body = {"model": "Qwen/Qwen3-32B-AWQ", "messages": [{"role": "user", "content": "Foxes?"}]}

    reply = await client.post(
        f"/v2/{QWEN}/openai/v1/chat/completions", json=body, headers={"traceparent": SENT}
    )

    assert reply.is_success, reply.text
    [direct], [accept] = await wait_for(exporter, "direct"), await wait_for(exporter, "accept")
    assert f"{accept.context.trace_id:032x}" == find_trace_id(read_traceparent(SENT))
    assert direct.parent.span_id == accept.context.span_id
    assert direct.attributes["http.response.status_code"] == 200
    assert direct.attributes["pressroom.job.id"] == reply.headers["Pressroom-Job"]


async def test_a_request_that_is_refused_is_a_span_that_failed(client, exporter):
    reply = await client.post(
        f"/v2/{FLUX}/run", json={"input": {"prompt": 7}}, headers={"traceparent": SENT}
    )

    assert reply.status_code == 400
    [accept] = await wait_for(exporter, "accept")
    assert accept.attributes["error.type"] == "InvalidRequest"
    assert not accept.status.is_ok
    assert accept.events == ()  # which would quote it


@pytest.mark.usefixtures("emulator")
async def test_a_mistake_in_what_a_span_says_costs_no_job_its_end(runtime, exporter):
    def fail(_row, _end):
        raise KeyError("a mistake")

    job = NewJob(id=new_id(), endpoint=FLUX, input={"prompt": "a fox"})
    await enqueue(runtime, [job])
    stage = dataclasses.replace(SUBMIT, trace=dataclasses.replace(SUBMIT_TRACE, describe=fail))

    await LaneRun(runtime, stage, FLUX).run()

    assert (await find_job(runtime, job.id)).state is JobState.IN_QUEUE
    await wait_for(exporter, "lane")
    assert "submit" not in {span.name for span in exporter.get_finished_spans()}


@pytest.mark.parametrize(
    ("outcome", "misses", "worth_it"),
    [
        (Running(UpstreamState.IN_QUEUE), 0, False),
        (Running(UpstreamState.IN_PROGRESS), 0, True),
        (Running(UpstreamState.IN_QUEUE), 1, True),
        (Busy(BusyCause.RATE_LIMITED, "slower"), 0, False),
        (Missing(), 0, True),
        (Fault("no answer"), 0, True),
        (Ended(UpstreamState.COMPLETED, output={}), 0, True),
    ],
)
def test_a_poll_has_a_span_if_it_told_something_new(outcome, misses, worth_it):
    row = Poll(
        id=new_id(),
        lease=new_id(),
        endpoint=FLUX,
        attempt=1,
        state=JobState.IN_QUEUE,
        upstream_id="u",
        age_seconds=1.0,
        unseen_seconds=1.0,
        polls=3,
        misses=misses,
        cancel=False,
        cancel_reason=None,
        route=Route.RUN,
        sends=1,
        on_unknown=OnUnknown.RESUBMIT,
    )

    facts = POLL_TRACE.describe(row, Polled(row, outcome))

    assert (facts is not None) is worth_it
    assert ("error.type" in (facts or {})) is isinstance(outcome, Missing | Fault)
