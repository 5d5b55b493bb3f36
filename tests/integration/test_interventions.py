"""Cancel, give up, retry: what each does to a job in each state, and what it leaves alone."""

import asyncio

import pytest
from sqlalchemy import text

from models.attempt import Answer, AttemptEnd, answer_attempts, settle_attempts
from models.base import new_id
from models.claims import claim_cancels, claim_polls, hand_back
from models.delivery import DeliveryKind, NewDelivery, add_deliveries, wake_deliveries
from models.endpoint_stats import note_hints
from models.interventions import (
    cancel_jobs,
    count_streamed,
    expire_jobs,
    find_purgeable,
    has_cancel_requested,
    hasten_polls,
    retry_jobs,
)
from models.job import TERMINAL, JobState, OnUnknown, Reason, Route
from models.job_queries import get_job, list_attempts
from models.key import Scope
from models.lane import StageName
from models.transitions import (
    NewJob,
    accept,
    ask_again,
    begin_direct_job,
    claim_submissions,
    end,
    enqueue_jobs,
    follow_hints,
    give_up_orphans,
    lose_sight,
    move_jobs,
    resolve_unknown,
    retry_submit,
    snooze_submit,
)

FLUX = "black-forest-labs-flux-1-schnell"
S = JobState
OPEN = [state for state in S if state not in TERMINAL]
RETRIED = {S.FAILED, S.TIMED_OUT, S.LOST, S.REJECTED}
TTL = {"ttl": 600_000}


@pytest.fixture
def make(run):
    """Makes a job in a state, with what the state implies; returns its newest claim, or its id."""

    async def make_one(state, *, policy=None, **options):
        live = None if not policy or "ttl" not in policy else policy["ttl"] / 1000
        job = NewJob(
            id=new_id(), endpoint=FLUX, input={}, policy=policy, live_seconds=live, **options
        )
        await run(enqueue_jobs, [job])
        if state in {S.QUEUED, S.REJECTED}:
            return job.id
        [row] = await claim(run)
        moves = {
            S.IN_QUEUE: [accept(row.id, row.lease, upstream_id="up-1", due_in=600)],
            S.IN_PROGRESS: [accept(row.id, row.lease, upstream_id="up-1", due_in=0)],
            S.UNKNOWN: [lose_sight(row.id, row.lease, error="no reply", due_in=600)],
            S.LOST: [accept(row.id, row.lease, upstream_id="up-1", due_in=0)],
            S.TIMED_OUT: [accept(row.id, row.lease, upstream_id="up-1", due_in=0)],
            S.CANCELLED: [accept(row.id, row.lease, upstream_id="up-1", due_in=0)],
        }
        answered = {S.UNKNOWN: Answer.UNKNOWN, S.FAILED: Answer.FAULT}
        if state is not S.SUBMITTING:
            first = moves.get(state) or [
                end(row.id, row.lease, state=state, error="it broke", output={"n": 1})
            ]
            await run(move_jobs, first)
            await answer(run, row, answered.get(state, Answer.ACCEPTED))
        if state in {S.IN_PROGRESS, S.LOST, S.TIMED_OUT, S.CANCELLED}:
            [poll] = await run(
                claim_polls, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
            )
            if state is S.IN_PROGRESS:
                move = ask_again(poll.id, poll.lease, state=state, due_in=600)
            else:
                move = end(poll.id, poll.lease, state=state, error="it broke", output={"n": 1})
            await run(move_jobs, [move])
        return job.id

    return make_one


async def claim(run, *, limit=10):
    return await run(
        claim_submissions, endpoint=FLUX, limit=limit, lease=new_id(), lease_seconds=60, proven=True
    )


async def claim_poll(run):
    return await run(
        claim_polls, endpoint=FLUX, limit=10, lease=new_id(), lease_seconds=60, proven=True
    )


async def resolve(run, **options):
    limits = {"endpoint": FLUX, "longest_seconds": 0, "max_sends": 3, "max_attempts": 10}
    return await run(resolve_unknown, **{**limits, **options})


async def claim_cancel(run):
    return await run(
        claim_cancels, endpoint=FLUX, limit=10, lease=new_id(), lease_seconds=60, proven=True
    )


