"""What only a process knows, for Prometheus: calls, bells, claims, requests, how late its loop is.

Each process counts for itself and shows it on an address of its own: nothing is shared, so nothing
is left of one that died, and one that starts anew starts at nought, as Prometheus expects. What
Postgres and Redis know whichever process dies is read when it is asked for: gateway/facts.py.

Labels are few and bounded: never a job, a key, a campaign, or what came with a request.
"""

import functools
from collections.abc import Callable

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from endpoints.catalogue import Operation, load_catalogue

OTHERS_MOST = 100  # endpoints that the catalogue does not list and that are named all the same
OTHER = "other"

# When each series began is one more series of each; Prometheus does without.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)  # memory, CPU and files of this process

UPSTREAM_CALLS = Counter(
    "pressroom_upstream_calls",
    "Calls to the upstream; the code is HTTP's, or `none`: there was no answer.",
    ("endpoint", "operation", "code"),
    registry=REGISTRY,
)
UPSTREAM_SECONDS = Histogram(
    "pressroom_upstream_call_seconds",
    "How long calls to the upstream took, from being sent to the whole answer.",
    ("operation",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
JOB_POLLS = Histogram(
    "pressroom_job_polls",
    "How often the upstream was asked for a job until it had ended there.",
    ("endpoint",),
    buckets=(1, 2, 3, 5, 10, 20, 50),
    registry=REGISTRY,
)
DETECTION_LAG = Histogram(
    "pressroom_detection_lag_seconds",
    "How long after a job had ended upstream it was asked for; of jobs that say how long they ran.",
    ("endpoint",),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 600),
    registry=REGISTRY,
)
BELLS = Counter(
    "pressroom_bells",
    "Bells: rung, spared (one was pending), failed (Redis is away), answered, "
    "stale (an earlier one took its place).",
    ("stage", "what"),
    registry=REGISTRY,
)
CLAIMS = Counter(
    "pressroom_claims",
    "Claims by what they found: rows, or none.",
    ("stage", "found"),
    registry=REGISTRY,
)
ROWS_CLAIMED = Counter(
    "pressroom_rows_claimed", "Rows that claims took.", ("stage",), registry=REGISTRY
)
LOOP_LAG = Gauge(
    "pressroom_loop_lag_seconds",
    "By how much what is due on the event loop of the process is late now.",
    registry=REGISTRY,
)
GATEWAY_REQUESTS = Counter(
    "pressroom_gateway_requests",
    "Requests that the gateway answered; 499: whoever asked had gone.",
    ("route", "method", "code"),
    registry=REGISTRY,
)
GATEWAY_SECONDS = Histogram(
    "pressroom_gateway_request_seconds",
    "How long requests waited until their answer began.",
    ("route",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 120),
    registry=REGISTRY,
)

_OPERATIONS = frozenset(operation.value for operation in Operation)
_others: set[str] = set()


def name_endpoint(endpoint: str) -> str:
    """Its name as a label: those that the catalogue lists, the first others that came, or `other`.

    Whoever has a key may name endpoints that there are none of, without end.
    """
    if load_catalogue().find(endpoint) is not None or endpoint in _others:
        return endpoint
    if len(_others) >= OTHERS_MOST:
        return OTHER
    _others.add(endpoint)
    return endpoint


# A series is looked up once: `labels` takes ten times as long as to add to what it returns.


@functools.lru_cache(maxsize=10_000)
def _call_counter(endpoint: str, operation: str, code: str) -> Counter:
    known = operation if operation in _OPERATIONS else OTHER
    return UPSTREAM_CALLS.labels(name_endpoint(endpoint), known, code)


@functools.lru_cache(maxsize=100)
def _call_seconds(operation: str) -> Histogram:
    return UPSTREAM_SECONDS.labels(operation if operation in _OPERATIONS else OTHER)


@functools.lru_cache(maxsize=10_000)
def _of_endpoint(histogram: Histogram, endpoint: str) -> Histogram:
    return histogram.labels(name_endpoint(endpoint))


@functools.lru_cache(maxsize=10_000)
def _counter(counter: Counter, *labels: str) -> Counter:
    return counter.labels(*labels)


@functools.lru_cache(maxsize=10_000)
def _route_seconds(route: str) -> Histogram:
    return GATEWAY_SECONDS.labels(route)


def note_call(endpoint: str, operation: str, code: int | None, seconds: float) -> None:
    """A call to the upstream was answered with `code`, or (None) was not."""
    _call_counter(endpoint, operation, "none" if code is None else str(code)).inc()
    _call_seconds(operation).observe(seconds)


def note_seen_end(endpoint: str, *, polls: int, late_seconds: float | None) -> None:
    """A job was seen to have ended, by its poll of that number."""
    _of_endpoint(JOB_POLLS, endpoint).observe(polls)
    if late_seconds is not None:
        _of_endpoint(DETECTION_LAG, endpoint).observe(max(late_seconds, 0.0))


def note_bell(stage: str, what: str) -> None:
    """A bell was rung, spared, answered, stale, or failed."""
    _counter(BELLS, stage, what).inc()


def note_claim(stage: str, rows: int) -> None:
    _counter(CLAIMS, stage, "rows" if rows else "none").inc()
    _counter(ROWS_CLAIMED, stage).inc(rows)


def note_request(route: str, method: str, code: int, seconds: float) -> None:
    """A request to the gateway; `route` as it is written in the code, without what stood in it."""
    _counter(GATEWAY_REQUESTS, route, method, str(code)).inc()
    _route_seconds(route).observe(seconds)


def watch_lag(read: Callable[[], float]) -> None:
    """Ask `read` how late the loop of this process is, whenever somebody wants to know."""
    LOOP_LAG.set_function(read)
