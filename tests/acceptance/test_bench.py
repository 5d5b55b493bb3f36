"""The benchmarks run, and what they find of safety holds; how fast it is here is not asked."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from scripts.benches.__main__ import BENCHES

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
MET, MISSED = 0, 1


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What `scripts/bench gateway --quick` writes as JSON."""
    folder = tmp_path_factory.mktemp("bench")
    path = folder / "gateway.json"
    ended = subprocess.run(
        [BENCH, "gateway", "--quick", f"--json={path}"],
        env={**os.environ, "PRESSROOM_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    # On a busy machine a bar of time may be missed.
    assert ended.returncode in {MET, MISSED}, ended.stderr
    assert path.exists(), ended.stderr
    assert not (folder / "bench").exists()
    return json.loads(path.read_text())


def find(written, part, what):
    [row] = [row for row in written["rows"] if (row["part"], row["what"]) == (part, what)]
    return row["value"]


def test_the_json_holds_every_figure_beside_the_floors_and_whether_each_bar_is_met(written):
    assert written["name"] == "gateway"
    assert {row["part"] for row in written["rows"]} == {
        "20 waiting",
        "load, lanes paused",
        "load",
        "restart",
    }
    assert all(row["beside"] > 0 for row in written["rows"] if row["what"] == "p95")
    for bar in written["bars"]:
        assert bar["met"] is (bar["value"] <= bar["bar"])


def test_a_restarted_gateway_loses_and_doubles_nothing(written):
    assert find(written, "restart", "accepted") > 0
    assert find(written, "restart", "without service when killed") > 0
    lost = [find(written, "restart", what) for what in ("never accepted", "lost", "doubled")]
    assert lost == [0, 0, 0]


def test_everybody_who_waits_is_answered_and_no_request_fails(written):
    assert find(written, "20 waiting", "unanswered") == 0
    assert find(written, "load", "errors") == 0
    assert find(written, "load, lanes paused", "errors") == 0


def test_without_a_name_the_benchmarks_are_listed():
    listed = subprocess.run([BENCH], capture_output=True, text=True, timeout=60, check=True)

    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert names == sorted(BENCHES)
