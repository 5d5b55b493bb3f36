"""Acts on many jobs: each once, whatever dies between two batches, and in its place in line."""

from typing import Any

import pytest
from sqlalchemy import text

from models.audit import Actor, AuditFilter, list_acts
from models.base import new_id
from models.campaign import add_campaign
from models.job import JobState
from models.job_queries import JobFilter, list_jobs
from models.key import Scope, issue_key
from models.transitions import NewJob, claim_submissions, enqueue_jobs
from tasks import bulk
from tasks.bulk import Bulk, Verb, narrow, preview, step
from tasks.pause import pause, resume
from tests.integration.conftest import FLUX, client_of

OPERATOR = Actor("tests")


@pytest.fixture
def enqueue(database):
    """Enqueues jobs of a producer; returns their ids."""

    async def enqueue(count=1, **facts):
        jobs = [NewJob(id=new_id(), endpoint=FLUX, input={}, **facts) for _ in range(count)]
        async with database.begin() as session:
            await enqueue_jobs(session, jobs)
        return [job.id for job in jobs]

    return enqueue


@pytest.fixture
def new_key(database):
    async def new_key(name):
        async with database.begin() as session:
            return (await issue_key(session, name=name, scopes=[Scope.RUN])).row.id

    return new_key


@pytest.fixture
def serve(database):
    """Claims so many, one by one: their ids in the order of the line."""

    async def serve(count):
        served = []
        for _ in range(count):
            async with database.begin() as session:
                rows = await claim_submissions(
                    session,
                    endpoint=FLUX,
                    limit=1,
                    lease=new_id(),
                    lease_seconds=60.0,
                    proven=True,
                )
            served += [row.id for row in rows]
        return served

    return serve


@pytest.fixture
def fail(database):
    async def fail(ids, *, usd="0.5"):
        async with database.begin() as session:
            await session.execute(
                text("""
                    UPDATE jobs SET state = 'failed', reason = 'upstream_failed', next_at = NULL,
                        finished_at = now(), estimate_usd = CAST(:usd AS numeric)
                    WHERE id = ANY(:ids)
                """),
                {"ids": list(ids), "usd": usd},
            )

    return fail


def plan(verb, *, priority=None, **wanted):
    return Bulk(verb, narrow(verb, JobFilter(**wanted), priority=priority), priority=priority)


async def walk(runtime, bulk, *, steps=100):
    """How many were reached in so many batches."""
    done, last = 0, None
    for _ in range(steps):
        one = await step(runtime, bulk, after=last, by=OPERATOR)
        done, last = done + one.done, one.last
        if last is None:
            break
    return done


async def test_jobs_of_a_higher_priority_overtake_in_the_order_that_they_had(
    runtime, enqueue, serve, monkeypatch
):
    monkeypatch.setattr("tasks.bulk.AT_ONCE", 2)
    first, urgent = await enqueue(3), await enqueue(5)
    bulk = plan(Verb.PRIORITIZE, priority=9, job_ids=urgent)

    told = await preview(runtime, bulk)
    assert await walk(runtime, bulk) == 5
    again = await walk(runtime, bulk)

    assert (told.total.jobs, told.sample) == (5, urgent)
    assert again == 0
    assert await serve(8) == [*urgent, *first]


async def test_moved_jobs_share_their_new_line_by_producer(runtime, enqueue, serve, new_key):
    many, few = await new_key("many"), await new_key("few")
    await enqueue(6, key_id=many, priority=9)
    moved = await enqueue(2, key_id=few)

    await walk(runtime, plan(Verb.PRIORITIZE, priority=9, key_id=few))

    assert set(moved) <= set(await serve(4))


async def test_who_moves_jobs_away_does_not_stand_behind_the_places_that_they_left(
    runtime, enqueue, serve, new_key
):
    mine, other = await new_key("mine"), await new_key("other")
    await enqueue(50, key_id=mine)
    await enqueue(50, key_id=other)
    await walk(runtime, plan(Verb.PRIORITIZE, priority=1, key_id=mine))

    [next_one] = await enqueue(1, key_id=mine)

    assert next_one in await serve(3)


