"""What the ledger says of earlier attempts, and what is read from it."""

from contextlib import nullcontext
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.attempt import Answer, AttemptEnd, Fate, answer_attempts
from models.base import new_id
from models.claims import claim_cancels, claim_polls, hand_back
from models.interventions import cancel_jobs, expire_jobs, has_cancel_requested, retry_jobs
from models.job import JobState, OnUnknown, Reason
from models.job_queries import get_job, list_attempts
from models.lane import StageName
from models.pulse import LISTENING
from models.transitions import (
    NewJob,
    accept,
    ask_again,
    begin_direct_job,
    claim_submissions,
    end,
    enqueue_jobs,
    find_orphaned_endpoints,
    find_unresolved_endpoints,
    follow_hints,
    hasten_decisions,
    lose_sight,
    move_jobs,
    note_cancel,
    resolve_unknown,
    retry_submit,
    send_anew,
    set_aside_jobs,
    snooze_cancel,
    snooze_submit,
)
from tests.integration.conftest import FLUX

DECISION = {"endpoint": FLUX, "longest_seconds": 1, "max_sends": 3, "max_attempts": 10}
LIMITS = {"endpoint": FLUX, "limit": 1, "lease_seconds": 60, "proven": True}


@pytest.fixture
def enqueue(run):
    async def enqueue_one(**options):
        job = NewJob(id=new_id(), input={}, estimate_usd="0.5", **{"endpoint": FLUX, **options})
        await run(enqueue_jobs, [job])
        return job.id

    return enqueue_one


@pytest.fixture
def claim(run):
    async def claim_one():
        [row] = await run(claim_submissions, **LIMITS, lease=new_id())
        return row

    return claim_one


@pytest.fixture
def take(run, claim):
    """A job is sent, accepted, and just being asked for."""

    async def take_one(upstream_id):
        row = await claim()
        await run(move_jobs, [accept(row.id, row.lease, upstream_id=upstream_id, due_in=0)])
        answer = AttemptEnd(
            job_id=row.id, lease=row.lease, answer=Answer.ACCEPTED, upstream_id=upstream_id
        )
        await run(answer_attempts, [answer])
        [poll] = await run(claim_polls, **LIMITS, lease=new_id())
        return poll

    return take_one


@pytest.fixture
def doubt(run, claim):
    """The reply to a job's next attempt is lost, and it is decided to send it again."""

    async def doubt_one():
        row = await claim()
        await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])
        await run(resolve_unknown, **DECISION)
        return row

    return doubt_one


async def test_that_one_attempt_is_gone_says_nothing_of_another(run, enqueue, doubt, take):
    await enqueue(priority=8)
    await doubt()  # of the other job
    job_id = await enqueue(priority=9)
    await doubt()
    poll = await take("u")

    await run(move_jobs, [send_anew(poll.id, poll.lease, error="404", due_in=60)])

    attempts = await run(list_attempts, job_id)
    assert [attempt.fate for attempt in attempts] == [Fate.DOUBTFUL, Fate.GONE]


async def test_of_what_was_heard_of_it_is_known_when_it_was_sent(run, enqueue, doubt, claim):
    job_id = await enqueue()
    first = await doubt()
    again = await claim()
    await run(follow_hints, [(job_id, first.lease, "up-1")])

    await run(move_jobs, [lose_sight(job_id, again.lease, error="no reply", due_in=60)])

    job, attempts = await run(get_job, job_id), await run(list_attempts, job_id)
    assert (job.state, job.upstream_id) == (JobState.IN_QUEUE, "up-1")
    assert job.submitted_at == attempts[0].sent_at
    assert job.next_at <= job.submitted_at + timedelta(seconds=30)  # at once


async def test_an_attempt_of_which_nothing_is_known_does_not_hide_an_earlier_one(
    run, enqueue, doubt, claim
):
    job_id = await enqueue()
    first, _ = await doubt(), await doubt()
    again = await claim()
    await run(follow_hints, [(job_id, first.lease, "up-1")])

    await run(move_jobs, [lose_sight(job_id, again.lease, error="no reply", due_in=60)])

    assert (await run(get_job, job_id)).upstream_id == "up-1"


