"""Bells on a real Valkey: at most one is pending, none is lost for long, and none hurts."""

import asyncio
import base64
import datetime as dt
import time
from dataclasses import dataclass

import orjson
import pytest
import redis.asyncio
import time_machine

from models.lane import StageName
from workers.app import make_app
from workers.bell import CROWDED, LONGEST_SECONDS, OVERDUE_SECONDS, Bells
from workers.settings import Settings

FLUX = "black-forest-labs-flux-1-schnell"
SUBMIT = StageName.SUBMIT


@pytest.fixture
async def connection(settings):
    connection = redis.asyncio.Redis.from_url(settings.redis_dsn)
    yield connection
    await connection.aclose()


@pytest.fixture
async def bells(settings, connection):
    return Bells(connection, make_app(settings), prefix=settings.redis_prefix)


@dataclass(frozen=True)
class Message:
    """A bell in a queue, as a worker would read it."""

    task: str
    endpoint: str
    at: int
    eta: str | None
    expires: str | None


async def find_messages(connection, settings, *, stage=SUBMIT):
    """Every message in the stage's queue, oldest first."""
    queued = await connection.lrange(f"{settings.redis_prefix}{stage}", 0, -1)
    messages = []
    for message in map(orjson.loads, reversed(queued)):
        [endpoint, at], _kwargs, _callbacks = orjson.loads(base64.b64decode(message["body"]))
        headers = message["headers"]
        messages.append(Message(headers["task"], endpoint, at, headers["eta"], headers["expires"]))
    return messages


async def shift_pending(connection, settings, *, seconds):
    """Move the time of the pending bell, as if time had passed."""
    key = f"{settings.redis_prefix}bell:{SUBMIT}:{FLUX}"
    at = int(await connection.get(key)) + round(seconds * 1000)
    await connection.set(key, at)
    return at


async def test_a_bell_is_one_message_for_its_stage_and_carries_its_time(
    bells, connection, settings
):
    assert await bells.ring(SUBMIT, FLUX)

    [message] = await find_messages(connection, settings)
    assert (message.task, message.endpoint) == ("pressroom.submit", FLUX)
    assert message.at == int(await connection.get(f"{settings.redis_prefix}bell:{SUBMIT}:{FLUX}"))
    assert message.eta is None
    assert message.expires is None  # by whose clock?


async def test_however_many_ring_at_once_one_message_is_sent(bells, connection, settings):
    rung = await asyncio.gather(*(bells.ring(SUBMIT, FLUX) for _ in range(20)))

    assert sum(rung) == 1
    assert len(await find_messages(connection, settings)) == 1


async def test_a_later_bell_is_silent_while_an_earlier_one_is_pending(bells, connection, settings):
    await bells.ring(SUBMIT, FLUX, in_seconds=10)

    assert not await bells.ring(SUBMIT, FLUX, in_seconds=20)
    assert len(await find_messages(connection, settings)) == 1


async def test_an_earlier_bell_takes_the_place_of_a_later_one_whose_message_then_dies(
    bells, connection, settings
):
    await bells.ring(SUBMIT, FLUX, in_seconds=20)
    assert await bells.ring(SUBMIT, FLUX, in_seconds=10)

    late, early = await find_messages(connection, settings)
    assert early.at < late.at
    assert await bells.answer(SUBMIT, FLUX, early.at)
    assert not await bells.answer(SUBMIT, FLUX, late.at)


async def test_a_bell_is_answered_once(bells, connection, settings):
    await bells.ring(SUBMIT, FLUX)
    [message] = await find_messages(connection, settings)

    answered = [await bells.answer(SUBMIT, FLUX, message.at) for _ in range(3)]

    assert answered == [True, False, False]


async def test_what_comes_due_after_the_answer_rings_anew(bells, connection, settings):
    await bells.ring(SUBMIT, FLUX)
    [message] = await find_messages(connection, settings)

    await bells.answer(SUBMIT, FLUX, message.at)

    assert await bells.ring(SUBMIT, FLUX)
    assert len(await find_messages(connection, settings)) == 2


