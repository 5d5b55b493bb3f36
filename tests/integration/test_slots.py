"""Slots: a campaign has no more in flight than it wants, whoever claims, and goes on by itself."""

import asyncio

import pytest
from sqlalchemy import text

from gateway.explain import explain
from models.base import new_id
from models.budget import add_budget, list_budgets, remove_budget
from models.campaign import add_campaign, get_campaign
from models.job import JobState
from models.job_queries import JobFilter, list_jobs
from models.lane import StageName, set_paused
from models.room import make_room
from models.slots import is_any_limited
from models.transitions import (
    NewJob,
    accept,
    claim_submissions,
    end,
    enqueue_jobs,
    lose_sight,
    move_jobs,
    snooze_submit,
)
from tasks.expand import expand_campaign
from tasks.limits import keep_limits, release
from tasks.pause import pause, resume
from tasks.repace import NoSpecification, repace
from tests.integration.conftest import FLUX

SPEC = {"name": "shoot", "endpoint": FLUX, "pace": {"max_in_flight": 4}}


@pytest.fixture
async def campaign(run, execute):
    """One of thirty jobs, of which four may be in flight."""
    campaign_id = await run(
        add_campaign, name="shoot", endpoint=FLUX, spec=SPEC, planned=30, max_in_flight=4
    )
    await run(
        enqueue_jobs,
        [
            NewJob(id=new_id(), endpoint=FLUX, input={}, campaign_id=campaign_id, position=n)
            for n in range(30)
        ],
    )
    await execute("UPDATE campaigns SET expanded = 30, total = 30")
    return campaign_id


async def finish(run, rows):
    await run(move_jobs, [end(row.id, row.lease, state=JobState.COMPLETED) for row in rows])
    return await run(make_room, [row.id for row in rows])


async def count(run, campaign_id, *states):
    jobs = await run(list_jobs, JobFilter(campaign_id=campaign_id, states=states), limit=None)
    return len(jobs)


async def test_no_more_are_in_flight_and_the_next_come_as_some_end(run, claim, campaign):
    first = await claim()
    assert len(first) == 4
    assert await claim() == []

    assert await finish(run, first[:3]) == {FLUX}

    assert len(await claim()) == 3
    assert await count(run, campaign, JobState.SUBMITTING) == 4


@pytest.mark.usefixtures("campaign")
async def test_it_comes_to_its_end(run, claim):
    ended = 0
    while rows := await claim(limit=3):
        await finish(run, rows)
        ended += len(rows)

    assert ended == 30


@pytest.mark.usefixtures("campaign")
async def test_claims_at_once_share_its_slots(database):
    async def worker():
        async with database.begin() as session:
            rows = await claim_submissions(
                session, endpoint=FLUX, limit=3, lease=new_id(), lease_seconds=60, proven=True
            )
            await asyncio.sleep(0.05)
            return len(rows)

    claimed = [sum(await asyncio.gather(*(worker() for _ in range(8)))) for _ in range(2)]

    assert claimed == [4, 0]


@pytest.mark.usefixtures("campaign")
async def test_others_are_not_held_up(run, claim):
    other = NewJob(id=new_id(), endpoint=FLUX, input={})
    await run(enqueue_jobs, [other])

    assert other.id in {row.id for row in await claim(limit=10)}
    assert other.id not in {row.id for row in await claim(limit=10)}


@pytest.mark.parametrize("comes_back", ["told to wait", "no reply"])
@pytest.mark.usefixtures("campaign")
async def test_what_comes_back_has_its_slot_or_waits_for_one(run, claim, comes_back):
    rows = await claim()
    if comes_back == "told to wait":
        await run(move_jobs, [snooze_submit(row.id, row.lease, error="429") for row in rows])
        assert {row.id for row in await claim()} == {row.id for row in rows}
    else:  # it may be running
        await run(move_jobs, [lose_sight(r.id, r.lease, error="-", due_in=60) for r in rows])
        assert await claim() == []


@pytest.mark.usefixtures("campaign")
async def test_what_nobody_released_the_sweep_does(runtime, run, claim):
    rows = await claim()
    await run(move_jobs, [end(row.id, row.lease, state=JobState.COMPLETED) for row in rows])

    await keep_limits(runtime)

    assert len(await claim()) == 4


async def test_a_pause_and_a_full_campaign_do_not_undo_each_other(runtime, run, claim, campaign):
    rows = await claim()
    await run(move_jobs, [accept(row.id, row.lease, upstream_id="u", due_in=0) for row in rows[:1]])
    await pause(runtime, campaign)
    await finish(run, rows[1:])
    await keep_limits(runtime)
    assert await claim() == []

    await resume(runtime, campaign)
    await keep_limits(runtime)

    assert len(await claim()) == 3


