"""What is traced of one run of a lane: the run, and the calls that it makes."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import structlog
from opentelemetry.trace import Link, Span, SpanKind

from workers.call_trace import CallTrace
from workers.spans import end_span, keep_context, within
from workers.trace_context import is_sampled, pass_on, write_traceparent

log = structlog.get_logger()

Row = TypeVar("Row")
End = TypeVar("End")


class RunTrace(Generic[Row, End]):
    """The span of a run, and those of its calls, which link to it."""

    def __init__(
        self,
        begin: Callable[..., Span],
        run: Span,
        stage: str,
        calls: CallTrace[Row, End],
        *,
        endpoint: str,
    ) -> None:
        self._begin = begin
        self._run = run
        self._stage = stage
        self._calls = calls
        self._kind = SpanKind[calls.kind]
        self._endpoint = endpoint

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Until the run has ended."""
        with within(self._run):
            yield
        end_span(self._run, {})

    def note_recorded(self, ends: int) -> None:
        self._run.add_event("recorded", {"pressroom.rows": ends})

    async def act(self, call: Awaitable[End], row: Row) -> End:
        """Wait for one row's call, within a span of its job's trace, if that is recorded."""
        job_id, kept = self._calls.find_job(row)
        if not is_sampled(kept):
            return await call
        span = self._begin(
            self._stage,
            self._kind,
            parent=kept,
            links=[Link(self._run.get_span_context())],
            facts={"pressroom.job.id": str(job_id), "pressroom.endpoint": self._endpoint},
        )
        with within(span), pass_on(write_traceparent(keep_context(span))):
            end = await call
        self._end_call(span, row, end)
        return end

    def _end_call(self, span: Span, row: Row, end: End) -> None:
        try:
            facts = self._calls.describe(row, end)
        except Exception:  # a bug, which must not cost what was paid for
            log.exception("call_not_described", call=self._stage)
            return
        if facts is not None:  # a span that is never ended is never sent
            end_span(span, facts)
