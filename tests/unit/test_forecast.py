"""When to ask: properties that hold for any endpoint, and what polls and lag it comes to."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.forecast import (
    BINS,
    BOUNDS,
    LATEST_SECONDS,
    OVERDUE_SHARE,
    SOONEST_SECONDS,
    SOONEST_SHARE,
    choose,
    count_durations,
    gain_of,
    keep_share,
    likely_left,
    likely_longest,
    median,
    seconds_to_next_poll,
)

ages = st.floats(0, 100_000)
typical = st.none() | st.floats(0.01, 10_000)
counts = st.floats(0, 1e6) | st.just(0.0) | st.floats(0, 1e-300)
learned = st.dictionaries(st.integers(0, BINS - 1), counts, max_size=12).map(
    lambda bins: [bins.get(bin_, 0.0) for bin_ in range(BINS)] if bins else []
)


def learn(durations, seconds):
    """The histogram after one more job, as the stages keep it."""
    added, keep = count_durations([seconds]), keep_share(1)
    return [kept * keep + added[bin_] for bin_, kept in enumerate(durations or [0.0] * BINS)]


def poll_until_done(durations, took_seconds, *, typical_seconds):
    """How many polls see the job end, and how long after it did."""
    age, polls = 0.0, 0
    while age < took_seconds:
        age += seconds_to_next_poll(durations, age_seconds=age, typical_seconds=typical_seconds)
        polls += 1
    return polls, age - took_seconds


@given(learned, ages, typical)
def test_a_wait_is_within_its_bounds_whatever_was_learned(durations, age, typical_seconds):
    wait = seconds_to_next_poll(durations, age_seconds=age, typical_seconds=typical_seconds)

    assert SOONEST_SECONDS <= wait <= LATEST_SECONDS
    assert wait >= min(SOONEST_SHARE * age, LATEST_SECONDS)


@given(learned, ages, ages, typical)
def test_an_older_job_is_never_asked_for_before_a_younger_one(
    durations, age, other_age, typical_seconds
):
    younger, older = sorted((age, other_age))

    first, second = (
        at + seconds_to_next_poll(durations, age_seconds=at, typical_seconds=typical_seconds)
        for at in (younger, older)
    )

    assert second >= first - 1e-6 * (1 + first)


@pytest.mark.parametrize("age", [*BOUNDS[::20], BOUNDS[-1], 0.0, -0.01])
def test_an_age_on_the_edge_of_a_bin_has_a_wait(age):
    durations = [1.0] * BINS

    wait = seconds_to_next_poll(durations, age_seconds=age, typical_seconds=None)

    assert SOONEST_SECONDS <= wait <= LATEST_SECONDS


def test_a_job_older_than_any_seen_is_asked_for_in_proportion_to_its_age():
    durations = learn([], 5.0)

    wait = seconds_to_next_poll(durations, age_seconds=100.0, typical_seconds=5.0)

    assert wait == pytest.approx(OVERDUE_SHARE * 100)


def test_between_two_modes_nothing_is_asked():
    """Nine jobs in ten find a warm worker; the others wait a minute for a cold one."""
    durations: list[float] = []
    for _ in range(30):
        for seconds in [5.0] * 9 + [50.0]:
            durations = learn(durations, seconds)

    wait = seconds_to_next_poll(durations, age_seconds=7.0, typical_seconds=5.0)

    assert 35 < wait < 50


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_every_duration_is_counted_once_in_a_bin(seconds):
    counted = count_durations(seconds)

    assert sum(counted.values()) == len(seconds)
    assert all(0 <= bin_ < BINS for bin_ in counted)


@given(st.integers(0, 500), st.integers(0, 500))
def test_jobs_added_together_fade_the_older_as_much_as_one_by_one(some, others):
    assert keep_share(some + others) == pytest.approx(keep_share(some) * keep_share(others))


@given(learned, typical)
def test_the_longest_is_a_bound_that_most_jobs_kept(durations, typical_seconds):
    longest = likely_longest(durations, typical_seconds=typical_seconds)

    within = sum(itertools.compress(durations, [bound <= longest for bound in BOUNDS]))
    assert longest in BOUNDS
    # The prior, of a few jobs, is counted too.
    assert within >= 0.98 * sum(durations) - 4.0


@given(learned, ages, typical)
def test_what_is_likely_left_is_when_half_of_those_still_running_have_ended(
    durations, age, typical_seconds
):
    left = likely_left(durations, age_seconds=age, typical_seconds=typical_seconds)

    assert left is None or 0 <= left <= BOUNDS[-1]
    if left is None and age < BOUNDS[-1]:
        longer = itertools.compress(durations, [bound > age for bound in BOUNDS])
        assert sum(longer) == 0


@pytest.mark.parametrize(("age", "left"), [(0, 20), (12, 8), (19, 1), (200, None)])
def test_of_jobs_that_all_take_as_long_it_is_the_rest_of_it(age, left):
    durations: list[float] = []
    for _ in range(300):
        durations = learn(durations, 20.0)

    told = likely_left(durations, age_seconds=age, typical_seconds=20.0)

    assert told == (left if left is None else pytest.approx(left, abs=0.7))


def test_half_of_the_jobs_ended_within_their_median():
    durations: list[float] = []
    for seconds in (1.0, 2.0, 3.0, 4.0, 100.0):
        durations = learn(durations, seconds)

    assert median(durations) == pytest.approx(3.0, rel=0.06)


@pytest.mark.parametrize("durations", [[], [3.0, 4.0], [0.0] * BINS, [1e-9] * BINS])
def test_of_nothing_there_is_no_median(durations):
    assert median(durations) is None


@pytest.mark.parametrize("seconds", [2.0, 20.0, 300.0])
def test_with_nothing_learned_the_longest_is_near_what_the_catalogue_says(seconds):
    assert seconds <= likely_longest([], typical_seconds=seconds) <= 1.5 * seconds


def test_a_histogram_of_other_bins_is_as_good_as_none():
    """A version that counts in other bins finds the older version's rows."""
    waits = [
        seconds_to_next_poll(durations, age_seconds=0.0, typical_seconds=20.0)
        for durations in ([], [5.0] * (BINS // 2), [5.0] * (BINS * 2))
    ]

    assert len(set(waits)) == 1


SHAPES = {  # of 20 s +- 10 %: how long a job takes, and the polls that this may cost
    "lognormal": (lambda draw: draw.lognormvariate(0, 0.0375) * 20, 2.5),
    "anywhere between": (lambda draw: draw.uniform(18, 22), 2.7),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("typical_seconds", [4.0, 20.0, 60.0])
def test_jobs_of_20_s_are_seen_within_a_second_by_two_and_a_half_polls(shape, typical_seconds):
    """After 200 jobs, wherever the catalogue's figure was; a 2 s loop takes 10."""
    take, most_polls = SHAPES[shape]
    seen = []
    for seed in range(20):
        draw = random.Random(seed)
        durations: list[float] = []
        for _ in range(200):
            durations = learn(durations, take(draw))
        seen += [
            poll_until_done(durations, take(draw), typical_seconds=typical_seconds)
            for _ in range(250)
        ]

    polls = sum(polls for polls, _ in seen) / len(seen)
    lag = sorted(lag for _, lag in seen)[int(0.95 * len(seen))]
    assert polls <= most_polls
    assert lag <= 0.95


@pytest.mark.parametrize("spread", [0.05, 0.25, 0.5])
@pytest.mark.parametrize("median", [2.0, 20.0, 200.0])
def test_however_jobs_spread_polls_stay_few_and_lags_in_proportion(median, spread):
    draw = random.Random(1)
    durations: list[float] = []
    for _ in range(200):
        durations = learn(durations, draw.lognormvariate(0, spread) * median)

    took = [draw.lognormvariate(0, spread) * median for _ in range(300)]

    seen = [poll_until_done(durations, one, typical_seconds=median) for one in took]
    polls = sum(polls for polls, _ in seen) / len(seen)
    lag = sorted(lag for _, lag in seen)[int(0.95 * len(seen))]
    assert lag <= 0.2 * median
    assert polls <= 10.0


def counts_of(*seconds):
    counted = count_durations(seconds)
    return [float(counted[bin_]) for bin_ in range(BINS)]


def test_the_size_that_predicted_better_is_predicted_by():
    everything = counts_of(*[2.0] * 50, *[20.0] * 50)
    of_size = counts_of(*[20.0] * 10)

    gain = gain_of(20.5, durations=everything, of_size=of_size)

    assert gain > 0
    assert choose(everything, of_size, gain) is of_size


def test_a_size_that_says_less_than_the_endpoint_is_not_used():
    everything = counts_of(*[2.0] * 50, *[20.0] * 50)
    of_size = counts_of(*[20.0] * 10)

    gain = gain_of(2.0, durations=everything, of_size=of_size)

    assert gain < 0
    assert choose(everything, of_size, gain) is everything


def test_a_few_jobs_of_a_size_say_nothing_yet():
    everything, of_size = counts_of(*[2.0] * 50), counts_of(*[20.0] * 4)

    assert gain_of(20.0, durations=everything, of_size=of_size) == 0
    assert choose(everything, of_size, 5.0) is everything


def test_where_nothing_was_learned_of_the_endpoint_nothing_is_gained():
    assert gain_of(20.0, durations=[], of_size=counts_of(*[20.0] * 10)) == 0
