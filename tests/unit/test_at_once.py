"""Requests are taken in at once; a task's own retry is held."""

from types import SimpleNamespace

import pytest

from workers import at_once

LATER = "2026-11-28T12:00:00+00:00"


@pytest.fixture
def receive(monkeypatch):
    """The headers with which Celery goes on, of a message with these."""
    monkeypatch.setattr(at_once, "read_clocked", lambda *_: lambda message: message.headers)
    handle = at_once.take_at_once(SimpleNamespace(), SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]
    return lambda **headers: handle(SimpleNamespace(headers=headers))


def test_when_a_request_is_due_is_no_reason_to_hold_its_message(receive):
    headers = receive(eta=LATER, retries=0, expires=LATER)

    assert headers["due_at"] == LATER
    assert "eta" not in headers
    assert headers["expires"] == LATER


def test_a_retry_is_held_and_remembers_when_the_request_is_due(receive):
    headers = receive(eta=LATER, retries=1, due_at="2026-11-29T12:00:00+00:00")

    assert (headers["eta"], headers["due_at"]) == (LATER, "2026-11-29T12:00:00+00:00")


def test_arguments_are_shown_nowhere_whatever_their_sender_says(receive):
    headers = receive(argsrepr="('a secret fox',)", kwargsrepr="{}")

    assert "fox" not in str(headers)
