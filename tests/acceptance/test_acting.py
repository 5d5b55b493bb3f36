"""What operators do on a real stack: restarts, drained workers and lanes, bulk, the audit log."""

import subprocess
import time
from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import NullPool, create_engine, text

from workers.operator_settings import READ_AGAIN_SECONDS

FLUX = "black-forest-labs-flux-1-schnell"
VIDEO = "vidu-q3-t2v"  # takes seconds here
JOBS = 40
STOP_SECONDS = 300.0


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join(done.stderr.decode().split())


@pytest.fixture
def ask(stack) -> Callable[..., list[tuple[object, ...]]]:
    """Rows of a statement on the stack's database."""
    engine = create_engine(stack.database_dsn, poolclass=NullPool)

    def ask(statement, **values):
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), values)]

    return ask


@pytest.fixture
def emulator(stack):
    base = f"http://127.0.0.1:{stack.emulator_port}/admin"
    with httpx.Client(base_url=base, timeout=10) as client:
        yield client


def hand_in(stack, key, endpoint, count):
    items = [
        {
            "endpoint": endpoint,
            "input": {"prompt": f"fox {n}"},
            "idempotency_key": f"{endpoint}-{n}-{time.monotonic_ns()}",
        }
        for n in range(count)
    ]
    answer = httpx.post(
        f"http://127.0.0.1:{stack.gateway_port}/api/v1/jobs/bulk",
        json={"jobs": items},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    answer.raise_for_status()
    return [item["id"] for item in answer.json()["items"]]


def wait_for(check, *, seconds=180.0):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def act(pressroom, *words):
    """What waits for processes, which a busy machine gives little time."""
    with pressroom.start(*words) as process:
        output, notes = process.communicate(timeout=STOP_SECONDS)
    return subprocess.CompletedProcess(words, process.returncode, output, notes)


def count_permits(pressroom):
    return sum(one["quota"]["used_at_once"] for one in pressroom.read("lanes", "list"))


def pids(pressroom):
    return {one["name"]: one["pid"] for one in pressroom.read("workers", "list")}


@pytest.mark.timeout(600)
def test_a_rolling_restart_replaces_every_worker_and_no_attempt_is_lost_or_doubled(
    stack, pressroom, gateway_key, ask, emulator
):
    before = pids(pressroom)
    billed_before = emulator.get("/ledger").json()["jobs"]
    ids = hand_in(stack, gateway_key, VIDEO, JOBS)
    wait_for(lambda: ask("SELECT 1 FROM jobs WHERE state IN ('in_queue', 'in_progress') LIMIT 1"))

    done = act(pressroom, "workers", "restart")

    assert done.returncode == 0, done.stderr
    after = pids(pressroom)
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())
    wait_for(lambda: not ask("SELECT 1 FROM jobs WHERE finished_at IS NULL LIMIT 1"))
    wanted = {"ids": ids}
    states = ask("SELECT DISTINCT state FROM jobs WHERE CAST(id AS text) = ANY(:ids)", **wanted)
    assert states == [("completed",)]
    # As the ledger has it, and as the upstream does, which bills each /run that it takes.
    [(attempts, doubted)] = ask(
        "SELECT count(*), count(*) FILTER (WHERE answer <> 'accepted') FROM attempts "
        "WHERE CAST(job_id AS text) = ANY(:ids) AND answer NOT IN ('unsent', 'busy')",
        **wanted,
    )
    assert (attempts, doubted) == (JOBS, 0)
    assert emulator.get("/ledger").json()["jobs"] - billed_before == JOBS


@pytest.mark.timeout(600)
def test_a_drained_worker_stays_away_and_leaves_no_permit_behind(stack, pressroom, gateway_key):
    names = sorted(pids(pressroom))
    refused = pressroom.call("workers", "drain", *names)
    hand_in(stack, gateway_key, FLUX, 20)

    drained = act(pressroom, "workers", "drain", *names, "--yes")
    # Where a starved machine has one killed after all, its permits run out.
    wait_for(lambda: not count_permits(pressroom), seconds=30)
    listed = {one["state"] for one in pressroom.read("workers", "list")}
    resumed = act(pressroom, "workers", "resume", *names)

    assert refused.returncode == 2, "nobody works then, and nobody was there to ask"
    assert drained.returncode == 0, drained.stderr
    assert listed == {"drained"}
    assert resumed.returncode == 0, resumed.stderr
    assert {one["state"] for one in pressroom.read("workers", "list")} == {"running"}


