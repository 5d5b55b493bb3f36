"""Lanes as circuit breakers: what closes them, who is let through, and what opens them again."""

import asyncio

import pytest
from sqlalchemy import text

from endpoints.outcomes import (
    Accepted,
    Busy,
    BusyCause,
    Fault,
    Missing,
    Refused,
    Running,
    Unknown,
    UpstreamState,
)
from models.base import new_id
from models.lane import BREAK_AFTER, Lane, StageName, close_lane, set_paused
from models.transitions import NewJob, claim_submissions, enqueue_jobs
from tasks.breaker import note_answers
from tests.integration.stage_rows import claim_rows, fill_stage

FLUX = "black-forest-labs-flux-1-schnell"
SUBMIT = StageName.SUBMIT

ACCEPTED = Accepted("up-1", 200)
BUSY = Busy(BusyCause.RATE_LIMITED, "slow down", http_status=429)
FAULT = Fault("HTTP 500", 500)
UNKNOWN = Unknown("no reply to /run")
REFUSED = Refused("no such style", 400)


async def add_jobs(database, count):
    jobs = [NewJob(id=new_id(), endpoint=FLUX, input={}) for _ in range(count)]
    async with database.begin() as session:
        await enqueue_jobs(session, jobs)


async def note(database, *outcomes, stage=SUBMIT):
    async with database.begin() as session:
        return await note_answers(session, stage, FLUX, outcomes)


async def claim(database, *, limit=10):
    async with database.begin() as session:
        return await claim_submissions(
            session, endpoint=FLUX, limit=limit, lease=new_id(), lease_seconds=60, proven=True
        )


async def find_lane(database, *, stage=SUBMIT):
    async with database.begin() as session:
        return await session.get(Lane, (stage, FLUX))


async def is_closed(database):
    async with database.begin() as session:
        return bool(await session.scalar(text("SELECT closed_until > now() FROM lanes")))


async def let_time_pass(database):
    """The time until which the lane is closed passes."""
    async with database.begin() as session:
        await session.execute(text("UPDATE lanes SET closed_until = now()"))


async def half_open(database):
    """The lane was closed, and its time is over."""
    async with database.begin() as session:
        await close_lane(session, SUBMIT, FLUX, reason="429")
    await let_time_pass(database)


# What closes it


@pytest.mark.parametrize(
    ("flushes", "closed"),
    [
        ([[BUSY]], True),
        ([[ACCEPTED] * 9 + [BUSY]], True),
        ([[FAULT] * (BREAK_AFTER - 1)], False),
        ([[FAULT] * BREAK_AFTER], True),
        ([[UNKNOWN] * BREAK_AFTER], True),
        ([[FAULT]] * (BREAK_AFTER - 1), False),
        ([[FAULT]] * BREAK_AFTER, True),
        ([[FAULT], [UNKNOWN]] * BREAK_AFTER, True),
        ([[FAULT] * (BREAK_AFTER - 1), [ACCEPTED], [FAULT]], False),  # not in a row
        ([[FAULT] * 9 + [ACCEPTED]] * 3, False),  # a third of them fail: it works
        ([[REFUSED] * 9], False),  # an answer as any other
        ([[Missing()] * 9], False),
        ([[Running(UpstreamState.IN_QUEUE)] * 9], False),
    ],
)
async def test_calls_in_a_row_that_fail_close_the_lane_and_one_that_is_told_to_wait_does(
    database, flushes, closed
):
    for outcomes in flushes:
        await note(database, *outcomes)

    assert await is_closed(database) == closed


async def test_the_lane_is_held_for_as_long_as_the_upstream_said_that_said_the_most(database):
    some, more = (
        Busy(BusyCause.RATE_LIMITED, said, retry_after_seconds=seconds)
        for said, seconds in (("a little", 5.0), ("longer", 30.0))
    )

    assert await note(database, some, more, some) == pytest.approx(30, abs=0.1)
    assert (await find_lane(database)).closed_reason == "rate limited (429): longer"


