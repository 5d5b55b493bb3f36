"""Beat sends a sweep in each interval, never two, and goes by no wall clock."""

import time

import pytest
import redis
import time_machine

from workers.app import make_app
from workers.beat import SweepScheduler
from workers.pulse import Pulse, check_pulse

EVERY = 0.5


@pytest.fixture
def beat(settings):
    """Beat on the test's own thread."""
    settings = settings.model_copy(update={"sweep_seconds": EVERY})
    with make_app(settings) as app:
        SweepScheduler.pulse = Pulse(settings.data_dir, "beat")
        scheduler = SweepScheduler(app)
        yield scheduler
        scheduler.close()
        SweepScheduler.pulse.close()


@pytest.fixture
def sweeps(settings):
    """The sweeps that wait, as a list in Redis."""

    class Sweeps:
        def __init__(self):
            self._redis = redis.Redis.from_url(settings.redis_dsn)
            self._key = f"{settings.redis_prefix}sweep"

        def count(self):
            return self._redis.llen(self._key)

        def take(self):
            return self._redis.rpop(self._key)

        def close(self):
            self._redis.close()

    sweeps = Sweeps()
    yield sweeps
    sweeps.close()


def tick_for(beat, seconds):
    """As Celery's loop does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(beat.tick())


def test_a_sweep_is_sent_at_once_and_then_in_each_interval(beat, sweeps):
    for _ in range(3):
        wait = beat.tick()
        assert sweeps.take() is not None
        assert 0 < wait <= EVERY
        time.sleep(wait)


def test_between_two_it_sends_none(beat, sweeps):
    beat.tick()
    sweeps.take()

    wait = beat.tick()

    assert sweeps.count() == 0
    assert 0 < wait < EVERY


def test_however_long_no_worker_runs_one_waits(beat, sweeps):
    tick_for(beat, 5 * EVERY)

    assert sweeps.count() == 1


@pytest.mark.parametrize("step", [3600, -3600])
def test_a_step_of_the_clock_changes_nothing(beat, sweeps, step):
    beat.tick()
    sweeps.take()
    with time_machine.travel(time.time() + step, tick=True):
        assert beat.tick() <= EVERY
        assert sweeps.count() == 0

        tick_for(beat, EVERY + 0.1)

        assert sweeps.take() is not None


def test_a_sweep_does_not_expire(beat, sweeps):
    beat.tick()

    assert b'"expires": null' in sweeps.take()


def test_without_redis_it_goes_on_and_is_not_silent(beat, settings, sweeps, monkeypatch):
    def is_away(_entry):
        raise ConnectionError("nobody there")

    with monkeypatch.context() as fault:
        fault.setattr(beat, "_count_waiting", is_away)
        assert beat.tick() <= EVERY
        assert sweeps.count() == 0
        assert check_pulse(settings.data_dir, "beat") is None

    tick_for(beat, EVERY + 0.1)

    assert sweeps.count() == 1


def test_a_signal_amid_a_publish_ends_it_at_the_next_tick(beat, monkeypatch):
    def is_told_to_stop(_entry):
        beat.close()
        raise ValueError("I/O operation on closed file.")  # what becomes of SystemExit there

    monkeypatch.setattr(beat, "_count_waiting", is_told_to_stop)
    beat.tick()

    with pytest.raises(SystemExit):
        beat.tick()
