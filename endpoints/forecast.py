"""When a job is likely to be done, so that it is asked for then and not every two seconds.

An endpoint's jobs are counted by how long they took in bins whose bounds grow by a constant ratio,
from 0.1 s to three hours; old jobs fade. Jobs of one size (`endpoints/size_class.py`) are counted
apart, too, and that count is used where it would have predicted the last ones better.

A poll costs quota, a late one costs somebody's time. So of the jobs that took longer than the `age`
of this one, it is looked how long they would have been done, on average, by a time `t` (not at all,
if they took longer than `t`); the job is asked for at the `t` at which that reaches a small share
of `t`. Where many jobs end, polls are close together; where none does, there are none.
"""

import bisect
import math
from collections import Counter
from collections.abc import Iterable, Sequence

SHORTEST_SECONDS = 0.1
RATIO = 1.06  # so a forecast is within 3 % of what was seen
BINS = 200
BOUNDS = [
    SHORTEST_SECONDS * RATIO**i for i in range(BINS)
]  # the upper bound of each bin; the last is open

KEEP_PER_JOB = 0.995  # of the older counts, with each job counted: about the last 200 matter
# Shares of a job's age. With these, 95 of 100 jobs of 20 s +- 10 % are seen within 0.8 s of their
# end, by 2.4 polls; tests/unit/test_forecast.py measures it.
LAG_SHARE = 0.008
SOONEST_SHARE = 0.03
OVERDUE_SHARE = 0.12  # older than any job seen
SOONEST_SECONDS = 0.25
LATEST_SECONDS = 60.0
LEAST_JOBS = 0.5  # older ones fade: less than that is none
PRIOR_JOBS = 4.0  # what the catalogue's figure weighs, in jobs seen
PRIOR_SPREAD = 1.3  # the catalogue's figure may be off by this factor, either way
SIZE_JOBS = 5.0  # of one size, before they count for anything
NEAR_BINS = 2  # a duration within 12 % was predicted
UNSEEN_JOBS = 0.1  # what a duration weighs that was never seen
GAIN_KEPT = 0.95  # of what was gained, with each job: about the last 20 matter
UNLISTED_SECONDS = 4.0  # for an endpoint of which nothing is known


def count_durations(seconds: Iterable[float]) -> Counter[int]:
    """Bin to number of jobs."""
    return Counter(_bin(value) for value in seconds)


def keep_share(jobs: int) -> float:
    """What of the older counts is kept when `jobs` more are added."""
    return KEEP_PER_JOB**jobs


def seconds_to_next_poll(
    durations: Sequence[float], *, age_seconds: float, typical_seconds: float | None
) -> float:
    """How long to wait before asking for a job that is not done at `age_seconds`.

    Args:
        durations: the endpoint's counts by bin; empty if nothing was learned.
        age_seconds: since the upstream accepted the job.
        typical_seconds: what the catalogue says; None for an endpoint that it does not list.
    """
    possible = _possible(durations, age_seconds, typical_seconds)
    first = _bin(age_seconds)
    jobs = sum(possible)
    if jobs <= 0:
        # Older than any job seen: wait in proportion to the age, as one does for a late bus.
        return _bounded(OVERDUE_SHARE * age_seconds, age_seconds)
    start, done, lag = age_seconds, 0.0, 0.0  # `done` is a share, `lag` an average in seconds
    for bound, count in zip(BOUNDS[first:], possible[first:], strict=True):
        share, width = count / jobs, bound - start
        lag_at_bound = lag + done * width + share * width / 2
        if lag_at_bound > LAG_SHARE * bound or bound > age_seconds + LATEST_SECONDS:
            short = LAG_SHARE * start - lag
            into = _solve(share / (2 * width), done - LAG_SHARE, short)
            return _bounded(start + min(into, width) - age_seconds, age_seconds)
        start, done, lag = bound, done + share, lag_at_bound
    return LATEST_SECONDS


def _solve(square: float, slope: float, goal: float) -> float:
    """The larger x at which `square * x**2 + slope * x` is `goal`; only `slope` may be negative."""
    root = math.sqrt(slope**2 + 4 * square * goal)
    if slope > 0:
        return 2 * goal / (root + slope)  # the same, where the other would lose all digits
    return (root - slope) / (2 * square) if square else math.inf