async def test_why_it_waits_is_said(run, claim, campaign):
    await claim()
    jobs = await run(list_jobs, JobFilter(campaign_id=campaign), limit=None)

    said = {explain(job, [], {}) for job in jobs if job.held}

    assert said == {"as many jobs of its campaign are in flight as it wants"}


async def test_claims_ask_for_limits_only_while_there_are_any(run, execute, campaign):
    assert await run(is_any_limited)
    await execute("UPDATE campaigns SET completed_at = now()")
    assert not await run(is_any_limited)

    await run(add_budget, name="of it", limit_usd=1, campaign_id=campaign)
    assert not await run(is_any_limited)
    await execute("UPDATE campaigns SET completed_at = NULL, max_in_flight = NULL")
    assert await run(is_any_limited)
    assert len(await run(list_budgets, ended=False)) == 1

    await execute("UPDATE campaigns SET completed_at = now()")
    assert await run(list_budgets, ended=False) == []
    everybodys = await run(add_budget, name="everybody", limit_usd=1)
    assert await run(is_any_limited)
    await run(remove_budget, everybodys)
    assert not await run(is_any_limited)


async def test_jobs_of_a_lane_that_is_closed_take_up_no_slots(runtime, run, claim, campaign):
    await claim()
    others = [
        NewJob(
            id=new_id(), endpoint="p-image-t2i", input={}, campaign_id=campaign, position=100 + n
        )
        for n in range(4)
    ]
    await run(enqueue_jobs, others)
    await run(set_paused, StageName.SUBMIT, "p-image-t2i", paused=True)
    jobs = await run(
        list_jobs, JobFilter(campaign_id=campaign, states=[JobState.SUBMITTING]), limit=None
    )
    await run(move_jobs, [end(job.id, job.lease, state=JobState.COMPLETED) for job in jobs])

    await keep_limits(runtime)

    assert len(await claim()) == 4


@pytest.mark.parametrize(("most", "more"), [(9, 5), (None, 26), (2, 0)])
async def test_its_slots_can_be_changed_while_it_runs(runtime, claim, campaign, most, more):
    await claim()

    await repace(runtime, campaign, max_in_flight=most)

    assert len(await claim()) == more
    await release(runtime, [campaign])
    assert await claim() == []


async def test_another_pace_begins_now_with_what_waits(runtime, claim, campaign, read_waits):
    await repace(runtime, campaign, max_in_flight=None)
    await claim(limit=10)

    assert await repace(runtime, campaign, over_seconds=190.0) == 20

    assert await read_waits() == pytest.approx([10.0 * n for n in range(20)], abs=2)
    assert len(await claim()) == 1
    await repace(runtime, campaign, over_seconds=None)
    assert len(await claim()) == 19


async def test_a_straggler_does_not_make_the_others_wait(runtime, run, claim, campaign, read_waits):
    await repace(runtime, campaign, max_in_flight=None)
    rows = await claim()
    straggler, *others = sorted(rows, key=lambda row: row.id)
    rest = others[10:]
    await run(
        move_jobs,
        [snooze_submit(row.id, row.lease, error="429") for row in [straggler, *rest]],
    )

    await repace(runtime, campaign, over_seconds=180.0)

    assert await read_waits() == pytest.approx([180.0 / 19 * n for n in range(20)], abs=2)


async def test_one_without_a_specification_keeps_its_pace(runtime, run):
    campaign = await run(add_campaign, name="file.txt", endpoint=FLUX)

    with pytest.raises(NoSpecification, match=r"file\.txt was not started from a specification"):
        await repace(runtime, campaign, over_seconds=60.0)
    await repace(runtime, campaign, max_in_flight=3)

    assert (await run(get_campaign, campaign)).max_in_flight == 3


async def test_what_is_expanded_later_follows_the_pace_that_is_now(runtime, run, execute, database):
    spec = {
        "name": "paced",
        "endpoint": FLUX,
        "prompts": [f"fox {n}" for n in range(20)],
        "pace": {"over": 3600},
    }
    campaign_id = await run(add_campaign, name="paced", endpoint=FLUX, spec=spec, planned=20)
    await execute("UPDATE campaigns SET created_at = now() - interval '1 hour'")
    await repace(runtime, campaign_id, over_seconds=190.0)

    await expand_campaign(runtime, campaign_id)

    async with database.begin() as session:
        last = await session.scalar(text("SELECT max(next_at) - now() FROM jobs"))
    assert last.total_seconds() == pytest.approx(190, abs=5)
