"""What may have been billed twice, or for nothing: counted in money, by job, by key, in all."""

from decimal import Decimal

import pytest
from sqlalchemy import text

from models.attempt import Answer, AttemptEnd, answer_attempts
from models.base import new_id
from models.claims import claim_polls
from models.doubt import list_doubtful_jobs, sum_doubts, sum_doubts_by_key
from models.job import JobState, OnUnknown, Reason
from models.key import Scope, issue_key
from models.transitions import (
    NewJob,
    accept,
    claim_submissions,
    end,
    enqueue_jobs,
    follow_hints,
    lose_sight,
    move_jobs,
    resolve_unknown,
    retry_submit,
    send_anew,
)

ENDPOINT = "doubtful"
PRICE = Decimal("0.25")


async def add_job(database, **options):
    job = NewJob(id=new_id(), endpoint=ENDPOINT, input={}, estimate_usd=str(PRICE), **options)
    async with database.begin() as session:
        await enqueue_jobs(session, [job])
    return job.id


async def send(database):
    async with database.begin() as session:
        [row] = await claim_submissions(
            session, endpoint=ENDPOINT, limit=1, lease=new_id(), lease_seconds=60, proven=True
        )
    return row


async def answer(database, row, word, move, upstream_id=None):
    ended = AttemptEnd(job_id=row.id, lease=row.lease, answer=word, upstream_id=upstream_id)
    async with database.begin() as session:
        await move_jobs(session, [move])
        await answer_attempts(session, [ended])


async def lose(database, row):
    """Its reply is lost, and nothing is heard until the wait is over."""
    move = lose_sight(row.id, row.lease, error="reset", due_in=0)
    await answer(database, row, Answer.UNKNOWN, move)
    async with database.begin() as session:
        await resolve_unknown(
            session, endpoint=ENDPOINT, longest_seconds=0, max_sends=3, max_attempts=10
        )


async def take(database, row, upstream_id="up-2"):
    move = accept(row.id, row.lease, upstream_id=upstream_id, due_in=0)
    await answer(database, row, Answer.ACCEPTED, move, upstream_id)


async def hear_of(database, row, upstream_id="up-1"):
    async with database.begin() as session:
        await follow_hints(session, [(row.id, row.lease, upstream_id)])


async def count(database, **of):
    """(twice, for nothing, certain), and the same in money."""
    async with database.begin() as session:
        found = await sum_doubts(session, **of)
    assert (found.twice_usd, found.unused_usd, found.certain_usd) == (
        found.twice * PRICE,
        found.unused * PRICE,
        found.certain * PRICE,
    )
    return found.twice, found.unused, found.certain


async def test_nothing_is_in_doubt_that_was_answered(database):
    await add_job(database)
    row = await send(database)
    await take(database, row)

    assert await count(database) == (0, 0, 0)
    async with database.begin() as session:
        assert await list_doubtful_jobs(session, owner=None, limit=10) == []


async def test_a_lost_reply_before_another_attempt_may_be_a_double_charge(database):
    job_id = await add_job(database)
    await lose(database, await send(database))
    assert await count(database) == (0, 1, 0)  # nothing else was sent yet

    await take(database, await send(database))

    assert await count(database) == (1, 0, 0)
    assert await count(database, job_id=job_id) == (1, 0, 0)
    assert await count(database, job_id=new_id()) == (0, 0, 0)


async def test_a_lost_reply_of_a_job_that_is_not_sent_again_may_be_for_nothing(database):
    await add_job(database, on_unknown=OnUnknown.FAIL)
    await lose(database, await send(database))

    assert await count(database) == (0, 1, 0)


@pytest.mark.parametrize("word", [Answer.UNKNOWN, Answer.FAULT])
async def test_word_of_an_attempt_after_its_job_was_sent_again_makes_it_certain(database, word):
    job_id = await add_job(database)
    row = await send(database)
    if word is Answer.UNKNOWN:
        await lose(database, row)
    else:
        move = retry_submit(row.id, row.lease, error="500", due_in=0)
        await answer(database, row, Answer.FAULT, move)
    await take(database, await send(database))
    before = await count(database)

    await hear_of(database, row)

    assert before == (1 if word is Answer.UNKNOWN else 0, 0, 0)
    assert (await denied(database)) == 0
    assert await count(database) == (0, 0, 1)
    async with database.begin() as session:
        assert await list_doubtful_jobs(session, owner=None, limit=10) == [job_id]


