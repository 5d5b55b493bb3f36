"""The command line as people and scripts use it: the real program, on a real stack."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

FLUX = "black-forest-labs-flux-1-schnell"
HELD = "black-forest-labs-flux-1-dev"  # of the tests that pause its lane
PROGRAM = Path(sys.executable).with_name("pressroom")
SECONDS = 60.0  # a command that takes longer hangs
CANARY = "rpa_CANARY0123456789"


@pytest.fixture(scope="module")
def picture(pressroom):
    """A job that was waited for, as JSON."""
    return pressroom.read(
        "generate", FLUX, "-p", "a fox [/b] in [red]", "--set", "width=512", "--wait"
    )


@pytest.fixture
def held_lane(pressroom) -> Iterator[str]:
    """The endpoint whose submit lane is paused as long as the test runs, unless it resumes it."""
    assert pressroom.call("lanes", "pause", "submit", HELD).returncode == 0
    yield HELD
    pressroom.call("lanes", "resume", "submit", HELD)


def count_jobs(stack) -> int:
    engine = create_engine(stack.database_dsn, poolclass=NullPool)
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM jobs")).scalar_one())


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Notes and errors, each run of white space a blank: lines fold where a terminal would."""
    return " ".join(done.stderr.decode().split())


def test_every_process_runs_and_every_part_is_well(stack, pressroom):
    status = pressroom.read("status")
    findings = pressroom.read("doctor")

    assert status["up"]
    assert status["emulated"]
    assert status["gateway"] == f"http://127.0.0.1:{stack.gateway_port}"
    assert {"postgres", "valkey", "worker-1", "beat", "flower", "gateway", "emulator"} <= {
        process["name"] for process in status["processes"]
    }
    assert [finding for finding in findings if finding["problem"]] == []
    assert len(findings) == 10
    assert status["custody"]["to_copy"] == status["custody"]["set_aside"] == 0


def test_a_generation_that_is_waited_for_has_its_file_and_its_cost(picture):
    [file] = picture["artifacts"]

    assert picture["status"] == "COMPLETED"
    assert picture["input"] == {"prompt": "a fox [/b] in [red]", "width": 512}
    assert picture["cost_usd"] == pytest.approx(picture["estimate_usd"], rel=1e-3)
    assert (file["state"], file["width"], file["height"]) == ("stored", 512, 1024)


def test_a_stored_file_comes_out_as_it_was_stored(pressroom, picture, tmp_path):
    [file] = picture["artifacts"]
    target = tmp_path / "out" / "fox.jpg"

    written = pressroom.call("artifacts", "get", file["id"][-12:], "-o", str(target))
    piped = pressroom.call("artifacts", "get", file["id"], "-o", "-")
    again = pressroom.call("artifacts", "get", file["id"], "-o", str(target))

    assert (written.returncode, piped.returncode) == (0, 0)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == file["sha256"]
    assert hashlib.sha256(piped.stdout).hexdigest() == file["sha256"]
    assert again.returncode == 1
    assert "exists; --force overwrites it" in said(again)


def test_a_damaged_file_is_found_and_not_given_out(stack, pressroom, picture, tmp_path):
    [file] = picture["artifacts"]
    stored = stack.data_dir / "store" / file["store_key"]
    content = stored.read_bytes()
    sound = pressroom.read("artifacts", "verify")
    target = tmp_path / "fox.jpg"

    stored.write_bytes(content[:-1] + b"?")
    try:
        damaged = pressroom.call("artifacts", "verify", "--json")
        refused = pressroom.call("artifacts", "get", file["id"], "-o", str(target))
    finally:
        stored.write_bytes(content)

    assert sound["damaged"] == 0
    assert damaged.returncode == 1
    assert json.loads(damaged.stdout)["damaged"] == 1
    assert refused.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_what_a_prompt_holds_is_shown_as_it_is(pressroom, picture):
    listed = pressroom.call("jobs", "list")
    shown = pressroom.call("jobs", "show", picture["id"])

    assert (listed.returncode, shown.returncode) == (0, 0)
    assert "a fox [/b] in [red]" in listed.stdout.decode()
    assert "a fox [/b] in [red]" in shown.stdout.decode()


def test_a_bad_input_is_one_clear_line_and_enqueues_nothing(stack, pressroom):
    before = count_jobs(stack)

    done = pressroom.call(
        "generate", FLUX, "-p", "an owl", "--set", "widht=512", "--wait", "--json"
    )

    assert (done.returncode, done.stdout) == (2, b"")
    assert said(done) == f"error: {FLUX}: widht: unknown field, did you mean 'width'?"
    assert count_jobs(stack) == before


def test_a_dry_run_says_the_price_and_enqueues_nothing(stack, pressroom):
    before = count_jobs(stack)

    priced = pressroom.read("generate", FLUX, "-p", "an owl", "--dry-run")

    assert (priced["valid"], priced["basis"]) == (True, "exact")
    assert priced["estimate_usd"] == pytest.approx(0.0024 * 1024 * 1024 / 1e6)
    assert count_jobs(stack) == before