async def answer(run, row, word, *, upstream_id=None):
    found = AttemptEnd(job_id=row.id, lease=row.lease, answer=word, upstream_id=upstream_id)
    await run(answer_attempts, [found])


async def make_state(make, execute, state):
    """A job in any state; no stage rejects one yet."""
    job_id = await make(state)
    if state is S.REJECTED:
        await execute(
            "UPDATE jobs SET state = 'rejected', finished_at = now(), next_at = NULL"
            " WHERE id = :id",
            id=job_id,
        )
    return job_id


async def seconds_until_due(database, job_id):
    async with database.begin() as session:
        return await session.scalar(
            text("SELECT extract(epoch FROM next_at - now()) FROM jobs WHERE id = :id"),
            {"id": job_id},
        )


# Cancel


@pytest.mark.parametrize("state", S)
async def test_a_cancel_ends_what_is_queued_marks_what_is_further_on_and_leaves_what_has_ended(
    run, make, execute, state
):
    job_id = await make_state(make, execute, state)
    before = await run(get_job, job_id)

    changed = await run(cancel_jobs, job_ids=[job_id])

    job = await run(get_job, job_id)
    if state in TERMINAL:
        assert changed == {}
        assert (job.state, job.finished_at, job.cancel_requested_at) == (
            state,
            before.finished_at,
            None,
        )
    else:
        now = S.CANCELLED if state is S.QUEUED else state
        assert changed == {job_id: (now, FLUX)}
        assert (job.state, job.lease, job.cancel_reason) == (now, before.lease, None)
        assert job.cancel_requested_at is not None
        assert (job.finished_at is not None) == (state is S.QUEUED)


@pytest.mark.parametrize(
    ("state", "due"),
    [(S.IN_QUEUE, True), (S.IN_PROGRESS, True), (S.UNKNOWN, False), (S.SUBMITTING, False)],
)
async def test_only_what_can_be_cancelled_upstream_is_due_at_once(run, make, database, state, due):
    job_id = await make(state)

    await run(cancel_jobs, job_ids=[job_id])

    assert (await seconds_until_due(database, job_id) <= 0) == due


async def test_a_cancel_takes_no_lease_from_a_poll_that_is_on_its_way(run, make, execute):
    job_id = await make(S.IN_QUEUE)
    await execute("UPDATE jobs SET next_at = now()")
    [poll] = await claim_poll(run)

    await run(cancel_jobs, job_ids=[job_id])

    move = ask_again(poll.id, poll.lease, state=S.IN_PROGRESS, due_in=600)
    assert await claim_poll(run) == await claim_cancel(run) == []
    assert await run(move_jobs, [move]) == {job_id}
    assert await claim_poll(run) == []  # not before it was cancelled
    [cancel] = await claim_cancel(run)  # due at once
    assert (cancel.id, cancel.state, cancel.tries) == (job_id, S.IN_PROGRESS, 1)


async def test_whether_a_cancel_is_to_be_sent_is_seen_of_open_jobs_alone(run, make):
    ended, open_, other = await make(S.COMPLETED), await make(S.IN_QUEUE), await make(S.IN_QUEUE)
    await run(cancel_jobs, job_ids=[ended, open_])

    assert await run(has_cancel_requested, job_ids=[open_, other])
    assert not await run(has_cancel_requested, job_ids=[ended, other])


async def test_many_are_cancelled_at_once_and_one_that_is_no_job_is_left_out(run, make):
    job_ids = [await make(S.QUEUED) for _ in range(3)]

    changed = await run(cancel_jobs, job_ids=[*job_ids, new_id()])

    assert changed.keys() == set(job_ids)


async def test_a_purge_finds_what_waits_and_is_one_keys_own(run, make, execute, issue):
    mine, others = [(await issue(name, Scope.RUN))[1] for name in ("mine", "others")]
    found = {state: await make(state, key_id=mine) for state in (S.SUBMITTING, S.IN_QUEUE)}
    found[S.QUEUED] = await make(S.QUEUED, key_id=mine)
    strangers = await make(S.QUEUED, key_id=others)
    asked = await make(S.QUEUED, key_id=mine)
    await execute("UPDATE jobs SET cancel_requested_at = now() WHERE id = :id", id=asked)

    assert set(await run(find_purgeable, endpoint=FLUX, owner=mine)) == set(found.values())
    assert strangers in await run(find_purgeable, endpoint=FLUX, owner=None)
    assert await run(find_purgeable, endpoint="another", owner=None) == []


