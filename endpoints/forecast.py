"""When a job is likely to be done, so that it is asked for then and not every two seconds.

An endpoint's jobs are counted by how long they took in bins whose bounds grow by a constant ratio,
from 0.1 s to over two hours; old jobs fade. A job that is not done after `age` seconds is asked
for at the time by which half of the jobs that took longer than `age` were done.
"""

import bisect
from collections import Counter
from collections.abc import Iterable, Sequence

SHORTEST_SECONDS = 0.1
RATIO = 1.12  # so a forecast is within 6 % of what was seen
BINS = 100
BOUNDS = [
    SHORTEST_SECONDS * RATIO**i for i in range(BINS)
]  # the upper bound of each bin; the last is open

KEEP_PER_JOB = 0.995  # of the older counts, with each job counted: about the last 200 matter
SHARE_DONE = 0.5  # of such jobs, at the time of the next poll
SOONEST_SECONDS = 0.25
LATEST_SECONDS = 60.0
PRIOR_JOBS = 4.0  # what the catalogue's figure weighs, in jobs seen
PRIOR_SPREAD = 1.3  # the catalogue's figure may be off by this factor, either way
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
    counts = _with_prior(durations, typical_seconds or UNLISTED_SECONDS)
    first = _bin(age_seconds)
    lower = BOUNDS[first - 1] if first else 0.0
    # Of the bin that `age` falls in, only the part above it is still possible.
    possible = [0.0] * first + list(counts[first:])
    possible[first] *= (BOUNDS[first] - age_seconds) / (BOUNDS[first] - lower)
    goal = SHARE_DONE * sum(possible)
    if goal <= 0:
        # Older than any job seen: wait in proportion to the age, as one does for a late bus.
        return _bounded(age_seconds * (RATIO - 1))
    passed = 0.0
    for i in range(first, BINS):
        if passed + possible[i] >= goal:
            start = max(age_seconds, BOUNDS[i - 1] if i else 0.0)
            share = (goal - passed) / possible[i]
            return _bounded(start + share * (BOUNDS[i] - start) - age_seconds)
        passed += possible[i]
    raise AssertionError("unreachable: the parts of a sum pass half of it")


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


def _with_prior(durations: Sequence[float], typical_seconds: float) -> list[float]:
    counts = list(durations) if durations else [0.0] * BINS
    for factor, weight in ((1 / PRIOR_SPREAD, 0.25), (1.0, 0.5), (PRIOR_SPREAD, 0.25)):
        # It fades as jobs are seen, and with 30 of them weighs nothing to speak of.
        counts[_bin(typical_seconds * factor)] += weight * PRIOR_JOBS / (1 + sum(durations))
    return counts


def _bin(seconds: float) -> int:
    return min(bisect.bisect_left(BOUNDS, seconds), BINS - 1)


def _bounded(seconds: float) -> float:
    return min(max(seconds, SOONEST_SECONDS), LATEST_SECONDS)
