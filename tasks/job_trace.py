"""Where a job's trace begins: with the request for it, in its producer's trace if it names one.

    accept   from the request to the commit; all that is done for the job hangs from it

Many jobs handed in by one request have a trace each, linked to the producer's span: a trace of ten
thousand jobs shows nothing. While traces are off, what the producer sent is kept all the same, and
passed on to whoever hears of the end.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from models.transitions import NewJob
from workers.runtime import Runtime
from workers.trace_context import read_traceparent

if TYPE_CHECKING:
    from opentelemetry.trace import Span

Facts = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class JobTrace:
    """The beginning of a job's trace.

    Attributes:
        kept: what the job's row is to keep of it, as hexadecimal.
        span: the one that all others hang from; None: traces are off.
    """

    kept: str | None = None
    span: "Span | None" = None

    def accepted(self, job_id: UUID, endpoint: str, **facts: str | bool) -> None:
        """It was written down."""
        if self.span is not None:
            named = {f"pressroom.{name}": value for name, value in facts.items()}
            self._end({"pressroom.job.id": str(job_id), "pressroom.endpoint": endpoint, **named})

    def refused(self, error: Exception) -> None:
        """Nothing of it was kept. What is wrong with it may quote it, so that it is not said."""
        if self.span is not None:
            self._end({"error.type": type(error).__name__})

    def _end(self, facts: Facts) -> None:
        from workers.spans import end_span  # noqa: PLC0415 -- imported once traces are on

        if self.span is not None:
            end_span(self.span, facts)


UNTRACED = JobTrace()


def begin_job_trace(
    runtime: Runtime,
    *,
    traceparent: object = None,
    one_of_many: bool = False,
    kind: Literal["SERVER", "CONSUMER", "INTERNAL"] = "INTERNAL",
    facts: Facts | None = None,
) -> JobTrace:
    """
    Args:
        traceparent: what the producer sent, whatever it is.
        one_of_many: of the jobs of one request.
    """
    sent = read_traceparent(traceparent) if traceparent is not None else None
    if runtime.tracer is None:
        return UNTRACED if sent is None else JobTrace(sent.hex())
    from opentelemetry.trace import Link, SpanKind  # noqa: PLC0415 -- imported once traces are on

    from workers.spans import keep_context, read_context  # noqa: PLC0415

    linked = sent is not None and one_of_many
    span = runtime.tracer.begin(
        "accept",
        SpanKind[kind],
        parent=None if linked else sent,
        links=[Link(read_context(sent))] if linked and sent is not None else [],
        facts=facts,
    )
    return JobTrace(keep_context(span).hex(), span)


@contextmanager
def trace_jobs(runtime: Runtime, jobs: Sequence[NewJob]) -> Iterator[Sequence[NewJob]]:
    """The same jobs, each with a trace of its own; it ends with the block that writes them down."""
    if runtime.tracer is None:
        yield jobs
        return
    traces = [begin_job_trace(runtime) for _ in jobs]
    yield [
        dataclasses.replace(job, trace_context=one.kept)
        for job, one in zip(jobs, traces, strict=True)
    ]
    for job, one in zip(jobs, traces, strict=True):
        campaign = {} if job.campaign_id is None else {"campaign.id": str(job.campaign_id)}
        one.accepted(job.id, job.endpoint, **campaign)