# Deadlines


async def set_deadline(execute, job_id, *, seconds):
    await execute(
        "UPDATE jobs SET deadline_at = now() + make_interval(secs => :seconds) WHERE id = :id",
        seconds=seconds,
        id=job_id,
    )


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("seconds", [-1, 60])
async def test_past_its_deadline_and_not_before_a_job_is_given_up(
    run, make, execute, state, seconds
):
    job_id = await make_state(make, execute, state)
    await set_deadline(execute, job_id, seconds=seconds)

    ended = await run(expire_jobs)

    job = await run(get_job, job_id)
    late = seconds < 0 and state in OPEN
    assert ended == ([job_id] if late and state is S.QUEUED else [])
    assert job.state is (S.TIMED_OUT if ended else state)
    assert (job.cancel_requested_at is not None) == late
    assert (job.cancel_reason is not None) == late
    assert (job.finished_at is None) == (job.state in OPEN)


@pytest.mark.parametrize("state", OPEN)
async def test_a_job_without_a_deadline_is_never_given_up(run, make, state):
    job_id = await make(state)

    assert await run(expire_jobs) == []
    assert (await run(get_job, job_id)).cancel_requested_at is None


async def test_a_time_to_live_counts_from_when_the_job_was_handed_in(run, make, database):
    job_id = await make(S.QUEUED, policy=TTL)

    async with database.begin() as session:
        seconds = await session.scalar(
            text("SELECT extract(epoch FROM deadline_at - created_at) FROM jobs")
        )
    assert seconds == 600
    assert (await run(get_job, job_id)).policy == TTL


async def begin_run(run, execute):
    """The job in flight is seen to run."""
    await execute("UPDATE jobs SET next_at = now()")
    [poll] = await claim_poll(run)
    move = ask_again(poll.id, poll.lease, state=S.IN_PROGRESS, due_in=0)
    await run(move_jobs, [move])


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        ({"executionTimeout": 5_000}, 5),
        ({"ttl": 600_000, "executionTimeout": 5_000}, 5),
        ({"ttl": 10_000, "executionTimeout": 60_000}, 10),
        ({"ttl": 600_000}, 600),
        ({"lowPriority": True}, None),
        (None, None),
    ],
)
async def test_the_time_to_run_begins_when_it_is_seen_to_run_and_only_shortens(
    run, make, execute, database, *, policy, seconds
):
    await make(S.IN_QUEUE, policy=policy)

    await begin_run(run, execute)

    async with database.begin() as session:
        left = await session.scalar(
            text("SELECT extract(epoch FROM deadline_at - now()) FROM jobs")
        )
    assert (left is None) == (seconds is None)
    if seconds is not None:
        assert seconds - 10 < left <= seconds


async def test_to_be_seen_to_run_again_gives_no_more_time(run, make, execute):
    job_id = await make(S.IN_QUEUE, policy={"executionTimeout": 60_000})
    await begin_run(run, execute)
    first = (await run(get_job, job_id)).deadline_at

    await begin_run(run, execute)

    assert (await run(get_job, job_id)).deadline_at == first


@pytest.mark.parametrize(
    ("policy", "created_seconds_ago", "retried", "reason"),
    [
        ({"ttl": 600_000}, 601, False, Reason.TTL_PASSED),
        ({"ttl": 600_000, "executionTimeout": 5_000}, 601, False, Reason.TTL_PASSED),
        ({"ttl": 600_000, "executionTimeout": 5_000}, 30, False, Reason.RAN_TOO_LONG),
        ({"executionTimeout": 5_000}, 30, False, Reason.RAN_TOO_LONG),
        # Its earlier run was long ago; this one was sent now.
        ({"ttl": 600_000, "executionTimeout": 5_000}, 9_000, True, Reason.RAN_TOO_LONG),
    ],
)
async def test_the_reason_says_which_of_the_two_times_ran_out(
    run, make, execute, *, policy, created_seconds_ago, retried, reason
):
    if retried:
        job_id = await make(S.FAILED, policy=policy)
        await run(retry_jobs, job_ids=[job_id])
        [row] = await claim(run)
        await run(move_jobs, [accept(row.id, row.lease, upstream_id="up-2", due_in=0)])
    else:
        job_id = await make(S.IN_QUEUE, policy=policy)
    await begin_run(run, execute)
    await execute(
        "UPDATE jobs SET deadline_at = now(), created_at = now() - make_interval(secs => :ago)",
        ago=created_seconds_ago,
    )

    await run(expire_jobs)

    assert (await run(get_job, job_id)).cancel_reason is reason


