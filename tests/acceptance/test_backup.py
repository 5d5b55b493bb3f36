"""`pressroom backup` and `restore` as people use them: a stack under load, and a new machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from models.base import Base
from workers.backup.server import database_server
from workers.settings import Settings
from workers.stack.lifecycle import take_down
from workers.stack.supervisor import Supervisor

FLUX = "black-forest-labs-flux-1-schnell"
PROGRAM = Path(sys.executable).with_name("pressroom")
SECONDS = 90.0  # a command that takes longer hangs
JOBS = 60


def call(settings, *words, code=0):
    """Run the program in an installation; what it printed, and what it said."""
    variables = {
        f"PRESSROOM_{name.upper()}": str(getattr(settings, name))
        for name in ("data_dir", "gateway_port", "flower_port", "emulator_port")
    }
    done = subprocess.run(
        [PROGRAM, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **variables},
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode(), " ".join(done.stderr.decode().split())


def read(settings, *words):
    return json.loads(call(settings, *words, "--json")[0])


def contents(settings):
    """Every row of every table, as text; pulses beat on, and each server numbers its events."""
    with psycopg.connect(settings.database_dsn.replace("+psycopg", "")) as connection:
        return {
            table: sorted(
                str(row)
                for (row,) in connection.execute(
                    f"SELECT to_jsonb(t) - '{{transaction,number}}'::text[] FROM {table} AS t"
                )
            )
            for table in sorted(set(Base.metadata.tables) - {"pulses"})
        }


def stored(settings):
    store = settings.data_dir / "store"
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    path.write_text("".join(f"fox number {number}\n" for number in range(JOBS)))
    return path


def test_a_stack_under_load_is_backed_up_and_comes_back_on_a_new_machine(stack, prompts, tmp_path):
    root, elsewhere = tmp_path / "backups", Settings(data_dir=tmp_path / "new")
    campaign = ["campaign", "run", str(prompts), "-e", FLUX, "--set", "width=256", "--yes"]
    with subprocess.Popen(
        [PROGRAM, *campaign],
        env={**os.environ, "PRESSROOM_DATA_DIR": str(stack.data_dir)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        under_load = read(stack, "backup", str(root))
        assert running.wait(SECONDS) == 0
    assert read(stack, "backup", "verify", str(root)) == [
        {"name": under_load["name"], "problems": []}
    ]
    at_rest = read(stack, "backup", str(root), "--with-secret")
    assert at_rest["jobs"] == {"completed": JOBS}
    assert at_rest["files"] > 0
    names = [one["name"] for one in read(stack, "backup", "list", str(root))]
    assert names == [under_load["name"], at_rest["name"]]

    _, said = call(stack, "restore", str(root), "--yes", code=1)
    assert "is up: take it down first" in said
    tried = read(elsewhere, "restore", str(root), "--dry-run")
    assert not elsewhere.data_dir.exists()
    done = read(elsewhere, "restore", str(root))

    assert tried["jobs"] == done["jobs"] == {"completed": JOBS}
    assert (done["secret"], done["secret_fits"], done["held"]) == ("restored", True, [])
    _, said = call(elsewhere, "restore", str(root), code=2)
    assert f"holds {JOBS} jobs" in said
    assert "Say --yes: there is no terminal to ask on" in said
    assert Supervisor(elsewhere).find_leftovers() == []
    with database_server(elsewhere):
        here, there = contents(stack), contents(elsewhere)
    own = set(there.pop("audit")) ^ set(here.pop("audit"))
    assert there == here
    assert ["pressroom restore" in line for line in own] == [True]  # the new machine's act
    assert stored(elsewhere) == stored(stack)

    earlier = read(elsewhere, "restore", str(root), under_load["name"], "--yes")
    assert earlier["jobs"] == {"completed": JOBS}  # what is known now of what was sent then
    take_down(stack, lambda _step: None)
    [again] = read(stack, "backup", "verify", str(root), at_rest["name"])
    assert again["problems"] == []
    down = read(stack, "backup", str(root))  # of a stack that is down
    assert down["jobs"] == {"completed": JOBS}
    assert Supervisor(stack).find_leftovers() == []


def test_nobody_is_asked_where_nobody_can_answer(tmp_path):
    settings = Settings(data_dir=tmp_path / "none")

    _, said = call(settings, "backup", str(tmp_path / "backups"), code=1)
    assert "there is no database in" in said
    _, said = call(settings, "restore", str(tmp_path), code=1)
    assert "holds no backup" in said
    _, said = call(settings, "backup", "verify", str(tmp_path / "no"), code=1)
    assert "is no folder" in said