def test_a_file_of_prompts_is_run_to_its_end(pressroom, tmp_path):
    path = tmp_path / "owls.tsv"
    path.write_text("prompt\tinput.seed\n" + "".join(f"owl {n}\t{n}\n" for n in range(12)))

    summary = pressroom.read(
        "campaign", "run", str(path), "-e", FLUX, "--set", "width=256", "--yes"
    )
    campaign_id = summary["campaign_id"]
    jobs = pressroom.read("jobs", "list", "--campaign", campaign_id[-12:])
    campaigns = pressroom.read("campaign", "list")

    assert (summary["jobs"], summary["completed"], summary["failed"]) == (12, 12, 0)
    assert (summary["artifacts"], summary["artifacts_pending"]) == (12, 0)
    assert summary["cost_usd"] == pytest.approx(summary["estimate_usd"], rel=1e-3)
    assert sorted(job["input"]["seed"] for job in jobs) == list(range(12))
    assert campaign_id in {campaign["campaign_id"] for campaign in campaigns}


def test_a_bad_line_is_named_and_keeps_the_whole_file_back(stack, pressroom, tmp_path):
    path = tmp_path / "owls.tsv"
    path.write_text("prompt\tinput.width\nan owl\t512\na jay [/b]\t1000\nan elk\t512\n")
    before = count_jobs(stack)

    done = pressroom.call("campaign", "run", str(path), "-e", FLUX, "--yes", "--json")

    assert (done.returncode, done.stdout) == (2, b"")
    assert f"{path}:3: width: 1000 is not a multiple of 64" in said(done)
    assert "nothing was enqueued" in said(done)
    assert count_jobs(stack) == before


def test_a_paused_lane_holds_a_job_which_says_so_and_can_be_cancelled(pressroom, held_lane):
    sent = pressroom.read("generate", held_lane, "-p", "an owl")
    held = pressroom.read("jobs", "show", sent["id"])
    lanes = pressroom.read("lanes", "list")
    cancelled = pressroom.read("jobs", "cancel", sent["id"], "--yes")
    again = pressroom.call("jobs", "cancel", sent["id"], "--yes")
    ended = pressroom.read("jobs", "show", sent["id"])

    assert (held["state"], held["attempts"]) == ("queued", [])
    assert held["why"] == f"the submit lane of {held_lane} is paused"
    assert ("submit", held_lane, "paused") in [
        (lane["stage"], lane["endpoint"], lane["state"]) for lane in lanes
    ]
    assert cancelled == {sent["id"]: "cancelled"}
    assert again.returncode == 1
    assert (ended["state"], ended["cost_usd"]) == ("cancelled", None)


def test_ctrl_c_leaves_a_campaign_running_and_says_how_to_find_it_again(
    pressroom, held_lane, tmp_path
):
    path = tmp_path / "owls.txt"
    path.write_text("an owl\na fox\na jay\n")
    words = ("-e", held_lane, "--set", "width=256", "--set", "height=256", "--yes", "--json")

    with pressroom.start("campaign", "run", str(path), *words) as follower:
        assert follower.stderr is not None
        hanging = threading.Timer(SECONDS, follower.kill)
        hanging.start()
        following = next(line for line in follower.stderr if line.startswith(b"0/3 "))
        follower.send_signal(signal.SIGINT)
        output, notes = follower.communicate()
        hanging.cancel()

    told = re.search(
        r"detached.*pressroom campaign watch ([0-9a-f-]{36})", " ".join(notes.decode().split())
    )
    assert b"queued 3" in following
    assert (follower.returncode, output) == (130, b""), notes.decode()
    assert told

    pressroom.call("lanes", "resume", "submit", held_lane)
    summary = pressroom.read("campaign", "watch", told[1])

    assert (summary["completed"], summary["failed"], summary["artifacts"]) == (3, 0, 3)


def test_an_operators_setting_is_kept_until_it_is_unset(pressroom):
    def read():
        operators = pressroom.read("settings")["operators"]
        return next(one for one in operators if one["name"] == "max_attempts")

    done = pressroom.call("settings", "set", "max_attempts", "5")
    changed = read()
    pressroom.call("settings", "unset", "max_attempts")
    unset = read()

    assert done.returncode == 0
    assert (changed["value"], changed["set"]) == (5, True)
    assert (unset["value"], unset["set"]) == (10, False)


def test_two_migrations_at_once_both_end_well(pressroom):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: pressroom.call("run", "migrate"), range(2))

    assert (first.returncode, second.returncode) == (0, 0)
    assert said(first) == said(second)


def test_a_refused_key_is_said_to_be_that_and_is_written_nowhere(stack, pressroom):
    upstream = {
        "PRESSROOM_UPSTREAM_URL": f"http://127.0.0.1:{stack.emulator_port}/v2",
        "PRESSROOM_UPSTREAM_KEY": CANARY,
        "PRESSROOM_LOG_LEVEL": "debug",
    }

    looked = pressroom.call("doctor", "--json", **upstream)
    shown = pressroom.call("settings", **upstream)

    problems = {one["part"]: one["problem"] for one in json.loads(looked.stdout)}
    assert looked.returncode == 1
    assert "401" in problems["upstream"]
    for output in (looked.stdout, looked.stderr, shown.stdout, shown.stderr):
        assert CANARY.encode() not in output
    logs = [path for path in (stack.data_dir / "logs").iterdir() if path.is_file()]
    assert logs
    assert [path for path in logs if CANARY.encode() in path.read_bytes()] == []
