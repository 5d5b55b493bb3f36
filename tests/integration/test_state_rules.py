"""Rules of the state machine that its property tests meet too seldom, one by one."""

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.artifact import DownloadEnd, record_downloads, settle_measured
from models.attempt import Answer, AttemptEnd, Fate, answer_attempts
from models.base import new_id
from models.claims import claim_polls, find_recent_submits, hand_back
from models.interventions import begin_streaming, cancel_jobs, find_purgeable, retry_jobs
from models.job import JobState, OnUnknown, Reason
from models.job_queries import get_job, list_attempts
from models.lane import StageName, list_lane_states, set_paused
from models.transitions import (
    NewJob,
    accept,
    ask_again,
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
from tests.integration.stage_rows import TABLES, claim_rows, fill_stage


async def add_jobs(database, count=1, **options):
    jobs = [NewJob(id=new_id(), endpoint=FLUX, input={}, **options) for _ in range(count)]
    async with database.begin() as session:
        await enqueue_jobs(session, jobs)
    return [job.id for job in jobs]


async def claim(database, *, limit=10, lease_seconds=60.0):
    async with database.begin() as session:
        return await claim_submissions(
            session,
            endpoint=FLUX,
            limit=limit,
            lease=new_id(),
            lease_seconds=lease_seconds,
            proven=True,
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
            await hand_back(session, StageName.SUBMIT, lease=again.lease, ids=[again.id])
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

    job = await find(database, row.id)
    assert job.polled_at == before.polled_at is not None
    assert job.upstream_id == "u"  # by which it can be asked after


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
        await hand_back(session, StageName.SUBMIT, lease=row.lease, ids=[row.id])

    async with database.begin() as session:
        told = await session.scalars(
            text("SELECT job_id FROM deliveries WHERE state = 'pending' AND pending_at = next_at")
        )
        assert list(told) == [row.id]
    assert row.id == job_id
    job = await find(database, row.id)
    assert (job.state, job.reason) == (JobState.CANCELLED, Reason.CANCELLED)


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


LEDGER = {
    "lease": "gen_random_uuid()",
    "number": "number + 1",
    "endpoint": "'another'",
    "sent_at": "now() + interval '1 s'",
    "answered_at": "now() + interval '1 s'",
    "answer": "'busy'",
    "http_status": "500",
    "upstream_id": "'up-2'",
    "error": "'e2'",
    "cost_usd": "2",
    "fate": "'absent'",
    "risk_usd": "2",
}


@pytest.mark.parametrize("change", ["another value", "no value"])
@pytest.mark.parametrize("column", LEDGER)
async def test_no_fact_in_the_ledger_is_changed_once_it_is_written(database, column, change):
    await add_jobs(database)
    await claim(database)
    async with database.begin() as session:
        await session.execute(
            text("""
                UPDATE attempts SET answered_at = now(), answer = 'unknown', http_status = 200,
                    upstream_id = 'up-1', error = 'e', cost_usd = 1, fate = 'doubtful', risk_usd = 1
            """)
        )

    value = LEDGER[column] if change == "another value" else "NULL"
    with pytest.raises(DBAPIError, match=r"append-only|null value"):
        async with database.begin() as session:
            await session.execute(text(f"UPDATE attempts SET {column} = {value}"))


async def test_no_row_of_the_ledger_is_deleted(database):
    await add_jobs(database)
    await claim(database)

    with pytest.raises(DBAPIError, match="append-only"):
        async with database.begin() as session:
            await session.execute(text("DELETE FROM attempts"))


async def test_the_last_attempt_decides_of_a_job_and_not_an_earlier_one(database):
    await add_jobs(database, on_unknown=OnUnknown.FAIL)
    [first] = await claim(database)
    async with database.begin() as session:
        await move_jobs(session, [retry_submit(first.id, first.lease, error="500", due_in=0)])
        answered = AttemptEnd(job_id=first.id, lease=first.lease, answer=Answer.FAULT)
        await answer_attempts(session, [answered])
    await claim(database)

    async with database.begin() as session:
        await run_out(session)
        fates = [attempt.fate for attempt in await list_attempts(session, first.id)]

    job = await find(database, first.id)
    assert (job.state, job.reason) == (JobState.FAILED, Reason.OUTCOME_UNKNOWN)
    assert fates == [None, Fate.DOUBTFUL]


async def test_a_move_that_a_state_does_not_allow_is_not_written_though_the_lease_holds(database):
    await add_jobs(database)
    [row] = await claim(database)
    async with database.begin() as session:
        await move_jobs(session, [accept(row.id, row.lease, upstream_id="u", due_in=0)])
        [poll] = await claim_polls(
            session, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
        )

        moved = await move_jobs(session, [lose_sight(poll.id, poll.lease, error="e", due_in=1)])

    assert moved == set()


async def test_of_jobs_handed_back_together_the_one_that_was_heard_of_is_followed(database):
    await add_jobs(database, 2)
    first, second = await claim(database)
    async with database.begin() as session:
        for row in (first, second):
            await move_jobs(session, [retry_submit(row.id, row.lease, error="500", due_in=0)])
    again, _ = await claim(database)
    async with database.begin() as session:
        await follow_hints(session, [(first.id, first.lease, "up-1")])

    async with database.begin() as session:
        assert (
            await hand_back(session, StageName.SUBMIT, lease=again.lease, ids=[first.id, second.id])
            == 2
        )

    states = [(await find(database, row.id)).state for row in (first, second)]
    assert states == [JobState.IN_QUEUE, JobState.QUEUED]


async def test_what_was_heard_of_before_a_retry_was_asked_for_is_not_followed_after(database):
    await add_jobs(database)
    [first] = await claim(database)
    async with database.begin() as session:
        await move_jobs(session, [accept(first.id, first.lease, upstream_id="u", due_in=0)])
        found = AttemptEnd(
            job_id=first.id, lease=first.lease, answer=Answer.ACCEPTED, upstream_id="u"
        )
        await answer_attempts(session, [found])
        [poll] = await claim_polls(
            session, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
        )
        await move_jobs(session, [end(poll.id, poll.lease, state=JobState.FAILED)])
        await retry_jobs(session, job_ids=[first.id])
    [again] = await claim(database)

    async with database.begin() as session:
        await move_jobs(session, [snooze_submit(again.id, again.lease, error="429")])

    assert (await find(database, first.id)).state is JobState.QUEUED


async def test_after_a_retry_sends_are_counted_anew(database):
    await add_jobs(database)
    for _ in range(2):
        [row] = await claim(database)
        async with database.begin() as session:
            await move_jobs(session, [accept(row.id, row.lease, upstream_id="u", due_in=0)])
            [poll] = await claim_polls(
                session, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
            )
            await move_jobs(session, [end(poll.id, poll.lease, state=JobState.FAILED)])
            await retry_jobs(session, job_ids=[row.id])

    assert (poll.attempt, poll.sends) == (2, 1)


async def test_orphans_of_an_endpoint_wait_as_long_as_that_endpoint_takes(database):
    await add_jobs(database)
    await claim(database, lease_seconds=-1)

    async with database.begin() as session:
        assert await give_up_orphans(session, endpoint="another", wait_seconds=30) == 0
        assert await give_up_orphans(session, endpoint=FLUX, wait_seconds=30) == 1

        assert "the worker died" in await session.scalar(text("SELECT error FROM jobs"))


async def test_a_job_that_began_is_asked_for_when_it_is_likely_done_not_when_it_had_to_begin(
    database,
):
    await add_jobs(database, start_seconds=50)
    [row] = await claim(database)
    async with database.begin() as session:
        await move_jobs(session, [accept(row.id, row.lease, upstream_id="u", due_in=0)])
        [poll] = await claim_polls(
            session, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
        )
        begun = ask_again(poll.id, poll.lease, state=JobState.IN_PROGRESS, due_in=100)
        await move_jobs(session, [begun])

        late = await session.scalar(text("SELECT next_at > now() + interval '90 s' FROM jobs"))

    assert late


async def test_a_result_has_no_error_whatever_went_wrong_before(database):
    await add_jobs(database)
    [row] = await claim(database)
    async with database.begin() as session:
        await session.execute(text("UPDATE jobs SET error = '500'"))
        await move_jobs(session, [end(row.id, row.lease, state=JobState.COMPLETED)])

    assert (await find(database, row.id)).error is None


@pytest.mark.parametrize(("ago", "found"), [(0, 1), (15, 1), (25, 0)])
async def test_of_what_was_sent_lately_the_quota_is_told_when_it_was_answered(database, ago, found):
    await add_jobs(database)
    async with database.begin() as session:
        await session.execute(
            text("""
                INSERT INTO attempts (job_id, lease, number, endpoint, sent_at, answered_at)
                SELECT id, gen_random_uuid(), 1, endpoint, now() - make_interval(secs => :ago),
                    now() - make_interval(secs => :ago) FROM jobs
            """),
            {"ago": ago},
        )

        seconds = await find_recent_submits(session, endpoint=FLUX, seconds=10)

    assert list(seconds) == [pytest.approx(ago, abs=0.1)] * found


@pytest.mark.parametrize("stage", [StageName.ARCHIVE, StageName.NOTIFY, StageName.WEBHOOK])
async def test_what_is_done_is_not_claimed_again(database, stage):
    await fill_stage(database, stage, 1)
    state = "expired" if stage is StageName.ARCHIVE else "delivered"
    async with database.begin() as session:
        await session.execute(text(f"UPDATE {TABLES[stage]} SET state = '{state}'"))

    assert await claim_rows(database, stage) == []


async def test_a_lane_of_which_nothing_was_said_is_open(database):
    await add_jobs(database)

    async with database.begin() as session:
        [lane] = await list_lane_states(session, stage=StageName.SUBMIT)

    assert (lane.paused, lane.closures, lane.waiting) == (False, 0, 1)


async def test_what_holds_up_one_stage_is_not_shown_of_another(database):
    await add_jobs(database)
    async with database.begin() as session:
        await set_paused(session, StageName.POLL, FLUX, paused=True)

        lanes = await list_lane_states(session, endpoint=FLUX)

    assert {lane.stage for lane in lanes if lane.paused} == {StageName.POLL}
    assert {lane.stage for lane in lanes if lane.waiting} == {StageName.SUBMIT}
    assert {lane.stage for lane in lanes} == set(StageName)


async def test_what_holds_up_one_endpoint_is_not_shown_of_another(database):
    await add_jobs(database)
    async with database.begin() as session:
        await set_paused(session, StageName.SUBMIT, "another", paused=True)

        lanes = await list_lane_states(session, stage=StageName.SUBMIT)

    assert [(lane.endpoint, lane.waiting, lane.paused) for lane in lanes] == [
        ("another", 0, True),
        (FLUX, 1, False),
    ]


async def test_of_one_stage_the_lanes_of_others_are_not_shown(database):
    """One that is held up is, whether anything waits in it or not."""
    async with database.begin() as session:
        for stage in (StageName.POLL, StageName.CANCEL):
            await set_paused(session, stage, FLUX, paused=True)

        lanes = await list_lane_states(session, stage=StageName.POLL)

    assert [(lane.stage, lane.waiting, lane.paused) for lane in lanes] == [
        (StageName.POLL, 0, True)
    ]


async def test_of_what_was_sent_lately_each_endpoint_counts_its_own(database):
    await add_jobs(database)
    await claim(database)

    async with database.begin() as session:
        assert list(await find_recent_submits(session, endpoint="another", seconds=10)) == []
        assert list(await find_recent_submits(session, endpoint=FLUX, seconds=10)) == [0]


@pytest.mark.parametrize(
    ("stage", "other"),
    [(StageName.NOTIFY, StageName.WEBHOOK), (StageName.WEBHOOK, StageName.NOTIFY)],
)
async def test_word_of_one_kind_is_not_claimed_as_of_the_other(database, stage, other):
    await fill_stage(database, stage, 1)

    assert await claim_rows(database, other) == []
    assert len(await claim_rows(database, stage)) == 1


async def test_of_files_that_were_claimed_together_each_is_recorded_by_itself(database):
    await fill_stage(database, StageName.ARCHIVE, 2)
    lease = new_id()
    first, second = await claim_rows(database, StageName.ARCHIVE, lease=lease)
    async with database.begin() as session:
        failed = DownloadEnd(id=first, lease=lease, error="HTTP 404", retry_in=None)

        assert await record_downloads(session, [failed]) == {first}

        found = await session.execute(text("SELECT id, state, error FROM artifacts"))
        assert {row.id: (row.state, row.error) for row in found} == {
            first: ("expired", "HTTP 404"),
            second: ("pending", None),
        }


async def test_what_a_text_took_and_gave_is_kept(database):
    await add_jobs(database)
    [row] = await claim(database)
    said = end(
        row.id, row.lease, state=JobState.COMPLETED, output=["a"], input_tokens=3, output_tokens=4
    )
    async with database.begin() as session:
        await move_jobs(session, [said])

    job = await find(database, row.id)
    assert (job.output, job.input_tokens, job.output_tokens) == (["a"], 3, 4)


async def test_one_input_is_taken_however_large_it_is(database, monkeypatch):
    monkeypatch.setattr("models.transitions.CLAIM_BYTES", 1)
    await add_jobs(database, 2)

    assert [len(await claim(database)) for _ in range(3)] == [1, 1, 0]


async def test_after_a_cancel_was_tried_the_job_is_asked_for_in_its_own_time(database):
    await add_jobs(database)
    [row] = await claim(database)
    async with database.begin() as session:
        await move_jobs(session, [accept(row.id, row.lease, upstream_id="u", due_in=0)])
        [poll] = await claim_polls(
            session, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
        )
        await session.execute(text("UPDATE jobs SET cancel_requested_at = now(), cancel_tries = 1"))

        later = ask_again(poll.id, poll.lease, state=JobState.IN_QUEUE, due_in=60)
        await move_jobs(session, [later])

        seconds = await session.scalar(text("SELECT extract(epoch FROM next_at - now()) FROM jobs"))
    assert float(seconds) == 60


@pytest.mark.parametrize("stage", StageName)
async def test_what_another_claim_is_taking_is_neither_taken_nor_waited_for(database, stage):
    await fill_stage(database, stage, 1)
    async with database.begin() as session:
        table = TABLES[stage]
        await session.execute(text(f"UPDATE {table} SET next_at = next_at"))  # locks them

        async with asyncio.timeout(5):
            assert await claim_rows(database, stage) == []


async def test_streaming_begins_once(database):
    [job_id] = await add_jobs(database)

    async with database.begin() as session:
        begun = [await begin_streaming(session, job_id, pieces=pieces) for pieces in (2, 5)]

    assert begun == [True, False]
    assert (await find(database, job_id)).streamed == 2


async def test_a_result_is_not_priced_before_all_of_its_files_are_measured(database):
    await fill_stage(database, StageName.ARCHIVE, 2)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET state = 'completed', finished_at = now(), next_at = NULL")
        )
        first, second = await session.scalars(text("SELECT id FROM artifacts"))
        await session.execute(
            text("""
                UPDATE artifacts SET duration_seconds = 2.5, position = 1,
                    job_id = (SELECT job_id FROM artifacts WHERE id = :second)
                WHERE id = :first
            """),
            {"first": first, "second": second},
        )

        costs = []
        for seconds in (None, 1.5):
            await session.execute(
                text("UPDATE artifacts SET duration_seconds = :seconds WHERE id = :second"),
                {"second": second, "seconds": seconds},
            )
            await settle_measured(session, artifact_ids=[first], usd_per_second=Decimal(2))
            costs.append(await session.scalar(text("SELECT max(cost_usd) FROM jobs")))

    assert costs == [None, Decimal(8)]


@pytest.mark.parametrize(
    ("cancel_reason", "state", "reason"),
    [
        (None, JobState.CANCELLED, Reason.CANCELLED),
        ("ttl_passed", JobState.TIMED_OUT, Reason.TTL_PASSED),
    ],
)
async def test_what_would_go_back_to_the_queue_ends_if_it_was_to_be_cancelled(
    database, cancel_reason, state, reason
):
    await add_jobs(database)
    [row] = await claim(database)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET cancel_requested_at = now(), cancel_reason = :reason"),
            {"reason": cancel_reason},
        )

        await move_jobs(session, [snooze_submit(row.id, row.lease, error="429")])

    job = await find(database, row.id)
    assert (job.state, job.reason, job.next_at) == (state, reason, None)