async def test_a_bell_whose_message_was_lost_is_rung_again_once_it_is_overdue(
    bells, connection, settings
):
    await bells.ring(SUBMIT, FLUX)
    await connection.delete(f"{settings.redis_prefix}{SUBMIT}")

    await shift_pending(connection, settings, seconds=1 - OVERDUE_SECONDS)
    within_grace = await bells.ring(SUBMIT, FLUX)
    lost = await shift_pending(connection, settings, seconds=-1)
    overdue = await bells.ring(SUBMIT, FLUX)

    assert (within_grace, overdue) == (False, True)
    assert len(await find_messages(connection, settings)) == 1
    assert not await bells.answer(SUBMIT, FLUX, lost)  # should it turn up after all


async def test_where_no_worker_answers_overdue_bells_do_not_pile_up(bells, connection, settings):
    await bells.ring(SUBMIT, FLUX)
    queue = f"{settings.redis_prefix}{SUBMIT}"
    await connection.lpush(queue, *["{}"] * (CROWDED - 1))

    await shift_pending(connection, settings, seconds=-OVERDUE_SECONDS - 1)
    crowded = await bells.ring(SUBMIT, FLUX)
    other = await bells.ring(SUBMIT, "another")
    await connection.ltrim(queue, 0, 9)
    after = await bells.ring(SUBMIT, FLUX)

    assert (crowded, other, after) == (False, True, True)


async def test_a_countdown_ends_by_redis_s_clock_and_not_by_this_host_s(
    bells, connection, settings
):
    with time_machine.travel(time.time() - 3600, tick=True):
        await bells.ring(SUBMIT, FLUX, in_seconds=30)

    [message] = await find_messages(connection, settings)
    eta = dt.datetime.fromisoformat(message.eta).timestamp()
    assert eta == pytest.approx(message.at / 1000, abs=0.01)
    assert eta - (await connection.time())[0] == pytest.approx(30, abs=2)


async def test_a_flushed_redis_loses_a_bell_and_not_the_next(bells, connection, settings):
    await bells.ring(SUBMIT, FLUX, in_seconds=30)
    await connection.flushall()

    assert await bells.ring(SUBMIT, FLUX)
    assert len(await find_messages(connection, settings)) == 1


async def test_each_lane_has_a_bell_of_its_own(bells, connection, settings):
    assert await bells.ring(SUBMIT, FLUX)
    assert await bells.ring(SUBMIT, "another")
    assert await bells.ring(StageName.POLL, FLUX)

    assert len(await find_messages(connection, settings)) == 2
    assert len(await find_messages(connection, settings, stage=StageName.POLL)) == 1


async def test_no_countdown_is_longer_than_a_minute(bells, connection, settings):
    await bells.ring(SUBMIT, FLUX, in_seconds=86_400)

    seconds, microseconds = await connection.time()
    [message] = await find_messages(connection, settings)
    wait = message.at / 1000 - seconds - microseconds / 1e6
    assert message.eta is not None
    assert LONGEST_SECONDS - 2 <= wait <= LONGEST_SECONDS


async def test_a_time_in_the_past_rings_now(bells, connection, settings):
    assert await bells.ring(SUBMIT, FLUX, in_seconds=-5)

    [message] = await find_messages(connection, settings)
    assert message.eta is None


async def test_without_redis_a_bell_stays_silent_quickly_and_raises_nothing(tmp_path):
    settings = Settings(data_dir=tmp_path)  # where no server is
    connection = redis.asyncio.Redis.from_url(settings.redis_dsn)
    bells = Bells(connection, make_app(settings), prefix=settings.redis_prefix)

    began = time.monotonic()
    rung = await bells.ring(SUBMIT, FLUX)

    assert not rung
    assert time.monotonic() - began < 5
    await connection.aclose()


async def test_a_message_that_cannot_be_sent_is_rung_for_again_once_it_is_overdue(
    settings, connection, tmp_path
):
    """Redis remembers the bell, and then the broker is away."""
    nowhere = Settings(data_dir=tmp_path / "nowhere")
    deaf = Bells(connection, make_app(nowhere), prefix=settings.redis_prefix)
    bells = Bells(connection, make_app(settings), prefix=settings.redis_prefix)

    rung = await deaf.ring(SUBMIT, FLUX)
    await shift_pending(connection, settings, seconds=-OVERDUE_SECONDS - 1)

    assert not rung
    assert await bells.ring(SUBMIT, FLUX)
