"""Spans: how they hang together, and how they end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanContext, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from workers.trace_context import KNOWN_FLAGS

ERROR_TYPE = "error.type"

Facts = Mapping[str, AttributeValue]


def read_context(kept: bytes) -> SpanContext:
    """Of a span, from what a job's row keeps of it."""
    return SpanContext(
        int.from_bytes(kept[:16], "big"),
        int.from_bytes(kept[16:24], "big"),
        is_remote=True,
        trace_flags=TraceFlags(kept[24]),
    )


def keep_context(span: Span) -> bytes:
    """As a job's row keeps it."""
    context = span.get_span_context()
    flags = bytes([context.trace_flags & KNOWN_FLAGS])
    return context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big") + flags


def end_span(span: Span, facts: Facts) -> None:
    """With `error.type` among the facts, it failed. What was said of it stays out: it may quote."""
    span.set_attributes(facts)
    if ERROR_TYPE in facts:
        span.set_status(StatusCode.ERROR)
    span.end()


@contextmanager
def within(span: Span) -> Iterator[None]:
    """What is logged meanwhile bears its ids. An error ends it, and is told by its type alone."""
    try:
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            yield
    except BaseException as error:
        end_span(span, {ERROR_TYPE: type(error).__name__})
        raise