async def test_the_time_that_a_job_may_run_begins_when_it_is_first_seen_to(database):
    await add_jobs(database, policy={"executionTimeout": 60_000})
    [row] = await claim(database)
    deadlines = []
    async with database.begin() as session:
        await move_jobs(session, [accept(row.id, row.lease, upstream_id="u", due_in=0)])
    for state in (JobState.IN_QUEUE, JobState.IN_PROGRESS, JobState.IN_PROGRESS):
        async with database.begin() as session:
            [poll] = await claim_polls(
                session, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
            )
            await move_jobs(session, [ask_again(poll.id, poll.lease, state=state, due_in=0)])
            deadlines.append(
                await session.scalar(
                    text("SELECT extract(epoch FROM deadline_at - now()) FROM jobs")
                )
            )

    assert deadlines[0] is None
    assert float(deadlines[1]) == 60
    assert 0 < float(deadlines[2]) < 60


@pytest.mark.parametrize("state", ["in_queue", "in_progress"])
async def test_a_hint_of_a_job_that_is_followed_makes_it_due(database, state):
    await add_jobs(database)
    [row] = await claim(database)
    async with database.begin() as session:
        await move_jobs(session, [accept(row.id, row.lease, upstream_id="u", due_in=60)])
        await session.execute(text("UPDATE jobs SET state = :state"), {"state": state})

        assert await follow_hints(session, [(row.id, row.lease, "u")]) == [(row.id, FLUX)]

        assert await session.scalar(text("SELECT next_at <= now() FROM jobs"))


async def test_a_result_is_priced_by_how_long_its_own_files_play(database):
    await fill_stage(database, StageName.ARCHIVE, 2)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET state = 'completed', finished_at = now(), next_at = NULL")
        )
        await session.execute(text("UPDATE artifacts SET duration_seconds = 2.5"))
        [file_id, _] = await session.scalars(text("SELECT id FROM artifacts"))

        await settle_measured(session, artifact_ids=[file_id], usd_per_second=Decimal(2))

        costs = await session.scalars(text("SELECT cost_usd FROM jobs WHERE cost_usd IS NOT NULL"))
        assert list(costs) == [Decimal(5)]