@pytest.mark.parametrize("fate", [None, Fate.ABSENT])
async def test_what_the_upstream_never_had_is_not_counted_to_what_may_be_sent(
    run, execute, enqueue, claim, fate
):
    job_id = await enqueue()
    for _ in range(3):
        row = await claim()
        await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])
        await execute("UPDATE attempts SET fate = :fate WHERE number < 3", fate=fate)
        await execute("UPDATE jobs SET state = 'queued', next_at = now() WHERE attempt < 3")

    await run(resolve_unknown, **DECISION)

    decided = JobState.FAILED if fate is None else JobState.QUEUED
    assert (await run(get_job, job_id)).state is decided


@pytest.mark.parametrize("deaths", [0, 2, 5])
async def test_what_is_cancelled_without_an_answer_may_have_run_whatever_else_it_did(
    run, execute, enqueue, claim, deaths
):
    job_id = await enqueue()
    row = await claim()
    await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])
    await run(cancel_jobs, job_ids=[job_id])
    await execute("UPDATE jobs SET deaths = :deaths, next_at = now()", deaths=deaths)

    await run(resolve_unknown, **DECISION)

    job = await run(get_job, job_id)
    assert (job.state, job.reason) == (JobState.CANCELLED, Reason.OUTCOME_UNKNOWN)


async def test_endpoints_are_looked_through_for_what_is_lost_there_and_nothing_else(
    run, execute, enqueue
):
    changes = {
        "queued": "state = 'queued'",
        "in_queue": "state = 'in_queue', upstream_id = 'u'",
        "submitting": "state = 'submitting', lease = gen_random_uuid()",
        "unknown": "state = 'unknown'",
    }
    for state, change in changes.items():
        job_id = await enqueue(endpoint=state)
        await execute(f"UPDATE jobs SET {change} WHERE id = :id", id=job_id)

    assert await run(find_orphaned_endpoints) == ["submitting"]
    assert await run(find_unresolved_endpoints) == ["unknown"]
    await execute("UPDATE jobs SET next_at = now() + interval '1 min'")
    assert await run(find_orphaned_endpoints) == await run(find_unresolved_endpoints) == []


async def test_a_gone_attempt_is_not_followed(run, enqueue, take, claim):
    job_id = await enqueue()
    poll = await take("u")
    await run(move_jobs, [send_anew(poll.id, poll.lease, error="404", due_in=0)])
    again = await claim()

    await run(move_jobs, [lose_sight(job_id, again.lease, error="no reply", due_in=60)])

    job = await run(get_job, job_id)
    assert (job.state, job.upstream_id, job.submitted_at) == (JobState.UNKNOWN, None, None)
    assert job.polled_at is None  # nothing was heard of what it will be sent as


async def test_that_one_attempt_was_handed_back_says_nothing_of_another(run, enqueue, doubt, claim):
    job_id = await enqueue()
    await doubt()
    again = await claim()

    await run(hand_back, StageName.SUBMIT, lease=again.lease, ids=[again.id])

    attempts = await run(list_attempts, job_id)
    assert [attempt.answer for attempt in attempts] == [None, Answer.UNSENT]


async def test_of_jobs_that_were_claimed_together_each_is_decided_by_itself(run, execute, enqueue):
    first, second = await enqueue(), await enqueue()
    rows = await run(claim_submissions, **{**LIMITS, "limit": 2}, lease=new_id())
    await run(move_jobs, [lose_sight(row.id, row.lease, error="-", due_in=60) for row in rows])
    await execute("UPDATE jobs SET next_at = now() WHERE id = :id", id=first)

    await run(resolve_unknown, **DECISION)

    fates = [(await run(list_attempts, job_id))[0].fate for job_id in (first, second)]
    assert fates == [Fate.DOUBTFUL, None]


