"""What a benchmark makes of a run: its speed is that of the middle, and what is missing counts."""

import pytest

from scripts.benches.run import Done, Run, find_median
from scripts.benches.upstream import JOB_SECONDS
from workers.stack.supervisor import StackError

BEGAN = 1_000.0


@pytest.fixture
def make_run():
    """A run of so many jobs a second, each of which is seen so long after its end."""

    def make(*, jobs=200, per_second=50.0, lag=0.5, unfinished=0, cpu=1.0):
        sent = [BEGAN + number / per_second for number in range(jobs)]
        done = [Done(at, JOB_SECONDS, at + JOB_SECONDS + lag) for at in sent]
        return Run(
            jobs=jobs + unfinished, began=BEGAN, done=done, cpu={"worker": cpu}, polls=2 * jobs
        )

    return make


def test_what_a_job_takes_upstream_does_not_slow_a_run(make_run):
    run = make_run(jobs=2_000, per_second=50.0, lag=0.0)

    assert run.per_second == pytest.approx(50.0, rel=0.01)
    assert run.per_second_over_all < run.per_second


def test_sending_everything_first_is_no_faster_than_sending_it_as_jobs_end(make_run):
    steady = make_run(jobs=1_000, per_second=50.0, lag=0.0)
    sent = [BEGAN + number / 100 for number in range(1_000)]
    done = [
        Done(at, JOB_SECONDS, sent[-1] + JOB_SECONDS + number / 100)
        for number, at in enumerate(sent)
    ]
    hasty = Run(jobs=1_000, began=BEGAN, done=done, cpu={}, polls=1_000)

    assert hasty.per_second == pytest.approx(steady.per_second, rel=0.1)


def test_a_straggler_does_not_slow_a_run(make_run):
    run = make_run()
    late = Done(BEGAN, JOB_SECONDS, BEGAN + 60.0)
    straggling = Run(jobs=201, began=BEGAN, done=[*run.done, late], cpu={}, polls=400)

    assert straggling.per_second == pytest.approx(run.per_second, rel=0.05)


def test_figures_are_of_the_jobs_that_completed(make_run):
    run = make_run(jobs=100, unfinished=7, cpu=0.2, lag=0.5)

    assert run.unfinished == 7
    assert run.cpu_ms_each == {"worker": 2.0}
    assert run.polls_each == 2
    assert run.lag_seconds == pytest.approx(0.5)


def test_a_run_in_which_nothing_completed_is_an_error():
    with pytest.raises(StackError, match="none of 5 jobs"):
        Run(jobs=5, began=BEGAN, done=[], cpu={}, polls=0)


def test_of_several_runs_the_median_one_counts(make_run):
    runs = [make_run(per_second=rate) for rate in (90.0, 10.0, 50.0)]

    assert find_median(runs) is runs[2]
