"""Paused campaigns: their queued jobs are out of everybody's way, and come back as they were."""

import asyncio
import datetime as dt

import pytest
from sqlalchemy import text

import tasks.pause
from gateway.explain import explain
from models.base import new_id
from models.campaign import add_campaign, claim_unexpanded, get_campaign
from models.campaign_figures import count_jobs
from models.claims import hand_back
from models.errors import NotFound
from models.fairness import join_line
from models.hold import set_campaign_paused, settle
from models.job import JobState
from models.job_queries import JobFilter, get_job, list_jobs
from models.lane import StageName, find_lanes, list_lane_states, seconds_until_due
from models.transitions import (
    NewJob,
    accept,
    claim_submissions,
    enqueue_jobs,
    lose_sight,
    move_jobs,
    resolve_unknown,
    retry_submit,
    snooze_submit,
)
from tasks.expand import expand_campaign
from tasks.pause import pause, resume, settle_campaigns
from tasks.results import describe_job
from tests.integration.conftest import FLUX

JOBS = 23


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(tasks.pause, "AT_ONCE", 5)


@pytest.fixture
def add(run):
    """Adds a campaign with so many queued jobs; its id."""

    async def add_one(jobs=JOBS, **options):
        campaign_id = await run(add_campaign, name=f"shoot {new_id()}", endpoint=FLUX, **options)
        await run(
            enqueue_jobs,
            [
                NewJob(id=new_id(), endpoint=FLUX, input={}, campaign_id=campaign_id, position=n)
                for n in range(jobs)
            ],
        )
        return campaign_id

    return add_one


async def claim(run, limit=100):
    return await run(
        claim_submissions,
        endpoint=FLUX,
        limit=limit,
        lease=new_id(),
        lease_seconds=60,
        proven=True,
    )


async def read_jobs(run, campaign_id):
    return await run(list_jobs, JobFilter(campaign_id=campaign_id), limit=None)


async def test_no_job_of_a_paused_campaign_is_claimed_and_others_go_on(runtime, run, add):
    paused, other = await add(), await add(3)

    assert await pause(runtime, paused)

    assert len(await claim(run)) == 3
    jobs = await read_jobs(run, paused)
    assert {job.state for job in jobs} == {JobState.QUEUED}
    assert all(job.held for job in jobs)
    progress = await run(count_jobs, paused)
    assert (progress.paused, progress.queued) == (True, JOBS)
    assert not (await run(count_jobs, other)).paused
    assert not await pause(runtime, paused)


async def test_its_lane_is_not_due_and_counts_none_of_them(runtime, run, add):
    await pause(runtime, await add())

    assert await run(seconds_until_due, StageName.SUBMIT, FLUX) is None
    assert [lane for lane in await run(find_lanes) if lane.due] == []
    assert [lane.waiting for lane in await run(list_lane_states)] in ([], [0])


async def test_what_is_resumed_is_sent_and_its_lane_is_rung(runtime, run, add):
    campaign_id = await add()
    await pause(runtime, campaign_id)
    await runtime.redis.flushall()

    assert await resume(runtime, campaign_id)

    assert len(await claim(run)) == JOBS
    assert await runtime.redis.keys(f"*bell:submit:{FLUX}")
    assert not (await run(count_jobs, campaign_id)).paused
    assert not await resume(runtime, campaign_id)


@pytest.mark.parametrize(
    "comes_back", ["told to wait", "another attempt", "handed back", "no reply"]
)
async def test_what_comes_back_to_the_queue_is_held_as_it_would_join(runtime, run, add, comes_back):
    campaign_id = await add(2)
    rows = await claim(run)
    await pause(runtime, campaign_id)
    assert (await run(count_jobs, campaign_id)).running == 2

    if comes_back == "handed back":
        ids = [row.id for row in rows]
        await run(hand_back, StageName.SUBMIT, lease=rows[0].lease, ids=ids)
    elif comes_back == "told to wait":
        await run(move_jobs, [snooze_submit(row.id, row.lease, error="429") for row in rows])
    elif comes_back == "no reply":
        await run(move_jobs, [lose_sight(r.id, r.lease, error="-", due_in=0) for r in rows])
        await run(resolve_unknown, endpoint=FLUX, longest_seconds=0, max_sends=3, max_attempts=10)
    else:
        moves = [retry_submit(row.id, row.lease, error="500", due_in=0) for row in rows]
        await run(move_jobs, moves)

    assert await claim(run) == []
    assert all(job.held for job in await read_jobs(run, campaign_id))
    await resume(runtime, campaign_id)
    assert len(await claim(run)) == 2


async def test_what_was_sent_runs_on(runtime, run, add):
    campaign_id = await add(1)
    [row] = await claim(run)
    await run(move_jobs, [accept(row.id, row.lease, upstream_id="up-1", due_in=0)])

    await pause(runtime, campaign_id)

    job = await run(get_job, row.id)
    assert (job.state, job.held) == (JobState.IN_QUEUE, False)