async def test_word_of_an_earlier_attempt_does_not_hasten_the_one_that_runs(
    run, enqueue, doubt, take
):
    job_id = await enqueue()
    first = await doubt()
    poll = await take("u")
    await run(move_jobs, [ask_again(job_id, poll.lease, state=JobState.IN_QUEUE, due_in=60)])
    before = await run(get_job, job_id)

    assert await run(follow_hints, [(job_id, first.lease, "up-1")]) == []

    job = await run(get_job, job_id)
    assert (job.next_at, job.upstream_id) == (before.next_at, "u")


async def test_what_has_ended_is_not_to_be_cancelled_any_more(run, enqueue, claim):
    job_id = await enqueue()
    row = await claim()
    await run(cancel_jobs, job_ids=[job_id])
    assert await run(has_cancel_requested, job_ids=[job_id])

    await run(move_jobs, [end(job_id, row.lease, state=JobState.FAILED)])

    assert not await run(has_cancel_requested, job_ids=[job_id])


@pytest.mark.parametrize("upstream_id", [None, "u"])
async def test_a_doubt_gives_way_if_the_attempt_was_taken_and_forgotten_and_never_else(
    run, execute, enqueue, doubt, upstream_id
):
    job_id = await enqueue()
    await doubt()
    await execute("UPDATE attempts SET upstream_id = :id", id=upstream_id)

    with nullcontext() if upstream_id else pytest.raises(DBAPIError, match="append-only"):
        await execute("UPDATE attempts SET fate = 'gone'")

    [attempt] = await run(list_attempts, job_id)
    assert attempt.fate is (Fate.GONE if upstream_id else Fate.DOUBTFUL)


async def test_of_jobs_that_were_asked_for_together_one_that_is_gone_is_so_alone(
    run, enqueue, take
):
    await enqueue(), await enqueue()
    polls = [await take("up-1"), await take("up-2")]
    back = [ask_again(one.id, one.lease, state=JobState.IN_QUEUE, due_in=0) for one in polls]
    await run(move_jobs, back)
    first, second = await run(claim_polls, **{**LIMITS, "limit": 2}, lease=new_id())

    await run(move_jobs, [send_anew(first.id, first.lease, error="404", due_in=0)])

    fates = [(await run(list_attempts, one.id))[0].fate for one in (first, second)]
    assert fates == [Fate.GONE, None]


async def test_unknown_jobs_of_another_endpoint_wait_for_their_own_time(run, enqueue, claim):
    job_id = await enqueue()
    row = await claim()
    await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])

    await run(resolve_unknown, **{**DECISION, "endpoint": "another"})

    assert (await run(get_job, job_id)).state is JobState.UNKNOWN


async def test_an_answer_that_came_late_says_why_the_job_ended(run, enqueue, claim):
    job_id = await enqueue()
    row = await claim()
    await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])
    late = AttemptEnd(job_id=job_id, lease=row.lease, answer=Answer.REFUSED, error="no such style")
    await run(answer_attempts, [late])

    await run(resolve_unknown, **DECISION)

    job = await run(get_job, job_id)
    assert (job.state, job.reason) == (JobState.FAILED, Reason.UPSTREAM_REFUSED)
    assert job.error == "no such style"


async def test_when_the_upstream_was_told_to_stop_it_is_kept(run, enqueue, take):
    job_id = await enqueue()
    poll = await take("u")
    told = note_cancel(job_id, poll.lease, state=JobState.IN_QUEUE, due_in=0, sent=True, error=None)
    await run(move_jobs, [told])
    before = await run(get_job, job_id)
    [again] = await run(claim_polls, **LIMITS, lease=new_id())

    await run(move_jobs, [ask_again(job_id, again.lease, state=JobState.IN_QUEUE, due_in=9)])

    assert (await run(get_job, job_id)).cancel_sent_at == before.cancel_sent_at is not None