def test_a_lane_is_drained_shown_limited_and_let_go_on(stack, pressroom, gateway_key, ask):
    hand_in(stack, gateway_key, VIDEO, 5)
    wait_for(lambda: not ask("SELECT 1 FROM jobs WHERE state = 'queued' LIMIT 1"))

    drained = pressroom.call("lanes", "drain", VIDEO, "--reason", "the model is replaced")
    lane = pressroom.read("lanes", "show", VIDEO)
    undone = pressroom.call("lanes", "drain", VIDEO, "--undo")
    beyond = pressroom.call("lanes", "limit", VIDEO, "--per-10-seconds", "100000")
    limited = pressroom.read("lanes", "limit", VIDEO, "--concurrent", "3")
    shown = pressroom.call("lanes", "show", VIDEO)
    back = pressroom.read("lanes", "limit", VIDEO, "--reset")

    assert "nothing of it is in flight" in said(drained)
    assert (lane["state"], lane["places"]["in_flight"]) == ("paused", 0)
    assert lane["paused_reason"] == "the model is replaced"
    assert undone.returncode == 0
    assert beyond.returncode == 2
    assert "--beyond" in said(beyond)
    assert limited["quota"]["concurrent"] == 3
    assert "3 at once by an operator" in " ".join(shown.stdout.decode().split())
    assert back["limits"]["operator"] == {"per_10_seconds": None, "concurrent": None}


def test_what_fits_a_filter_is_counted_moved_and_cancelled(stack, pressroom, gateway_key):
    assert pressroom.call("lanes", "pause", "submit", FLUX, "--for", "10m").returncode == 0
    hand_in(stack, gateway_key, FLUX, 12)

    counted = pressroom.read("jobs", "cancel", "--endpoint", FLUX, "--dry-run")
    asked = pressroom.call("jobs", "cancel", "--endpoint", FLUX)
    nothing = pressroom.call("jobs", "cancel")
    moved = pressroom.read("jobs", "prioritize", "9", "--endpoint", FLUX, "--yes")
    again = pressroom.read("jobs", "prioritize", "9", "--endpoint", FLUX, "--yes")
    cancelled = pressroom.read("jobs", "cancel", "--endpoint", FLUX, "--yes")
    pressroom.call("lanes", "resume", "submit", FLUX)

    assert (counted["count"], counted["done"], len(counted["sample"])) == (12, 0, 5)
    assert asked.returncode == 2, "nobody was there to ask"
    assert "--all is everything" in said(nothing)
    assert (moved["done"], again["done"], cancelled["done"]) == (12, 0, 12)


def test_maintenance_is_told_of_wherever_one_looks(stack, pressroom, gateway_key):
    assert pressroom.call("maintenance", "on", "--reason", "new prices").returncode == 0
    time.sleep(READ_AGAIN_SECONDS + 1)  # within which every worker has heard of it
    [job] = hand_in(stack, gateway_key, FLUX, 1)

    shown = pressroom.read("maintenance", "status")
    why = pressroom.read("jobs", "show", job)["why"]
    doctor = pressroom.call("doctor", "--only", "lanes")
    status = pressroom.read("status")
    assert pressroom.call("maintenance", "off").returncode == 0

    assert (shown["on"], shown["reason"]) == (True, "new prices")
    assert "maintenance: new prices" in why
    assert doctor.returncode == 1
    assert "maintenance: new prices" in doctor.stdout.decode()
    assert status["maintenance"] == "maintenance: new prices"
    wait_for(lambda: pressroom.read("jobs", "show", job)["state"] == "completed")


def test_what_was_done_on_the_command_line_is_in_the_audit_log(pressroom):
    pressroom.call("settings", "set", "max_attempts", "5")
    pressroom.call("settings", "unset", "max_attempts")

    unset, set_ = pressroom.read("audit", "list", "--action", "setting", "--since", "1h")
    shown = pressroom.read("audit", "show", unset["id"][-12:])
    people = pressroom.call("audit", "list", "--limit", "1")

    assert (set_["before"], set_["after"]) == (None, {"value": 5})
    assert (shown["before"], shown["after"]) == ({"value": 5}, None)
    assert shown["actor"].startswith("cli:")
    assert shown["source"] == "pressroom settings unset"
    assert b"setting.unset" in people.stdout
    assert b"setting.set" not in people.stdout
