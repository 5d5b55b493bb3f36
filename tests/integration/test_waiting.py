"""Why a job waits: for each cause one sentence, with its figures, and when it goes on."""

import datetime as dt
import re

import pytest

from endpoints.forecast import count_durations, keep_share
from gateway.waiting import Cause, find_waiting
from models.artifact import list_artifacts
from models.base import new_id
from models.budget import Period, add_budget, remove_budget
from models.campaign import add_campaign
from models.endpoint_stats import add_durations
from models.job import JobState
from models.job_queries import JobFilter, get_job, list_jobs
from models.lane import COUNTED_MOST, StageName, close_lane, note_learned, set_paused
from models.transitions import (
    NewJob,
    accept,
    end,
    enqueue_jobs,
    lose_sight,
    move_jobs,
    retry_submit,
)
from tasks.limits import keep_limits
from tasks.pause import pause, resume
from tests.integration.conftest import FLUX
from workers.maintenance import begin_maintenance

PER_SECOND = 100  # what is documented: 1,000 in 10 s


@pytest.fixture
def add(run):
    """Enqueues so many; the id of the last."""

    async def add_some(count=1, **options):
        jobs = [NewJob(id=new_id(), endpoint=FLUX, input={}, **options) for _ in range(count)]
        await run(enqueue_jobs, jobs)
        return jobs[-1].id

    return add_some


@pytest.fixture
def ask(runtime, database):
    """What is said of a job."""

    async def ask_for(job_id, **options):
        async with database.begin() as session:
            job = await get_job(session, job_id)
            files = await list_artifacts(session, job_ids=[job_id])
            return await find_waiting(runtime, session, job, files, **options)

    return ask_for


async def find_held(run):
    jobs = await run(list_jobs, JobFilter(), limit=None)
    return [job.id for job in jobs if job.held]


async def test_a_place_in_line_is_counted_and_when_its_turn_comes(add, ask):
    first = await add()
    last = await add(250)

    waiting = await ask(last)

    assert (waiting.cause, waiting.ahead) == (Cause.LINE, 250)
    assert waiting.starts_in_seconds == pytest.approx(250 / PER_SECOND)
    assert waiting.why == (
        "250 are before it in line, of which 1,000 may be sent in 10 s: its turn comes in about "
        "2.5 s"
    )
    assert (await ask(first)).why == "it is the next in line"


async def test_those_of_a_higher_priority_are_before_it_and_those_of_a_lower_are_not(add, ask):
    mine = await add()
    await add(3, priority=9)
    await add(5, priority=1)

    assert (await ask(mine)).ahead == 3


async def test_the_place_is_the_one_that_claims_go_by(add, ask, run, claim):
    campaign = await run(add_campaign, name="night", endpoint=FLUX)
    jobs = [await add(priority=(5, 9, 0)[n % 3]) for n in range(21)]
    jobs += [await add(campaign_id=campaign, position=n) for n in range(9)]
    places = {job: (await ask(job)).ahead for job in jobs}

    first = {row.id for row in await claim(limit=17)}

    assert sorted(places.values()) == list(range(30))
    assert first == {job for job, place in places.items() if place < 17}


async def test_a_line_that_is_longer_than_is_counted_is_said_to_be(add, ask, monkeypatch):
    monkeypatch.setattr("gateway.waiting.COUNTED_MOST", 20)
    waiting = await ask(await add(41))

    assert waiting.why.startswith("40 or more are before it in line")
    assert waiting.starts_in_seconds is None
    assert COUNTED_MOST > 20


async def test_what_refusals_taught_is_the_rate_that_is_forecast(add, ask, run):
    last = await add(101)
    await run(note_learned, StageName.SUBMIT, FLUX, learned=50)

    waiting = await ask(last)

    assert "of which 50 may be sent in 10 s, which refusals taught" in waiting.why
    assert waiting.starts_in_seconds == pytest.approx(20)


async def test_a_closed_lane_says_until_when_and_why_before_all_else(add, ask, run):
    last = await add(101)
    await run(close_lane, StageName.SUBMIT, FLUX, reason="HTTP 429: slow down", seconds=90)

    waiting = await ask(last)

    assert waiting.cause is Cause.LANE_CLOSED
    assert re.fullmatch(
        rf"the submit lane of {FLUX} is closed for (8\d|90)\.\d s more: HTTP 429: slow "
        r"down; and 100 are before it in line, .* 10 s: its turn comes in about 1 min 3\d s",
        waiting.why,
    )
    assert waiting.until is not None
    assert 80 < (waiting.until - dt.datetime.now(dt.UTC)).total_seconds() < 91
    assert waiting.starts_in_seconds == pytest.approx(91, abs=5)  # and then the line goes on


