"""Rows that workers die of: told from those that died beside them, and set aside after three."""

import pytest
from sqlalchemy import text

from models.base import SUSPECT_DEATHS, new_id
from models.claims import extend_lease, hand_back
from models.interventions import retry_jobs
from models.job import JobState, Reason
from models.job_queries import get_job
from models.lane import StageName, find_lanes, seconds_until_due
from models.poison import set_aside_rows
from models.transitions import ask_again, move_jobs, set_aside_jobs
from tasks.sweep import sweep_lanes
from tests.integration.conftest import FLUX
from tests.integration.stage_rows import LEASED, TABLES, claim_rows, fill_stage

DEAD = -1.0  # a lease that ran out before anything came of it


async def read_rows(database, stage):
    async with database.begin() as session:
        rows = await session.execute(
            text(f"SELECT id, state, deaths, lease, error FROM {TABLES[stage]} ORDER BY next_at")
        )
        return list(rows)


async def kill(database, stage, times):
    """So many workers claim the rows that are due, and die."""
    for _ in range(times):
        await claim_rows(database, stage, lease_seconds=DEAD)


async def set_aside(database):
    async with database.begin() as session:
        return len(await set_aside_jobs(session)) + await set_aside_rows(session)


@pytest.mark.parametrize("stage", LEASED)
async def test_whoever_died_while_it_held_a_row_is_counted_by_the_next_claim(database, stage):
    await fill_stage(database, stage, 1)

    seen = []
    for _ in range(SUSPECT_DEATHS):
        await claim_rows(database, stage, lease_seconds=DEAD)
        [row] = await read_rows(database, stage)
        seen.append(row.deaths)

    assert seen == [0, 1, 2]
    assert await claim_rows(database, stage) == []  # there will be no fourth


@pytest.mark.parametrize("stage", LEASED)
async def test_rows_whose_worker_died_are_claimed_one_by_one(database, stage):
    await fill_stage(database, stage, 3)
    together = await claim_rows(database, stage, lease_seconds=DEAD)

    alone = [await claim_rows(database, stage) for _ in range(4)]

    assert len(together) == 3
    assert sorted(map(len, alone)) == [0, 1, 1, 1]
    assert {row for rows in alone for row in rows} == set(together)


@pytest.mark.parametrize("stage", LEASED)
async def test_beside_what_is_under_suspicion_the_others_go_on_together(database, stage):
    await fill_stage(database, stage, 6)
    suspects = set(await claim_rows(database, stage, limit=2, lease_seconds=DEAD))

    claimed = [await claim_rows(database, stage) for _ in range(4)]

    assert sorted(map(len, claimed)) == [0, 1, 1, 4]
    assert {rows[0] for rows in claimed if len(rows) == 1} == suspects


@pytest.mark.parametrize("stage", LEASED)
async def test_what_comes_before_a_suspect_goes_on_without_it(database, stage):
    await fill_stage(database, stage, 3)
    async with database.begin() as session:
        await session.execute(
            text(f"""
                UPDATE {TABLES[stage]} SET deaths = 1, next_at = next_at - interval '1 s'
                WHERE id = (SELECT max(CAST(id AS text)) FROM {TABLES[stage]})::uuid
            """)
        )
        await session.execute(
            text(f"UPDATE {TABLES[stage]} SET next_at = now() - interval '1 h' WHERE deaths = 0")
        )

    claimed = [await claim_rows(database, stage) for _ in range(3)]

    assert list(map(len, claimed)) == [2, 1, 0]


async def test_a_submission_that_may_have_killed_its_worker_is_sent_alone(database):
    await fill_stage(database, StageName.SUBMIT, 3)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET deaths = 1 WHERE id = (SELECT id FROM jobs ORDER BY id LIMIT 1)")
        )

    claimed = [await claim_rows(database, StageName.SUBMIT) for _ in range(3)]

    assert list(map(len, claimed)) == [1, 2, 0]


@pytest.mark.parametrize("stage", LEASED)
@pytest.mark.parametrize(
    ("deaths", "aside"),
    [(SUSPECT_DEATHS - 1, 0), (SUSPECT_DEATHS, 1)],
)
async def test_after_the_third_death_and_not_before_a_row_is_set_aside_with_its_story(
    database, stage, deaths, aside
):
    await fill_stage(database, stage, 1)
    await kill(database, stage, deaths)

    assert await set_aside(database) == aside

    [row] = await read_rows(database, stage)
    assert (row.state == "failed") == bool(aside)
    if aside:
        assert (row.deaths, row.lease) == (SUSPECT_DEATHS, None)
        assert f"the last {SUSPECT_DEATHS} workers" in row.error
        assert await claim_rows(database, stage) == []
        assert await set_aside(database) == 0