async def test_a_job_that_is_sent_at_once_takes_no_other_with_it(run, enqueue):
    other_id = await enqueue()
    job = NewJob(id=new_id(), endpoint=FLUX, input={}, on_unknown=OnUnknown.RESUBMIT)

    await run(begin_direct_job, job, lease=new_id(), lease_seconds=60)

    sent, other = await run(get_job, job.id), await run(get_job, other_id)
    assert (sent.state, sent.on_unknown) == (JobState.SUBMITTING, OnUnknown.FAIL)
    assert (other.state, other.lease) == (JobState.QUEUED, None)
    assert await run(list_attempts, other_id) == []


async def test_what_was_sent_of_other_jobs_is_not_counted(run, enqueue, claim):
    job_ids = [await enqueue() for _ in range(4)]
    rows = [await claim() for _ in job_ids]
    await run(move_jobs, [lose_sight(row.id, row.lease, error="-", due_in=0) for row in rows])

    await run(resolve_unknown, **DECISION)

    states = {(await run(get_job, job_id)).state for job_id in job_ids}
    assert states == {JobState.QUEUED}


async def test_a_run_that_was_heard_of_is_followed_although_it_was_to_be_cancelled(
    run, enqueue, doubt, claim
):
    """It runs: the cancel is for the upstream."""
    job_id = await enqueue()
    first = await doubt()
    again = await claim()
    await run(follow_hints, [(job_id, first.lease, "up-1")])
    await run(cancel_jobs, job_ids=[job_id])

    await run(move_jobs, [snooze_submit(job_id, again.lease, error="429")])

    job = await run(get_job, job_id)
    assert (job.state, job.upstream_id, job.finished_at) == (JobState.IN_QUEUE, "up-1", None)
    assert job.cancel_requested_at is not None


async def test_what_an_attempt_became_upstream_is_known_by_its_reply_whatever_a_hint_says(
    run, enqueue, take
):
    job_id = await enqueue()
    poll = await take("u")
    await run(move_jobs, [ask_again(job_id, poll.lease, state=JobState.IN_QUEUE, due_in=60)])
    [attempt] = await run(list_attempts, job_id)

    assert await run(follow_hints, [(job_id, attempt.lease, "another")]) == [(job_id, FLUX)]

    assert (await run(get_job, job_id)).upstream_id == "u"


async def test_what_was_answered_with_a_5xx_is_not_counted_as_unknown(run, enqueue, claim):
    job_id = await enqueue()
    for number in range(3):
        row = await claim()
        if number < 2:
            await run(move_jobs, [retry_submit(job_id, row.lease, error="500", due_in=0)])
            answer = AttemptEnd(job_id=job_id, lease=row.lease, answer=Answer.FAULT)
            await run(answer_attempts, [answer])
    await run(move_jobs, [lose_sight(job_id, row.lease, error="no reply", due_in=0)])

    await run(resolve_unknown, **DECISION)

    assert (await run(get_job, job_id)).state is JobState.QUEUED


async def test_nobody_is_told_of_what_is_handed_back_to_be_sent_again(
    run, execute, database, enqueue, claim
):
    await enqueue()
    await execute("""
        INSERT INTO deliveries (id, job_id, endpoint, request)
        SELECT gen_random_uuid(), id, endpoint, '{}' FROM jobs
    """)
    row = await claim()

    await run(hand_back, StageName.SUBMIT, lease=row.lease, ids=[row.id])

    async with database.begin() as session:
        assert await session.scalar(text("SELECT state FROM deliveries")) == "waiting"


async def test_what_is_handed_back_after_its_time_ends_for_that(run, execute, enqueue, claim):
    job_id = await enqueue()
    row = await claim()
    await execute("UPDATE jobs SET cancel_requested_at = now(), cancel_reason = 'ttl_passed'")

    await run(hand_back, StageName.SUBMIT, lease=row.lease, ids=[row.id])

    job = await run(get_job, job_id)
    assert (job.state, job.reason) == (JobState.TIMED_OUT, Reason.TTL_PASSED)


