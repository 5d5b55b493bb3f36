"""The state machine, move by move: who may write what, and what becomes of the unknown."""

import asyncio
import datetime as dt
import secrets
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from models.attempt import Answer, AttemptEnd, Fate, answer_attempts, settle_attempts
from models.base import new_id
from models.claims import claim_cancels, claim_polls, extend_lease, hand_back
from models.endpoint_stats import note_hints
from models.interventions import cancel_jobs
from models.job import JobState, OnUnknown, Reason
from models.job_queries import get_job, list_attempts
from models.lane import StageName
from models.pulse import LISTENING, beat
from models.transitions import (
    NewJob,
    accept,
    ask_again,
    claim_submissions,
    end,
    enqueue_jobs,
    find_orphaned_endpoints,
    find_unresolved_endpoints,
    follow_hints,
    give_up_orphans,
    hasten_decisions,
    lose_sight,
    move_jobs,
    note_cancel,
    resolve_unknown,
    retry_submit,
    send_anew,
    snooze_submit,
)
from tasks.submit import SUBMIT
from workers.lane import LaneRun

FLUX = "black-forest-labs-flux-1-schnell"


async def add_jobs(database, count=1, **options):
    jobs = [
        NewJob(id=new_id(), endpoint=FLUX, input={"prompt": "a fox"}, **options)
        for _ in range(count)
    ]
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


async def claim_one(database, **options):
    """A new job, and the claim of its first attempt."""
    await add_jobs(database, **options)
    [row] = await claim(database)
    return row


async def claim_poll(database):
    async with database.begin() as session:
        [row] = await claim_polls(
            session, endpoint=FLUX, limit=10, lease=new_id(), lease_seconds=60, proven=True
        )
    return row


async def claim_cancel(database):
    async with database.begin() as session:
        limits: dict[str, Any] = {
            "endpoint": FLUX,
            "limit": 10,
            "lease": new_id(),
            "lease_seconds": 60,
            "proven": True,
        }
        assert await claim_polls(session, **limits) == []
        [row] = await claim_cancels(session, **limits)
    return row


def stop(row, *, sent, due_in=0):
    return note_cancel(row.id, row.lease, state=row.state, due_in=due_in, sent=sent, error=None)


async def move(database, *moves):
    async with database.begin() as session:
        return await move_jobs(session, moves)


async def answer(database, row, word, *, upstream_id=None):
    end = AttemptEnd(job_id=row.id, lease=row.lease, answer=word, upstream_id=upstream_id)
    async with database.begin() as session:
        await answer_attempts(session, [end])


async def hint(database, row, upstream_id="up-1"):
    async with database.begin() as session:
        await note_hints(session, [(row.id, row.lease)])
        return await follow_hints(session, [(row.id, row.lease, upstream_id)])


async def hear_of(database, row):
    """A webhook of the attempt comes, as far as it tells that webhooks do come."""
    async with database.begin() as session:
        await note_hints(session, [(row.id, row.lease)])


async def fly(database, **options):
    """A job that the upstream has accepted, and that is due to be asked for."""
    row = await claim_one(database, **options)
    await move(database, accept(row.id, row.lease, upstream_id="up-1", due_in=0))
    await answer(database, row, Answer.ACCEPTED, upstream_id="up-1")
    return row


async def cancel(database, job_id):
    async with database.begin() as session:
        return await cancel_jobs(session, job_ids=[job_id])


async def listen(database, *, since="1 hour"):
    """The gateway has taken webhooks since then."""
    async with database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO pulses (name, since)"
                " VALUES ('listening', now() - CAST(:s AS interval))"
            ),
            {"s": since},
        )


async def sweep(database, *, max_sends=3, longest_seconds=0):
    """Leases and waits run out, and the sweep finds it."""
    async with database.begin() as session:
        await session.execute(text("UPDATE jobs SET next_at = now() WHERE next_at > now()"))
    async with database.begin() as session:
        await give_up_orphans(session, endpoint=FLUX, wait_seconds=30)
        return await resolve_unknown(
            session,
            endpoint=FLUX,
            longest_seconds=longest_seconds,
            max_sends=max_sends,
            max_attempts=10,
        )


