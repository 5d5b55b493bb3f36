"""Rules of the state machine that its property tests meet too seldom, one by one."""

import pytest
from sqlalchemy import text

from models.attempt import Answer, AttemptEnd, answer_attempts
from models.base import new_id
from models.claims import hand_back
from models.interventions import cancel_jobs, find_purgeable
from models.job import JobState, OnUnknown, Reason
from models.job_queries import get_job, list_attempts
from models.lane import StageName
from models.transitions import (
    NewJob,
    accept,
    claim_submissions,
    end,
    enqueue_jobs,
    follow_hints,
    give_up_orphans,
    hasten_decisions,
    lose_sight,
    move_jobs,
    resolve_unknown,
    retry_submit,
    set_aside_jobs,
    snooze_submit,
)
from tests.integration.conftest import FLUX


async def add_jobs(database, count=1, **options):
    jobs = [NewJob(id=new_id(), endpoint=FLUX, input={}, **options) for _ in range(count)]
    async with database.begin() as session:
        await enqueue_jobs(session, jobs)
    return [job.id for job in jobs]


async def claim(database, *, limit=10, lease_seconds=60.0):
    async with database.begin() as session:
        return await claim_submissions(
            session, endpoint=FLUX, limit=limit, lease=new_id(), lease_seconds=lease_seconds
        )


async def find(database, job_id):
    async with database.begin() as session:
        return await get_job(session, job_id)


async def run_out(session):
    """Leases and waits are over, and the sweep finds it."""
    for _ in range(2):
        await session.execute(text("UPDATE jobs SET next_at = now() WHERE next_at IS NOT NULL"))
        await give_up_orphans(session, endpoint=FLUX, wait_seconds=30)
        await resolve_unknown(
            session, endpoint=FLUX, longest_seconds=1, max_sends=3, max_attempts=10
        )


@pytest.mark.parametrize("on_unknown", OnUnknown)
@pytest.mark.parametrize("second", ["handed back", "orphaned", "busy"])
async def test_a_run_that_was_heard_of_is_followed_whatever_becomes_of_the_next(
    database, second, on_unknown
):
    """The upstream said that it failed, and had taken it: its webhook comes in the next attempt."""
    await add_jobs(database, on_unknown=on_unknown)
    [first] = await claim(database)
    async with database.begin() as session:
        await move_jobs(session, [retry_submit(first.id, first.lease, error="500", due_in=0)])
        answered = AttemptEnd(job_id=first.id, lease=first.lease, answer=Answer.FAULT)
        await answer_attempts(session, [answered])
    [again] = await claim(database)
    async with database.begin() as session:
        assert await follow_hints(session, [(first.id, first.lease, "up-1")]) == []

    async with database.begin() as session:
        if second == "handed back":
            await hand_back(session, StageName.SUBMIT, lease=again.lease)
        elif second == "busy":
            await move_jobs(session, [snooze_submit(again.id, again.lease, error="429")])
        else:
            await run_out(session)

    job = await find(database, first.id)
    assert await claim(database) == []
    assert (job.state, job.upstream_id) == (JobState.IN_QUEUE, "up-1")


async def test_of_two_runs_that_were_heard_of_the_later_is_followed(database):
    await add_jobs(database)
    for n in range(2):
        [row] = await claim(database)
        async with database.begin() as session:
            await lose_reply(session, row)
            await run_out(session)
            await session.execute(
                text("UPDATE attempts SET upstream_id = :id WHERE lease = :lease"),
                {"id": f"up-{n}", "lease": row.lease},
            )
            await session.execute(
                text("UPDATE jobs SET state = 'queued', upstream_id = NULL, submitted_at = NULL")
            )
    [last] = await claim(database)

    async with database.begin() as session:
        await move_jobs(session, [snooze_submit(last.id, last.lease, error="429")])

    assert (await find(database, last.id)).upstream_id == "up-1"


async def lose_reply(session, row):
    await move_jobs(session, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])


