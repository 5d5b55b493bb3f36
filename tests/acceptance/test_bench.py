"""The benchmarks run, and what they find of safety holds; how fast it is here is not asked."""

import subprocess
from pathlib import Path

import pytest

from scripts.benches.__main__ import BENCHES

BENCH = Path(__file__).parents[2] / "scripts" / "bench"


@pytest.fixture(scope="module")
def figures(run_bench):
    return run_bench("gateway")


def test_the_json_holds_every_figure_beside_the_floors_and_whether_each_bar_is_met(figures):
    assert figures.name == "gateway"
    assert {row["part"] for row in figures.rows} == {
        "20 waiting",
        "load, lanes paused",
        "load",
        "restart",
    }
    assert all(row["beside"] > 0 for row in figures.rows if row["what"] == "p95")
    for bar in figures.bars:
        assert bar["met"] is (bar["value"] <= bar["bar"])


def test_a_restarted_gateway_loses_and_doubles_nothing(figures):
    assert figures.find("restart", "accepted") > 0
    assert figures.find("restart", "without service when killed") > 0
    lost = [figures.find("restart", what) for what in ("never accepted", "lost", "doubled")]
    assert lost == [0, 0, 0]


def test_everybody_who_waits_is_answered_and_no_request_fails(figures):
    assert figures.find("20 waiting", "unanswered") == 0
    assert figures.find("load", "errors") == 0
    assert figures.find("load, lanes paused", "errors") == 0


def test_without_a_name_the_benchmarks_are_listed():
    listed = subprocess.run([BENCH], capture_output=True, text=True, timeout=60, check=True)

    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert names == sorted(BENCHES)