async def test_a_retried_job_that_was_not_sent_in_time_has_outlived_its_time(run, make, execute):
    job_id = await make(S.FAILED, policy=TTL)
    await run(retry_jobs, job_ids=[job_id])
    await execute("UPDATE jobs SET deadline_at = now(), created_at = now() - interval '1 h'")

    assert await run(expire_jobs) == [job_id]
    assert (await run(get_job, job_id)).reason is Reason.TTL_PASSED


async def test_a_cancel_that_somebody_asked_for_is_no_deadline_and_stays_theirs(run, make, execute):
    job_id = await make(S.IN_QUEUE)
    await run(cancel_jobs, job_ids=[job_id])
    await set_deadline(execute, job_id, seconds=-1)

    await run(expire_jobs)

    assert (await run(get_job, job_id)).cancel_reason is None


async def test_a_job_that_was_given_up_is_marked_once(run, make, execute):
    job_id = await make(S.IN_QUEUE)
    await set_deadline(execute, job_id, seconds=-1)
    await run(expire_jobs)
    first = (await run(get_job, job_id)).cancel_requested_at

    await run(expire_jobs)

    assert (await run(get_job, job_id)).cancel_requested_at == first


@pytest.mark.parametrize("came", ["busy", "fault", "handed back", "nothing", "no reply"])
async def test_what_was_given_up_while_it_was_sent_ends_timed_out_and_is_not_sent_again(
    run, make, execute, came
):
    job_id = await make(S.QUEUED, policy=TTL, on_unknown=OnUnknown.RESUBMIT)
    [row] = await claim(run)
    await execute("UPDATE jobs SET deadline_at = now(), created_at = now() - interval '1 h'")
    await run(expire_jobs)

    if came == "busy":
        await run(move_jobs, [snooze_submit(row.id, row.lease, error="429")])
    elif came == "fault":
        await run(move_jobs, [retry_submit(row.id, row.lease, error="500", due_in=0)])
    elif came == "handed back":
        await run(hand_back, StageName.SUBMIT, lease=row.lease, ids=[row.id])
    else:
        if came == "no reply":
            await run(move_jobs, [lose_sight(row.id, row.lease, error="-", due_in=600)])
            assert await resolve(run) == []  # word of it may come, and then it is cancelled
            await execute("UPDATE jobs SET next_at = now()")
        else:
            await execute("UPDATE jobs SET next_at = now()")
            await run(give_up_orphans, endpoint=FLUX, wait_seconds=0)
        assert await resolve(run) == [job_id]

    job = await run(get_job, job_id)
    assert job.state is S.TIMED_OUT
    assert job.finished_at is not None
    assert await claim(run) == []


# Retry


@pytest.mark.parametrize("state", S)
async def test_a_retry_is_of_what_ended_without_a_result_and_was_not_cancelled(
    run, make, execute, state
):
    job_id = await make_state(make, execute, state)

    retried = await run(retry_jobs, job_ids=[job_id])

    job = await run(get_job, job_id)
    assert retried == ({job_id: FLUX} if state in RETRIED else {})
    assert job.state is (S.QUEUED if state in RETRIED else state)
    assert job.retries == (state in RETRIED)