async def find(database, job_id):
    async with database.begin() as session:
        return await get_job(session, job_id)


async def ledger(database, job_id):
    async with database.begin() as session:
        return await list_attempts(session, job_id)


async def test_the_same_id_twice_is_one_job_and_the_first_request_stands(database):
    [job_id] = await add_jobs(database)
    other = NewJob(id=job_id, endpoint="another", input={"prompt": "a crow"})

    async with database.begin() as session:
        added = await enqueue_jobs(session, [other, other])

    job = await find(database, job_id)
    assert added == set()
    assert (job.endpoint, job.input) == (FLUX, {"prompt": "a fox"})


async def test_workers_that_claim_at_once_share_the_jobs_without_overlap(database):
    job_ids = await add_jobs(database, 60)

    claims = await asyncio.gather(*(claim(database, limit=20) for _ in range(6)))

    claimed = [row.id for rows in claims for row in rows]
    assert len(claimed) == len(set(claimed))
    assert set(claimed) <= set(job_ids)
    assert len({row.lease for rows in claims for row in rows}) == sum(map(bool, claims))


async def test_an_attempt_is_in_the_ledger_before_anything_is_sent(database):
    row = await claim_one(database)

    [attempt] = await ledger(database, row.id)
    assert (attempt.lease, attempt.number, attempt.answer) == (row.lease, 1, None)


@pytest.mark.parametrize("again", ["late", "twice", "foreign"])
async def test_a_move_without_the_lease_writes_nothing(database, again):
    row = await claim_one(database)
    lease = new_id() if again == "foreign" else row.lease
    if again == "late":
        await sweep(database)
    if again == "twice":
        await move(database, lose_sight(row.id, row.lease, error="no reply", due_in=60))
    before = await find(database, row.id)

    moved = await move(database, end(row.id, lease, state=JobState.FAILED, error="late"))

    after = await find(database, row.id)
    assert moved == set()
    assert (after.state, after.error) == (before.state, before.error)


async def test_the_lease_of_an_earlier_attempt_does_not_end_a_later_one(database):
    late = await claim_one(database, on_unknown=OnUnknown.RESUBMIT)
    await sweep(database)
    await sweep(database)
    [current] = await claim(database)

    moved = await move(database, end(late.id, late.lease, state=JobState.FAILED, error="late"))

    job = await find(database, late.id)
    assert moved == set()
    assert (job.state, job.lease, job.attempt) == (JobState.SUBMITTING, current.lease, 2)


async def test_of_a_batch_the_moves_that_hold_are_written_and_the_others_dropped(database):
    await add_jobs(database, 3)
    first, second, third = await claim(database)
    await sweep(database)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET state = 'submitting', lease = :lease WHERE id = :id"),
            {"lease": second.lease, "id": second.id},
        )

    moved = await move(
        database,
        *(accept(row.id, row.lease, upstream_id="u", due_in=1) for row in (first, second, third)),
    )

    assert moved == {second.id}


async def test_being_told_to_wait_uses_no_attempt_and_a_fault_uses_one(database):
    row = await claim_one(database)
    await move(database, snooze_submit(row.id, row.lease, error="429"))
    snoozed = await find(database, row.id)
    [row] = await claim(database)
    await move(database, retry_submit(row.id, row.lease, error="500", due_in=0))
    retried = await find(database, row.id)

    assert (snoozed.state, snoozed.attempt) == (JobState.QUEUED, 0)
    assert (retried.state, retried.attempt) == (JobState.QUEUED, 1)
    assert len(await ledger(database, row.id)) == 2


