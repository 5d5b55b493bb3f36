"""A job upstream: the states it moves through, and everything that is drawn for it on arrival.

    IN_QUEUE -> IN_PROGRESS -> COMPLETED | FAILED | TIMED_OUT | CANCELLED | ERROR
    IN_QUEUE -> CANCELLED
    FAILED | TIMED_OUT -> IN_QUEUE   (retry, under the same id)

From any state a job may be forgotten, and every later question about it is answered with 404.
RUNNING is only another word for IN_PROGRESS that some replies use; ERROR is in no list of states
but in the upstream's own sample code, so a fault can make it.
"""

import asyncio
import enum
from dataclasses import dataclass, field
from typing import Final

DEFAULT_TTL_SECONDS: Final = 24 * 3600.0
DEFAULT_TIME_LIMIT_SECONDS: Final = 600.0
RUN_RETENTION_SECONDS: Final = 30 * 60.0
RUNSYNC_RETENTION_SECONDS: Final = 60.0


class State(enum.StrEnum):
    """What a job is, in the upstream's words."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    ERROR = "ERROR"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to a job in this state by itself."""
        return self not in {State.IN_QUEUE, State.IN_PROGRESS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the caller asked for a job, in seconds of the emulated clock."""

    ttl: float = DEFAULT_TTL_SECONDS
    time_limit: float = DEFAULT_TIME_LIMIT_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What the faults that were active on arrival make of a job.

    Attributes:
        state: how it ends if nothing else ends it first.
        error: the text that goes with an end that is not COMPLETED.
        shape: an output shape of no documented page, or None for the endpoint's own.
        webhook_copies: how often each webhook is sent; 0 is never.
        webhook_early: whether a copy is also sent before the job has ended.
    """

    state: State = State.COMPLETED
    error: str | None = None
    shape: str | None = None
    webhook_copies: int = 1
    webhook_early: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One accepted request. Times are seconds of the emulated clock."""

    id: str
    endpoint: str
    input: dict[str, object]
    submitted_at: float
    policy: Policy
    retention: float  # how long the result is kept after the end
    delay: float  # from arrival until a worker is ready for it
    execution: float  # how long a worker needs
    quirk: int  # decides what of the optional parts of a reply this job shows
    base_url: str  # what links to its files start with
    webhook: str | None
    fate: Fate

    state: State = State.IN_QUEUE
    step: int = 0  # grows with each transition: an event planned at an earlier step is stale
    started_at: float | None = None
    ended_at: float | None = None
    error: str | None = None
    output: object = None
    streamed: int = 0  # pieces of the output that /stream has handed out
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def ttl_at(self) -> float:
        """When the job is forgotten, whatever its state."""
        return self.submitted_at + self.policy.ttl

    def wake_waiters(self) -> None:
        """Let every request go on that waits for this job."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()