async def test_a_retry_drops_what_the_job_was_and_keeps_what_it_is(run, make, execute):
    job_id = await make(S.TIMED_OUT, policy=TTL, estimate_usd="0.5", on_unknown=OnUnknown.FAIL)
    await execute("""
        UPDATE jobs SET reason = 'ttl_passed', misses = 3, cancel_requested_at = now(),
            cancel_reason = 'ttl_passed', delay_ms = 1, execution_ms = 2, worker_id = 'w',
            cost_usd = 0.25, input_tokens = 3, output_tokens = 4, streamed = 5, polled_at = now(),
            deadline_at = now() - interval '1 h', created_at = now() - interval '2 h'
    """)
    before = await run(get_job, job_id)

    await run(retry_jobs, job_ids=[job_id])

    job = await run(get_job, job_id)
    for dropped in (
        *("finished_at", "reason", "error", "upstream_id", "submitted_at", "polled_at", "lease"),
        *("cancel_requested_at", "cancel_reason", "output", "delay_ms", "execution_ms"),
        *("worker_id", "cost_usd", "input_tokens", "output_tokens"),
    ):
        assert getattr(job, dropped) is None, dropped
    assert (job.misses, job.streamed) == (0, 0)
    for kept in ("input", "endpoint", "policy", "on_unknown", "created_at", "estimate_usd"):
        assert getattr(job, kept) == getattr(before, kept), kept
    assert (job.attempt, job.attempts_before, job.retries) == (1, 1, 1)
    assert (job.deadline_at - job.next_at).total_seconds() == 600  # from now on
    assert await run(expire_jobs) == []


async def test_word_of_a_retried_job_waits_for_its_new_end_as_if_none_had_been_sent(
    run, make, execute, database
):
    job_id, other_id = await make(S.FAILED), await make(S.FAILED)
    await execute("""
        INSERT INTO deliveries (id, job_id, endpoint, request, state, tries, deaths, lease)
        SELECT gen_random_uuid(), id, endpoint, '{}', 'delivered', 3, 2, gen_random_uuid() FROM jobs
    """)

    await run(retry_jobs, job_ids=[job_id])

    async with database.begin() as session:
        found = await session.execute(
            text("SELECT job_id, state, tries, deaths, lease IS NULL FROM deliveries")
        )
        assert {job: tuple(facts) for job, *facts in found} == {
            job_id: ("waiting", 0, 0, True),
            other_id: ("delivered", 3, 2, False),
        }


async def test_a_retry_of_a_job_that_may_live_for_ever_sets_no_deadline(run, make):
    job_id = await make(S.FAILED, policy={"executionTimeout": 5_000})

    await run(retry_jobs, job_ids=[job_id])

    assert (await run(get_job, job_id)).deadline_at is None


async def test_a_retry_has_all_its_attempts_again(run, make, execute):
    job_id = await make(S.FAILED)
    await execute("UPDATE jobs SET attempt = 3")
    await run(retry_jobs, job_ids=[job_id])
    [row] = await claim(run)
    await run(move_jobs, [lose_sight(row.id, row.lease, error="-", due_in=0)])
    await execute("UPDATE jobs SET on_unknown = 'resubmit'")

    assert (row.attempt, row.attempts_before) == (4, 3)
    assert (
        await run(resolve_unknown, endpoint=FLUX, longest_seconds=0, max_sends=3, max_attempts=3)
        == []
    )
    assert (await run(get_job, job_id)).state is S.QUEUED


async def test_a_job_is_retried_once_however_many_ask_at_once(run, make):
    job_id = await make(S.FAILED)

    retried = await asyncio.gather(*(run(retry_jobs, job_ids=[job_id]) for _ in range(5)))

    assert sorted(map(len, retried)) == [0, 0, 0, 0, 1]
    assert (await run(get_job, job_id)).retries == 1


async def test_a_text_that_the_gateway_sent_itself_is_not_retried(run, make, execute):
    job_id = await make(S.FAILED)
    await execute("UPDATE jobs SET route = 'openai'")

    assert await run(retry_jobs, job_ids=[job_id]) == {}


async def fail_unheard(run, *, word=Answer.UNKNOWN):
    """A job that failed, for nothing was heard of it; and the claim of its attempt."""
    job = NewJob(id=new_id(), endpoint=FLUX, input={}, on_unknown=OnUnknown.FAIL)
    await run(enqueue_jobs, [job])
    [row] = await claim(run)
    await run(move_jobs, [lose_sight(row.id, row.lease, error="-", due_in=0)])
    await answer(run, row, word)
    await run(resolve_unknown, endpoint=FLUX, longest_seconds=0, max_sends=3, max_attempts=10)
    return row


async def test_a_hint_of_a_run_before_the_retry_is_not_followed(run, database):
    row = await fail_unheard(run)
    await run(retry_jobs, job_ids=[row.id])

    async with database.begin() as session:
        await note_hints(session, [(row.id, row.lease)])
        followed = await follow_hints(session, [(row.id, row.lease, "up-old")])

    job = await run(get_job, row.id)
    assert followed == []
    assert (job.state, job.upstream_id) == (S.QUEUED, None)


