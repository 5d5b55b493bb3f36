"""The benchmark of polling runs, and what it says of jobs is true; how fast it is is not asked."""

import pytest

from endpoints.forecast import SOONEST_SECONDS
from scripts.benches.pollers import Forecast, back_off, draw_durations, watch, watch_loop

SILENT, HINTED = (f"live, 2 s ± 10 %, {how} webhooks" for how in ("without", "with"))


@pytest.fixture(scope="module")
def figures(run_bench):
    return run_bench("polling")


def test_every_job_completes_and_every_poll_is_recorded(figures):
    for part in (SILENT, HINTED):
        assert figures.find(part, "jobs") == 20
        assert figures.find(part, "unfinished") == 0
        assert figures.find(part, "polls that no row counts") == 0


def test_no_end_is_seen_before_it_came(figures):
    for part in (SILENT, HINTED):
        assert figures.find(part, "polls a job") >= 1
        assert -0.01 < figures.find(part, "lag p50") < 30


def test_each_duration_is_simulated_and_drawn(figures):
    simulated = {row["part"] for row in figures.rows if row["part"].startswith("simulated")}

    assert len(simulated) == 6
    for bar in figures.bars:
        assert bar["met"] is (bar["value"] <= bar["bar"])


def test_a_loop_is_walked_through_as_it_is_reckoned():
    took = [0.5, 2.0, 2.5, 19.9]

    reckoned = watch_loop(took, 2.0)

    walked = watch(took, lambda _age, _polls: 2.0)
    assert reckoned.polls == walked.polls == [1, 1, 2, 10]
    assert reckoned.lags == pytest.approx(walked.lags)


def test_backoff_doubles_from_a_second_up_to_thirty():
    waits = [back_off(0.0, polls) for polls in range(8)]

    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_forecast_that_learns_needs_fewer_polls_than_one_that_knows_nothing():
    took = draw_durations(20.0, spread=0.15, jobs=300)
    learning = Forecast(None)

    cold = watch(took, Forecast(None).wait)
    warm = watch(took, learning.wait, learning.learn)

    assert sum(warm.polls[100:]) < sum(cold.polls[100:])
    assert min(cold.lags) >= 0
    assert learning.wait(0.0, 0) > SOONEST_SECONDS
