"""A job's place in a trace: as a header says it, and as the job's row keeps it.

    00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01    `traceparent` of W3C Trace Context
       trace id, 16 bytes               span id, 8       flags: 25 bytes in jobs.trace_context

What comes with it in `tracestate` and `baggage` is not kept: it may have 8 kB, and is not ours to
show to whoever hears of the job's end.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "traceparent"
SAMPLED = 0x01
KNOWN_FLAGS = 0x03  # sampled; and that the trace id is random
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)

_passed_on: ContextVar[str | None] = ContextVar("traceparent", default=None)


def read_traceparent(header: object) -> bytes | None:
    """As a row keeps it; None: there is none, or none that the specification takes."""
    found = _FORM.fullmatch(header) if isinstance(header, str) else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) * int(span_id, 16):
        return None
    return bytes.fromhex(trace_id + span_id) + bytes([int(flags, 16) & KNOWN_FLAGS])


def write_traceparent(kept: bytes) -> str:
    """As the header says it."""
    return f"00-{kept[:16].hex()}-{kept[16:24].hex()}-{kept[24]:02x}"


def is_sampled(kept: bytes | None) -> bool:
    """Whether whoever began the trace wants it recorded."""
    return kept is not None and bool(kept[24] & SAMPLED)


def find_trace_id(kept: bytes | None) -> str | None:
    """As one looks for it where traces are kept."""
    return kept[:16].hex() if kept else None


def find_passed_on() -> str | None:
    """What whoever is called now is to be told of the trace."""
    return _passed_on.get()


def say_traceparent(kept: bytes | None) -> str | None:
    """The header for whoever is told of a job: of the call's own span, or else of the job."""
    return find_passed_on() or (write_traceparent(kept) if kept else None)


@contextmanager
def pass_on(traceparent: str | None) -> Iterator[None]:
    """Tell it to whoever is called within: Celery's messages and webhooks carry it."""
    token = _passed_on.set(traceparent)
    try:
        yield
    finally:
        _passed_on.reset(token)