@pytest.mark.parametrize("stage", LEASED)
async def test_while_its_third_holder_lives_a_row_is_left_to_it(database, stage):
    await fill_stage(database, stage, 1)
    await kill(database, stage, SUSPECT_DEATHS - 1)
    lease = new_id()
    [row] = await claim_rows(database, stage, lease=lease, lease_seconds=DEAD)
    async with database.begin() as session:  # late, but not dead
        await extend_lease(session, stage, ids=[row], lease=lease, seconds=15)

    assert await set_aside(database) == 0
    assert [one.state for one in await read_rows(database, stage)] != ["failed"]


@pytest.mark.parametrize("stage", LEASED)
async def test_a_claim_that_was_given_back_is_no_death(database, stage):
    await fill_stage(database, stage, 1)
    for _ in range(SUSPECT_DEATHS + 1):
        lease = new_id()
        [claimed] = await claim_rows(database, stage, lease=lease)
        async with database.begin() as session:
            await hand_back(session, stage, lease=lease, ids=[claimed])

    [row] = await read_rows(database, stage)
    assert row.deaths == 0


async def test_a_job_whose_worker_wrote_what_came_of_it_is_under_suspicion_no_more(database):
    await fill_stage(database, StageName.POLL, 1)
    await kill(database, StageName.POLL, SUSPECT_DEATHS - 1)
    lease = new_id()
    [job_id] = await claim_rows(database, StageName.POLL, lease=lease)
    async with database.begin() as session:
        await move_jobs(session, [ask_again(job_id, lease, state=JobState.IN_QUEUE, due_in=0)])
    await kill(database, StageName.POLL, SUSPECT_DEATHS - 1)

    assert await set_aside(database) == 0
    [row] = await read_rows(database, StageName.POLL)
    assert row.deaths == SUSPECT_DEATHS - 2


@pytest.mark.parametrize("stage", [StageName.POLL, StageName.CANCEL])
async def test_a_job_that_was_set_aside_says_why_and_may_be_retried(database, runtime, stage):
    await fill_stage(database, stage, 1)
    await kill(database, stage, SUSPECT_DEATHS)
    [row] = await read_rows(database, stage)

    await sweep_lanes(runtime)

    async with database.begin() as session:
        job = await get_job(session, row.id)
        retried = await retry_jobs(session, job_ids=[row.id])
    assert (job.state, job.reason) == (JobState.FAILED, Reason.KILLED_WORKERS)
    assert job.finished_at is not None
    assert "may have been billed" in str(job.error)
    assert retried == {row.id: FLUX}
    assert len(await claim_rows(database, StageName.SUBMIT)) == 1
    [row] = await read_rows(database, stage)
    assert row.deaths == 0


async def test_whoever_waits_for_a_job_that_was_set_aside_is_told(database, runtime):
    await fill_stage(database, StageName.WEBHOOK, 1)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET state = 'in_queue', upstream_id = 'u', submitted_at = now()")
        )
        await session.execute(text("UPDATE deliveries SET state = 'waiting'"))
    await kill(database, StageName.POLL, SUSPECT_DEATHS)

    await sweep_lanes(runtime)

    assert len(await claim_rows(database, StageName.WEBHOOK)) == 1


async def test_what_was_set_aside_does_not_hold_up_the_rest_of_its_lane(database):
    await fill_stage(database, StageName.POLL, 4)
    [poison] = await claim_rows(database, StageName.POLL, limit=1, lease_seconds=DEAD)
    for _ in range(SUSPECT_DEATHS - 1):
        async with database.begin() as session:  # it is the first that is due
            await session.execute(
                text("UPDATE jobs SET next_at = now() - interval '1 min' WHERE id = :id"),
                {"id": poison},
            )
        assert await claim_rows(database, StageName.POLL, lease_seconds=DEAD) == [poison]

    assert len(await claim_rows(database, StageName.POLL)) == 3


@pytest.mark.parametrize("stage", LEASED)
async def test_its_last_chance_a_row_has_with_a_worker_that_does_not_die_of_something_else(
    database, stage
):
    """All workers are killed, again and again: what they held may be as good as any."""
    await fill_stage(database, stage, 1)
    for _ in range(SUSPECT_DEATHS - 1):
        assert len(await claim_rows(database, stage, lease_seconds=DEAD, proven=False)) == 1
    async with database.begin() as session:
        due = await seconds_until_due(session, stage, FLUX)
        lanes = {lane.stage: lane.due for lane in await find_lanes(session)}

    young = await claim_rows(database, stage, proven=False)
    old = await claim_rows(database, stage, proven=True)

    assert (due, young, len(old)) == (None, [], 1)
    assert lanes[stage]  # so the sweep rings until one comes


async def test_a_job_is_sent_for_the_last_time_by_a_worker_that_does_not_die_of_something_else(
    database,
):
    await fill_stage(database, StageName.SUBMIT, 1)
    async with database.begin() as session:
        await session.execute(text(f"UPDATE jobs SET deaths = {SUSPECT_DEATHS - 1}"))

    young = await claim_rows(database, StageName.SUBMIT, proven=False)
    old = await claim_rows(database, StageName.SUBMIT, proven=True)

    assert (young, len(old)) == ([], 1)
