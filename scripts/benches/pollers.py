"""Ways to ask for a job until it is done, tried on durations that are drawn: exact, and at once.

A poll takes no time here, and the quota is not looked at.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from endpoints.emulator.durations import Durations
from endpoints.forecast import BINS, count_durations, keep_share, seconds_to_next_poll
from scripts.benches.report import find_percentile

Wait = Callable[[float, int], float]  # (age of the job, polls before) to seconds until the next

BACKOFF_FIRST_SECONDS, BACKOFF_MOST_SECONDS = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """How the ends of some jobs were seen: polls and lag in seconds, one of each for a job."""

    polls: Sequence[int]
    lags: Sequence[float]

    @property
    def polls_each(self) -> float:
        return sum(self.polls) / len(self.polls)

    def lag(self, share: float) -> float:
        return find_percentile(self.lags, share)


@dataclass
class Forecast:
    """The stages' own forecast of one endpoint, which learns as they let it learn.

    Args:
        typical_seconds: what the catalogue says.
    """

    typical_seconds: float | None
    durations: Sequence[float] = field(default_factory=lambda: [0.0] * BINS)

    def wait(self, age_seconds: float, _polls: int) -> float:
        return seconds_to_next_poll(
            self.durations, age_seconds=age_seconds, typical_seconds=self.typical_seconds
        )

    def learn(self, seconds: float) -> None:
        added, keep = count_durations([seconds]), keep_share(1)
        self.durations = [kept * keep + added[bin_] for bin_, kept in enumerate(self.durations)]


def back_off(_age: float, polls: int) -> float:
    """Twice as long each time."""
    return min(BACKOFF_FIRST_SECONDS * 2.0 ** min(polls, 16), BACKOFF_MOST_SECONDS)


def draw_durations(seconds: float, *, spread: float, jobs: int) -> Sequence[float]:
    """How long jobs take, as the emulator draws it."""
    draws = Durations(
        f"{seconds:g}", seed=1, execution_seconds=seconds, delay_seconds=0.0, spread=spread
    )
    return [sum(draws.draw()) for _ in range(jobs)]


def watch(took: Iterable[float], wait: Wait, learn: Callable[[float], None] | None = None) -> Seen:
    """Poll each job until it is seen to have ended, one after the other."""
    polls, lags = [], []
    for seconds in took:
        age, asked = 0.0, 0
        while age < seconds:
            age += wait(age, asked)
            asked += 1
        polls.append(asked)
        lags.append(age - seconds)
        if learn is not None:
            learn(seconds)
    return Seen(polls, lags)


def watch_warm(learned: Iterable[float], took: Iterable[float], *, typical_seconds: float) -> Seen:
    """By a forecast that has learned from some jobs, and goes on learning."""
    forecast = Forecast(typical_seconds)
    for seconds in learned:
        forecast.learn(seconds)
    return watch(took, forecast.wait, forecast.learn)


def watch_loop(took: Sequence[float], seconds: float) -> Seen:
    """By a fixed loop, without walking through it."""
    polls = [max(math.ceil(one / seconds), 1) for one in took]
    lags = [asked * seconds - one for asked, one in zip(polls, took, strict=True)]
    return Seen(polls, lags)