async def test_an_orphan_is_unknown_once_its_lease_has_run_out_and_not_before(database):
    [held] = await add_jobs(database)
    await claim(database, lease_seconds=60)
    [orphan] = await add_jobs(database)
    await claim(database, lease_seconds=-1)

    async with database.begin() as session:
        assert list(await find_orphaned_endpoints(session)) == [FLUX]
        count = await give_up_orphans(session, endpoint=FLUX, wait_seconds=30)

    assert count == 1
    assert (await find(database, held)).state is JobState.SUBMITTING
    given_up = await find(database, orphan)
    assert (given_up.state, given_up.deaths) == (JobState.UNKNOWN, 1)


@pytest.mark.parametrize(
    ("on_unknown", "max_sends", "state"),
    [
        (OnUnknown.FAIL, 3, JobState.FAILED),
        (OnUnknown.RESUBMIT, 2, JobState.QUEUED),
        (OnUnknown.RESUBMIT, 1, JobState.FAILED),
    ],
)
async def test_an_unknown_job_is_decided_by_its_policy(database, on_unknown, max_sends, state):
    row = await claim_one(database, on_unknown=on_unknown)
    await move(database, lose_sight(row.id, row.lease, error="no reply", due_in=0))

    ended = await sweep(database, max_sends=max_sends)

    job = await find(database, row.id)
    assert job.state is state
    assert ended == ([row.id] if state is JobState.FAILED else [])
    assert job.reason is (Reason.OUTCOME_UNKNOWN if ended else None)


@pytest.mark.parametrize("on_unknown", OnUnknown)
@pytest.mark.parametrize(
    ("hint", "longest", "listening_since", "fate"),
    [
        ("after", 0, "1 hour", Fate.ABSENT),
        ("before", 0, "1 hour", Fate.DOUBTFUL),  # they may have ceased since
        ("never", 0, "1 hour", Fate.DOUBTFUL),
        ("after", 60, "1 hour", Fate.DOUBTFUL),  # none came when this one would have ended
        ("after", 0, "0 s", Fate.DOUBTFUL),  # the gateway was down in between
        ("after", 0, None, Fate.DOUBTFUL),
    ],
)
async def test_an_attempt_is_absent_only_if_its_webhook_would_have_been_heard(
    database, *, on_unknown, hint, longest, listening_since, fate
):
    others = {"before": await claim_one(database)}
    row = await claim_one(database, on_unknown=on_unknown, estimate_usd="0.25")
    others["after"] = await claim_one(database)
    if listening_since is not None:
        await listen(database, since=listening_since)
    await move(database, lose_sight(row.id, row.lease, error="no reply", due_in=0))
    if hint in others:  # however late it comes: it counts when the other was sent
        await hear_of(database, others[hint])

    await sweep(database, longest_seconds=longest)

    [attempt] = await ledger(database, row.id)
    assert attempt.fate is fate
    assert attempt.risk_usd == (None if fate is Fate.ABSENT else Decimal("0.25"))


async def test_a_gateway_that_was_silent_for_a_while_has_listened_since_then_only(database):
    async with database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO pulses (name, since, at) "
                "VALUES ('listening', now() - interval '1 h', now() - interval '11 s')"
            )
        )
    async with database.begin() as session:
        await beat(session, LISTENING)
    async with database.begin() as session:
        since = await session.scalar(text("SELECT now() - since FROM pulses"))

    assert since < dt.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("word", "state", "reason"),
    [
        (Answer.BUSY, JobState.QUEUED, None),
        (Answer.UNSENT, JobState.QUEUED, None),
        (Answer.FAULT, JobState.QUEUED, None),
        (Answer.REFUSED, JobState.FAILED, Reason.UPSTREAM_REFUSED),
    ],
)
async def test_an_answer_that_came_late_decides_an_unknown_job_at_once(
    database, word, state, reason
):
    row = await claim_one(database, on_unknown=OnUnknown.FAIL)
    await sweep(database)  # its lease ran out: it is unknown for thirty seconds
    await answer(database, row, word)
    async with database.begin() as session:
        await hasten_decisions(session, [(row.id, row.lease)])

    async with database.begin() as session:
        await resolve_unknown(
            session, endpoint=FLUX, longest_seconds=0, max_sends=3, max_attempts=10
        )

    job = await find(database, row.id)
    [attempt] = await ledger(database, row.id)
    assert (job.state, job.reason) == (state, reason)
    assert (attempt.fate, attempt.risk_usd) == (None, None)