async def test_what_was_sent_or_has_ended_keeps_its_priority(
    runtime, enqueue, serve, fail, database
):
    ids = await enqueue(4)
    await serve(1)
    await fail(ids[1:2])

    assert await walk(runtime, plan(Verb.PRIORITIZE, priority=9)) == 2

    async with database.begin() as session:
        jobs = await list_jobs(session, JobFilter(), limit=None)
    priorities = {job.id: job.priority for job in jobs}
    assert [priorities[one] for one in ids] == [5, 5, 9, 9]


async def test_jobs_of_a_paused_campaign_stay_held_whatever_is_done_to_them(
    runtime, enqueue, serve, fail, run
):
    campaign = await run(add_campaign, name="held", endpoint=FLUX)
    ids = await enqueue(3, campaign_id=campaign)
    await fail(ids[:1])
    await pause(runtime, campaign)

    assert await walk(runtime, plan(Verb.RETRY, campaign_id=campaign)) == 1
    assert await walk(runtime, plan(Verb.PRIORITIZE, priority=8, campaign_id=campaign)) == 3
    held = await serve(3)
    await resume(runtime, campaign)
    [ordinary] = await enqueue(1)

    assert held == []
    assert await serve(4) == [*ids, ordinary]


async def test_a_retry_that_dies_half_way_goes_on_and_sends_nothing_twice(
    runtime, enqueue, fail, database, monkeypatch
):
    monkeypatch.setattr("tasks.bulk.AT_ONCE", 3)
    ids = await enqueue(8)
    await fail(ids)
    first = plan(Verb.RETRY)
    told = await preview(runtime, first)
    assert (told.total.jobs, float(told.total.estimate_usd)) == (8, 4.0)

    assert await walk(runtime, first, steps=1) == 3
    await fail(ids[-1:])  # one of those fails anew, before the second run
    second = plan(Verb.RETRY, ended_before=told.ended_before)

    assert await walk(runtime, second) == 5
    async with database.begin() as session:
        jobs = await list_jobs(session, JobFilter(), limit=None)
        lines = await list_acts(session, AuditFilter(action="jobs.retry"), limit=10)
    assert {job.retries for job in jobs} == {1}
    noted = [
        ((line.before or {})["states"]["failed"], (line.after or {})["jobs"]) for line in lines
    ]
    assert noted == [(2, 2), (3, 3), (3, 3)]


async def test_a_client_that_follows_next_cancels_all_and_each_once(
    gateway_app, issue, enqueue, database, monkeypatch
):
    monkeypatch.setattr("tasks.bulk.AT_ONCE", 2)
    monkeypatch.setattr("gateway.api.job_acts.ANSWER_SECONDS", 0.0)
    key, _ = await issue("operator", Scope.OPERATE)
    await enqueue(5)
    body = {"filter": {"endpoint": FLUX}, "dry_run": False}
    told: list[dict[str, Any]] = []

    async with client_of(gateway_app, key) as client:
        while not told or told[-1]["next"]:
            cursor = told[-1]["next"] if told else None
            asked = {**body, "cursor": cursor}
            told.append((await client.post("/api/v1/jobs/cancel", json=asked)).json())

    assert [(one["count"], one["left"]) for one in told] == [(2, 3), (2, 1), (1, 0)]
    async with database.begin() as session:
        jobs = await list_jobs(session, JobFilter(), limit=None)
    assert {job.state for job in jobs} == {JobState.CANCELLED}


async def test_a_filter_by_reason_and_tag_reaches_no_other_job(runtime, enqueue, fail, run):
    tagged = await run(add_campaign, name="tagged", endpoint=FLUX, tags=["nightly"])
    wanted = await enqueue(2, campaign_id=tagged)
    await fail([*wanted, *await enqueue(2)])

    assert await walk(runtime, plan(Verb.RETRY, tag="other")) == 0
    assert await walk(runtime, plan(Verb.RETRY, tag="nightly", reasons=["worker_died"])) == 0
    assert await walk(runtime, plan(Verb.RETRY, tag="nightly", reasons=["upstream_failed"])) == 2


async def test_what_was_sent_since_it_was_found_queued_is_not_cancelled(
    runtime, enqueue, serve, monkeypatch
):
    await enqueue(3)
    find = bulk.list_next

    async def find_while_one_is_sent(*given, **options):
        found = await find(*given, **options)
        await serve(1)
        return found

    monkeypatch.setattr(bulk, "list_next", find_while_one_is_sent)

    one = await step(runtime, plan(Verb.CANCEL, states=[JobState.QUEUED]), after=None, by=OPERATOR)

    assert one.done == 2
