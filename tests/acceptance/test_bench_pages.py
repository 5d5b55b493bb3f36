"""`scripts/bench pages` opens every page beside few jobs and more; how fast it is is not asked."""

import shutil

import pytest


@pytest.fixture(scope="module")
def figures(run_bench):
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    return run_bench("pages")


def test_every_page_stands_beside_itself_with_fewer_jobs(figures):
    assert {"playground", "jobs", "campaign's gallery", "floor", "money"} <= {
        row["part"] for row in figures.rows
    }
    assert all(row["value"] > 0 and row["beside"] > 0 for row in figures.rows)


def test_the_slowest_is_held_to_a_second(figures):
    [bar] = figures.bars
    slowest = max(row["value"] for row in figures.rows if row["what"] == "median")
    assert bar["bar"] == 1.0
    assert bar["value"] == slowest
