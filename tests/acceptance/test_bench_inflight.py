"""The benchmark of jobs in flight runs, and what it counts is there; how much is not asked."""

import pytest

LEVELS = (50, 200, 500)


@pytest.fixture(scope="module")
def figures(run_bench):
    return run_bench("inflight")


@pytest.mark.parametrize("level", LEVELS)
def test_at_each_level_memory_messages_and_busy_cores_are_measured(figures, level):
    part = f"{level} in flight"

    assert figures.find(part, "workers' memory") > 50
    assert figures.find(part, "Redis's memory") > 0.1
    assert figures.find(part, "keys in Redis") > 0
    # A bell of each lane, and not one of each job.
    assert 0 < figures.find(part, "messages in Redis") < 50
    for kind in ("worker", "postgres", "gateway", "emulator"):
        assert figures.find(part, f"{kind} busy") >= 0


@pytest.mark.parametrize("level", LEVELS)
def test_jobs_that_cycle_beside_them_complete(figures, level):
    part = f"cycling beside {level} in flight"

    assert figures.find(part, "jobs") == 10
    assert figures.find(part, "polls a job") >= 1


def test_each_level_but_the_first_is_held_to_it(figures):
    held = [bar["what"] for bar in figures.bars]

    for level in LEVELS[1:]:
        assert sum(what.startswith(f"{level} in flight") for what in held) == 2
    [unfinished] = [bar for bar in figures.bars if "cycling" in bar["what"]]
    assert unfinished["value"] == 0
