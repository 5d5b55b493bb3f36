"""The benchmarks of speed run, and lose nothing on the way; how fast it is here is not asked."""

import json
import os
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
MET, MISSED = 0, 1
RIVALS = {"celery, prefork", "celery, threads", "celery, gevent", "runpod SDK, threads"}


@pytest.fixture(scope="module")
def measure(tmp_path_factory):
    """Run a benchmark with small numbers; what it writes as JSON."""

    def run(name):
        folder = tmp_path_factory.mktemp(name)
        path, plot = folder / "figures.json", folder / "figures.png"
        ended = subprocess.run(
            [BENCH, name, "--quick", f"--json={path}", f"--plot={plot}"],
            env={**os.environ, "PRESSROOM_DATA_DIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=900,  # the first time, its rivals are installed
            check=False,
        )
        # On a busy machine a bar of speed may be missed.
        assert ended.returncode in {MET, MISSED}, ended.stderr
        assert path.exists(), ended.stderr
        assert plot.read_bytes().startswith(b"\x89PNG")
        assert not (folder / "bench").exists()
        return json.loads(path.read_text())

    return run


def figures(written, what):
    return {row["part"]: row["value"] for row in written["rows"] if row["what"] == what}


def bar(written, what):
    [found] = [bar for bar in written["bars"] if bar["what"] == what]
    return found


@pytest.mark.timeout(1000)
def test_pressroom_and_its_rivals_complete_their_jobs(measure):
    written = measure("throughput")

    assert figures(written, "jobs").keys() == {"pressroom", "bare loop", *RIVALS}
    left = figures(written, "not completed")
    assert left["pressroom"] == left["bare loop"] == 0
    assert max(left.values()) <= 2  # a task of a rival may die with its call
    assert all(polls >= 1 for polls in figures(written, "polls a job").values())
    assert all(rate > 0 for rate in figures(written, "of the middle").values())
    assert bar(written, "jobs not completed")["met"]


@pytest.mark.timeout(1000)
def test_any_number_of_workers_completes_every_job(measure):
    written = measure("scaleout")

    assert figures(written, "not completed") == {"1 worker": 0, "2 workers": 0, "4 workers": 0}
    assert figures(written, "of the middle")["1 worker"] > 0
    assert bar(written, "jobs not completed")["met"]
