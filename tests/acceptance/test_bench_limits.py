"""The benchmarks of quota, fairness and latency run, and what they find of safety holds."""

import json
import os
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
MET, MISSED = 0, 1


@pytest.fixture(scope="module")
def measure(tmp_path_factory):
    """Runs `scripts/bench NAME --quick`; returns what it writes as JSON, and its picture."""

    def measure(name):
        folder = tmp_path_factory.mktemp(name)
        figures, picture = folder / "figures.json", folder / "picture.png"
        ended = subprocess.run(
            [BENCH, name, "--quick", f"--json={figures}", f"--plot={picture}"],
            env={**os.environ, "PRESSROOM_DATA_DIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        # On a busy machine a bar of time may be missed.
        assert ended.returncode in {MET, MISSED}, ended.stderr
        assert figures.exists(), ended.stderr
        assert picture.read_bytes().startswith(b"\x89PNG")
        return json.loads(figures.read_text())

    return measure


def find(written, part, what):
    [row] = [row for row in written["rows"] if (row["part"], row["what"]) == (part, what)]
    return row["value"]


def test_a_limit_is_used_and_never_exceeded(measure):
    written = measure("quota")

    assert find(written, "1 worker", "submits taken") > 0
    assert find(written, "1 worker", "refused (429)") == 0
    assert find(written, "1 worker", "most in a window") <= 1000
    assert find(written, "1 worker", "most at once") <= 200
    assert {bar["sense"] for bar in written["bars"]} == {"at least", "at most"}


def test_a_single_job_and_one_of_high_priority_pass_a_backlog(measure):
    written = measure("fairness")

    for part in ("single", "priority"):
        assert find(written, part, "handed in to taken upstream, p95") > 0
    assert 1.5 < find(written, "weights", "served for each of the other's, weight 3") < 6


def test_what_is_added_to_a_single_job_is_told_beside_the_floor(measure):
    written = measure("latency")

    parts = {row["part"] for row in written["rows"]}
    assert parts == {
        f"to {what}, {how}" for what in ("send", "read") for how in ("webhooks", "no webhooks")
    }
    assert all(row["value"] > 0 and row["beside"] > 0 for row in written["rows"])