async def test_a_job_that_ran_out_of_time_had_begun(run, execute, enqueue, take):
    job_id = await enqueue()
    await take("u")
    await execute("""
        UPDATE jobs SET state = 'in_progress', lease = NULL, policy = '{"ttl": 1000}',
            created_at = now() - interval '1 h', start_by = now() - interval '50 min',
            deadline_at = now() - interval '1 min'
    """)

    await run(expire_jobs)

    assert (await run(get_job, job_id)).cancel_reason is Reason.TTL_PASSED


@pytest.mark.parametrize("state", ["in_queue", "in_progress"])
async def test_what_kills_its_workers_is_set_aside_whether_it_runs_or_waits(
    run, execute, enqueue, take, state
):
    job_id = await enqueue()
    await take("u")
    await execute("UPDATE jobs SET state = :state, deaths = 2, next_at = now()", state=state)

    assert await run(set_aside_jobs) == [job_id]


async def test_what_was_given_up_and_then_answered_ends_for_what_it_was_given_up_for(
    run, execute, enqueue, claim
):
    job_id = await enqueue()
    row = await claim()
    await run(move_jobs, [lose_sight(job_id, row.lease, error="no reply", due_in=0)])
    await run(answer_attempts, [AttemptEnd(job_id=job_id, lease=row.lease, answer=Answer.FAULT)])
    await execute("UPDATE jobs SET cancel_requested_at = now(), cancel_reason = 'ttl_passed'")

    await run(resolve_unknown, **DECISION)

    job = await run(get_job, job_id)
    assert (job.state, job.reason) == (JobState.TIMED_OUT, Reason.TTL_PASSED)


async def test_a_job_that_was_sent_as_often_as_it_may_be_is_not_sent_again(run, enqueue, claim):
    job_id = await enqueue()
    row = await claim()
    await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])

    await run(resolve_unknown, **{**DECISION, "max_attempts": 1})

    assert (await run(get_job, job_id)).state is JobState.FAILED


async def test_what_was_sent_before_a_retry_was_asked_for_is_not_counted_after(
    run, execute, enqueue, claim
):
    job_id = await enqueue()
    for _ in range(2):
        row = await claim()
        await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])
        await execute(
            "UPDATE jobs SET state = 'queued', attempts_before = 1, next_at = now() "
            "WHERE attempt = 1"
        )

    await run(resolve_unknown, **{**DECISION, "max_sends": 2})

    assert (await run(get_job, job_id)).state is JobState.QUEUED


async def test_what_was_heard_of_and_then_gone_is_not_counted_as_unknown(
    run, execute, enqueue, claim
):
    job_id = await enqueue()
    for _ in range(2):
        row = await claim()
        await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])
        await execute("UPDATE attempts SET upstream_id = 'up-1', fate = 'gone' WHERE number = 1")
        await execute("UPDATE jobs SET state = 'queued', next_at = now() WHERE attempt = 1")

    await run(resolve_unknown, **{**DECISION, "max_sends": 2})

    assert (await run(get_job, job_id)).state is JobState.QUEUED


@pytest.mark.parametrize("listened", [True, False])
async def test_an_attempt_that_is_seen_to_be_absent_now_is_not_counted_either(
    run, execute, enqueue, claim, listened
):
    job_id = await enqueue()
    row = await claim()
    await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])
    await execute("UPDATE endpoint_stats SET hinted_at = now(), heard_at = now() + interval '10 s'")
    if listened:
        await execute(
            "INSERT INTO pulses (name, since) VALUES (:name, now() - interval '1 h')",
            name=LISTENING,
        )

    await run(resolve_unknown, **{**DECISION, "max_sends": 1})

    job, [attempt] = await run(get_job, job_id), await run(list_attempts, job_id)
    assert job.state is (JobState.QUEUED if listened else JobState.FAILED)
    assert attempt.fate is (Fate.ABSENT if listened else Fate.DOUBTFUL)


