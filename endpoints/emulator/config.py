"""How an emulator behaves: one frozen value, made by the command line or by a test."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from endpoints.emulator.jobs import State
from endpoints.emulator.limits import OPERATIONS

DEFAULT_KEY: Final = "rpa_emulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """Where the emulator listens and how it treats its callers.

    Attributes:
        clock_factor: emulated seconds to one real second; 0 freezes the clock.
        seed: what execution times, faults and other draws derive from.
        keys: the API keys that are let in.
        public_url: what links to files start with; None takes the host that the caller used.
        workers: workers of each endpoint; None is as many as there are jobs.
        execution_seconds: median execution time of every endpoint; None takes the catalogue's.
        spread: how far times stray from their median; 0 makes each exactly the median.
        limits: (requests in 10 s, concurrent requests) by operation, over the catalogue's; None is
            no limit.
        custom: names of serverless endpoints of somebody's own, which echo their input.
        overrun_state: how a job ends that runs past its executionTimeout; the upstream's pages
            disagree, so either is honest.
        bill_cancelled: whether a job that is cancelled while it runs is billed in full.
        webhook_on_failure: whether webhooks are sent for jobs that did not complete, too.
    """

    host: str = "127.0.0.1"
    port: int = 8900
    clock_factor: float = 1.0
    seed: int = 1
    keys: frozenset[str] = frozenset({DEFAULT_KEY})
    public_url: str | None = None
    workers: int | None = None
    execution_seconds: float | None = None
    spread: float = 1.0
    limits: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    custom: tuple[str, ...] = ()
    overrun_state: State = State.TIMED_OUT
    bill_cancelled: bool = True
    webhook_on_failure: bool = False

    def __post_init__(self) -> None:
        if self.overrun_state not in {State.TIMED_OUT, State.FAILED}:
            raise ValueError(f"overrun_state: {self.overrun_state} is not TIMED_OUT or FAILED")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers: {self.workers} is less than 1; None is without limit")
        unknown = self.limits.keys() - OPERATIONS
        if unknown:
            raise ValueError(f"limits: {min(unknown)!r} is not one of {sorted(OPERATIONS)}")
        if self.spread < 0:
            raise ValueError(f"spread: {self.spread} is less than 0")