@pytest.mark.parametrize("heard", ["before the retry", "after it"])
@pytest.mark.parametrize("move", [snooze_submit, retry_submit, lose_sight])
async def test_a_run_before_the_retry_that_was_heard_of_is_not_followed_either(run, heard, move):
    row = await fail_unheard(run)
    if heard == "before the retry":
        await run(follow_hints, [(row.id, row.lease, "up-old")])
    await run(retry_jobs, job_ids=[row.id])
    if heard == "after it":
        await run(follow_hints, [(row.id, row.lease, "up-old")])
    [again] = await claim(run)

    due = {} if move is snooze_submit else {"due_in": 0}
    await run(move_jobs, [move(again.id, again.lease, error="-", **due)])

    job = await run(get_job, row.id)
    old, new = await run(list_attempts, row.id)
    assert job.state is (S.UNKNOWN if move is lose_sight else S.QUEUED)
    assert job.upstream_id is None
    assert {old.upstream_id, new.upstream_id} == {"up-old", None}


async def test_an_attempt_after_the_retry_that_was_heard_of_is_followed(run):
    row = await fail_unheard(run)
    await run(retry_jobs, job_ids=[row.id])
    [again] = await claim(run)
    await run(move_jobs, [lose_sight(again.id, again.lease, error="-", due_in=600)])
    await answer(run, again, Answer.UNKNOWN)

    assert await run(follow_hints, [(again.id, again.lease, "up-new")]) == [(row.id, FLUX)]
    assert (await run(get_job, row.id)).upstream_id == "up-new"


async def test_a_late_answer_of_a_run_before_the_retry_changes_the_ledger_alone(run, make):
    job_id = await make(S.QUEUED)
    [row] = await claim(run)
    await run(move_jobs, [end(row.id, row.lease, state=S.FAILED)])
    await run(retry_jobs, job_ids=[job_id])

    late = accept(row.id, row.lease, upstream_id="up-old", due_in=0)

    assert await run(move_jobs, [late]) == set()
    await answer(run, row, Answer.ACCEPTED, upstream_id="up-old")
    job = await run(get_job, job_id)
    assert (job.state, job.upstream_id) == (S.QUEUED, None)


async def test_what_a_failed_run_cost_is_not_billed_again_to_the_next(run, make, database):
    """The ledger has each attempt's own cost; a result that names none has none."""
    await make(S.QUEUED)
    for number, cost in ((1, "0.25"), (2, None)):
        [row] = await claim(run)
        upstream_id = f"up-{number}"
        await run(move_jobs, [accept(row.id, row.lease, upstream_id=upstream_id, due_in=0)])
        await answer(run, row, Answer.ACCEPTED, upstream_id=upstream_id)
        [poll] = await claim_poll(run)
        state = S.FAILED if number == 1 else S.COMPLETED
        await run(move_jobs, [end(poll.id, poll.lease, state=state, cost_usd=cost)])
        await run(settle_attempts, job_ids=[poll.id])
        await run(retry_jobs, job_ids=[poll.id])

    first, second = await run(list_attempts, poll.id)
    assert (float(first.cost_usd), second.cost_usd) == (0.25, None)
    assert (await run(get_job, poll.id)).cost_usd is None
    async with database.begin() as session:
        assert float(await session.scalar(text("SELECT sum(cost_usd) FROM attempts"))) == 0.25


@pytest.mark.parametrize("kind", DeliveryKind)
@pytest.mark.parametrize("state", ["waiting", "pending", "delivered", "failed"])
async def test_after_a_retry_the_new_end_is_told_whatever_became_of_the_old(
    run, make, execute, database, *, kind, state
):
    job_id = await make(S.FAILED)
    new = NewDelivery(job_id=job_id, endpoint=FLUX, kind=kind, request={"url": "https://x"})
    await run(add_deliveries, [new])
    await execute(
        "UPDATE deliveries SET state = :state, tries = 9, lease = gen_random_uuid()", state=state
    )

    await run(retry_jobs, job_ids=[job_id])
    early = await run(wake_deliveries, ended=[job_id], hold_seconds=0)
    [row] = await claim(run)
    await run(move_jobs, [end(row.id, row.lease, state=S.FAILED)])
    woken = await run(wake_deliveries, ended=[job_id], hold_seconds=0)

    async with database.begin() as session:
        found = await session.execute(text("SELECT state, tries, lease FROM deliveries"))
        assert found.one() == ("pending", 0, None)
    assert early == {}
    assert list(woken.values()) == [0.0]