async def test_what_is_followed_when_it_is_decided_was_sent_when_that_attempt_was(
    run, execute, enqueue, doubt, claim
):
    job_id = await enqueue()
    first = await doubt()
    again = await claim()
    await run(move_jobs, [lose_sight(again.id, again.lease, error="no reply", due_in=0)])
    await execute(
        "UPDATE attempts SET upstream_id = 'up-1' WHERE lease = :lease", lease=first.lease
    )

    await run(resolve_unknown, **DECISION)

    job, attempts = await run(get_job, job_id), await run(list_attempts, job_id)
    assert (job.state, job.upstream_id) == (JobState.IN_QUEUE, "up-1")
    assert job.submitted_at == attempts[0].sent_at


async def test_a_cancel_that_was_told_to_wait_counts_as_no_try(run, enqueue, take):
    job_id = await enqueue()
    poll = await take("u")
    await run(move_jobs, [ask_again(poll.id, poll.lease, state=JobState.IN_QUEUE, due_in=0)])
    await run(cancel_jobs, job_ids=[job_id])
    [row] = await run(claim_cancels, **LIMITS, lease=new_id())

    await run(move_jobs, [snooze_cancel(row.id, row.lease, state=JobState.IN_QUEUE)])

    assert row.tries == 1
    assert (await run(get_job, job_id)).cancel_tries == 0


async def test_what_last_went_wrong_is_told_until_something_else_does(run, enqueue, claim):
    job_id = await enqueue()
    row = await claim()
    await run(move_jobs, [retry_submit(row.id, row.lease, error="500", due_in=0)])
    again = await claim()

    await run(move_jobs, [accept(again.id, again.lease, upstream_id="u", due_in=60)])

    assert (await run(get_job, job_id)).error == "500"


async def test_a_job_that_is_followed_although_it_was_cancelled_has_no_reason_yet(
    run, enqueue, doubt, claim
):
    job_id = await enqueue()
    first = await doubt()
    again = await claim()
    await run(follow_hints, [(job_id, first.lease, "up-1")])
    await run(cancel_jobs, job_ids=[job_id])

    await run(move_jobs, [retry_submit(again.id, again.lease, error="500", due_in=0)])

    job = await run(get_job, job_id)
    assert (job.state, job.reason) == (JobState.IN_QUEUE, None)


async def test_when_the_upstream_last_spoke_of_a_job_counts_from_the_last_poll(
    run, execute, enqueue, take
):
    await enqueue()
    poll = await take("u")
    await run(move_jobs, [ask_again(poll.id, poll.lease, state=JobState.IN_QUEUE, due_in=0)])
    await execute("UPDATE jobs SET submitted_at = now() - interval '1 h'")

    [row] = await run(claim_polls, **LIMITS, lease=new_id())

    assert row.unseen_seconds < 60
    assert row.age_seconds == pytest.approx(3600, abs=60)


async def test_a_retry_forgets_that_the_upstream_was_told_to_stop_the_run_before(
    run, execute, enqueue, take
):
    job_id = await enqueue()
    poll = await take("u")
    await run(
        move_jobs,
        [end(poll.id, poll.lease, state=JobState.TIMED_OUT, reason=Reason.RAN_TOO_LONG)],
    )
    await execute(
        "UPDATE jobs SET cancel_requested_at = now(), cancel_sent_at = now(), cancel_tries = 3"
    )

    await run(retry_jobs, job_ids=[job_id])

    job = await run(get_job, job_id)
    assert (job.cancel_requested_at, job.cancel_sent_at, job.cancel_tries) == (None, None, 0)


async def test_of_two_jobs_that_share_an_upstream_id_one_that_is_gone_is_so_alone(
    run, enqueue, take
):
    """Ids of two endpoints of the upstream may be the same."""
    await enqueue(priority=9)
    first = await take("u")
    job_id = await enqueue(priority=8)
    await take("u")

    await run(move_jobs, [send_anew(first.id, first.lease, error="404", due_in=60)])

    [attempt] = await run(list_attempts, job_id)
    assert attempt.fate is None


