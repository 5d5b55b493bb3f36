"""Requests that a worker took and never acknowledged: they are found again in seconds."""

from typing import Any

import pytest
import redis

from workers import taken
from workers.taken import give_back_abandoned


@pytest.fixture
def take(runtime):
    """Takes the next message of a queue, as a worker does; returns it."""
    connection = runtime.app.connection_for_read()
    channel: Any = connection.default_channel

    def take_one(queue):
        message = channel.basic_get(queue)
        assert message is not None
        return message

    yield take_one
    channel.qos._delivered.clear()  # noqa: SLF001 -- it is dead: it gives nothing back
    connection.close()


@pytest.fixture
def count(settings):
    """Messages in a queue."""
    connection = redis.Redis.from_url(settings.redis_dsn)
    yield lambda queue: connection.llen(f"{settings.redis_prefix}{queue}")
    connection.close()


async def test_what_a_dead_worker_held_of_requests_alone_is_given_back_once(
    runtime, take, count, monkeypatch
):
    for name in ("pressroom.generate", "shop.slow"):
        runtime.app.send_task(name, queue="here", ignore_result=True)
    take("here"), take("here")

    assert await give_back_abandoned(runtime) == 0  # it may yet be at it
    monkeypatch.setattr(taken, "ABANDONED_SECONDS", -1.0)
    assert await give_back_abandoned(runtime) == 1

    assert count("here") == 1
    assert take("here").headers["task"] == "pressroom.generate"


async def test_what_was_acknowledged_is_not_given_back(runtime, take, count, monkeypatch):
    runtime.app.send_task("pressroom.generate", queue="here", ignore_result=True)
    take("here").ack()
    monkeypatch.setattr(taken, "ABANDONED_SECONDS", -1.0)

    assert await give_back_abandoned(runtime) == 0
    assert count("here") == 0
