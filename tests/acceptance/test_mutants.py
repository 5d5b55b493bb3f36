"""`scripts/mutants` tells what the tests of a toy module notice from what they do not."""

import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.mutations import trial
from scripts.mutations.rig import open_rig
from scripts.mutations.trial import KILLED, SURVIVED, TIMED_OUT, Trial, find_mutants

ROOT = Path(__file__).parents[2]
MODULE = "models/toy.py"
TESTS = {MODULE: ["tests/test_toy.py"]}

TOY = '''
def claim(database):
    """Take what waits and is due."""
    query = "UPDATE jobs SET state = 'running' WHERE state = 'queued' AND due <= 5"
    return database.execute(query).rowcount


def count_down(number):
    while number > 0:
        number -= 1
        if number == 7:
            break
    return number


def _longer(number):
    return number + 1


LENGTH = _longer(2)


def greet():
    return "ho" * LENGTH


def never_called():
    return 1 + 2
'''
TEST_TOY = """
import sqlite3

from models import toy


def test_what_waits_is_claimed():
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE jobs (state text, due int)")
        database.execute("INSERT INTO jobs VALUES ('queued', 3), ('running', 3), ('running', 3)")
        assert toy.claim(database) == 1


def test_seven_is_enough():
    assert toy.count_down(9) == 7
    assert toy.count_down(3) == 0


def test_a_greeting():
    assert toy.greet() == "hohoho"


def test_that_fails_as_it_is():
    assert False
"""

FILES = {
    MODULE: TOY,
    "models/__init__.py": "",
    "tests/test_toy.py": TEST_TOY,
    "pyproject.toml": "",
}


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """What became of each mutant of the toy: (function, what changed) to outcome."""
    root = tmp_path_factory.mktemp("toy")
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    shutil.copytree(ROOT / "scripts", root / "scripts")
    mutants = find_mutants(root, [MODULE], folder=root)
    with (
        pytest.MonkeyPatch.context() as patched,
        open_rig([MODULE], root=root, servers=False) as rig,
    ):
        patched.setattr(trial, "LEAST_SECONDS", 2.0)
        toy = Trial(rig, tests=TESTS, slow={})
        toy.learn()
        found = [one for mutant in mutants if (one := toy.try_mutant(mutant))]
        assert toy.failing == ["tests/test_toy.py::test_that_fails_as_it_is"]
        assert (rig.tree / MODULE).read_text() == TOY
    assert not rig.tree.exists()
    assert (root / MODULE).read_text() == TOY
    return {one.diff.partition("\n+")[2].strip(): one.outcome for one in found}


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        # A state is asked for, and a test has another.
        (
            "query = \"UPDATE jobs SET state = 'running' WHERE state <> 'queued' AND due <= 5\"",
            KILLED,
        ),
        ("query = \"UPDATE jobs SET state = 'running' WHERE  due <= 5\"", KILLED),
        # No test has a job that is not due.
        ("query = \"UPDATE jobs SET state = 'running' WHERE state = 'queued' \"", SURVIVED),
        (
            "query = \"UPDATE jobs SET state = 'running' WHERE state = 'queued' AND due < 5\"",
            SURVIVED,
        ),
        ("if number != 7:", KILLED),
        ("continue", KILLED),
        ("return number - 1", KILLED),  # of what it made when the module was loaded
        ("LENGTH = _longer( 3)", KILLED),
        ("return 1 - 2", SURVIVED),  # it is never called
    ],
)
def test_a_mutant_survives_if_no_test_notices_it(tried, line, outcome):
    assert tried[line] == outcome


def test_a_mutant_that_hangs_is_told_from_one_that_is_noticed(tried):
    hanging = [line for line, outcome in tried.items() if outcome == TIMED_OUT]

    assert hanging == ["number -= 0"]


def test_what_would_be_changed_is_listed_and_nothing_is():
    ended = subprocess.run(
        [ROOT / "scripts" / "mutants", "--module", "tasks/breaker.py", "--list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "tasks/breaker.py:" in ended.stdout
    assert "+    if not busy:" in ended.stdout
