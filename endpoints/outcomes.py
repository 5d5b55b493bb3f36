"""Every way that a call to the upstream can end, split by what the caller does next.

A call returns one of these and never raises: no answer is a value too.

    of a submit   Accepted | Busy | Refused | Fault | Unknown
    of a poll     Running | Ended | Missing | Busy | Fault
"""

import enum
from dataclasses import dataclass
from typing import Any


class UpstreamState(enum.StrEnum):
    """The states of the upstream, as one word each; it has more words for some."""

    IN_QUEUE = "in_queue"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The upstream has the job, under its own id."""

    upstream_id: str
    http_status: int


class BusyCause(enum.StrEnum):
    RATE_LIMITED = "rate limited (429)"
    KEY_REFUSED = "the upstream refused the key"
    PAYMENT_REQUIRED = "the upstream asks for payment (402)"
    UNREACHABLE = "the upstream cannot be reached"


@dataclass(frozen=True, slots=True)
class Busy:
    """Nothing was taken, and it is not the job's fault: hold the whole lane."""

    cause: BusyCause
    detail: str
    retry_after_seconds: float | None = None  # None: the upstream did not say
    http_status: int | None = None  # None: nothing was sent


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never take this request."""

    error: str
    http_status: int


@dataclass(frozen=True, slots=True)
class Fault:
    """The upstream failed and said so (or, of a poll, gave no usable answer): worth a try later."""

    error: str
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request may have been taken: no reply, or one that does not say."""

    error: str
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """Not done yet."""

    state: UpstreamState  # IN_QUEUE or IN_PROGRESS


@dataclass(frozen=True, slots=True)
class Ended:
    """Done, one way or another."""

    state: UpstreamState
    output: Any = None
    error: str | None = None
    delay_ms: int | None = None  # waiting in the upstream's queue
    execution_ms: int | None = None
    worker_id: str | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """The upstream does not know the job (404): never did, or does no longer."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """What of a job's output has come since it was last asked for."""

    state: UpstreamState | None  # None: the reply did not say
    outputs: tuple[Any, ...]


WORDS = {
    Accepted: "accepted",
    Busy: "told to wait",
    Refused: "refused",
    Fault: "failed",
    Unknown: "unanswered",
    Missing: "missing",
}


def name_outcome(outcome: "SubmitOutcome | PollOutcome") -> str:
    """A word for it; of a job that the upstream spoke of, its state there."""
    if isinstance(outcome, Running | Ended):
        return outcome.state.replace("_", " ")
    return WORDS[type(outcome)]


SubmitOutcome = Accepted | Busy | Refused | Fault | Unknown
PollOutcome = Running | Ended | Missing | Busy | Fault