def choose(durations: Sequence[float], of_size: Sequence[float], gain: float) -> Sequence[float]:
    """Which counts to predict a job by: the endpoint's, or those of its size."""
    return of_size if gain > 0 and sum(of_size) >= SIZE_JOBS else durations


def gain_of(seconds: float, *, durations: Sequence[float], of_size: Sequence[float]) -> float:
    """How much better a job's size predicted how long it took, in log likelihood.

    Args:
        seconds: that it took.
        durations, of_size: the counts before it ended.
    """
    if len(durations) != BINS or sum(of_size) < SIZE_JOBS:
        return 0.0
    return math.log(_likelihood(of_size, seconds) / _likelihood(durations, seconds))


def _likelihood(counts: Sequence[float], seconds: float) -> float:
    """Of that bin and those beside it; no duration is held to be impossible."""
    place = _bin(seconds)
    near = sum(counts[max(place - NEAR_BINS, 0) : place + NEAR_BINS + 1])
    return (near + UNSEEN_JOBS) / (sum(counts) + UNSEEN_JOBS)


def likely_longest(durations: Sequence[float], *, typical_seconds: float | None) -> float:
    """The time by which 99 of 100 jobs were done, in seconds."""
    counts = _with_prior(durations, typical_seconds or UNLISTED_SECONDS)
    goal = 0.99 * sum(counts)
    passed = 0.0
    for bound, count in zip(BOUNDS, counts, strict=True):
        passed += count
        if passed >= goal:
            return bound
    return BOUNDS[-1]


def median(durations: Sequence[float]) -> float | None:
    """Seconds by which half of the jobs that are counted had ended; None: too few are."""
    jobs = sum(durations)
    if len(durations) != BINS or jobs < LEAST_JOBS:
        return None
    passed = 0.0
    for place, count in enumerate(durations):
        if count and passed + count >= jobs / 2:
            lower = BOUNDS[place - 1] if place else 0.0
            return lower + (BOUNDS[place] - lower) * (jobs / 2 - passed) / count
        passed += count
    return None


def likely_left(
    durations: Sequence[float], *, age_seconds: float, typical_seconds: float | None
) -> float | None:
    """Seconds in which half of the jobs of this age have ended; None: none was seen to take it.

    Args: as of `seconds_to_next_poll`.
    """
    possible = _possible(durations, age_seconds, typical_seconds)
    goal = sum(possible) / 2
    passed, lower = 0.0, age_seconds
    for bound, count in zip(BOUNDS, possible, strict=True):
        if count and passed + count >= goal:
            return lower + (bound - lower) * (goal - passed) / count - age_seconds
        passed += count
        lower = max(bound, age_seconds)
    return None


def _possible(
    durations: Sequence[float], age_seconds: float, typical_seconds: float | None
) -> list[float]:
    """Counts by bin of jobs that took longer than `age_seconds`."""
    counts = _with_prior(durations, typical_seconds or UNLISTED_SECONDS)
    first = _bin(age_seconds)
    lower = BOUNDS[first - 1] if first else 0.0
    # Of the bin that `age` falls in, only the part above it is still possible.
    possible = [0.0] * first + list(counts[first:])
    possible[first] *= max((BOUNDS[first] - age_seconds) / (BOUNDS[first] - lower), 0.0)
    return possible


def _with_prior(durations: Sequence[float], typical_seconds: float) -> list[float]:
    counts = list(durations) if len(durations) == BINS else [0.0] * BINS  # or of other bins
    seen = sum(counts)
    for factor, weight in ((1 / PRIOR_SPREAD, 0.25), (1.0, 0.5), (PRIOR_SPREAD, 0.25)):
        # It fades as jobs are seen, and with 30 of them weighs nothing to speak of.
        counts[_bin(typical_seconds * factor)] += weight * PRIOR_JOBS / (1 + seen)
    return counts


def _bin(seconds: float) -> int:
    return min(bisect.bisect_left(BOUNDS, seconds), BINS - 1)


def _bounded(seconds: float, age_seconds: float) -> float:
    return min(max(seconds, SOONEST_SECONDS, SOONEST_SHARE * age_seconds), LATEST_SECONDS)
