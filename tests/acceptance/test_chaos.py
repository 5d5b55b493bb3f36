"""Things break under a real stack with 100 jobs in flight: the short form of `scripts/chaos`."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from scripts.faults.row import BEGIN, END, Row, write_markdown
from scripts.faults.table import FAULTS

CHAOS = Path(__file__).parents[2] / "scripts" / "chaos"
PAGE = CHAOS.parents[1] / "docs" / "reliability.md"
JOBS = 100
SCALE = 0.1  # of the time that a fault lasts
SECONDS = 600
# Left out is what takes its time even in short: replies that are waited for, deaths one by one.
SHORT = (
    "kill-one-worker",
    "kill-all-workers",
    "kill-gateway",
    "flushall",
    "redis-restart-empty",
    "redis-paused",
    "redis-oom",
    "redis-stopped-three-times-in-10-s",
    "postgres-restart",
    "postgres-paused",
    "postgres-cut",
    "disk-full",
    "upstream-500s",
    "upstream-429-storm",
    "reset-after-accept",
    "reset-after-accept-no-webhook",
    "garbage",
    "results-gone-early",
    "network-cut",
    "duplicate-webhooks",
    "webhooks-of-unknown-jobs",
    "clock-step",
    "duplicate-bells",
    "short-visibility-timeout",
    "flower-probes",
    "host-cut-off",
)

pytestmark = pytest.mark.timeout(SECONDS + 30)


@pytest.fixture(scope="module")
def rows():
    """What it writes as JSON, and says: one run, on one stack, for all tests.

    Not in pytest's own folder: the next session closes that to other users, such as PostgreSQL's,
    which is restarted here.
    """
    with tempfile.TemporaryDirectory(prefix="pressroom-chaos-") as folder:
        path = Path(folder) / "rows.json"
        ended = subprocess.run(
            [CHAOS, f"--jobs={JOBS}", f"--scale={SCALE}", f"--json={path}", "--fault", *SHORT],
            env={**os.environ, "PRESSROOM_DATA_DIR": folder},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert path.exists(), ended.stderr
        rows = {row["fault"]: row for row in json.loads(path.read_text())}
        assert not (Path(folder) / "chaos").exists()
    assert ended.returncode == (0 if all(row["met"] for row in rows.values()) else 1)
    return {name: (row, ended.stderr) for name, row in rows.items()}


@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost_nor_paid_for_twice_unreported_and_all_moves_again(rows, name):
    if FAULTS[name].hosts and name not in rows:
        pytest.skip("no network namespace may be made here: that wants root, unshare and ip netns")
    row, said = rows[name]

    assert row["met"], said
    assert (row["jobs"], row["lost"]) == (JOBS, 0)
    assert row["billed_twice"] == (row["unknown"] if FAULTS[name].doubles else 0)
    assert row["billed"] >= row["completed"] == JOBS


def test_every_fault_is_listed_with_what_it_does():
    listed = subprocess.run([CHAOS, "--list"], capture_output=True, text=True, check=True)

    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(FAULTS)
    assert all(len(line.split()) > 3 for line in listed.stdout.splitlines())


def test_every_fault_of_the_catalogue_is_covered_by_one_that_there_is():
    page = PAGE.read_text()

    covered = [line for line in page.splitlines() if line.startswith("| T")]
    named = {word.strip("`,") for line in covered for word in line.split() if word[0] == "`"}
    assert len(covered) == 16
    assert {name for name in named if not name.endswith(".py")} <= set(FAULTS)


def test_the_table_takes_the_place_of_the_one_before_and_leaves_the_page_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    row = Row(
        fault="flushall",
        jobs=1000,
        completed=1000,
        lost=0,
        billed=1000,
        billed_twice=0,
        unknown=0,
        moving_again_s=0.2,
        done_s=None,
        met=False,
    )

    for _ in range(2):
        write_markdown(page, [row], head="today:")

    assert page.read_text() == (
        f"before\n{BEGIN}\ntoday:\n\n"
        "| fault | jobs | completed | lost | billed | billed twice | unknown "
        "| moving again, s | all done, s | bar |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n"
        "| flushall | 1,000 | 1,000 | 0 | 1,000 | 0 | 0 | 0.2 | never | missed |\n"
        f"{END}\nafter\n"
    )


def test_a_page_without_the_marks_is_left_alone_and_it_is_said_why(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no marks\n")

    with pytest.raises(ValueError, match="chaos: begin"):
        write_markdown(page, [], head="today:")

    assert page.read_text() == "no marks\n"
