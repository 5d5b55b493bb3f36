"""What records spans, once traces are on. It is `Runtime.tracer`, and None while they are off.

    accept ── submit, poll, cancel, archive, notify, webhook    one trace a job
    lane                                                        one trace a run of a stage
      each of its calls links to it, and it links to the jobs whose calls it makes

A job's spans hang from the span that accepted it, which its row keeps (`trace_context.py`). Whether
they are recorded was decided there, by whoever began the trace; a lane's run is recorded if it
works on such a job. Nothing of a request is in a span: no prompt, key or address with a signature.
"""

import os
import threading
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, Span, SpanKind, TraceState

from workers.call_trace import CallTrace
from workers.run_trace import RunTrace
from workers.span_export import make_exporter
from workers.spans import Facts, read_context
from workers.trace_context import is_sampled
from workers.tracing import COMMAND

FLUSH_SECONDS = 5.0  # that a process which ends waits for its spans to be taken
COMMAND_SECONDS = 1.0  # the same of a command, for which somebody waits

Row = TypeVar("Row")
End = TypeVar("End")


class LinkedSampler(Sampler):
    """What begins a trace of its own and links to others is recorded if one of these is."""

    def __init__(self, usual: Sampler) -> None:
        self._usual = usual

    def should_sample(  # noqa: PLR0917 -- the SDK's interface
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Facts | None = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        parent = trace.get_current_span(parent_context).get_span_context()
        if not links or parent.is_valid:
            return self._usual.should_sample(
                parent_context, trace_id, name, kind, attributes, links, trace_state
            )
        sampled = any(link.context.trace_flags.sampled for link in links)
        decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP
        return SamplingResult(decision, attributes)

    def get_description(self) -> str:
        return f"Linked{{{self._usual.get_description()}}}"


class Tracer:
    """Makes spans, and has them sent."""

    def __init__(self, process: str, exporter: SpanExporter) -> None:
        named = str(Resource.create().attributes[SERVICE_NAME])
        facts = {SERVICE_INSTANCE_ID: f"{process}-{os.getpid()}"}
        if named.startswith("unknown_service"):
            facts[SERVICE_NAME] = f"pressroom-{process}"
        self._provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
        if self._provider.sampler is not ALWAYS_OFF:
            self._provider.sampler = LinkedSampler(self._provider.sampler)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("pressroom")
        self._flush_seconds = COMMAND_SECONDS if process == COMMAND else FLUSH_SECONDS

    def begin(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        *,
        parent: bytes | None = None,
        links: Sequence[Link] = (),
        facts: Facts | None = None,
        began_ns: int | None = None,
    ) -> Span:
        """A span; without a parent it begins a trace.

        Args:
            parent: as a job's row keeps it.
            began_ns: Unix time in nanoseconds; None: now.
        """
        within = Context()  # of nothing: what is under way in this thread is not its parent
        if parent is not None:
            within = trace.set_span_in_context(trace.NonRecordingSpan(read_context(parent)), within)
        return self._tracer.start_span(
            name, within, kind=kind, attributes=facts, links=links, start_time=began_ns
        )

    def begin_run(
        self,
        stage: str,
        calls: CallTrace[Row, End],
        *,
        endpoint: str,
        lease: UUID,
        rows: Sequence[Row],
        began_ns: int,
    ) -> RunTrace[Row, End] | None:
        """The trace of a lane's run; None: none of its rows is of a job that is recorded."""
        jobs = [calls.find_job(row) for row in rows]
        recorded = [(job_id, kept) for job_id, kept in jobs if kept and is_sampled(kept)]
        if not recorded:
            return None
        run = self.begin(
            "lane",
            SpanKind.CONSUMER,
            links=[
                Link(read_context(kept), {"pressroom.job.id": str(job_id)})
                for job_id, kept in recorded
            ],
            facts={
                "messaging.system": "pressroom",
                "messaging.operation.type": "process",
                "messaging.destination.name": f"{stage}/{endpoint}",
                "messaging.batch.message_count": len(rows),
                "pressroom.stage": stage,
                "pressroom.endpoint": endpoint,
                "pressroom.lease": str(lease),
            },
            began_ns=began_ns,
        )
        return RunTrace(self.begin, run, stage, calls, endpoint=endpoint)

    def close(self) -> None:
        """Have the last spans sent, for some seconds at most."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(self._flush_seconds)


def make_tracer(process: str, protocol: str) -> Tracer:
    return Tracer(process, make_exporter(protocol))
