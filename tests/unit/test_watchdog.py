"""Whom the watchdog ends: looked at one by one, without a stack."""

import pytest

from workers.stack.supervisor import ProcessState
from workers.stack.watchdog import (
    LOOK_SECONDS,
    SILENT_SECONDS,
    START_SECONDS,
    Watchdog,
    is_watched,
)

LOOKS = round(SILENT_SECONDS / LOOK_SECONDS)


def state(name="worker-1", *, pid=1, state="RUNNING"):
    return ProcessState(name, state, pid, 0, "")


class Signs:
    """What each process shows."""

    def __init__(self):
        self.of: dict[int, int] = {}
        self.dogs_view = Watchdog(lambda state: self.of.get(state.pid or 0))

    def look(self, *states, times=1, seconds=LOOK_SECONDS, living=()):
        found = []
        for _ in range(times):
            for pid in living:
                self.of[pid] = self.of.get(pid, 0) + 1
            found += self.dogs_view.look(states, seconds=seconds)
        return [state.name for state in found]


def test_a_process_that_goes_on_living_is_left_alone():
    assert Signs().look(state(), times=1000, living=[1]) == []


def test_one_that_falls_silent_is_ended_after_thirty_seconds():
    signs = Signs()
    signs.look(state(), living=[1])

    assert signs.look(state(), times=LOOKS - 1) == []
    assert signs.look(state()) == ["worker-1"]


def test_a_neighbour_does_not_answer_for_it():
    signs = Signs()
    both = (state(), state("worker-2", pid=2))
    signs.look(*both, living=[1, 2])

    assert set(signs.look(*both, times=LOOKS + 1, living=[2])) == {"worker-1"}


def test_one_that_starts_is_given_longer():
    signs = Signs()
    looks = round((SILENT_SECONDS + START_SECONDS) / LOOK_SECONDS)

    assert signs.look(state(), times=looks - 1) == []
    assert signs.look(state()) == ["worker-1"]


def test_its_successor_begins_anew():
    signs = Signs()
    signs.look(state(), living=[1])
    signs.look(state(), times=LOOKS)

    assert signs.look(state(pid=7), times=LOOKS) == []


@pytest.mark.parametrize("how", ["STOPPING", "STOPPED", "STARTING", "BACKOFF"])
def test_one_that_does_not_run_is_not_judged(how):
    signs = Signs()
    signs.look(state(), living=[1])

    assert signs.look(state(state=how), times=1000) == []


def test_if_the_watchdog_itself_was_stopped_the_others_are_not_to_blame():
    signs = Signs()
    signs.look(state(), living=[1])

    assert signs.look(state(), seconds=3600) == []
    assert signs.look(state(), times=1000, living=[1]) == []


@pytest.mark.parametrize(
    ("name", "watched"),
    [
        ("worker-1", True),
        ("worker-12", True),
        ("gateway", True),
        ("beat", True),
        ("postgres", False),
        ("valkey", False),
        ("flower", False),
        ("watchdog", False),
    ],
)
def test_who_leaves_signs_is_watched(name, watched):
    assert is_watched(state(name)) is watched