async def denied(database):
    async with database.begin() as session:
        found = await sum_doubts(session)
    assert found.denied_usd == found.denied * PRICE
    return found.denied


async def test_a_5xx_before_another_attempt_was_taken_is_counted_apart(database):
    await add_job(database)
    row = await send(database)
    move = retry_submit(row.id, row.lease, error="500", due_in=0)
    await answer(database, row, Answer.FAULT, move)
    assert await denied(database) == 0  # nothing else was sent yet

    await take(database, await send(database))

    assert (await denied(database), await count(database)) == (1, (0, 0, 0))
    async with database.begin() as session:
        assert await list_doubtful_jobs(session, owner=None, limit=10) == []


async def test_an_attempt_that_is_heard_of_in_time_is_no_double_charge(database):
    await add_job(database)
    row = await send(database)
    await lose(database, row)

    await hear_of(database, row)

    assert await count(database) == (0, 0, 0)
    async with database.begin() as session:
        assert await list_doubtful_jobs(session, owner=None, limit=10) == []


async def test_what_the_upstream_forgot_may_have_been_billed(database):
    job_id = await add_job(database)
    await take(database, await send(database), "up-1")
    async with database.begin() as session:
        [poll] = await claim_polls(
            session, endpoint=ENDPOINT, limit=1, lease=new_id(), lease_seconds=60, proven=True
        )
        await move_jobs(session, [send_anew(job_id, poll.lease, error="404", due_in=0)])
    assert await count(database) == (0, 1, 0)

    await take(database, await send(database))

    assert await count(database) == (1, 0, 0)


async def test_a_job_lost_for_good_may_have_been_billed_for_nothing(database):
    job_id = await add_job(database)
    await take(database, await send(database), "up-1")
    async with database.begin() as session:
        [poll] = await claim_polls(
            session, endpoint=ENDPOINT, limit=1, lease=new_id(), lease_seconds=60, proven=True
        )
        gone = end(
            job_id, poll.lease, state=JobState.LOST, reason=Reason.VANISHED, gone=True, polled=True
        )
        await move_jobs(session, [gone])

    assert await count(database) == (0, 1, 0)


async def test_doubts_are_summed_by_key(database):
    async with database.begin() as session:
        keys = [(await issue_key(session, name=name, scopes=[Scope.RUN])).row.id for name in "ab"]
    for key_id in (*keys, keys[1], None):
        await add_job(database, key_id=key_id, on_unknown=OnUnknown.FAIL)
        await lose(database, await send(database))

    async with database.begin() as session:
        by_key = {one.key_id: one.unused for one in await sum_doubts_by_key(session)}

    assert by_key == {keys[0]: 1, keys[1]: 2, None: 1}
    assert await count(database, owner=keys[1]) == (0, 2, 0)


async def test_what_has_no_price_is_counted_apart(database):
    await add_job(database, on_unknown=OnUnknown.FAIL)
    async with database.begin() as session:
        await session.execute(text("UPDATE jobs SET estimate_usd = NULL"))
    await lose(database, await send(database))

    async with database.begin() as session:
        found = await sum_doubts(session)

    assert (found.unused, found.unused_usd, found.unpriced) == (1, Decimal(), 1)


async def test_the_api_shows_a_key_its_own_doubts_and_an_operator_everybodys(
    gateway, issue, database
):
    mine, key_id = await issue("mine", Scope.RUN)
    chief, _ = await issue("chief", Scope.OPERATE)
    job_id = await add_job(database, key_id=key_id)
    await lose(database, await send(database))
    await take(database, await send(database))
    await add_job(database, on_unknown=OnUnknown.FAIL)
    await lose(database, await send(database))

    answers = {}
    for name, key in (("mine", mine), ("chief", chief)):
        reply = await gateway.get("/api/v1/doubts", headers={"Authorization": f"Bearer {key}"})
        answers[name] = reply.json()
    of_job = await gateway.get(
        f"/api/v1/jobs/{job_id}/attempts", headers={"Authorization": f"Bearer {mine}"}
    )

    assert (answers["mine"]["possibly_twice_usd"], answers["mine"]["keys"]) == (0.25, [])
    assert (answers["chief"]["possibly_twice"], answers["chief"]["possibly_for_nothing"]) == (1, 1)
    assert len(answers["chief"]["keys"]) == 2
    assert of_job.json()["doubts"]["possibly_twice_usd"] == 0.25
    assert [one["fate"] for one in of_job.json()["attempts"]] == ["doubtful", None]
