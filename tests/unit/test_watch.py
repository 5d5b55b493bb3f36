"""When a worker calls itself deaf, and when it does not: looked at one by one, without Celery."""

import contextlib
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisAway

from workers import watch
from workers.pulse import Pulse, read_pulse
from workers.watch import DEAF_SECONDS, FULL_SECONDS, LOOK_SECONDS, START_SECONDS, Watch

THREADS = 4
LOOKS = round((DEAF_SECONDS + START_SECONDS) / LOOK_SECONDS)


class Mailbox:
    """Redis as a test wants it."""

    def __init__(self):
        self.away = self.refuses = False
        self.waiting = 0
        self.said = None
        self.sent = 0

    def look(self, said):
        if self.away:
            raise RedisAway("nobody there")
        self.said = said
        return self.waiting

    def send(self):
        if self.refuses:
            raise RedisAway("out of memory")
        self.sent += 1
        self.waiting += 1

    def close(self):
        pass


class Loop:
    """An event loop that answers at once, or not at all."""

    def __init__(self):
        self.stuck = False

    def start(self, coroutine):
        if self.stuck:
            coroutine.close()
        else:
            with contextlib.suppress(StopIteration):
                coroutine.send(None)


class World:
    """A worker, its Redis, and a clock that a test moves."""

    def __init__(self, monkeypatch, tmp_path):
        self.now = 1000.0
        self.busy: set[int] = set()
        self.mailbox = Mailbox()
        self.loop = Loop()
        self.died: list[int] = []
        self.stopping = threading.Event()
        monkeypatch.setattr("workers.watch.time.monotonic", lambda: self.now)
        monkeypatch.setattr("workers.watch.state.reserved_requests", self.busy)
        self.tmp_path = tmp_path
        process: Any = SimpleNamespace(
            loop=self.loop,
            runtime=SimpleNamespace(
                lane_runs={},
                settings=SimpleNamespace(worker_threads=THREADS),
                stopping=self.stopping,
            ),
        )
        self.watch = Watch(
            process, Pulse(tmp_path, "w"), cast("Any", self.mailbox), die=self.died.append
        )

    def look(self, times=1, *, every=LOOK_SECONDS, hear=False, end=False):
        """The first problem found in so many looks."""
        for _ in range(times):
            self.now += every
            if hear and self.mailbox.waiting:
                self.mailbox.waiting -= 1
                self.watch.hear()
            if end:
                self.watch._note_end()  # noqa: SLF001 -- Celery's signal
            if problem := self.watch.look():
                return problem
        return None

    def fill(self):
        self.busy.update(range(THREADS))


@pytest.fixture
def world(monkeypatch, tmp_path):
    return World(monkeypatch, tmp_path)


def test_a_worker_that_takes_its_messages_is_well_for_ever(world):
    assert world.look(1000, hear=True) is None
    assert world.mailbox.sent == 1000  # one at a time


def test_one_that_takes_none_is_deaf_after_thirty_seconds(world):
    world.look(20, hear=True)

    assert world.look(round(DEAF_SECONDS / LOOK_SECONDS) - 1) is None
    assert "has taken no message for 30 s, 1 waited" in world.look()
    assert world.mailbox.waiting == 1  # however often it looked


def test_one_that_starts_is_given_longer(world):
    assert world.look(LOOKS - 1) is None
    assert world.look(2) is not None


def test_messages_that_are_lost_with_redis_s_data_are_sent_again(world):
    world.look(5, hear=True)
    world.mailbox.waiting = 0

    assert world.look(1000, hear=True) is None


@pytest.mark.parametrize("fault", ["away", "refuses"])
def test_while_redis_is_away_nobody_is_deaf_nor_soon_after(world, fault):
    world.look(5, hear=True)
    world.mailbox.waiting = 0
    setattr(world.mailbox, fault, True)

    assert world.look(1000) is None
    setattr(world.mailbox, fault, False)
    assert world.look(round(DEAF_SECONDS / LOOK_SECONDS) - 1) is None
    assert world.look(2) is not None


def test_a_full_pool_is_told_and_is_not_deafness(world):
    world.look(5, hear=True)
    world.fill()

    assert world.look(round(FULL_SECONDS / LOOK_SECONDS) - 1) is None
    assert world.mailbox.said == "has every thread busy"
    assert f"no stage has ended for {FULL_SECONDS:.0f} s" in world.look(2)


def test_a_full_pool_whose_stages_end_is_well(world):
    world.fill()

    assert world.look(1000, end=True) is None


def test_a_loop_that_does_not_answer_is_found_though_redis_is_away(world):
    world.look(5, hear=True)
    world.loop.stuck = True
    world.mailbox.away = True

    assert "event loop has not answered" in world.look(LOOKS)


def test_a_process_that_was_stopped_for_an_hour_has_not_listened_in_vain(world):
    world.look(5, hear=True)
    world.look()

    assert world.look(every=3600) is None
    assert world.look(hear=True) is None


def test_a_worker_that_is_told_to_stop_is_not_deaf_and_lives(world):
    world.look(5, hear=True)
    world.stopping.set()

    assert world.look(1000) is None
    last = read_pulse(world.tmp_path, "w")
    assert last is not None
    assert last.at == world.now


def test_a_deaf_worker_hands_back_what_it_holds_and_ends(world, monkeypatch):
    monkeypatch.setattr(world.watch, "look", lambda: "it is deaf")

    world.watch.run()

    assert world.died == [watch.DEAF_EXIT]
    assert world.stopping.is_set()
