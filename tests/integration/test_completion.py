"""A chord whose completion its worker did not live to see."""

import asyncio
import json

import pytest
import redis

from models.base import new_id
from tasks.completion import complete_task

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Celery does
RESULT = {"id": "job", "state": "completed", "reason": None, "error": None, "endpoint": "e"}


@pytest.fixture
def part(runtime):
    """The kept request of the one generation in a chord's header; the body is somebody's task."""
    group = str(new_id())
    body = runtime.app.signature("shop.ids", task_id=str(new_id()))
    runtime.app.backend.set_chord_size(group, 1)
    return {
        "id": str(new_id()),
        "callbacks": None,
        "errbacks": None,
        "chain": None,
        "chord": dict(body),
        "group": group,
        "group_index": 0,
        "root_id": None,
        "parent_id": None,
        "ignore_result": False,
    }


@pytest.fixture
def read_bodies(settings):
    """The tasks that wait in the queue of those that are none of ours."""
    connection = redis.Redis.from_url(settings.redis_dsn)
    yield lambda: [
        json.loads(message)["headers"]["task"]
        for message in connection.lrange(f"{settings.redis_prefix}celery", 0, -1)
    ]
    connection.close()


async def test_a_chord_that_a_dead_worker_had_claimed_is_completed_by_the_next(
    runtime, part, read_bodies
):
    """It had counted the last part, and claimed the chord for some seconds, and was killed."""
    backend = runtime.app.backend
    claim = backend.get_key_for_group(part["group"], ".c")
    backend.client.set(claim, "a dead worker's", ex=2)

    await asyncio.to_thread(complete_task, runtime.app, part, RESULT)
    assert read_bodies() == []

    await asyncio.to_thread(complete_task, runtime.app, part, RESULT, again=True)
    assert read_bodies() == ["shop.ids"]


async def test_a_chord_that_was_completed_is_not_completed_again(runtime, part, read_bodies):
    for again in (False, True):
        await asyncio.to_thread(complete_task, runtime.app, part, RESULT, again=again)

    assert read_bodies() == ["shop.ids"]