async def test_what_failed_is_said_of_a_broken_lane(database):
    await note(database, *[FAULT] * BREAK_AFTER)

    assert "HTTP 500" in (await find_lane(database)).closed_reason


async def test_a_lane_that_was_never_in_trouble_costs_no_write(database):
    await note(database, ACCEPTED)

    assert await find_lane(database) is None


async def test_one_stage_of_one_endpoint_is_broken_and_no_other(database):
    await note(database, *[FAULT] * BREAK_AFTER, stage=StageName.POLL)
    await add_jobs(database, 1)

    assert len(await claim(database)) == 1


# Half open


async def test_while_it_is_closed_nothing_goes_and_then_one_alone(database):
    await add_jobs(database, 10)
    await note(database, *[FAULT] * BREAK_AFTER)

    closed = await claim(database)
    await let_time_pass(database)
    probes = [len(await claim(database)) for _ in range(3)]

    assert closed == []
    assert probes == [1, 0, 0]


async def test_of_several_who_claim_at_once_one_is_let_through(database):
    await add_jobs(database, 50)
    await half_open(database)

    claimed = await asyncio.gather(*(claim(database) for _ in range(8)))

    assert sorted(map(len, claimed)) == [0] * 7 + [1]


async def test_a_probe_that_nobody_answers_lets_the_next_through_after_a_while(database):
    await add_jobs(database, 10)
    await half_open(database)
    await claim(database)
    lane = await find_lane(database)
    held = await claim(database)
    await let_time_pass(database)

    assert lane.probing
    assert held == []
    assert len(await claim(database)) == 1


@pytest.mark.parametrize("outcome", [FAULT, UNKNOWN, BUSY])
async def test_a_probe_that_fails_closes_it_for_longer(database, outcome):
    await add_jobs(database, 10)
    for closures in range(2, 5):
        await half_open(database) if closures == 2 else await let_time_pass(database)
        await claim(database)

        seconds = await note(database, outcome)

        lane = await find_lane(database)
        assert (lane.closures, lane.probing) == (closures, False)
        assert seconds >= 0.5 * 2 ** (closures - 1) * 0.9
        assert await is_closed(database)


async def test_an_answer_to_the_probe_opens_it_whole_and_it_is_rung_for(database):
    await add_jobs(database, 10)
    await half_open(database)
    await claim(database)

    assert await note(database, ACCEPTED) == 0

    lane = await find_lane(database)
    assert (lane.closures, lane.faults, lane.probing, lane.closed_until) == (0, 0, False, None)
    assert len(await claim(database)) == 9


async def test_answers_to_calls_from_before_it_closed_say_nothing(database):
    await add_jobs(database, 10)
    await note(database, *[FAULT] * BREAK_AFTER)

    assert await note(database, ACCEPTED) is None
    assert await note(database, FAULT) is not None

    assert (await find_lane(database)).closures == 1
    assert await claim(database) == []


async def test_an_empty_lane_spends_no_probe(database):
    await half_open(database)

    assert await claim(database) == []
    assert not (await find_lane(database)).probing


async def test_a_paused_lane_lets_no_probe_through(database):
    await add_jobs(database, 1)
    await half_open(database)
    async with database.begin() as session:
        await set_paused(session, SUBMIT, FLUX, paused=True)

    assert await claim(database) == []
    assert not (await find_lane(database)).probing


@pytest.mark.parametrize("stage", StageName)
async def test_every_stage_is_let_through_one_by_one(database, stage):
    await fill_stage(database, stage, 8)
    async with database.begin() as session:
        await close_lane(session, stage, FLUX, reason="429")
    await let_time_pass(database)

    claimed = await asyncio.gather(*(claim_rows(database, stage) for _ in range(4)))

    assert sorted(map(len, claimed)) == [0, 0, 0, 1]