async def test_a_paused_lane_is_the_cause_and_nothing_is_forecast(add, ask, run):
    job = await add()
    await run(set_paused, StageName.SUBMIT, FLUX, paused=True)

    waiting = await ask(job)

    assert waiting.cause is Cause.LANE_PAUSED
    assert waiting.why == f"the submit lane of {FLUX} is paused"
    assert (waiting.until, waiting.starts_in_seconds) == (None, None)


async def test_a_lane_that_is_paused_for_a_time_says_why_and_until_when(add, ask, run):
    last = await add(101)
    await run(set_paused, StageName.SUBMIT, FLUX, paused=True, reason="a price check", seconds=60)

    waiting = await ask(last)

    assert re.match(
        rf"the submit lane of {FLUX} is paused until .* UTC: a price check; and 100 are before it",
        waiting.why,
    )
    assert waiting.starts_in_seconds == pytest.approx(61, abs=5)


async def test_maintenance_is_said_before_all_else_and_of_what_is_in_flight_not_at_all(
    add, ask, run, claim
):
    flying = await add()
    [row] = await claim()
    await run(move_jobs, [accept(flying, row.lease, upstream_id="u", due_in=4)])
    waits = await add()
    await run(set_paused, StageName.SUBMIT, FLUX, paused=True)
    await run(begin_maintenance, reason="a new disk", refuse=False)

    waiting = await ask(waits)

    assert waiting.cause is Cause.MAINTENANCE
    assert "a new disk" in waiting.why
    assert waiting.why.endswith(f"; and the submit lane of {FLUX} is paused")
    assert (await ask(flying)).cause is Cause.UPSTREAM_QUEUE


async def test_a_paused_campaign_is_named_and_a_resume_ends_it(add, ask, run, runtime):
    campaign = await run(add_campaign, name="night", endpoint=FLUX)
    job = await add(campaign_id=campaign, position=0)
    await pause(runtime, campaign)

    paused = await ask(job)
    await resume(runtime, campaign)

    assert paused.cause is Cause.CAMPAIGN_PAUSED
    assert re.fullmatch(r"its campaign night is paused since \d\d:\d\d:\d\d UTC", paused.why)
    assert (await ask(job)).cause is Cause.LINE


async def test_of_a_campaign_with_slots_it_says_how_many_are_taken(add, ask, run, claim):
    campaign = await run(add_campaign, name="night", endpoint=FLUX, max_in_flight=2)
    await add(5, campaign_id=campaign)
    taken = {row.id for row in await claim()}
    waiting = [await ask(job) for job in await find_held(run)]

    assert len(taken) == 2
    assert {one.cause for one in waiting} == {Cause.SLOTS}
    assert {one.why for one in waiting} == {
        "2 jobs of its campaign night are in flight, which wants 2 at most"
    }


@pytest.mark.parametrize("period", [Period.TOTAL, Period.DAY])
async def test_a_budget_says_what_is_left_of_it_what_was_wanted_and_when_it_begins_anew(
    add, ask, run, claim, period
):
    await run(add_budget, name="wall", limit_usd=1, period=period, zone="Europe/Berlin")
    await add(3, estimate_usd=0.4)
    await claim()
    [held] = await find_held(run)

    waiting = await ask(held)

    assert waiting.cause is Cause.BUDGET
    assert waiting.why.startswith("the budget wall has $0.20 of $1.00 left, and it costs $0.40")
    if period is Period.DAY:
        assert re.search(r"; its next day begins \d{4}-\d\d-\d\d 00:00 Europe/Berlin$", waiting.why)
        assert waiting.until.astimezone(dt.UTC).hour in {22, 23}
    else:
        assert waiting.until is None


async def test_a_key_is_told_no_figures_of_a_budget_that_is_not_its_own(
    add, ask, run, claim, issue
):
    _, mine = await issue("mine")
    _, other = await issue("other")
    await run(add_budget, name="wall", limit_usd=1, key_id=mine)
    await add(3, estimate_usd=0.4, key_id=mine)
    await claim()
    [held] = await find_held(run)

    assert "$1.00" in (await ask(held, owner=mine)).why
    assert (await ask(held, owner=other)).why == "the budget wall has not enough left for it"