async def test_an_answer_of_an_earlier_attempt_hastens_no_decision_on_a_later_one(database):
    first = await claim_one(database)
    await sweep(database)
    await sweep(database)
    [second] = await claim(database)
    await move(database, lose_sight(second.id, second.lease, error="no reply", due_in=60))
    await answer(database, first, Answer.BUSY)

    async with database.begin() as session:
        await hasten_decisions(session, [(first.id, first.lease)])
        await resolve_unknown(
            session, endpoint=FLUX, longest_seconds=0, max_sends=3, max_attempts=10
        )

    assert (await find(database, first.id)).state is JobState.UNKNOWN


async def test_a_job_that_killed_three_workers_while_it_was_sent_is_sent_no_more(database):
    [job_id] = await add_jobs(database)
    for _ in range(3):
        [_row] = await claim(database)
        await sweep(database)
        await sweep(database, max_sends=10)

    job = await find(database, job_id)
    assert (job.state, job.reason, job.deaths) == (JobState.FAILED, Reason.KILLED_WORKERS, 3)
    assert await claim(database) == []


async def test_a_job_that_vanished_is_sent_anew_and_its_run_followed_no_more(database):
    row = await fly(database, estimate_usd="0.25")
    poll = await claim_poll(database)
    await move(database, send_anew(row.id, poll.lease, error="404", due_in=0))

    job = await find(database, row.id)
    assert (job.state, job.upstream_id, job.submitted_at) == (JobState.QUEUED, None, None)
    [again] = await claim(database)
    await move(database, snooze_submit(again.id, again.lease, error="429"))
    first, _ = await ledger(database, row.id)
    assert (await find(database, row.id)).state is JobState.QUEUED  # not back to what is gone
    assert (first.fate, first.risk_usd) == (Fate.GONE, Decimal("0.25"))


@pytest.mark.parametrize("listening", [False, True])
async def test_one_that_was_heard_of_after_all_and_then_vanished_is_gone(database, listening):
    """What was concluded of it without word of it gives way; else it would be followed for ever."""
    row = await claim_one(database, estimate_usd="0.25")
    if listening:
        await listen(database)
        await hear_of(database, await claim_one(database))
    await move(database, lose_sight(row.id, row.lease, error="no reply", due_in=0))
    await sweep(database)
    [before] = await ledger(database, row.id)
    async with database.begin() as session:
        await follow_hints(session, [(row.id, row.lease, "up-1")])
    poll = await claim_poll(database)

    await move(database, send_anew(row.id, poll.lease, error="404", due_in=0))

    [attempt] = await ledger(database, row.id)
    assert before.fate is (Fate.ABSENT if listening else Fate.DOUBTFUL)
    assert (attempt.fate, attempt.risk_usd) == (Fate.GONE, Decimal("0.25"))
    job = await find(database, row.id)
    assert (job.state, job.upstream_id) == (JobState.QUEUED, None)
    [again] = await claim(database)
    await move(database, retry_submit(again.id, again.lease, error="500", due_in=0))
    assert (await find(database, row.id)).state is JobState.QUEUED


async def test_a_late_writer_cannot_say_that_a_job_vanished(database):
    row = await fly(database)
    poll = await claim_poll(database)

    await move(database, send_anew(row.id, new_id(), error="404", due_in=0))

    [attempt] = await ledger(database, row.id)
    assert ((await find(database, row.id)).lease, attempt.fate) == (poll.lease, None)


