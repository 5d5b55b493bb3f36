"""The quota on a real Valkey: the upstream's limits are never exceeded, and are used."""

import asyncio
import bisect
import random
import time

import pytest
import redis.asyncio

from endpoints.catalogue.limits import Limit
from endpoints.quota import AHEAD_SECONDS, HOLD_SECONDS, RECHECK_SECONDS, SHARE, Quota, Usage
from models.base import new_id

RUN, ENDPOINT = "run", "flux"
AT_ONCE = 4
LIMIT = Limit(per_window=10, window_seconds=0.3, concurrent=AT_ONCE)
LONG = Limit(per_window=10, window_seconds=60.0)


@pytest.fixture
async def connection(settings):
    connection = redis.asyncio.Redis.from_url(settings.redis_dsn)
    yield connection
    await connection.aclose()


@pytest.fixture
async def quota(connection):
    """A quota that has been remembered for long."""
    await connection.set("test:quota:since", 0)
    return Quota(connection, prefix="test:")


async def take(quota, *, want, limit=LONG, lease=None, lease_seconds=30.0, endpoint=ENDPOINT):
    return await quota.take(
        RUN,
        endpoint,
        lease=lease or new_id(),
        want=want,
        limit=limit,
        lease_seconds=lease_seconds,
    )


async def take_once_free(quota, limit):
    """All permits that are free as soon as any is."""
    async with asyncio.timeout(5):
        while True:
            permits = await take(quota, want=limit.per_window, limit=limit)
            if permits.count:
                return permits
            await asyncio.sleep(min(permits.retry_in, 0.01))


async def give_back(quota, lease, *, limit=LONG, **counts):
    await quota.give_back(RUN, ENDPOINT, lease=lease, limit=limit, **counts)


def most_in_a_window(moments, seconds):
    """The most that any window, closed at its beginning and open at its end, holds."""
    moments = sorted(moments)
    return max(
        bisect.bisect_left(moments, moment + seconds) - index
        for index, moment in enumerate(moments)
    )


