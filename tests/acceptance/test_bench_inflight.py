"""The benchmark of jobs in flight runs, and what it counts is there; how much is not asked."""

import json
import os
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
MET, MISSED = 0, 1
LEVELS = (50, 200, 500)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What `scripts/bench inflight --quick` writes as JSON."""
    folder = tmp_path_factory.mktemp("bench")
    path = folder / "inflight.json"
    ended = subprocess.run(
        [BENCH, "inflight", "--quick", f"--json={path}"],
        env={**os.environ, "PRESSROOM_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    # On a busy machine a worker may still be growing when it is looked at.
    assert ended.returncode in {MET, MISSED}, ended.stderr
    assert path.exists(), ended.stderr
    assert not (folder / "bench").exists()
    return json.loads(path.read_text())


def find(written, part, what):
    [row] = [row for row in written["rows"] if (row["part"], row["what"]) == (part, what)]
    return row["value"]


@pytest.mark.parametrize("level", LEVELS)
def test_at_each_level_memory_messages_and_busy_cores_are_measured(written, level):
    part = f"{level} in flight"

    assert find(written, part, "workers' memory") > 50
    assert find(written, part, "Redis's memory") > 0.1
    assert find(written, part, "keys in Redis") > 0
    # A bell of each lane, and not one of each job.
    assert 0 < find(written, part, "messages in Redis") < 50
    for kind in ("worker", "postgres", "gateway", "emulator"):
        assert find(written, part, f"{kind} busy") >= 0


@pytest.mark.parametrize("level", LEVELS)
def test_jobs_that_cycle_beside_them_complete(written, level):
    part = f"cycling beside {level} in flight"

    assert find(written, part, "jobs") == 10
    assert find(written, part, "polls a job") >= 1


def test_each_level_but_the_first_is_held_to_it(written):
    held = [bar["what"] for bar in written["bars"]]

    for level in LEVELS[1:]:
        assert sum(what.startswith(f"{level} in flight") for what in held) == 2
    [unfinished] = [bar for bar in written["bars"] if "cycling" in bar["what"]]
    assert unfinished["value"] == 0
