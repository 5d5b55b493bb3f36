"""Schedules as people run them: the real program, on a real stack whose beat ticks."""

import datetime as dt
import time

import pytest

FLUX = "black-forest-labs-flux-1-schnell"
NIGHTLY = f"""\
name: NAME
endpoint: {FLUX}
prompts: {{file: subjects.csv}}
prompt: "a {{what}}"
input: {{width: 256, height: 256}}
schedule: {{cron: "0 2 * * *", zone: Europe/Berlin, overlap: skip, catch_up: 1h}}
"""


@pytest.fixture
def write(tmp_path):
    """Writes a specification with its file; returns its path."""

    def write(name, *, spec=NIGHTLY):
        (tmp_path / "subjects.csv").write_text("what\nfox\nowl\n")
        path = tmp_path / "nightly.yaml"
        path.write_text(spec.replace("NAME", name))
        return str(path)

    return write


def wait_for_runs(pressroom, name, count):
    """Until so many runs of it are over; their campaigns, the oldest first."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        runs = pressroom.read("schedules", "show", name)["runs"]
        if sum(one["over"] for one in runs) >= count:
            return [one["campaign_id"] for one in reversed(runs) if one["over"]]
        time.sleep(0.5)
    raise AssertionError(runs)


def test_a_schedule_runs_its_campaign_at_each_minute_and_stops_when_it_is_paused(pressroom, write):
    added = pressroom.read(
        "schedules", "add", write("each-minute", spec=NIGHTLY.replace("0 2 *", "* * *")), "--yes"
    )

    [first] = wait_for_runs(pressroom, "each-minute", 1)[:1]
    paused = pressroom.call("schedules", "pause", "each-minute")

    assert (added["jobs"], added["paused"]) == (2, False)
    summary = pressroom.read("campaign", "show", first)
    due = dt.datetime.fromisoformat(added["next_at"])
    assert summary["name"] == f"each-minute {due.isoformat(timespec='minutes')}"
    assert (summary["completed"], summary["jobs"]) == (2, 2)
    assert b"it is paused" in paused.stderr
    assert pressroom.read("schedules", "show", "each-minute")["next_at"] is None
    removed = pressroom.call("schedules", "remove", "each-minute", "--yes")
    assert removed.returncode == 0
    assert pressroom.read("campaign", "show", first)["completed"] == 2


def test_it_is_added_edited_run_by_hand_and_backfilled(pressroom, write):
    path = write("nightly")
    dry = pressroom.call("schedules", "add", path, "--dry-run")
    assert (dry.returncode, b"2 jobs" in dry.stderr) == (0, True)
    assert "nightly" not in {one["name"] for one in pressroom.read("schedules", "list")}

    pressroom.read("schedules", "add", path, "--yes")
    fires = pressroom.read("schedules", "next", "nightly")
    edited = pressroom.read(
        "schedules", "edit", "nightly", "--cron", "30 3 * * *", "--zone", "UTC", "--jitter", "5m"
    )
    by_hand = pressroom.read("schedules", "run", "nightly", "--yes")
    today = dt.datetime.now(dt.UTC).date()
    spell = [
        "--from", str(today - dt.timedelta(days=3)), "--to", str(today - dt.timedelta(days=2)),
    ]  # fmt: skip
    counted = pressroom.read("schedules", "backfill", "nightly", *spell, "--dry-run")
    begun = pressroom.read("schedules", "backfill", "nightly", *spell, "--yes")

    assert len(fires) == 10
    assert {fire["due_at"][11:16] for fire in fires} <= {"02:00", "03:00"}
    assert (edited["zone"], edited["jitter_seconds"], edited["overlap"]) == ("UTC", 300, "skip")
    assert by_hand["outcome"] == "started"
    assert (len(counted["fires"]), counted["jobs"], counted["waiting"]) == (2, 4, 0)
    assert begun["waiting"] == 2
    campaigns = wait_for_runs(pressroom, "nightly", 3)
    names = [pressroom.read("campaign", "show", one)["name"] for one in campaigns[:2]]
    assert names == [f"nightly {fire.replace(':00+', '+')}" for fire in counted["fires"]]
    listed = {one["name"] for one in pressroom.read("schedules", "list")}
    assert "nightly" in listed


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (NIGHTLY.replace("0 2 * * *", "0 0 30 2 *"), "nightly.yaml:6: schedule.cron: '0 0 30 2 *'"),
        (NIGHTLY.replace("Berlin", "Berln"), "no time zone; did you mean 'Europe/Berlin'?"),
        (NIGHTLY.replace("overlap: skip", "overlap: wait"), "'skip', 'buffer_one', 'allow'"),
        (NIGHTLY[: NIGHTLY.index("schedule")], "no schedule; schedule: {cron:"),
        (NIGHTLY.replace(FLUX, "gone away?"), "an endpoint's id is letters"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_kept(pressroom, write, spec, said):
    refused = pressroom.call("schedules", "add", write("wrong", spec=spec), "--yes")

    assert refused.returncode == 2
    assert said in " ".join(refused.stderr.decode().split())
    assert "wrong" not in {one["name"] for one in pressroom.read("schedules", "list")}


def test_a_second_of_one_name_and_one_that_is_not_there_are_refused(pressroom, write):
    pressroom.read("schedules", "add", write("twice"), "--yes", "--paused")

    again = pressroom.call("schedules", "add", write("twice"), "--yes")
    strange = pressroom.call("schedules", "next", "no-such-one")

    assert (again.returncode, b"'twice' is there already" in again.stderr) == (1, True)
    assert (strange.returncode, b"no schedule has the id 'no-such-one'" in strange.stderr) == (
        1,
        True,
    )
