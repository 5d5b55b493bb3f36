"""The repair of kombu is there for one version, and is judged anew when that changes."""

from importlib.metadata import version

from kombu.transport import redis

from workers import clock
from workers.kombu_fix import REPAIRED_VERSION, repair


def test_kombu_is_still_the_version_that_the_repair_was_made_for():
    """If this fails: hold a countdown, restart Redis; if the worker lives, delete the repair."""
    assert version("kombu") == REPAIRED_VERSION


def test_the_repair_is_in_place_once_an_app_was_made():
    repair()

    assert redis.Channel.close.__module__ == "workers.kombu_fix"


def test_notes_of_messages_bear_redis_s_time():
    repair()

    assert vars(redis)["time"] is clock.now
    assert redis.QoS.append.__module__ == "workers.kombu_fix"