async def test_an_unknown_job_is_left_alone_until_its_wait_is_over(database):
    row = await claim_one(database, on_unknown=OnUnknown.FAIL)
    await move(database, lose_sight(row.id, row.lease, error="no reply", due_in=60))

    async with database.begin() as session:
        ended = await resolve_unknown(
            session, endpoint=FLUX, longest_seconds=0, max_sends=3, max_attempts=10
        )

    assert ended == []


@pytest.mark.parametrize("seen_as", ["submitting", "unknown", "queued again"])
async def test_a_hint_of_the_current_attempt_puts_the_job_in_flight(database, seen_as):
    row = await claim_one(database, on_unknown=OnUnknown.RESUBMIT)
    if seen_as != "submitting":
        await move(database, lose_sight(row.id, row.lease, error="no reply", due_in=0))
    if seen_as == "queued again":
        await sweep(database)

    followed = await hint(database, row)

    job = await find(database, row.id)
    assert followed == [(row.id, FLUX)]
    assert (job.state, job.upstream_id, job.lease) == (JobState.IN_QUEUE, "up-1", None)
    assert await claim(database) == []  # it is not sent once more


async def test_a_hint_of_an_earlier_attempt_changes_the_ledger_alone(database):
    stale = await claim_one(database, on_unknown=OnUnknown.RESUBMIT)
    await sweep(database)
    await sweep(database)
    [current] = await claim(database)

    followed = await hint(database, stale, "up-stale")

    job = await find(database, stale.id)
    first, second = await ledger(database, stale.id)
    assert followed == []
    assert (job.state, job.lease, job.upstream_id) == (JobState.SUBMITTING, current.lease, None)
    assert (first.upstream_id, second.upstream_id) == ("up-stale", None)


async def test_an_earlier_run_that_was_heard_of_is_followed_before_another_is_paid_for(database):
    first = await claim_one(database, on_unknown=OnUnknown.RESUBMIT)
    await sweep(database)
    await sweep(database)
    [second] = await claim(database)
    await hint(database, first, "up-first")

    await move(database, snooze_submit(second.id, second.lease, error="429"))

    assert await claim(database) == []


@pytest.mark.parametrize("word", [Answer.BUSY, Answer.REFUSED, Answer.UNSENT])
async def test_a_hint_of_an_attempt_that_was_never_taken_is_not_followed(database, word):
    row = await claim_one(database)
    await move(database, snooze_submit(row.id, row.lease, error="429"))
    await answer(database, row, word)

    assert await hint(database, row) == []
    assert (await find(database, row.id)).state is JobState.QUEUED


async def test_a_hint_of_a_job_that_has_ended_changes_nothing(database):
    row = await fly(database)
    poll = await claim_poll(database)
    await move(database, end(poll.id, poll.lease, state=JobState.COMPLETED, output={"n": 1}))
    ended = await find(database, row.id)

    followed = await hint(database, row, "up-2")

    job = await find(database, row.id)
    assert followed == []
    assert (job.state, job.finished_at, job.upstream_id) == (
        JobState.COMPLETED,
        ended.finished_at,
        "up-1",
    )


async def test_a_hint_leaves_a_poll_that_is_on_its_way_alone(database):
    row = await fly(database)
    poll = await claim_poll(database)

    assert await hint(database, row) == []
    assert await move(
        database, ask_again(poll.id, poll.lease, state=JobState.IN_PROGRESS, due_in=1)
    ) == {row.id}


async def test_the_upstream_may_put_a_job_back_into_its_queue(database):
    await fly(database)
    states = []
    for state in (JobState.IN_PROGRESS, JobState.IN_QUEUE):
        poll = await claim_poll(database)
        await move(database, ask_again(poll.id, poll.lease, state=state, due_in=0))
        states.append((await find(database, poll.id)).state)

    assert states == [JobState.IN_PROGRESS, JobState.IN_QUEUE]
    assert (await find(database, poll.id)).polls == 2