async def work(quota, arrivals, flying, draw, *, until):
    """A worker: takes what it gets, and whose calls reach the upstream and are answered late."""
    while time.monotonic() < until:
        lease = new_id()
        permits = await take(quota, want=draw.randint(1, 6), limit=LIMIT, lease=lease)
        if not permits.count:
            await asyncio.sleep(min(permits.retry_in, 0.05))
            continue
        unused = draw.randint(0, permits.count // 2)
        if unused:
            await give_back(quota, lease, limit=LIMIT, unused=unused)

        async def call(lease=lease):
            await asyncio.sleep(draw.uniform(0, 0.05))
            flying.add(asyncio.current_task())
            arrivals.append((time.monotonic(), len(flying)))
            await asyncio.sleep(draw.uniform(0, 0.15))
            flying.remove(asyncio.current_task())
            await give_back(quota, lease, limit=LIMIT, answered=1)

        await asyncio.gather(*(call() for _ in range(permits.count - unused)))


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_window_ever_holds_more_than_the_limit_however_late_answers_come(quota, seed):
    draw = random.Random(seed)
    arrivals: list[tuple[float, int]] = []
    flying: set[object] = set()

    until = time.monotonic() + 1.2
    await asyncio.gather(*(work(quota, arrivals, flying, draw, until=until) for _ in range(4)))

    moments = [moment for moment, _ in arrivals]
    assert most_in_a_window(moments, LIMIT.window_seconds) <= LIMIT.per_window
    assert max(at_once for _, at_once in arrivals) <= AT_ONCE
    assert len(arrivals) > LIMIT.per_window  # the window moves on


async def test_what_is_wanted_is_cut_to_what_is_left(quota):
    first = await take(quota, want=7)
    second = await take(quota, want=7)
    third = await take(quota, want=7)

    assert [first.count, second.count, third.count] == [7, 3, 0]
    assert not third.forgotten


async def test_at_once_is_a_limit_of_its_own_and_free_again_with_the_answer(quota):
    limit = Limit(per_window=10, window_seconds=60.0, concurrent=3)
    lease = new_id()
    first = await take(quota, want=10, limit=limit, lease=lease)
    full = await take(quota, want=10, limit=limit)

    await give_back(quota, lease, limit=limit, answered=2)
    then = await take(quota, want=10, limit=limit)

    assert (first.count, full.count, then.count) == (3, 0, 2)
    assert full.retry_in == pytest.approx(RECHECK_SECONDS)


async def test_who_takes_the_last_that_may_be_under_way_is_told_so(quota):
    limit = Limit(per_window=100, window_seconds=60.0, concurrent=5)
    first = await take(quota, want=3, limit=limit)
    last = await take(quota, want=2, limit=limit)
    none = await take(quota, want=1, limit=limit)

    assert [(one.count, one.crowded) for one in (first, last, none)] == [
        (3, False),
        (2, True),
        (0, False),
    ]
    assert first.retry_in == 0  # as many as were wanted: more may be free


async def test_who_takes_the_last_of_a_window_is_told_when_the_first_leaves_it(quota):
    lease = new_id()
    await take(quota, want=4, lease=lease)
    await give_back(quota, lease, answered=4)

    rest = await take(quota, want=10)

    assert (rest.count, rest.retry_in) == (6, pytest.approx(60, abs=0.5))


async def test_who_takes_what_may_go_soon_is_told_when_to_come_for_the_next(quota, connection):
    limit = Limit(per_window=100, window_seconds=10.0)
    seconds, microseconds = await connection.time()
    now_ms = seconds * 1000 + microseconds // 1000
    await connection.hset(f"test:quota:{RUN}:{{{ENDPOINT}}}:pace", "next", now_ms)  # nothing unused

    soon = await take(quota, want=50, limit=limit)

    gap = 10.0 / (100 * SHARE)
    assert soon.count == int(AHEAD_SECONDS / gap) + 1
    assert soon.retry_in == pytest.approx(soon.count * gap - AHEAD_SECONDS / 2, abs=0.05)


async def test_an_answered_call_counts_for_a_window_from_its_answer(quota):
    lease = new_id()
    await take(quota, want=10, lease=lease)

    await give_back(quota, lease, answered=10)
    permits = await take(quota, want=10)

    assert permits.count == 0
    assert 59 < permits.retry_in <= 60.1


async def test_unused_permits_come_back_at_once_and_count_nowhere(quota):
    lease = new_id()
    await take(quota, want=10, lease=lease)

    await give_back(quota, lease, unused=6)
    permits = await take(quota, want=10)

    assert permits.count == 6


async def test_more_is_never_given_back_than_was_taken(quota):
    lease = new_id()
    await take(quota, want=4, lease=lease)

    for _ in range(3):
        await give_back(quota, lease, answered=3, unused=3)
    await give_back(quota, new_id(), answered=5, unused=5)
    permits = await take(quota, want=10)

    assert permits.count == 7


async def test_answers_of_one_lease_count_each_although_they_come_in_the_same_millisecond(quota):
    lease = new_id()
    await take(quota, want=10, lease=lease)

    await asyncio.gather(*(give_back(quota, lease, answered=1) for _ in range(10)))

    assert (await take(quota, want=10)).count == 0


async def test_the_permits_of_a_dead_worker_are_held_to_the_end_of_its_lease_and_a_window_more(
    quota,
):
    limit = Limit(per_window=10, window_seconds=0.2)
    began = time.monotonic()
    await take(quota, want=10, limit=limit, lease_seconds=0.1)

    permits = await take_once_free(quota, limit)

    assert permits.count == 10
    assert time.monotonic() - began >= 0.3 - 0.002


async def test_an_endpoint_has_its_own_quota(quota):
    await take(quota, want=10)

    assert (await take(quota, want=10, endpoint="another")).count == 10


async def test_the_first_use_of_an_endpoint_is_not_taken_for_a_loss_of_memory(quota, connection):
    now, _ = await connection.time()
    await connection.set("test:quota:since", (now - 121) * 1000)

    permits = await take(quota, want=3)

    assert (permits.count, permits.forgotten) == (3, False)


async def test_a_memory_younger_than_two_windows_is_not_trusted(quota, connection):
    now, _ = await connection.time()
    await connection.set("test:quota:since", (now - 119) * 1000)

    permits = await take(quota, want=3)

    assert (permits.count, permits.forgotten) == (0, True)


async def test_after_a_loss_of_memory_nothing_is_given_before_it_is_restored(quota, connection):
    await take(quota, want=5)
    await connection.flushall()

    forgotten = [await take(quota, want=5) for _ in range(2)]

    assert [(permits.count, permits.forgotten) for permits in forgotten] == [(0, True)] * 2


async def restore(quota, answered_seconds_ago, limit=LONG):
    await quota.restore(RUN, ENDPOINT, limit=limit, answered_seconds_ago=answered_seconds_ago)


async def test_what_the_ledger_tells_is_counted_again(quota, connection):
    await connection.flushall()

    await restore(quota, [0, 0, 1.0, 30.0, 59.9, 60.1, 400.0])
    permits = await take(quota, want=10)

    assert permits.count == 5


async def test_an_empty_ledger_frees_the_whole_window(quota, connection):
    await connection.flushall()

    await restore(quota, [])

    assert (await take(quota, want=10)).count == 10


async def test_restored_calls_leave_the_window_no_sooner_than_they_would_have(quota, connection):
    limit = Limit(per_window=10, window_seconds=1.0)
    await connection.flushall()
    await restore(quota, [0.5] * 10, limit)
    began = time.monotonic()

    await take_once_free(quota, limit)

    assert 0.5 <= time.monotonic() - began <= 0.7


@pytest.mark.parametrize("per_window", [1, 7, 100, 1000])
async def test_where_nobody_knows_the_last_window_is_taken_to_have_been_full(
    quota, connection, per_window
):
    limit = Limit(per_window=per_window, window_seconds=60.0)
    await connection.flushall()

    await restore(quota, None, limit)
    permits = await take(quota, want=per_window, limit=limit)

    assert (permits.count, permits.forgotten) == (0, False)
    assert 0 < permits.retry_in <= 3.1  # a first part of it is free soon


async def test_only_the_first_of_several_restores_counts(quota, connection):
    """Every worker that finds the memory lost says what it knows; later ones know less."""
    await connection.flushall()

    await restore(quota, [1.0] * 4)
    taken = await take(quota, want=2)
    await restore(quota, None)
    await restore(quota, [1.0] * 4)

    assert taken.count == 2
    assert (await take(quota, want=10)).count == 4


async def test_a_quota_that_nobody_uses_is_forgotten_in_the_end(quota, connection):
    lease = new_id()
    await take(quota, want=5, lease=lease)
    await give_back(quota, lease, answered=2)

    keys = [key for key in await connection.keys("test:quota:*") if not key.endswith(b":since")]

    assert len(keys) == 5
    assert all([await connection.ttl(key) > 0 for key in keys])


async def test_usage_tells_calls_under_way_from_those_that_were_answered(quota):
    lease = new_id()
    before = await quota.usage(RUN, ENDPOINT)
    await take(quota, want=5, lease=lease)
    taken = await quota.usage(RUN, ENDPOINT)
    await give_back(quota, lease, answered=2, unused=1)

    assert before == Usage(in_window=0, at_once=0)
    assert taken == Usage(in_window=5, at_once=5)
    assert await quota.usage(RUN, ENDPOINT) == Usage(in_window=4, at_once=2)


async def test_usage_forgets_what_has_left_the_window_and_whose_lease_has_ended(quota, connection):
    answered, dead = new_id(), new_id()
    await take(quota, want=2, lease=answered)
    await take(quota, want=3, lease=dead)
    await give_back(quota, answered, answered=2)
    for part in ("window", "flight"):  # as if all of it were minutes older
        key = f"test:quota:{RUN}:{{{ENDPOINT}}}:{part}"
        for member, score in await connection.zrange(key, 0, -1, withscores=True):
            await connection.zadd(key, {member: score - 600_000})

    assert await quota.usage(RUN, ENDPOINT) == Usage(in_window=0, at_once=0)


async def test_to_ask_for_usage_changes_nothing(quota, connection):
    lease = new_id()
    await take(quota, want=3, lease=lease)
    before = {key: await connection.dump(key) for key in sorted(await connection.keys())}

    await quota.usage(RUN, ENDPOINT)
    await quota.usage(RUN, "never used")

    assert {key: await connection.dump(key) for key in sorted(await connection.keys())} == before


async def test_what_was_restored_counts_as_usage(quota, connection):
    await connection.delete(f"test:quota:{RUN}:{{{ENDPOINT}}}:known")
    await restore(quota, None)

    usage = await quota.usage(RUN, ENDPOINT)

    assert usage.at_once == 0
    assert usage.in_window >= LONG.per_window


async def extend(quota, lease, *, held, lease_seconds=30.0):
    await quota.extend(RUN, ENDPOINT, lease=lease, held=held, lease_seconds=lease_seconds)


async def test_permits_that_are_extended_outlive_their_lease(quota):
    lease = new_id()
    await take(quota, want=10, lease=lease, lease_seconds=0.05)
    await extend(quota, lease, held=10)
    await asyncio.sleep(0.1)  # by Valkey's clock

    await take(quota, want=1)  # whoever comes next frees what the dead held

    assert await quota.usage(RUN, ENDPOINT) == Usage(10, 10)


async def test_permits_that_redis_forgot_are_learned_again_from_who_holds_them(quota, connection):
    lease, other = new_id(), new_id()
    await take(quota, want=6, lease=lease)
    await take(quota, want=2, lease=other)
    await connection.flushall()

    await extend(quota, lease, held=6)
    await extend(quota, other, held=2)

    assert await quota.usage(RUN, ENDPOINT) == Usage(8, 8)
    await give_back(quota, lease, answered=4)
    assert await quota.usage(RUN, ENDPOINT) == Usage(8, 4)


async def test_permits_whose_lease_ran_out_are_held_again_by_whoever_lives(quota):
    lease = new_id()
    await take(quota, want=4, lease=lease, lease_seconds=-1.0)
    await take(quota, want=1)  # they count against the window alone now

    await extend(quota, lease, held=4)

    assert (await quota.usage(RUN, ENDPOINT)).at_once == 5


SPREAD = Limit(per_window=1000, window_seconds=10.0)


async def test_after_a_pause_a_whole_window_may_go_at_once(quota):
    permits = await take(quota, want=1000, limit=SPREAD)

    assert permits.count == 1000
    assert permits.wait(900) == 0.0


async def drain(quota, limit=SPREAD):
    """Take all of a window, and find that nothing is left."""
    lease = new_id()
    await take(quota, want=limit.per_window, limit=limit, lease=lease)
    assert (await take(quota, want=1, limit=limit)).count == 0
    return lease


async def forget_calls(connection):
    """As if the window had passed, and nothing else."""
    for part in ("window", "flight", "counts"):
        await connection.delete(f"test:quota:{RUN}:{{{ENDPOINT}}}:{part}")


async def test_once_the_window_was_full_calls_go_evenly_apart(quota, connection):
    await drain(quota)
    await forget_calls(connection)

    permits = await take(quota, want=1000, limit=SPREAD)

    assert 10 <= permits.count <= AHEAD_SECONDS * 100
    assert permits.gap == pytest.approx(0.01 / SHARE, rel=0.01)
    waits = [permits.wait(place) for place in range(permits.count)]
    assert waits == sorted(waits)
    assert waits[-1] <= AHEAD_SECONDS


async def test_whoever_comes_meanwhile_waits_for_some_turns_to_come_together(quota, connection):
    slow = Limit(per_window=10, window_seconds=10.0)
    await drain(quota, slow)
    await forget_calls(connection)
    await take(quota, want=10, limit=slow)

    more = await take(quota, want=10, limit=slow)

    assert (more.count, more.retry_in) == (0, pytest.approx(1.0, abs=0.3))


async def test_a_turn_that_was_not_used_is_not_lost(quota, connection):
    await drain(quota)
    await forget_calls(connection)
    lease = new_id()
    permits = await take(quota, want=1000, limit=SPREAD, lease=lease)

    await give_back(quota, lease, limit=SPREAD, unused=permits.count)

    again = await take(quota, want=1000, limit=SPREAD)
    assert again.count == pytest.approx(permits.count, abs=1)


async def refuse(quota, limit=SPREAD):
    return await quota.refused(RUN, ENDPOINT, limit=limit)


async def look(quota):
    return (await quota.usage(RUN, ENDPOINT)).learned


async def shift(connection, *, seconds):
    """Let so many seconds pass for what was learned."""
    key = f"test:quota:{RUN}:{{{ENDPOINT}}}:pace"
    for name in ("changed", "hold", "next"):
        if await connection.hexists(key, name):
            await connection.hincrbyfloat(key, name, -seconds * 1000)


async def use_in_full(quota, connection, limit=SPREAD):
    """Calls as many as may be in a window, answered just now."""
    await forget_calls(connection)
    most = await look(quota) or limit.per_window
    key = f"test:quota:{RUN}:{{{ENDPOINT}}}:window"
    now, _ = await connection.time()
    await connection.zadd(key, {f"x:{most}": (now + 9) * 1000})


async def test_a_refusal_halves_the_limit_for_everybody_and_holds_what_has_not_gone(quota):
    await take(quota, want=900, limit=SPREAD)

    learned = await refuse(quota)

    held = await take(quota, want=10, limit=SPREAD)
    assert learned == 450
    assert await look(quota) == 450
    assert (held.count, held.retry_in) == (0, pytest.approx(HOLD_SECONDS, abs=0.1))


async def test_refusals_of_calls_that_were_under_way_together_count_once(quota):
    await take(quota, want=900, limit=SPREAD)

    assert [await refuse(quota) for _ in range(5)] == [450, None, None, None, None]


async def test_a_refusal_while_little_of_the_limit_was_used_teaches_nothing(quota):
    await take(quota, want=400, limit=SPREAD)

    assert await refuse(quota) is None
    assert await look(quota) is None
    assert (await take(quota, want=10, limit=SPREAD)).count == 0  # but it is heeded


async def test_until_it_is_used_in_full_for_some_windows_it_does_not_rise(quota, connection):
    await use_in_full(quota, connection)
    await refuse(quota)

    await use_in_full(quota, connection)
    await shift(connection, seconds=29)
    await take(quota, want=1, limit=SPREAD)
    early = await look(quota)
    await forget_calls(connection)
    await shift(connection, seconds=10)
    await take(quota, want=1, limit=SPREAD)

    assert (early, await look(quota)) == (500, 500)


async def test_it_rises_in_steps_that_double_until_it_is_what_is_documented(quota, connection):
    await use_in_full(quota, connection)
    await refuse(quota)
    seen = [await look(quota)]
    await shift(connection, seconds=20)

    while seen[-1] is not None:
        await use_in_full(quota, connection)
        await shift(connection, seconds=10.001)
        await take(quota, want=1, limit=SPREAD)
        seen.append(await look(quota))

    assert seen == [500, 550, 650, 850, None]


async def test_a_step_too_far_goes_back_to_what_was_good_and_the_next_takes_twice_as_long(
    quota, connection
):
    await use_in_full(quota, connection)
    await refuse(quota)
    await use_in_full(quota, connection)
    await shift(connection, seconds=30.001)
    await take(quota, want=1, limit=SPREAD)
    risen = await look(quota)
    await use_in_full(quota, connection)
    await shift(connection, seconds=3)

    learned = await refuse(quota)

    await use_in_full(quota, connection)
    await shift(connection, seconds=59)
    await take(quota, want=1, limit=SPREAD)
    waits = await look(quota)
    await shift(connection, seconds=2)
    await take(quota, want=1, limit=SPREAD)
    assert (risen, learned, waits, await look(quota)) == (550, 500, 500, 550)


async def test_what_was_learned_survives_a_loss_of_memory_if_somebody_remembers(quota, connection):
    await connection.flushall()

    await quota.restore(RUN, ENDPOINT, limit=SPREAD, answered_seconds_ago=[], learned=300)

    assert (await take(quota, want=1000, limit=SPREAD)).count == 300
    assert await look(quota) == 300
