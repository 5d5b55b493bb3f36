"""A channel of kombu's keeps its client of Redis."""

import pytest

from workers.app import make_app


@pytest.fixture
def channel(settings):
    app = make_app(settings)
    with app.connection_for_write() as connection:
        yield connection.default_channel
    app.close()


def test_every_command_goes_by_the_same_one(channel):
    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert first is second
        assert first.ping()


def test_connections_that_were_given_up_bring_another_one(channel):
    with channel.conn_or_acquire() as before:
        before.ping()
    channel._disconnect_pools()  # noqa: SLF001 -- as a lost connection does

    with channel.conn_or_acquire() as after:
        assert after is not before
        assert after.connection_pool is channel.pool
        assert after.ping()


def test_what_listens_has_one_of_its_own(channel):
    with channel.conn_or_acquire() as commands:
        assert channel.client is not commands