async def test_a_result_is_written_once_with_all_its_facts_and_billed_in_the_ledger(database):
    row = await fly(database)
    poll = await claim_poll(database)
    facts: dict[str, Any] = {
        "output": {"image_url": "https://x"},
        "delay_ms": 2**31 - 1,
        "execution_ms": 2041,
        "worker_id": "w",
        "cost_usd": "0.0025165824",
    }

    await move(database, end(poll.id, poll.lease, state=JobState.COMPLETED, **facts))
    async with database.begin() as session:
        await settle_attempts(session, job_ids=[row.id])
    late = await move(database, end(poll.id, poll.lease, state=JobState.FAILED))

    job = await find(database, row.id)
    [attempt] = await ledger(database, row.id)
    assert late == set()
    assert (job.state, job.error, job.next_at, job.lease) == (JobState.COMPLETED, None, None, None)
    assert {name: getattr(job, name) for name in facts if name != "cost_usd"} == {
        name: value for name, value in facts.items() if name != "cost_usd"
    }
    assert str(job.cost_usd) == str(attempt.cost_usd) == facts["cost_usd"]


async def test_a_queued_job_is_cancelled_at_once_and_never_claimed(database):
    [job_id] = await add_jobs(database)

    changed = await cancel(database, job_id)

    job = await find(database, job_id)
    assert changed == {job_id: (JobState.CANCELLED, FLUX)}
    assert (job.state, job.reason) == (JobState.CANCELLED, Reason.CANCELLED)
    assert await claim(database) == []


async def test_a_job_in_flight_is_cancelled_at_the_upstream_before_it_is_asked_for(database):
    row = await fly(database)
    async with database.begin() as session:
        await session.execute(text("UPDATE jobs SET next_at = now() + interval '1 min'"))

    changed = await cancel(database, row.id)

    assert changed == {row.id: (JobState.IN_QUEUE, FLUX)}
    row = await claim_cancel(database)
    await move(database, stop(row, sent=True))
    assert (await claim_poll(database)).cancel


async def test_a_cancel_during_the_submit_is_due_as_soon_as_the_upstream_accepts(database):
    row = await claim_one(database)
    await cancel(database, row.id)

    await move(database, accept(row.id, row.lease, upstream_id="up-1", due_in=60))

    assert (await claim_cancel(database)).id == row.id


async def test_a_cancelled_job_of_which_nothing_is_heard_ends_cancelled(database):
    row = await claim_one(database, on_unknown=OnUnknown.RESUBMIT)
    await cancel(database, row.id)
    await sweep(database)

    assert await sweep(database) == [row.id]
    assert (await find(database, row.id)).state is JobState.CANCELLED


@pytest.mark.parametrize("came", ["busy", "fault", "handed back"])
async def test_a_job_that_was_cancelled_while_it_was_claimed_is_not_sent_again(database, came):
    row = await claim_one(database)
    await cancel(database, row.id)

    if came == "busy":
        await move(database, snooze_submit(row.id, row.lease, error="429"))
    elif came == "fault":
        await move(database, retry_submit(row.id, row.lease, error="500", due_in=0))
    else:
        async with database.begin() as session:
            await hand_back(session, StageName.SUBMIT, lease=row.lease, ids=[row.id])

    assert await claim(database) == []


async def test_a_job_that_has_ended_is_not_cancelled(database):
    row = await fly(database)
    poll = await claim_poll(database)
    await move(database, end(poll.id, poll.lease, state=JobState.COMPLETED))

    assert await cancel(database, row.id) == {}
    assert (await find(database, row.id)).cancel_requested_at is None


async def test_a_submission_handed_back_is_due_again_and_used_no_attempt(database):
    row = await claim_one(database)

    async with database.begin() as session:
        count = await hand_back(session, StageName.SUBMIT, lease=row.lease, ids=[row.id])

    [attempt] = await ledger(database, row.id)
    [again] = await claim(database)
    assert (count, attempt.answer, again.attempt) == (1, Answer.UNSENT, 1)


