"""The benchmarks of speed run, and lose nothing on the way; how fast it is here is not asked."""

import pytest

RIVALS = {"celery, prefork", "celery, threads", "celery, gevent", "runpod SDK, threads"}


@pytest.mark.timeout(1000)
def test_pressroom_and_its_rivals_complete_their_jobs(run_bench):
    figures = run_bench("throughput")

    assert figures.of_each_part("jobs").keys() == {"pressroom", "bare loop", *RIVALS}
    left = figures.of_each_part("not completed")
    assert left["pressroom"] == left["bare loop"] == 0
    assert max(left.values()) <= 2  # a task of a rival may die with its call
    assert all(polls >= 1 for polls in figures.of_each_part("polls a job").values())
    assert all(rate > 0 for rate in figures.of_each_part("of the middle").values())
    assert figures.bar("jobs not completed")["met"]


@pytest.mark.timeout(1000)
def test_any_number_of_workers_completes_every_job(run_bench):
    figures = run_bench("scaleout")

    assert figures.of_each_part("not completed") == {"1 worker": 0, "2 workers": 0, "4 workers": 0}
    assert figures.of_each_part("of the middle")["1 worker"] > 0
    assert figures.bar("jobs not completed")["met"]
