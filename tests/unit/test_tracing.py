"""Traces are off, cost nothing then, and are on by OpenTelemetry's own variables."""

import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, TraceFlags

from models.base import new_id
from workers.call_trace import CallTrace
from workers.spans import keep_context
from workers.trace_context import is_sampled, read_traceparent
from workers.tracer import Tracer
from workers.tracing import TracingMisconfigured, is_tracing_on, open_tracer

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
SENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"

IMPORTS = """
import sys
import gateway.app, workers.worker, tasks.submit, tasks.webhook, tasks.generate
from workers.tracing import open_tracer
assert open_tracer("worker") is None
# redis-py imports the SDK's metrics by itself.
names = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf", "workers.tracer")
print([name for name in sys.modules if name.startswith(names)])
"""


def test_while_traces_are_off_nothing_of_them_is_imported():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_SERVICE_NAME": "press", "OTEL_TRACES_SAMPLER": "always_on"}, False),
    ],
)
def test_the_standard_variables_turn_them_on_and_off(monkeypatch, variables, on):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert is_tracing_on() is on


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "otlp, console or none was wanted"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "http/protobuf or grpc"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, r"pressroom\[otlp-grpc\]"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_can(monkeypatch, variables, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(TracingMisconfigured, match=said):
        open_tracer("worker")


def link(*, sampled):
    return Link(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(sampled)))


@pytest.mark.parametrize("sampler", ["parentbased_always_on", "parentbased_always_off"])
def test_whether_a_span_is_recorded_is_for_its_parent_to_say_or_what_it_links_to(
    monkeypatch, sampler
):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    tracer = Tracer("tests", InMemorySpanExporter())

    for sampled in (True, False):
        parent = read_traceparent(f"{SENT}{sampled:d}")
        child = tracer.begin("submit", parent=parent)
        linked = tracer.begin("lane", links=[link(sampled=False), link(sampled=sampled)])
        assert (is_sampled(keep_context(child)), linked.is_recording()) == (sampled, sampled)
    assert tracer.begin("accept").is_recording() is (sampler == "parentbased_always_on")
    tracer.close()


def test_a_run_without_a_job_that_is_recorded_is_not_recorded():
    tracer = Tracer("tests", InMemorySpanExporter())
    calls: CallTrace[Any, Any] = CallTrace(
        "CLIENT", lambda kept: (new_id(), kept), lambda _row, _end: None
    )
    given: dict[str, Any] = {"endpoint": "p-video", "lease": new_id(), "began_ns": time.time_ns()}

    runs = [
        tracer.begin_run("submit", calls, rows=rows, **given)
        for rows in ([None, read_traceparent(f"{SENT}0")], [None, read_traceparent(f"{SENT}1")])
    ]

    assert [run is not None for run in runs] == [False, True]
    tracer.close()


def test_what_a_process_has_recorded_is_sent_before_it_ends():
    exporter = InMemorySpanExporter()
    tracer = Tracer("tests", exporter)
    tracer.begin("accept").end()

    tracer.close()

    [span] = exporter.get_finished_spans()
    assert span.name == "accept"
    assert span.resource.attributes["service.name"] == "pressroom-tests"


def test_a_collector_that_hangs_does_not_keep_a_process_from_its_end(monkeypatch):
    released = threading.Event()

    class Hanging(SpanExporter):
        def export(self, _spans):
            released.wait(30)
            return SpanExportResult.FAILURE

    monkeypatch.setattr("workers.tracer.FLUSH_SECONDS", 0.2)
    tracer = Tracer("tests", Hanging())
    tracer.begin("accept").end()
    began = time.monotonic()

    tracer.close()

    assert time.monotonic() - began < 5
    released.set()