# A job that the gateway sends itself


async def begin(run, **options):
    job = NewJob(id=new_id(), endpoint=FLUX, input={"a": 1}, route=Route.OPENAI, **options)
    lease = new_id()
    await run(begin_direct_job, job, lease=lease, lease_seconds=60)
    return job.id, lease


async def test_a_direct_job_begins_as_a_claimed_one_with_its_attempt_written_down(run, database):
    job_id, lease = await begin(run)

    job = await run(get_job, job_id)
    [attempt] = await run(list_attempts, job_id)
    assert (job.state, job.lease, job.attempt, job.route) == (S.SUBMITTING, lease, 1, Route.OPENAI)
    assert (attempt.lease, attempt.number, attempt.endpoint, attempt.answer) == (
        lease,
        1,
        FLUX,
        None,
    )
    assert 50 < await seconds_until_due(database, job_id) <= 60
    assert await claim(run) == []


@pytest.mark.parametrize("on_unknown", OnUnknown)
async def test_a_direct_job_is_never_sent_again_by_itself_whatever_was_wanted(
    run, execute, on_unknown
):
    job_id, _ = await begin(run, on_unknown=on_unknown)
    await execute("UPDATE endpoint_stats SET hinted_at = now() + interval '1 h'")
    await execute("UPDATE jobs SET next_at = now()")
    await run(give_up_orphans, endpoint=FLUX, wait_seconds=0)

    assert await run(
        resolve_unknown, endpoint=FLUX, longest_seconds=0, max_sends=9, max_attempts=10
    ) == [job_id]
    job = await run(get_job, job_id)
    assert (job.state, job.reason) == (S.FAILED, Reason.OUTCOME_UNKNOWN)


async def test_a_direct_job_ends_once_and_by_its_own_lease(run):
    job_id, lease = await begin(run)

    done = end(job_id, lease, state=S.COMPLETED, output={"n": 1}, upstream_id="c-1", cost_usd="0.1")

    assert await run(move_jobs, [end(job_id, new_id(), state=S.COMPLETED)]) == set()
    assert await run(move_jobs, [done]) == {job_id}
    assert await run(move_jobs, [end(job_id, lease, state=S.FAILED)]) == set()
    assert (await run(get_job, job_id)).state is S.COMPLETED


async def test_a_direct_job_whose_cancel_was_asked_for_ends_cancelled_if_its_gateway_dies(
    run, execute
):
    job_id, _ = await begin(run)
    await run(cancel_jobs, job_ids=[job_id])
    await execute("UPDATE jobs SET next_at = now()")
    await run(give_up_orphans, endpoint=FLUX, wait_seconds=0)
    await run(resolve_unknown, endpoint=FLUX, longest_seconds=0, max_sends=3, max_attempts=10)

    assert (await run(get_job, job_id)).state is S.CANCELLED


# Smaller ones


@pytest.mark.parametrize("state", OPEN)
async def test_only_a_job_in_flight_that_nobody_asks_for_is_hastened(run, make, database, state):
    job_id = await make(state)
    before = await seconds_until_due(database, job_id)

    await run(hasten_polls, job_ids=[job_id])

    after = await seconds_until_due(database, job_id)
    assert (after <= 0) == (state in {S.IN_QUEUE, S.IN_PROGRESS} or before <= 0)


async def test_a_poll_on_its_way_is_not_hastened(run, make, execute, database):
    job_id = await make(S.IN_QUEUE)
    await execute("UPDATE jobs SET next_at = now()")
    await claim_poll(run)

    await run(hasten_polls, job_ids=[job_id])

    assert await seconds_until_due(database, job_id) > 50


async def test_pieces_that_were_handed_out_are_counted(run, make):
    job_id = await make(S.IN_QUEUE)

    await asyncio.gather(*(run(count_streamed, job_id, pieces=2) for _ in range(5)))

    assert (await run(get_job, job_id)).streamed == 10