async def test_what_was_answered_is_not_handed_back(database):
    await add_jobs(database, 2)
    first, second = await claim(database)
    await move(database, accept(first.id, first.lease, upstream_id="up-1", due_in=60))
    await answer(database, first, Answer.ACCEPTED, upstream_id="up-1")

    async with database.begin() as session:
        count = await hand_back(
            session, StageName.SUBMIT, lease=first.lease, ids=[first.id, second.id]
        )

    assert count == 1
    assert (await find(database, first.id)).state is JobState.IN_QUEUE
    assert (await find(database, second.id)).state is JobState.QUEUED


async def test_a_poll_handed_back_is_due_again(database):
    await fly(database)
    poll = await claim_poll(database)

    async with database.begin() as session:
        await hand_back(session, StageName.POLL, lease=poll.lease, ids=[poll.id])

    assert (await claim_poll(database)).id == poll.id


async def test_a_heartbeat_extends_only_what_its_lease_still_holds(database):
    [first, second] = [await claim_one(database), await claim_one(database)]
    await move(database, lose_sight(second.id, second.lease, error="no reply", due_in=0))

    async with database.begin() as session:
        for row in (first, second):
            await extend_lease(
                session, StageName.SUBMIT, ids=[row.id], lease=row.lease, seconds=600
            )

    async with database.begin() as session:
        due = await session.execute(text("SELECT id FROM jobs WHERE next_at < now() + '9 min'"))
        assert [row.id for row in due] == [second.id]


async def add_large_jobs(database, *sizes, endpoint=FLUX):
    """Jobs in order, with so many bytes each that no compression makes less."""
    jobs = [
        NewJob(id=new_id(), endpoint=endpoint, input={"prompt": secrets.token_urlsafe(size)[:size]})
        for size in sizes
    ]
    async with database.begin() as session:
        for job in jobs:
            await enqueue_jobs(session, [job])
    return [job.id for job in jobs]


@pytest.mark.parametrize(
    ("sizes", "claims"),
    [
        ([100] * 6, [6]),
        ([40_000, 40_000, 40_000, 100], [2, 2]),
        ([100, 90_000, 90_000, 100], [2, 2]),
        ([500_000, 100, 500_000], [1, 1, 1]),
        ([100, 500_000, 100], [1, 1, 1]),
        ([90_000], [1]),
    ],
)
async def test_a_claim_is_bounded_by_bytes_and_takes_its_rows_in_order(
    database, monkeypatch, sizes, claims
):
    monkeypatch.setattr("models.transitions.CLAIM_BYTES", 100_000)
    job_ids = await add_large_jobs(database, *sizes)

    rows = [await claim(database) for _ in claims]

    assert [len(one) for one in rows] == claims
    assert [row.id for one in rows for row in one] == job_ids
    assert [len(row.input["prompt"]) for one in rows for row in one] == sizes
    assert await claim(database) == []


async def test_jobs_of_one_moment_are_counted_one_by_one(database, monkeypatch):
    """Enqueued together they are due at the same time: their ids tell them apart."""
    monkeypatch.setattr("models.transitions.CLAIM_BYTES", 100_000)
    jobs = [
        NewJob(id=new_id(), endpoint=FLUX, input={"prompt": secrets.token_hex(20_000)})
        for _ in range(5)
    ]
    async with database.begin() as session:
        await enqueue_jobs(session, jobs)

    assert [len(await claim(database)) for _ in range(3)] == [2, 2, 1]


async def test_what_a_claim_leaves_for_its_bytes_is_as_it_was(database, monkeypatch):
    monkeypatch.setattr("models.transitions.CLAIM_BYTES", 100_000)
    _, left = await add_large_jobs(database, 90_000, 90_000)

    await claim(database)

    job = await find(database, left)
    assert (job.state, job.attempt, job.lease) == (JobState.QUEUED, 0, None)
    assert await ledger(database, left) == []