async def test_a_budget_that_is_gone_holds_nothing_for_long(add, ask, run, claim, runtime):
    budget = await run(add_budget, name="wall", limit_usd=1)
    await add(3, estimate_usd=0.4)
    await claim()
    [held] = await find_held(run)
    await run(remove_budget, budget)

    assert (await ask(held)).why == "what held it is over; it goes on in a moment"
    await keep_limits(runtime)
    assert (await ask(held)).cause is Cause.LINE


async def test_another_attempt_says_what_the_one_before_it_met(add, ask, run, claim):
    job = await add()
    [row] = await claim()
    await run(move_jobs, [retry_submit(job, row.lease, error="HTTP 502: bad gateway", due_in=30)])

    waiting = await ask(job)

    assert waiting.cause is Cause.RETRY
    assert re.fullmatch(
        r"attempt 1 failed \(HTTP 502: bad gateway\); it is sent again at .* UTC, in \d\d\.\d s",
        waiting.why,
    )
    assert waiting.starts_in_seconds == pytest.approx(30, abs=3)


async def test_a_start_in_the_future_and_a_pace_are_told_apart(add, ask, run):
    campaign = await run(add_campaign, name="night", endpoint=FLUX)
    alone = await ask(await add(due_seconds=3600.0))
    paced = await ask(await add(due_seconds=3600.0, campaign_id=campaign, position=1))

    assert (alone.cause, paced.cause) == (Cause.START, Cause.PACE)
    assert alone.why.startswith("it was asked to be sent at ")
    assert paced.why.startswith("its campaign is spread over time; its turn comes at ")
    for one in (alone, paced):
        assert one.starts_in_seconds == pytest.approx(3600, abs=5)
        assert "59 min" in one.why or "1 h 00 min" in one.why


async def test_of_a_job_in_flight_its_end_is_forecast_from_what_such_jobs_took(
    add, ask, run, claim, execute
):
    job = await add()
    await run(
        add_durations,
        FLUX,
        counts=count_durations([20.0] * 200),
        bins=200,
        keep=keep_share(0),
    )
    [row] = await claim()
    sent = await ask(job)
    await run(move_jobs, [accept(job, row.lease, upstream_id="u", due_in=4)])
    await execute("UPDATE jobs SET submitted_at = now() - interval '8 s'")
    waiting = await ask(job)
    await execute("UPDATE jobs SET submitted_at = now() - interval '4 h'")
    overdue = await ask(job)

    assert (sent.cause, sent.why) == (Cause.REPLY, "a /run is on its way")
    assert waiting.cause is Cause.UPSTREAM_QUEUE
    assert waiting.ends_in_seconds == pytest.approx(12, abs=1.5)
    assert re.fullmatch(
        r"in the upstream's queue; asked for again in \d\.\d s; it was sent 8\.\d s ago, and is "
        r"likely to end in 1\d\.\d s",
        waiting.why,
    )
    assert overdue.ends_in_seconds is None
    assert overdue.why.endswith("and no job was seen to take so long")


async def test_a_lost_reply_says_what_comes_of_it(add, ask, run, claim):
    job = await add()
    [row] = await claim()
    await run(move_jobs, [lose_sight(job, row.lease, error="ReadTimeout", due_in=60)])

    waiting = await ask(job)

    assert waiting.cause is Cause.OUTCOME
    assert "the reply to /run was lost (ReadTimeout)" in waiting.why
    assert waiting.until is not None


async def test_what_has_ended_waits_for_its_files_or_for_nothing(add, ask, run, claim, execute):
    job = await add()
    [row] = await claim()
    await run(move_jobs, [end(job, row.lease, state=JobState.COMPLETED, output={})])
    done = await ask(job)
    await execute("""
        INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url, expires_at, error)
        SELECT gen_random_uuid(), id, 0, endpoint, 'output', 'u', now(), 'HTTP 503' FROM jobs
    """)

    stored_later = await ask(job)

    assert done.describe() == {"why": "it is done", "waiting": None}
    assert stored_later.cause is Cause.FILES
    assert stored_later.why == "it is done; files yet to be stored: 1 of 1 (HTTP 503)"
