"""A worker tells its events a few times a second, however many there are."""

import pytest

from workers import consumer
from workers.consumer import EVENT_SECONDS, PromptConsumer


class Hub:
    """Remembers what it is to do, and when."""

    def __init__(self):
        self.later = []

    def call_soon(self, callback):
        callback()

    def call_later(self, seconds, callback):
        self.later.append((seconds, callback))


class Dispatcher:
    def __init__(self):
        self.flushes = 0

    def flush(self):
        self.flushes += 1


class Clock:
    now = 1_000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(consumer, "time", clock)
    return clock


@pytest.fixture
def told():
    """A consumer whose app and blueprint are not needed for this."""
    told = PromptConsumer.__new__(PromptConsumer)
    told.hub, told.event_dispatcher = Hub(), Dispatcher()
    return told


def test_events_that_come_together_are_told_together(told):
    for _ in range(100):
        told.on_send_event_buffered()

    ((seconds, flush),) = told.hub.later
    assert seconds == EVENT_SECONDS
    flush()
    assert told.event_dispatcher.flushes == 1


def test_one_that_comes_after_is_told_too_even_if_what_was_due_got_lost_with_a_connection(
    told, clock
):
    told.on_send_event_buffered()
    told.hub.later.clear()  # as a lost connection does
    clock.now += EVENT_SECONDS

    told.on_send_event_buffered()

    assert len(told.hub.later) == 1