async def test_claims_at_once_of_large_jobs_share_them_without_overlap(database, monkeypatch):
    monkeypatch.setattr("models.transitions.CLAIM_BYTES", 100_000)
    job_ids = await add_large_jobs(database, *[60_000] * 8)

    claimed: list[Any] = []
    while len(claimed) < len(job_ids):
        claims = await asyncio.gather(*(claim(database) for _ in range(4)))
        assert all(len(rows) <= 1 for rows in claims)
        assert any(claims)
        claimed += [row.id for rows in claims for row in rows]

    assert sorted(claimed) == sorted(job_ids)


async def test_a_claim_that_was_cut_by_bytes_rings_for_the_rest_at_once(
    database, runtime, emulator, monkeypatch
):
    monkeypatch.setattr("models.transitions.CLAIM_BYTES", 100_000)
    await emulator.post("/admin/custom", json={"endpoint": "large"})
    await add_large_jobs(database, 90_000, 90_000, endpoint="large")
    rung = []

    async def note(stage, endpoint, *, in_seconds=0.0):
        rung.append((stage, endpoint, in_seconds))
        return True

    monkeypatch.setattr(runtime.bells, "ring", note)

    claimed = [await LaneRun(runtime, SUBMIT, "large").run() for _ in range(2)]

    assert claimed == [1, 1]
    assert [one for one in rung if one[0] == StageName.SUBMIT] == [(StageName.SUBMIT, "large", 0.0)]


async def test_a_lost_reply_to_a_job_that_is_to_be_cancelled_waits_for_word_of_it(database):
    """It may run, and be billed: its webhook would find nothing if it had ended by then."""
    row = await claim_one(database)
    await cancel(database, row.id)
    await move(database, lose_sight(row.id, row.lease, error="no reply", due_in=60))

    async with database.begin() as session:
        assert list(await find_unresolved_endpoints(session)) == []
    followed = await hint(database, row)

    assert followed == [(row.id, FLUX)]
    assert (await claim_cancel(database)).id == row.id


@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_earlier_attempt_that_was_heard_of_is_followed_when_the_next_worker_dies(
    database, cancelled
):
    first = await claim_one(database)
    await sweep(database)
    await sweep(database)
    [_second] = await claim(database)
    await hint(database, first, "up-first")
    if cancelled:
        await cancel(database, first.id)

    await sweep(database)
    await sweep(database)

    job = await find(database, first.id)
    assert (job.state, job.upstream_id) == (JobState.IN_QUEUE, "up-first")
    assert await claim(database) == []


async def test_a_busy_answer_that_came_late_costs_no_attempt(database):
    row = await claim_one(database)
    await sweep(database)
    await answer(database, row, Answer.BUSY)
    await sweep(database)

    [again] = await claim(database)

    assert again.attempt == 1


async def test_a_job_cancelled_while_it_was_unknown_and_never_taken_is_just_cancelled(database):
    row = await claim_one(database)
    await sweep(database)
    await cancel(database, row.id)
    await answer(database, row, Answer.UNSENT)

    await sweep(database)

    job = await find(database, row.id)
    assert (job.state, job.reason) == (JobState.CANCELLED, Reason.CANCELLED)


async def test_a_heartbeat_does_not_wait_for_rows_that_are_just_being_written(database):
    row, other = await claim_one(database), await claim_one(database)
    async with database.begin() as writing:
        await move_jobs(writing, [lose_sight(row.id, row.lease, error="no reply", due_in=9)])
        async with asyncio.timeout(10), database.begin() as beating:
            for held in (row, other):
                await extend_lease(
                    beating,
                    StageName.SUBMIT,
                    ids=[row.id, other.id],
                    lease=held.lease,
                    seconds=500,
                )

    due = (await find(database, other.id)).next_at - dt.datetime.now(dt.UTC)
    assert due > dt.timedelta(seconds=400)
    assert (await find(database, row.id)).state is JobState.UNKNOWN