async def test_jobs_of_one_claim_are_told_apart_although_they_share_its_lease(database):
    """A hint, and an answer, of one says nothing of the other."""
    await add_jobs(database, 2)
    first, second = await claim(database)

    async with database.begin() as session:
        for row in (first, second):
            await lose_reply(session, row)
        await follow_hints(session, [(first.id, first.lease, "up-1")])
        answered = AttemptEnd(job_id=first.id, lease=first.lease, answer=Answer.FAULT)
        await answer_attempts(session, [answered])
        await hasten_decisions(session, [(first.id, first.lease)])

    async with database.begin() as session:
        [attempt] = await list_attempts(session, second.id)
    assert (attempt.upstream_id, attempt.answer) == (None, None)
    assert (await find(database, second.id)).state is JobState.UNKNOWN


async def test_a_cancel_that_came_too_late_does_not_keep_an_ended_job_due(database):
    await add_jobs(database)
    [row] = await claim(database)
    async with database.begin() as session:
        await cancel_jobs(session, job_ids=[row.id])

    async with database.begin() as session:
        refused = end(row.id, row.lease, state=JobState.FAILED, reason=Reason.UPSTREAM_REFUSED)
        await move_jobs(session, [refused])

    job = await find(database, row.id)
    assert (job.state, job.reason, job.next_at) == (
        JobState.FAILED,
        Reason.UPSTREAM_REFUSED,
        None,
    )


async def test_what_kills_workers_while_it_is_sent_is_unknown_first(database):
    """Whether its last attempt was taken is not known, and is not to be forgotten."""
    await add_jobs(database)
    [row] = await claim(database, lease_seconds=-1)
    async with database.begin() as session:
        await session.execute(text("UPDATE jobs SET deaths = 2"))

    async with database.begin() as session:
        assert await set_aside_jobs(session) == []

    assert (await find(database, row.id)).state is JobState.SUBMITTING


async def test_when_a_lost_job_was_last_seen_is_kept(database):
    await add_jobs(database)
    [row] = await claim(database)
    async with database.begin() as session:
        await move_jobs(session, [accept(row.id, row.lease, upstream_id="u", due_in=0)])
        await session.execute(
            text("UPDATE jobs SET polled_at = now() - interval '1 min', lease = :lease"),
            {"lease": row.lease},
        )
    before = await find(database, row.id)

    async with database.begin() as session:
        lost = end(row.id, row.lease, state=JobState.LOST, gone=True, polled=True, misses=7)
        await move_jobs(session, [lost])

    assert (await find(database, row.id)).polled_at == before.polled_at is not None


async def test_what_is_handed_back_cancelled_is_told_and_nothing_else(database):
    job_id, _ = await add_jobs(database, 2)
    async with database.begin() as session:
        await session.execute(
            text("""
                INSERT INTO deliveries (id, job_id, endpoint, request)
                SELECT gen_random_uuid(), id, endpoint, '{}' FROM jobs
            """)
        )
    [row] = await claim(database, limit=1)
    async with database.begin() as session:
        await cancel_jobs(session, job_ids=[row.id])

    async with database.begin() as session:
        await hand_back(session, StageName.SUBMIT, lease=row.lease)

    async with database.begin() as session:
        told = await session.scalars(text("SELECT job_id FROM deliveries WHERE state = 'pending'"))
        assert list(told) == [row.id]
    assert row.id == job_id
    assert (await find(database, row.id)).state is JobState.CANCELLED


async def test_a_purge_takes_what_waits_and_nothing_that_runs(database):
    job_ids = await add_jobs(database, 6)
    states = {
        job_ids[1]: "state = 'submitting', lease = gen_random_uuid()",
        job_ids[2]: "state = 'in_queue', upstream_id = 'u'",
        job_ids[3]: "state = 'in_progress', upstream_id = 'u'",
        job_ids[4]: "state = 'in_queue', upstream_id = 'u', cancel_requested_at = now()",
        job_ids[5]: "endpoint = 'another'",
    }
    async with database.begin() as session:
        for job_id, change in states.items():
            await session.execute(text(f"UPDATE jobs SET {change} WHERE id = :id"), {"id": job_id})

        found = await find_purgeable(session, endpoint=FLUX, owner=None)

    assert sorted(found) == job_ids[:3]


async def test_a_purge_by_a_key_takes_its_own_alone(database, issue):
    _, mine = await issue("mine")
    _, theirs = await issue("theirs")
    [job_id] = await add_jobs(database, key_id=mine)
    await add_jobs(database, key_id=theirs)

    async with database.begin() as session:
        assert await find_purgeable(session, endpoint=FLUX, owner=mine) == [job_id]
