"""The shelf: nobody can tell by reading that a job's bulk is there, and no sum changes."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from models.artifact import list_artifacts
from models.attempt import Fate
from models.base import new_id
from models.batch import list_requests
from models.campaign import add_campaign
from models.campaign_figures import read_figures
from models.custody import count_stored, measure_custody
from models.doubt import sum_doubts, sum_doubts_by_key
from models.interventions import retry_jobs
from models.job import Job, JobState
from models.job_queries import count_jobs_of, get_job, list_attempts, list_jobs
from models.setting import put_setting
from models.shelf import fetch_bulk, shelve_jobs, take_back
from models.transitions import NewJob, claim_submissions, end, enqueue_jobs, move_jobs
from tasks.sweep import sweep_lanes
from tests.integration.conftest import FLUX, complete

S = JobState
DAY = 86_400.0
POLICY = {"ttl": 600_000}
OUTPUT = {"image_url": "https://image.example.com/fox.png"}


@pytest.fixture
def make(run, execute):
    """Makes a job that ended so many days ago, with an attempt; returns its id."""

    async def make_one(*, days=10.0, state=S.COMPLETED, **options):
        job_id = new_id()
        job = NewJob(
            id=job_id,
            endpoint=FLUX,
            input={"prompt": f"a fox {job_id}"},
            policy=POLICY,
            sealed="c2VhbGVk",
            estimate_usd="0.002",
            **options,
        )
        await run(enqueue_jobs, [job])
        lease = new_id()
        [row] = await run(
            claim_submissions, endpoint=FLUX, limit=1, lease=lease, lease_seconds=60, proven=True
        )
        ended = end(row.id, lease, state=state, output=OUTPUT, cost_usd="0.002")
        await run(move_jobs, [ended])
        await execute(
            "UPDATE jobs SET finished_at = now() - make_interval(secs => :seconds) WHERE id = :id",
            seconds=days * DAY,
            id=job_id,
        )
        return job_id

    return make_one


async def shelve(run, *, days=7.0):
    return await run(shelve_jobs, older_than_seconds=days * DAY)


def facts(job):
    """Everything that a job says but where it is kept."""
    return {
        name: value
        for name, value in vars(job).items()
        if name not in {"_sa_instance_state", "shelved_at"}
    }


async def read_row(database, job_id):
    """What stands in the row itself."""
    async with database.begin() as session:
        return (
            await session.execute(
                text("SELECT input, output, policy, sealed, shelved_at FROM jobs WHERE id = :id"),
                {"id": job_id},
            )
        ).one()


async def count_shelved(database):
    async with database.begin() as session:
        return await session.scalar(text("SELECT count(*) FROM shelved_jobs"))


async def test_what_is_on_the_shelf_left_the_table_and_is_read_as_before(run, make, database):
    job_id = await make()
    before = facts(await run(get_job, job_id))

    assert await shelve(run) == 1

    row = await read_row(database, job_id)
    assert (row.input, row.output, row.policy, row.sealed) == ({}, None, None, None)
    after = await run(get_job, job_id)
    assert facts(after) == before
    assert after.shelved_at is not None
    assert [facts(job) for job in await run(list_jobs, limit=10)] == [before]


async def test_a_brief_list_does_not_look_on_the_shelf(run, make):
    job_id = await make()
    await shelve(run)

    [job] = await run(list_jobs, limit=10, brief=True)

    assert job.id == job_id
    assert "input" not in vars(job)


async def test_only_what_ended_long_ago_goes(run, make, database):
    old, recent = await make(days=7.1), await make(days=6.9)
    waiting = NewJob(id=new_id(), endpoint=FLUX, input={"prompt": "a hen"})
    await run(enqueue_jobs, [waiting])

    assert await shelve(run) == 1

    assert (await read_row(database, old)).shelved_at is not None
    for job_id in (recent, waiting.id):
        assert (await read_row(database, job_id)).shelved_at is None


async def test_every_kind_of_end_goes_and_no_job_goes_twice(run, make, database):
    for state in (S.COMPLETED, S.FAILED, S.CANCELLED, S.TIMED_OUT):
        await make(state=state)

    assert [await shelve(run), await shelve(run)] == [4, 0]

    assert await count_shelved(database) == 4


async def test_the_oldest_go_first_and_some_at_once(run, make, database, monkeypatch):
    monkeypatch.setattr("models.shelf.SHELVE_AT_ONCE", 2)
    ages = {days: await make(days=days) for days in (8, 10, 9)}

    assert await shelve(run) == 2

    assert (await read_row(database, ages[8])).shelved_at is None
    assert await shelve(run) == 1


async def test_a_crash_half_way_leaves_everything_as_it_was(make, database):
    job_id = await make()
    before = await read_row(database, job_id)

    async with database.begin() as session:
        assert await shelve_jobs(session, older_than_seconds=DAY) == 1
        await session.rollback()

    assert await read_row(database, job_id) == before
    assert await count_shelved(database) == 0


async def test_what_somebody_holds_is_left_to_the_next_time(run, make, database):
    held, free = await make(), await make()

    async with database.begin() as session:
        await session.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": held})
        assert await shelve(run) == 1

    assert (await read_row(database, free)).shelved_at is not None
    assert await shelve(run) == 1


async def test_two_that_shelve_at_once_move_each_job_once(run, make, database):
    for _ in range(6):
        await make()

    moved = await asyncio.gather(*(shelve(run) for _ in range(4)))

    assert sum(moved) == 6
    assert await count_shelved(database) == 6


async def test_no_count_and_no_sum_of_money_changes(run, make, execute, issue):
    _, key_id = await issue("tests")
    campaign_id = await run(add_campaign, name="foxes", endpoint=FLUX)
    for state in (S.COMPLETED, S.COMPLETED, S.FAILED):
        await make(state=state, campaign_id=campaign_id, key_id=key_id)
    await execute(
        "UPDATE attempts SET fate = :fate, risk_usd = 0.002 WHERE job_id IN "
        "(SELECT id FROM jobs WHERE state = 'failed')",
        fate=Fate.DOUBTFUL,
    )
    await execute("""
        INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url, expires_at, state,
            sha256, size_bytes, store_key)
        SELECT gen_random_uuid(), id, 0, endpoint, 'image_url', 'u', now(), 'stored', 'a', 7, 'a'
        FROM jobs WHERE state = 'completed'
    """)

    async def look():
        figures = await run(read_figures, campaign_id)
        progress = figures.progress
        jobs = await run(list_jobs, limit=10)
        files = await run(list_artifacts, owner=key_id)
        custody = await run(measure_custody)
        return (
            (progress.completed, progress.failed, progress.spent_usd, progress.estimate_usd),
            (progress.files_stored, progress.bytes_stored),
            figures.endings,
            await run(sum_doubts),
            await run(sum_doubts_by_key),
            await run(count_jobs_of, endpoint=FLUX, owner=None),
            await run(count_stored, campaign_id=campaign_id),
            (custody.in_flight, custody.to_copy, custody.lost),
            [facts(job) for job in jobs],
            [[facts(one) for one in await run(list_attempts, job.id)] for job in jobs],
            [facts(file) for file in files],
        )

    before = await look()
    assert before[0][2] > 0
    assert before[3].unused == 1

    assert await shelve(run) == 3

    assert await look() == before


async def test_a_retry_takes_back_what_is_sent(run, make, database):
    job_id = await make(state=S.FAILED)
    before = (await run(get_job, job_id)).input
    await shelve(run)

    assert await run(retry_jobs, job_ids=[job_id]) == {job_id: FLUX}

    [row] = await run(
        claim_submissions, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
    )
    assert (row.input, row.policy, row.sealed) == (before, POLICY, b"sealed")
    assert await count_shelved(database) == 0


async def test_a_retry_that_meets_the_shelving_waits_and_takes_it_back(run, make, database):
    job_id = await make(state=S.FAILED)
    before = (await run(get_job, job_id)).input

    async with database.begin() as session:
        assert await shelve_jobs(session, older_than_seconds=DAY) == 1
        retrying = asyncio.create_task(run(retry_jobs, job_ids=[job_id]))
        await wait_for_a_lock(database)
    retried = await retrying

    assert retried == {job_id: FLUX}
    assert (await read_row(database, job_id)).input == before


async def wait_for_a_lock(database):
    async with asyncio.timeout(10):
        while True:
            async with database.begin() as session:
                waiting = await session.scalar(
                    text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                )
            if waiting:
                return
            await asyncio.sleep(0.02)


async def test_what_is_not_retried_stays_on_the_shelf_or_is_whole(run, make):
    completed = await make()
    before = facts(await run(get_job, completed))
    await shelve(run)

    assert await run(retry_jobs, job_ids=[completed]) == {}

    assert facts(await run(get_job, completed)) == before


async def test_a_job_taken_back_since_it_was_read_is_read_again(run, make, database):
    job_id = await make(state=S.FAILED)
    before = (await run(get_job, job_id)).input
    await shelve(run)

    async with database.begin() as session:
        job = await session.get(Job, job_id)
        await run(take_back, [job_id])
        await fetch_bulk(session, [job])

    assert (job.input, job.shelved_at) == (before, None)


@pytest.mark.parametrize("state", ["queued", "in_progress"])
async def test_no_job_is_sent_that_left_its_input_on_the_shelf(run, make, execute, state):
    job_id = await make(state=S.FAILED)
    await shelve(run)

    with pytest.raises(IntegrityError, match="shelved_once_ended"):
        await execute(
            "UPDATE jobs SET state = :state, finished_at = NULL, next_at = now(), upstream_id = 'u'"
            " WHERE id = :id",
            state=state,
            id=job_id,
        )


async def test_requests_of_a_batch_show_their_results(run, make, execute, issue):
    _, key_id = await issue("tests")
    job_id = await make()
    await execute(
        "INSERT INTO batches (id, key_id, endpoint) VALUES (:id, :key, :endpoint)",
        id=job_id,
        key=key_id,
        endpoint=FLUX,
    )
    await execute(
        "INSERT INTO batch_requests (id, batch_id, position) VALUES (:id, :id, 1)", id=job_id
    )
    await shelve(run)

    [(request_id, job)] = await run(list_requests, job_id, offset=0, limit=10)

    assert (request_id, job.output) == (job_id, OUTPUT)


@pytest.mark.usefixtures("emulator")
async def test_the_gateway_tells_of_it_as_before_and_its_files_open(
    client, gateway, runtime, run, execute
):
    asked = {"input": {"prompt": "a fox", "seed": 7}}
    job_id = (await client.post(f"/v2/{FLUX}/run", json=asked)).json()["id"]
    await complete(runtime, job_id)
    before = [
        (await client.get(path)).json()
        for path in (f"/v2/{FLUX}/status/{job_id}", f"/api/v1/jobs/{job_id}")
    ]
    await execute("UPDATE jobs SET finished_at = finished_at - interval '1 day'")
    moved = (await client.get(f"/api/v1/jobs/{job_id}")).json()["finished_at"]
    before[1]["finished_at"] = moved

    assert await shelve(run, days=0.5) == 1

    after = [
        (await client.get(path)).json()
        for path in (f"/v2/{FLUX}/status/{job_id}", f"/api/v1/jobs/{job_id}")
    ]
    assert after == before
    assert (await gateway.get(after[0]["output"]["image_url"])).status_code == 200
    cached = await client.post(f"/v2/{FLUX}/run", json=asked, headers={"Pressroom-Cache": "true"})
    assert cached.headers["pressroom-cache"] == "hit"
    taken = await run(get_job, UUID(cached.json()["id"]))
    assert taken.output == (await run(get_job, UUID(job_id))).output is not None


async def test_the_sweep_shelves_what_the_operator_says(run, make, runtime, database):
    job_id = await make(days=3)

    await sweep_lanes(runtime)
    assert (await read_row(database, job_id)).shelved_at is None

    await run(put_setting, name="jobs_days", value=2.5)
    await runtime.operator.get(fresh=True)
    await sweep_lanes(runtime)
    assert (await read_row(database, job_id)).shelved_at is not None
