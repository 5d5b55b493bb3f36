"""One run of many jobs by one contender, and what it came to.

Its speed is that of the middle: from when a twentieth of its jobs had been sent to when all but a
twentieth had ended, less the time that a job takes. That of the ends alone would flatter whoever
sends everything first and asks afterwards: half of the work is done before the first of them.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scripts.benches.report import find_percentile
from scripts.benches.upstream import JOB_SECONDS
from workers.stack.supervisor import StackError

EDGE_SHARE = 0.05  # of the jobs, at either edge of a run: it gathers way, and runs out
SHORTEST_SECONDS = 0.001  # of a run that is over as soon as one job can be
CURVE_POINTS = 40


@dataclass(frozen=True, slots=True)
class Done:
    """A job that completed; times are of the wall clock, which processes share.

    Attributes:
        sent: when its `/run` was sent.
        took: seconds that the upstream says it waited and ran; None: it was not asked.
        finished: when its result was known, and recorded where results are.
    """

    sent: float
    took: float | None
    finished: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """
    Raises:
        StackError: nothing was done.

    Attributes:
        jobs: how many were to be done.
        began: when the first of them was handed in.
        cpu: seconds, by kind of process; whoever handed the jobs in is not among them.
        polls: that the upstream was asked.
        postgres: bytes that it keeps and wrote ahead, and transactions, of jobs that are recorded.
    """

    jobs: int
    began: float
    done: Sequence[Done]
    cpu: Mapping[str, float]
    polls: int
    postgres: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.done:
            raise StackError(f"none of {self.jobs:,} jobs completed in its time")

    @property
    def unfinished(self) -> int:
        return self.jobs - len(self.done)

    @property
    def per_second(self) -> float:
        """Jobs in a second of the middle of the run."""
        sent = sorted(done.sent for done in self.done)
        ends = sorted(done.finished for done in self.done)
        edge = round(len(ends) * EDGE_SHARE)
        seconds = ends[-1 - edge] - sent[edge] - JOB_SECONDS
        return (len(ends) - 2 * edge) / max(seconds, SHORTEST_SECONDS)

    @property
    def per_second_over_all(self) -> float:
        """The same of all of it, from the first job handed in to the last end."""
        return len(self.done) / (max(done.finished for done in self.done) - self.began)

    @property
    def cpu_ms_each(self) -> Mapping[str, float]:
        return {kind: 1000 * seconds / len(self.done) for kind, seconds in self.cpu.items()}

    @property
    def polls_each(self) -> float:
        return self.polls / len(self.done)

    @property
    def lag_seconds(self) -> float | None:
        """From its end upstream to its record, of the median job; two calls are part of it."""
        lags = [one.finished - one.sent - one.took for one in self.done if one.took is not None]
        return find_percentile(lags, 0.5) if lags else None

    @property
    def curve(self) -> Sequence[tuple[float, float]]:
        """How many had completed, at so many seconds."""
        ends = sorted(done.finished - self.began for done in self.done)
        step = max(1, len(ends) // CURVE_POINTS)
        return [(ends[count - 1], count) for count in range(step, len(ends) + 1, step)]


def find_median(runs: Sequence[Run]) -> Run:
    """The run of the median speed, the slower of two."""
    speed = statistics.median_low(run.per_second for run in runs)
    return next(run for run in runs if run.per_second == speed)
