"""Celery's times are read as Redis's, whatever this host's clock shows."""

import datetime as dt
import time

import pytest
import time_machine

from workers import clock

NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setattr(clock, "_offset", None)


@pytest.mark.parametrize("off", [0, 3600, -3600], ids=["right", "ahead", "behind"])
def test_an_hour_off_is_an_hour_added_to_what_is_read(off):
    with time_machine.travel(NOON + dt.timedelta(seconds=off), tick=True):
        clock.learn(NOON.timestamp())

        shown = dt.datetime.fromisoformat(clock.to_own_clock("2026-11-24T12:00:30+00:00"))

        wait = shown.timestamp() - time.time()
        assert wait == pytest.approx(30, abs=1)


def test_a_step_after_redis_was_asked_changes_nothing():
    with time_machine.travel(NOON, tick=True) as traveller:
        clock.learn(NOON.timestamp())
        traveller.shift(-3600)

        assert clock.now() == pytest.approx(NOON.timestamp(), abs=1)
        shown = dt.datetime.fromisoformat(clock.to_own_clock("2026-11-24T12:00:30+00:00"))
        assert shown.timestamp() - time.time() == pytest.approx(30, abs=1)


def test_before_redis_was_asked_the_own_clock_counts():
    with time_machine.travel(NOON, tick=False):
        assert clock.now() == NOON.timestamp()
        assert clock.to_own_clock("2026-11-24T13:00:00+00:00") == "2026-11-24T13:00:00+00:00"


def test_a_time_without_a_zone_is_of_utc():
    with time_machine.travel(NOON, tick=False):
        assert clock.to_own_clock("2026-11-24T13:00:00") == "2026-11-24T13:00:00+00:00"
