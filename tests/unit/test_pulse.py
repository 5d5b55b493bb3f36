"""A pulse says who lives, whatever becomes of clocks and disks."""

import errno
import os
import subprocess
import sys
import time

import pytest

from workers.pulse import OLD_SECONDS, Pulse, check_pulse, pulse_path, read_pulse


def check(tmp_path, name="worker"):
    """What a container's health check runs."""
    return subprocess.run(
        [sys.executable, "-m", "workers.pulse", name],
        env={"PRESSROOM_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_process_that_beats_is_well(tmp_path):
    Pulse(tmp_path, "worker").beat()

    assert check_pulse(tmp_path, "worker") is None
    assert check(tmp_path).returncode == 0


def test_one_that_has_not_begun_is_not(tmp_path):
    checked = check(tmp_path)

    assert (checked.returncode, checked.stderr) == (1, "worker has no pulse yet\n")


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (OLD_SECONDS - 1, None),
        (OLD_SECONDS + 1, "the last pulse of worker was 31 s ago"),
        (-1000, "worker has no pulse yet"),  # of before the machine was restarted
    ],
)
def test_an_old_pulse_is_none(tmp_path, monkeypatch, age, said):
    Pulse(tmp_path, "worker").beat()
    now = time.monotonic() + age
    monkeypatch.setattr("workers.pulse.time.monotonic", lambda: now)

    assert check_pulse(tmp_path, "worker") == said


def test_the_wall_clock_has_no_say(tmp_path, monkeypatch):
    Pulse(tmp_path, "worker").beat()
    monkeypatch.setattr("workers.pulse.time.time", lambda: 0.0)
    os.utime(pulse_path(tmp_path, "worker"), (0, 0))

    assert check_pulse(tmp_path, "worker") is None


def test_each_beat_is_written_over_the_last_so_a_full_disk_stops_none(tmp_path, monkeypatch):
    mine = Pulse(tmp_path, "worker")
    mine.beat()
    first = read_pulse(tmp_path, "worker")
    held = pulse_path(tmp_path, "worker").stat()

    def is_full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("workers.pulse.os.open", is_full)
    mine.beat()

    after = pulse_path(tmp_path, "worker").stat()
    last = read_pulse(tmp_path, "worker")
    assert first is not None
    assert last is not None
    assert last.at > first.at
    assert (after.st_ino, after.st_size) == (held.st_ino, held.st_size)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x", "at": 1}'])
def test_what_is_no_pulse_is_read_as_none(tmp_path, text):
    path = pulse_path(tmp_path, "worker")
    path.parent.mkdir()
    path.write_text(text)

    assert read_pulse(tmp_path, "worker") is None


def test_containers_that_share_a_folder_and_a_name_have_each_their_own(tmp_path, monkeypatch):
    Pulse(tmp_path, "worker").beat()
    monkeypatch.setattr("workers.pulse.socket.gethostname", lambda: "another")

    assert check_pulse(tmp_path, "worker") == "worker has no pulse yet"


def test_one_that_ends_takes_its_pulse_away(tmp_path):
    mine = Pulse(tmp_path, "worker")
    mine.beat()
    mine.close()

    assert not pulse_path(tmp_path, "worker").exists()


def test_but_not_its_successor_s(tmp_path, monkeypatch):
    mine = Pulse(tmp_path, "worker")
    mine.beat()
    with monkeypatch.context() as other:
        other.setattr("workers.pulse.os.getpid", lambda: 1)
        Pulse(tmp_path, "worker").beat()
    mine.close()

    left = read_pulse(tmp_path, "worker")
    assert left is not None
    assert left.pid == 1


def test_a_check_imports_nothing_of_the_program():
    code = """
import sys
import workers.pulse
slow = {"celery", "pydantic", "structlog", "sqlalchemy", "httpx"}
print([name for name in sys.modules if name.partition(".")[0] in slow])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout == "[]\n"