async def test_what_is_enqueued_while_it_is_paused_is_held(runtime, run, add):
    campaign_id = await add(0)
    await pause(runtime, campaign_id)

    job = NewJob(id=new_id(), endpoint=FLUX, input={}, campaign_id=campaign_id, position=0)
    await run(enqueue_jobs, [job])

    assert await claim(run) == []
    await resume(runtime, campaign_id)
    assert [row.id for row in await claim(run)] == [job.id]


async def test_a_paused_campaign_is_not_expanded_and_goes_on_after(runtime, run, execute):
    spec = {"name": "few", "endpoint": FLUX, "prompts": [f"fox {n}" for n in range(4)]}
    campaign_id = await run(add_campaign, name="few", endpoint=FLUX, spec=spec, planned=4)
    await pause(runtime, campaign_id)
    await execute("UPDATE campaigns SET created_at = now() - interval '1 min'")

    assert not await expand_campaign(runtime, campaign_id)
    assert await run(claim_unexpanded, idle_seconds=1) == []
    await resume(runtime, campaign_id)

    assert await run(claim_unexpanded, idle_seconds=1) == [campaign_id]
    assert await run(claim_unexpanded, idle_seconds=1) == []
    await expand_campaign(runtime, campaign_id)
    assert len(await claim(run)) == 4


async def test_a_pace_goes_on_from_where_it_was_in_however_many_steps(
    runtime, run, add, read_waits
):
    spec = {"name": "a", "endpoint": FLUX, "pace": {"over": 220.0}}
    campaign_id = await add(spec=spec, planned=JOBS)
    await claim(run, limit=3)  # the first three were sent
    await pause(runtime, campaign_id)

    await resume(runtime, campaign_id)

    assert await read_waits() == pytest.approx([10.0 * n for n in range(JOBS - 3)], abs=2)


@pytest.mark.parametrize("paused", [True, False])
async def test_what_was_left_undone_the_sweep_does(runtime, run, add, monkeypatch, paused):
    campaign_id = await add()
    if not paused:
        await pause(runtime, campaign_id)
    await run(set_campaign_paused, campaign_id, paused=paused)  # and then it died
    monkeypatch.setattr(tasks.pause, "STEPS_OF_A_SWEEP", 2)

    sweeps = 0
    while (await run(get_campaign, campaign_id)).unsettled:
        await settle_campaigns(runtime)
        sweeps += 1

    assert sweeps > 2
    assert {job.held for job in await read_jobs(run, campaign_id)} == {paused}
    assert len(await claim(run)) == (0 if paused else JOBS)


@pytest.mark.parametrize("held_by", ["the line", "enqueuing"])
async def test_what_is_held_as_its_campaign_is_resumed_the_sweep_releases(
    runtime, run, add, database, held_by
):
    """The statement that holds it began before that, and commits after."""
    campaign_id = await add(0)
    await pause(runtime, campaign_id)
    job = NewJob(id=new_id(), endpoint=FLUX, input={}, campaign_id=campaign_id, position=0)
    if held_by == "the line":
        await run(enqueue_jobs, [job])
        async with database.begin() as session:
            await session.execute(text("UPDATE jobs SET next_at = now()"))
        await run(settle, campaign_id, paused=True)
    async with database.begin() as session:
        if held_by == "the line":
            await join_line(session, FLUX)
        else:
            await enqueue_jobs(session, [job])
        resuming = asyncio.create_task(resume(runtime, campaign_id))
        await asyncio.sleep(0.3)
    await resuming

    await settle_campaigns(runtime)

    assert [row.id for row in await claim(run)] == [job.id]


async def test_pausing_and_resuming_at_once_ends_as_the_last_said(runtime, run, add):
    campaign_id = await add()

    for _ in range(3):
        await asyncio.gather(pause(runtime, campaign_id), resume(runtime, campaign_id))
    await settle_campaigns(runtime)

    paused = (await run(count_jobs, campaign_id)).paused
    for _ in range(10):
        await settle_campaigns(runtime)
    assert {job.held for job in await read_jobs(run, campaign_id)} == {paused}


async def test_why_it_waits_is_said_and_no_time_is_named(runtime, run, add):
    campaign_id = await add(1)
    await pause(runtime, campaign_id)
    [job] = await read_jobs(run, campaign_id)

    assert explain(job, [], {}) == "its campaign is paused"
    links = await runtime.links()
    assert describe_job(job, [], links)["next_at"] is None
    assert job.next_at.astimezone(dt.UTC).year == 9999


async def test_there_is_none_to_pause_of_what_does_not_exist(runtime):
    with pytest.raises(NotFound):
        await pause(runtime, new_id())
