"""Who is served next: producers by their weights, priorities first; who waits holds up nobody."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import text

from models.base import new_id
from models.campaign import add_campaign
from models.claims import hand_back
from models.interventions import retry_jobs
from models.job import JobState, Reason
from models.key import Scope, issue_key
from models.lane import StageName
from models.transitions import (
    NewJob,
    Submission,
    claim_submissions,
    end,
    enqueue_jobs,
    move_jobs,
    retry_submit,
    snooze_submit,
)
from tasks.generate import take_in
from tasks.intake import InvalidRequest, Request
from tests.integration.conftest import FLUX, find_job


@pytest.fixture
def new_key(database):
    """Makes a key of a weight; returns its id."""

    async def new_key(weight=1.0):
        async with database.begin() as session:
            issued = await issue_key(session, name="one", scopes=[Scope.RUN], weight=weight)
        return issued.row.id

    return new_key


@pytest.fixture
def enqueue(database):
    """Enqueues jobs of a producer; returns their ids."""

    async def enqueue(count=1, **facts):
        jobs = [
            NewJob(id=new_id(), endpoint=FLUX, input={"prompt": "a fox"}, **facts)
            for _ in range(count)
        ]
        async with database.begin() as session:
            await enqueue_jobs(session, jobs)
        return [job.id for job in jobs]

    return enqueue


@pytest.fixture
def claim(database):
    """Claims so many; returns them in the order of the line."""

    async def claim(limit):
        rows: list[Submission] = []
        for _ in range(limit):  # one at a time: a claim's rows come in the order of their ids
            async with database.begin() as session:
                rows += await claim_submissions(
                    session,
                    endpoint=FLUX,
                    limit=1,
                    lease=new_id(),
                    lease_seconds=60.0,
                    proven=True,
                )
        return rows

    return claim


@pytest.fixture
def serve(claim):
    """Claims so many; returns their ids."""

    async def serve(limit):
        return [row.id for row in await claim(limit)]

    return serve


async def test_a_producer_is_served_in_the_order_in_which_its_jobs_came(enqueue, serve):
    jobs = [*await enqueue(3), *await enqueue(1), *await enqueue(2)]

    assert await serve(6) == jobs


async def test_one_job_of_another_producer_goes_before_all_but_one_of_a_backlog(
    new_key, enqueue, serve
):
    backlog = await enqueue(50, key_id=await new_key())
    await serve(10)

    [single] = await enqueue(key_id=await new_key())

    assert single in await serve(2)
    assert (await serve(1))[0] in backlog


async def test_producers_with_a_backlog_each_are_served_in_turn(new_key, enqueue, serve):
    first = await enqueue(30, key_id=await new_key())
    await enqueue(30, key_id=await new_key())

    served = await serve(20)

    assert sum(job in first for job in served) == 10


@pytest.mark.parametrize(("weight", "expected"), [(3.0, 15), (0.25, 4)])
async def test_they_are_served_by_their_weights(new_key, enqueue, serve, weight, expected):
    heavy = await enqueue(40, key_id=await new_key(weight))
    await enqueue(40, key_id=await new_key())

    served = await serve(20)

    assert sum(job in heavy for job in served) == pytest.approx(expected, abs=1)


async def test_who_was_away_has_saved_nothing_up(new_key, enqueue, serve):
    idle, busy = await new_key(), await new_key()
    await enqueue(1, key_id=idle)
    await enqueue(40, key_id=busy)
    await serve(21)

    late = await enqueue(20, key_id=idle)

    assert sum(job in late for job in await serve(10)) == pytest.approx(5, abs=1)


async def test_once_nobody_is_in_line_all_are_even(new_key, enqueue, serve):
    first, second = await new_key(), await new_key()
    await enqueue(20, key_id=first)
    await serve(20)

    jobs = await enqueue(10, key_id=second)
    await enqueue(10, key_id=first)

    assert sum(job in jobs for job in await serve(10)) == pytest.approx(5, abs=1)


async def test_without_a_key_each_campaign_is_a_producer(database, enqueue, serve):
    async with database.begin() as session:
        campaigns = [
            await add_campaign(session, name=name, endpoint=FLUX) for name in ("first", "second")
        ]
    for campaign in campaigns:
        await enqueue(20, campaign_id=campaign, position=1)
    [single] = await enqueue()

    assert single in await serve(3)


async def test_the_campaigns_of_a_key_share_what_is_the_keys(database, new_key, enqueue, serve):
    key, other = await new_key(), await new_key()
    async with database.begin() as session:
        campaigns = [
            await add_campaign(session, name=name, endpoint=FLUX) for name in ("first", "second")
        ]
    for campaign in campaigns:
        await enqueue(20, key_id=key, campaign_id=campaign, position=1)
    others = await enqueue(20, key_id=other)

    assert sum(job in others for job in await serve(10)) == pytest.approx(5, abs=1)


async def test_a_higher_priority_goes_first_and_a_lower_one_last(new_key, enqueue, serve):
    usual = await enqueue(2)
    low = await enqueue(2, priority=0, key_id=await new_key())
    high = await enqueue(2, priority=9)

    assert await serve(6) == [*high, *usual, *low]


async def test_endpoints_have_lines_of_their_own(new_key, enqueue, run, serve):
    key = await new_key()
    await enqueue(30, key_id=await new_key())
    await run(
        enqueue_jobs,
        [NewJob(id=new_id(), endpoint="another", input={}, key_id=key) for _ in range(30)],
    )

    [job] = await enqueue(key_id=key)

    assert job in await serve(2)


async def test_what_is_due_later_holds_up_nobody_and_joins_when_it_is(
    new_key, enqueue, execute, serve
):
    paced = await enqueue(20, key_id=await new_key(), due_seconds=60.0)
    others = await enqueue(6, key_id=await new_key())
    assert await serve(3) == others[:3]

    await execute("UPDATE jobs SET next_at = now() WHERE virtual_start IS NULL")

    served = Counter("paced" if job in paced else "others" for job in await serve(6))
    assert served == {"paced": 3, "others": 3}


async def test_what_waits_for_another_attempt_is_passed_by_and_then_goes_next(
    run, enqueue, execute, claim, serve
):
    jobs = await enqueue(10)
    [row] = await claim(1)
    await run(move_jobs, [retry_submit(row.id, row.lease, error="a fault", due_in=60.0)])
    assert await serve(2) == jobs[1:3]

    await execute("UPDATE jobs SET next_at = now() WHERE virtual_start IS NULL")

    assert row.id in await serve(2)


async def test_what_was_told_to_wait_or_handed_back_keeps_its_place(run, enqueue, claim, serve):
    jobs = await enqueue(10)
    first, second = await claim(2)

    await run(move_jobs, [snooze_submit(first.id, first.lease, error="busy")])
    await run(hand_back, StageName.SUBMIT, lease=second.lease, ids=[second.id])

    assert await serve(3) == jobs[:3]


async def test_what_is_asked_for_again_is_charged_again(run, new_key, enqueue, claim, serve):
    key = await new_key()
    failed = await enqueue(10, key_id=key)
    for row in await claim(10):
        await run(
            move_jobs,
            [end(row.id, row.lease, state=JobState.FAILED, reason=Reason.UPSTREAM_REFUSED)],
        )
    others = await enqueue(10, key_id=await new_key())

    assert set(await run(retry_jobs, job_ids=failed)) == set(failed)

    assert sum(job in others for job in await serve(10)) == pytest.approx(5, abs=1)


async def test_one_that_is_sent_again_under_its_id_is_not_charged_twice(run, enqueue):
    [job] = await enqueue()
    before = await run(_read_flows)

    await run(enqueue_jobs, [NewJob(id=job, endpoint=FLUX, input={"prompt": "a fox"})])

    assert await run(_read_flows) == before


async def test_those_that_enqueue_at_once_are_each_charged(database, new_key, enqueue):
    key = await new_key()

    await asyncio.gather(*(enqueue(5, key_id=key) for _ in range(6)))

    assert await _charged(database, key) == 30
    async with database.begin() as session:
        last = await session.scalar(text("SELECT max(virtual_start) FROM jobs"))
    assert last < 30


async def _read_flows(session):
    return [tuple(row) for row in await session.execute(text("SELECT * FROM flows"))]


async def test_an_enqueue_that_is_held_up_holds_up_no_other_of_its_producer(
    database, new_key, enqueue, serve
):
    key = await new_key()
    other = await enqueue(20, key_id=await new_key())
    async with asyncio.timeout(10), database.begin() as session:
        held = [NewJob(id=new_id(), endpoint=FLUX, input={}, key_id=key) for _ in range(3)]
        await enqueue_jobs(session, held)

        meanwhile = await enqueue(4, key_id=key)

    later = await enqueue(4, key_id=key)
    # What the second could not charge, the third has: the producer gains nothing by it.
    assert sum(job in other for job in await serve(16)) == pytest.approx(8, abs=3)
    assert await _charged(database, key) == len(held) + len(meanwhile) + len(later)


async def test_a_priority_comes_by_the_header_of_run(client, runtime):
    response = await client.post(
        f"/v2/{FLUX}/run", json={"input": {"prompt": "a fox"}}, headers={"Pressroom-Priority": "9"}
    )

    assert (await find_job(runtime, response.json()["id"])).priority == 9


@pytest.mark.parametrize("value", ["10", "-1", "high", "1.5", "", "٣"])
async def test_a_priority_that_is_none_is_refused(client, run, value):
    response = await client.post(
        f"/v2/{FLUX}/run",
        json={"input": {"prompt": "a fox"}},
        headers={"Pressroom-Priority": value.encode()},
    )

    assert response.status_code == 400
    assert "Pressroom-Priority" in response.json()["error"]
    assert await run(_read_flows) == []


async def test_our_own_api_takes_and_shows_a_priority(client):
    body = {"endpoint": FLUX, "input": {"prompt": "a fox"}}
    usual = await client.post("/api/v1/jobs", json=body)
    high = await client.post("/api/v1/jobs", json={**body, "priority": 9})
    wrong = await client.post("/api/v1/jobs", json={**body, "priority": 10})

    shown = [await client.get(f"/api/v1/jobs/{one.json()['id']}") for one in (usual, high)]
    assert [one.json()["priority"] for one in shown] == [5, 9]
    assert wrong.status_code == 422


@pytest.mark.parametrize("priority", [-1, 10, "9", 4.5, [5]])
async def test_a_celery_producers_priority_that_is_none_is_refused(runtime, run, priority):
    request = Request(endpoint=FLUX, input={"prompt": "a fox"}, priority=priority)

    with pytest.raises(InvalidRequest, match="priority: 0 to 9 was wanted"):
        await take_in(runtime, request, {})

    assert await run(_read_flows) == []


async def _charged(database, key):
    async with database.begin() as session:
        return await session.scalar(
            text("""
                SELECT finish + coalesce((SELECT sum(cost) FROM charges WHERE producer = :key), 0)
                FROM flows WHERE producer = :key
            """),
            {"key": key},
        )