async def test_a_late_answer_hastens_no_job_that_has_been_decided(run, enqueue, claim):
    job_id = await enqueue()
    row = await claim()
    await run(move_jobs, [retry_submit(row.id, row.lease, error="500", due_in=600)])

    await run(hasten_decisions, [(job_id, row.lease)])

    job = await run(get_job, job_id)
    assert job.next_at > job.created_at + timedelta(seconds=300)


async def test_a_late_answer_hastens_its_job_whatever_else_was_sent_since(run, enqueue, claim):
    job_id = await enqueue(priority=9)
    row = await claim()
    await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=600)])
    await enqueue()
    await claim()

    await run(hasten_decisions, [(job_id, row.lease)])

    job = await run(get_job, job_id)
    assert job.next_at < job.created_at + timedelta(seconds=300)


async def test_a_run_that_was_heard_of_before_it_is_decided_is_in_no_doubt(
    run, execute, enqueue, claim
):
    job_id = await enqueue()
    row = await claim()
    await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])
    await execute("UPDATE attempts SET upstream_id = 'up-1'")

    await run(resolve_unknown, **DECISION)

    job, [attempt] = await run(get_job, job_id), await run(list_attempts, job_id)
    assert (job.state, job.error, attempt.fate) == (JobState.IN_QUEUE, "no reply", None)


async def test_nothing_is_seen_to_be_absent_once_nobody_listens_any_more(
    run, execute, enqueue, claim
):
    job_id = await enqueue()
    row = await claim()
    await run(move_jobs, [lose_sight(row.id, row.lease, error="no reply", due_in=0)])
    await execute("UPDATE endpoint_stats SET hinted_at = now(), heard_at = now() + interval '10 s'")
    await execute(
        "INSERT INTO pulses (name, since, at) "
        "VALUES (:name, now() - interval '1 h', now() - interval '60 s')",
        name=LISTENING,
    )

    await run(resolve_unknown, **DECISION)

    [attempt] = await run(list_attempts, job_id)
    assert attempt.fate is Fate.DOUBTFUL


async def test_a_cancel_that_is_handed_back_counts_as_no_try(run, enqueue, take):
    job_id = await enqueue()
    poll = await take("u")
    await run(move_jobs, [ask_again(poll.id, poll.lease, state=JobState.IN_QUEUE, due_in=0)])
    await run(cancel_jobs, job_ids=[job_id])
    [row] = await run(claim_cancels, **LIMITS, lease=new_id())

    await run(hand_back, StageName.CANCEL, lease=row.lease, ids=[row.id])

    assert (await run(get_job, job_id)).cancel_tries == 0


async def test_what_is_handed_back_and_followed_was_sent_when_that_attempt_was(
    run, enqueue, doubt, claim
):
    job_id = await enqueue()
    first = await doubt()
    again = await claim()
    await run(follow_hints, [(job_id, first.lease, "up-1")])

    await run(hand_back, StageName.SUBMIT, lease=again.lease, ids=[again.id])

    job, attempts = await run(get_job, job_id), await run(list_attempts, job_id)
    assert (job.state, job.upstream_id) == (JobState.IN_QUEUE, "up-1")
    assert job.submitted_at == attempts[0].sent_at


async def test_a_job_that_was_never_asked_for_is_asked_for_before_it_is_given_up(
    run, execute, enqueue, claim
):
    job_id = await enqueue(start_seconds=600.0)
    row = await claim()
    await run(move_jobs, [accept(row.id, row.lease, upstream_id="u", due_in=60)])
    await execute(
        "UPDATE jobs SET submitted_at = now() - interval '9 s', start_by = now() - interval '1 s', "
        "next_at = now() + interval '60 s'"
    )

    assert await run(expire_jobs) == []

    job = await run(get_job, job_id)
    assert job.cancel_requested_at is None
    assert job.next_at < job.created_at + timedelta(seconds=30)
