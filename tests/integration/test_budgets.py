"""Budgets: a wall before `/run`, books that are settled once, and what waits for room."""

import asyncio
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from models.attempt import Answer, AttemptEnd, answer_attempts, settle_attempts
from models.base import new_id
from models.budget import (
    AtCap,
    BelowSpent,
    BudgetTaken,
    Period,
    add_budget,
    change_budget,
    find_budget,
    list_budgets,
    remove_budget,
)
from models.campaign import add_campaign
from models.claims import hand_back
from models.errors import NotFound
from models.interventions import retry_jobs
from models.job import JobState, Reason
from models.job_queries import JobFilter, get_job, list_jobs
from models.key import Scope
from models.lane import StageName
from models.movement import MovementKind, list_movements
from models.reservation import OverBudget, reserve, settle_reservations
from models.room import make_all_room, make_room
from models.transitions import (
    NewJob,
    Submission,
    accept,
    begin_direct_job,
    claim_submissions,
    end,
    enqueue_jobs,
    follow_hints,
    lose_sight,
    move_jobs,
    resolve_unknown,
    send_anew,
)
from tasks.budgets import set_budget
from tasks.direct import open_direct_job
from tasks.limits import keep_limits, release
from tests.integration.conftest import FLUX

PRICE = Decimal("0.01")


@pytest.fixture
def add(run):
    """Enqueues so many jobs of a price; their ids, in order."""

    async def add_some(jobs, usd=PRICE, **options):
        new = [
            NewJob(
                id=new_id(),
                endpoint=FLUX,
                input={},
                estimate_usd=None if usd is None else str(usd),
                **options,
            )
            for _ in range(jobs)
        ]
        await run(enqueue_jobs, new)
        return [job.id for job in new]

    return add_some


@pytest.fixture
def state_of(run):
    async def read(budget_id):
        [state] = await run(list_budgets, ids=[budget_id])
        return state

    return read


@pytest.fixture
def finish(run):
    """Brings claimed jobs to their end as polls do; what each cost, None: it is not said."""

    async def finish_some(rows, cost=PRICE, **ended):
        await run(take, rows)
        ended = {"state": JobState.COMPLETED} | ended
        claimed = await lease_again(run, rows)
        told = None if cost is None else str(cost)
        await run(move_jobs, [end(one, lease, cost_usd=told, **ended) for one, lease in claimed])
        await run(settle_attempts, job_ids=[row.id for row in rows])
        return await run(make_room, [row.id for row in rows])

    return finish_some


@pytest.fixture
def a_day_passes(execute):
    """What was written today was written yesterday."""

    async def pass_one():
        await execute("""
            INSERT INTO budget_periods (budget_id, starts_at, reserved_usd, capped_at)
            SELECT budget_id, starts_at - interval '1 day', reserved_usd, capped_at
            FROM budget_periods
        """)
        await execute("UPDATE reservations SET starts_at = starts_at - interval '1 day'")
        await execute("DELETE FROM budget_periods WHERE starts_at > now() - interval '1 day'")

    return pass_one


async def tell_cost(session):
    await session.execute(text("UPDATE attempts SET cost_usd = 0.004"))


async def take(session, rows):
    """The upstream accepts them."""
    await move_jobs(
        session,
        [
            accept(row.id, row.lease, upstream_id=f"up-{row.lease}-{row.id}", due_in=0)
            for row in rows
        ],
    )
    await answer_attempts(
        session,
        [
            AttemptEnd(
                job_id=row.id,
                lease=row.lease,
                answer=Answer.ACCEPTED,
                upstream_id=f"up-{row.lease}-{row.id}",
            )
            for row in rows
        ],
    )


async def lease_again(run, rows):
    """As a poll claims them; (id, lease) of each."""

    async def lease(session):
        leases = [(row.id, new_id()) for row in rows]
        for job_id, one in leases:
            await session.execute(
                text("UPDATE jobs SET lease = :lease WHERE id = :id"), {"lease": one, "id": job_id}
            )
        return leases

    return await run(lease)


async def test_what_does_not_fit_is_not_sent_and_the_books_say_so(run, add, claim, state_of):
    budget = await run(add_budget, name="wall", limit_usd=PRICE * 3)
    ids = await add(5)

    rows = await claim()

    assert {row.id for row in rows} <= set(ids)
    assert len(rows) == 3
    state = await state_of(budget)
    assert (state.reserved_usd, state.spent_usd, state.left_usd) == (PRICE * 3, 0, 0)
    assert (state.held, state.capped) == (2, True)
    held = [job for job in await run(list_jobs, JobFilter(), limit=None) if job.held]
    assert {(job.state, job.attempt, job.held_by) for job in held} == {(JobState.QUEUED, 0, budget)}
    assert await claim() == []


async def test_a_dear_job_gives_way_to_a_cheap_one_behind_it(run, add, claim):
    await run(add_budget, name="wall", limit_usd=PRICE * 3)
    await add(1, usd=PRICE * 4)
    [cheap] = await add(1)

    assert [row.id for row in await claim()] == [cheap]


async def test_eight_claims_at_once_never_overshoot(database, run, add, state_of):
    """Each budget of several at once, so that their locks cross; what is claimed is what fits."""
    budgets = [
        await run(add_budget, name=f"wall {n}", limit_usd=PRICE * limit)
        for n, limit in enumerate([41, 37, 53])
    ]
    await add(120)
    sent: list[Submission] = []

    async def worker():
        while True:
            async with database.begin() as session:
                rows = await claim_submissions(
                    session,
                    endpoint=FLUX,
                    limit=7,
                    lease=new_id(),
                    lease_seconds=60,
                    proven=True,
                )
                await asyncio.sleep(0.01)  # the others come before it is committed
            sent.extend(rows)
            if not rows:
                return

    await asyncio.gather(*(worker() for _ in range(8)))

    assert len(sent) == 37
    for budget in budgets:
        assert (await state_of(budget)).reserved_usd == PRICE * 37


async def test_a_cost_is_settled_once_and_what_is_left_of_its_price_is_free_again(
    run, add, claim, finish, state_of
):
    budget = await run(add_budget, name="wall", limit_usd=PRICE * 2)
    await add(3)
    rows = await claim()
    assert len(rows) == 2

    released = await finish(rows, cost=PRICE / 2)

    assert released == {FLUX}
    for _ in range(2):
        await run(settle_reservations, job_ids=[row.id for row in rows])
        await run(settle_reservations)
    state = await state_of(budget)
    assert (state.spent_usd, state.reserved_usd) == (PRICE, 0)
    assert len(await claim()) == 1
    kinds = [one.kind for one in await run(list_movements, budget, limit=None)]
    assert sorted(kinds) == ["limit", "reserved", "reserved", "reserved", "spent", "spent"]


@pytest.mark.parametrize(
    ("reason", "spent"),
    [(Reason.UPSTREAM_FAILED, 0), (Reason.KILLED_WORKERS, PRICE), (Reason.VANISHED, PRICE)],
)
async def test_a_failed_generation_is_free_and_one_of_which_nothing_is_known_is_not(
    run, add, claim, finish, *, state_of, reason, spent
):
    budget = await run(add_budget, name="wall", limit_usd=PRICE)
    await add(1)

    await finish(await claim(), cost=None, state=JobState.FAILED, reason=reason)

    state = await state_of(budget)
    assert (state.spent_usd, state.reserved_usd) == (spent, 0)


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.TIMED_OUT, JobState.COMPLETED])
async def test_what_names_no_cost_counts_at_its_price_until_it_does(
    run, add, claim, finish, *, state_of, state
):
    """Of a job that was stopped the upstream does not say whether it is billed."""
    budget = await run(add_budget, name="wall", limit_usd=PRICE)
    await add(1)
    rows = await claim()

    await finish(rows, cost=None, state=state)
    assert (await state_of(budget)).spent_usd == PRICE

    await run(tell_cost)
    await run(settle_reservations, job_ids=[rows[0].id])
    assert (await state_of(budget)).spent_usd == Decimal("0.004")


@pytest.mark.parametrize("answer", [Answer.BUSY, Answer.REFUSED, Answer.FAULT, Answer.UNSENT])
async def test_what_was_not_taken_reserves_nothing(run, add, claim, state_of, answer):
    budget = await run(add_budget, name="wall", limit_usd=PRICE)
    await add(1)
    [row] = await claim()

    await run(answer_attempts, [AttemptEnd(job_id=row.id, lease=row.lease, answer=answer)])
    await run(settle_reservations, job_ids=[row.id])

    state = await state_of(budget)
    assert (state.spent_usd, state.reserved_usd) == (0, 0)


async def test_what_is_handed_back_can_be_reserved_for_again_at_once(run, add, claim):
    await run(add_budget, name="wall", limit_usd=PRICE)
    await add(1)
    [row] = await claim()

    await run(hand_back, StageName.SUBMIT, lease=row.lease, ids=[row.id])

    assert [one.id for one in await claim()] == [row.id]


async def test_a_lost_reply_stays_reserved_and_then_counts_as_spent(run, add, claim, state_of):
    budget = await run(add_budget, name="wall", limit_usd=PRICE * 3)
    await add(1)
    [row] = await claim()
    await run(move_jobs, [lose_sight(row.id, row.lease, error="-", due_in=0)])
    answer = AttemptEnd(job_id=row.id, lease=row.lease, answer=Answer.UNKNOWN)
    await run(answer_attempts, [answer])
    await run(settle_reservations)
    assert (await state_of(budget)).reserved_usd == PRICE

    await run(resolve_unknown, endpoint=FLUX, longest_seconds=0, max_sends=3, max_attempts=10)
    await run(settle_reservations)

    state = await state_of(budget)
    assert (state.spent_usd, state.reserved_usd) == (PRICE, 0)
    assert len(await claim()) == 1
    assert (await state_of(budget)).left_usd == PRICE


async def test_one_that_vanished_and_is_sent_anew_is_paid_for_twice(run, add, claim, state_of):
    budget = await run(add_budget, name="wall", limit_usd=PRICE * 2)
    await add(1)
    rows = await claim()
    await run(take, rows)
    [(job, lease)] = await lease_again(run, rows)
    await run(move_jobs, [send_anew(job, lease, error="404", due_in=0)])
    await run(make_room, [job])

    await claim()

    state = await state_of(budget)
    assert (state.spent_usd, state.reserved_usd, state.left_usd) == (PRICE, PRICE, 0)


async def test_a_job_counts_under_its_key_its_campaign_its_tags_and_everybody(
    run, add, claim, state_of, issue
):
    _, key = await issue("studio", Scope.RUN)
    campaign = await run(
        add_campaign, name="shoot", endpoint=FLUX, tags=["nightly", "spring", "nightly"]
    )
    holders = [{"key_id": key}, {"campaign_id": campaign}, {"tag": "nightly"}, {"tag": "spring"}]
    mine = [
        await run(add_budget, name=f"mine {n}", limit_usd=1, **holder)
        for n, holder in enumerate([*holders, {}])
    ]
    _, other_key = await issue("other", Scope.RUN)
    others = [
        await run(add_budget, name=f"other {n}", limit_usd=1, **holder)
        for n, holder in enumerate([{"tag": "autumn"}, {"key_id": other_key}])
    ]
    await add(1, key_id=key, campaign_id=campaign)

    assert len(await claim()) == 1

    assert {(await state_of(one)).reserved_usd for one in mine} == {PRICE}
    assert {(await state_of(one)).reserved_usd for one in others} == {0}
    assert [(await state_of(one)).holder for one in mine] == [
        "studio",
        "shoot",
        "nightly",
        "spring",
        None,
    ]


async def test_an_empty_budget_holds_up_nobody_else(run, add, claim, issue):
    _, poor = await issue("poor", Scope.RUN)
    await run(add_budget, name="poor", limit_usd=PRICE, key_id=poor)
    await add(300, key_id=poor)
    rich = await add(10)

    sent = [row.id for row in await claim()] + [row.id for row in await claim()]

    assert set(rich) <= set(sent)
    assert len(sent) == 11


async def test_the_jobs_behind_one_that_a_campaign_cannot_pay_for_are_out_of_line_at_once(
    run, add, claim, state_of
):
    campaign = await run(add_campaign, name="shoot", endpoint=FLUX)
    budget = await run(add_budget, name="shoot", limit_usd=PRICE, campaign_id=campaign)
    await add(300, campaign_id=campaign)

    assert len(await claim(limit=10)) == 1

    assert (await state_of(budget)).held == 299


async def test_a_raised_limit_lets_as_many_go_on_as_it_pays_for(runtime, run, add, claim, state_of):
    budget = await run(add_budget, name="wall", limit_usd=PRICE)
    await add(6)
    await claim()

    await run(change_budget, budget, limit_usd=PRICE * 3)
    await release(runtime, [budget])

    state = await state_of(budget)
    assert (state.held, state.capped) == (3, False)
    assert len(await claim()) == 2


async def test_whoever_died_after_raising_a_limit_the_sweep_goes_on(runtime, run, add, claim):
    budget = await run(add_budget, name="wall", limit_usd=PRICE)
    await add(3)
    await claim()
    await run(change_budget, budget, limit_usd=PRICE * 3)

    await keep_limits(runtime)

    assert len(await claim()) == 2
    assert await runtime.redis.keys(f"*bell:submit:{FLUX}")


async def test_a_removed_budget_holds_nothing_and_keeps_its_ledger(
    runtime, run, add, claim, finish
):
    budget = await run(add_budget, name="wall", limit_usd=PRICE)
    await add(4)
    rows = await claim()
    await run(remove_budget, budget)
    await release(runtime, [budget])

    assert len(await claim()) == 3
    assert await run(list_budgets) == []
    await finish(rows)
    await run(make_all_room)
    kinds = [one.kind for one in await run(list_movements, budget, limit=None)]
    assert sorted(kinds) == ["limit", "limit", "reserved", "spent"]
    with pytest.raises(NotFound):
        await run(remove_budget, budget)
    await run(add_budget, name="wall", limit_usd=PRICE)


async def test_a_new_day_begins_at_nothing_and_settles_the_old_in_the_old(
    runtime, run, claim, finish, *, state_of, a_day_passes
):
    budget = await run(
        add_budget, name="day", limit_usd=PRICE, period=Period.DAY, zone="Pacific/Auckland"
    )
    jobs = [NewJob(id=new_id(), endpoint=FLUX, input={}, estimate_usd=str(PRICE)) for _ in "ab"]
    await run(enqueue_jobs, jobs)
    rows = await claim()
    assert len(rows) == 1
    await a_day_passes()

    await keep_limits(runtime)
    assert len(await claim()) == 1
    await finish(rows)

    state = await state_of(budget)
    assert (state.reserved_usd, state.spent_usd) == (PRICE, 0)


@pytest.mark.parametrize(
    ("period", "zone", "length"),
    [
        (Period.DAY, "Europe/Berlin", "23:00:00 24:00:00 25:00:00"),
        (Period.WEEK, "America/New_York", "167:00:00 168:00:00 169:00:00"),
        (Period.MONTH, "UTC", "672:00:00 696:00:00 720:00:00 744:00:00"),
    ],
)
async def test_periods_begin_where_the_clock_of_their_zone_says(
    run, state_of, period, zone, length
):
    budget = await run(add_budget, name="p", limit_usd=1, period=period, zone=zone)

    state = await state_of(budget)

    seconds = (state.ends_at - state.starts_at).total_seconds()
    assert f"{seconds / 3600:.0f}:00:00" in length.split()
    begins = state.starts_at.astimezone(ZoneInfo(zone))
    assert (begins.hour, begins.minute) == (0, 0)
    assert begins.weekday() == 0 or period is not Period.WEEK
    assert begins.day == 1 or period is not Period.MONTH


async def test_unpriced_jobs_pass_until_nothing_is_left(run, add, claim, finish):
    await run(add_budget, name="wall", limit_usd=PRICE)
    await add(4, usd=None)

    first = await claim(limit=2)
    assert len(first) == 2
    await finish(first, cost=PRICE)  # twice what there was: no more than was in flight

    assert await claim() == []


@pytest.mark.parametrize("at_cap", [AtCap.FINISH_IN_FLIGHT, AtCap.STOP])
async def test_at_its_cap_the_rest_is_rejected_and_what_runs_ends_as_it_says(
    runtime, run, add, claim, at_cap
):
    campaign = await run(add_campaign, name="shoot", endpoint=FLUX)
    await run(add_budget, name="shoot", limit_usd=PRICE * 2, campaign_id=campaign, at_cap=at_cap)
    await add(5, campaign_id=campaign)
    rows = await claim()
    await run(take, rows)

    await keep_limits(runtime)

    jobs = await run(list_jobs, JobFilter(campaign_id=campaign), limit=None)
    rejected = [job for job in jobs if job.state is JobState.REJECTED]
    assert len(rejected) == 3
    assert {job.reason for job in rejected} == {Reason.OVER_BUDGET}
    assert "'shoot'" in rejected[0].error or "shoot" in rejected[0].error
    running = [job for job in jobs if job.state is JobState.IN_QUEUE]
    assert len(running) == 2
    asked = [job.cancel_requested_at is not None for job in running]
    assert asked == [at_cap is AtCap.STOP] * 2
    again = await run(retry_jobs, job_ids=[job.id for job in rejected])
    assert len(again) == 3
    assert await claim() == []


async def test_word_is_written_once_when_it_is_nearly_and_once_when_it_is_used_up(
    runtime, run, add, claim, database
):
    await run(add_budget, name="wall", limit_usd=PRICE * 10, webhook="http://127.0.0.1:1/hook")

    async def said():
        async with database.begin() as session:
            rows = await session.execute(
                text("SELECT type, body FROM announcements ORDER BY created_at")
            )
            return [(row.type, row.body["spent_usd"], row.body["jobs_held"]) for row in rows]

    await add(7)
    await claim()
    await keep_limits(runtime)
    assert await said() == []
    await add(1)
    await claim()
    await keep_limits(runtime)
    await keep_limits(runtime)
    assert await said() == [("budget.warned", "0", 0)]
    await add(4)
    await claim()
    await keep_limits(runtime)
    await keep_limits(runtime)
    assert await said() == [("budget.warned", "0", 0), ("budget.reached", "0", 2)]
    async with database.begin() as session:
        events = await session.scalars(
            text("SELECT type FROM events WHERE budget_id IS NOT NULL ORDER BY number")
        )
        assert events.all() == ["budget.warned", "budget.reached"]


async def test_a_direct_job_that_does_not_fit_is_not_written(run, add, claim):
    await run(add_budget, name="wall", limit_usd=PRICE)
    await add(1)
    await claim()
    job = NewJob(id=new_id(), endpoint=FLUX, input={}, estimate_usd=str(PRICE))

    with pytest.raises(OverBudget):
        await run(begin_direct_job, job, lease=new_id(), lease_seconds=60)

    with pytest.raises(NotFound):
        await run(get_job, job.id)


async def test_one_that_only_streams_use_is_said_to_be_reached(runtime, run, add, claim, state_of):
    budget = await run(add_budget, name="wall", limit_usd=PRICE)
    await add(1)
    await claim()
    job = NewJob(id=new_id(), endpoint=FLUX, input={}, estimate_usd=str(PRICE))

    with pytest.raises(OverBudget, match="the budget 'wall' has not enough left"):
        async with open_direct_job(runtime, job, None):
            pass

    assert (await state_of(budget)).capped
    with pytest.raises(NotFound):
        await run(get_job, job.id)


async def test_a_limit_below_what_is_spent_or_reserved_is_refused(run, add, claim, finish):
    budget = await run(add_budget, name="wall", limit_usd=PRICE * 3)
    await add(3)
    await finish(await claim(limit=1))
    await claim(limit=1)

    with pytest.raises(BelowSpent, match=r"0\.02 is spent or reserved"):
        await run(change_budget, budget, limit_usd=PRICE)
    await run(change_budget, budget, limit_usd=PRICE * 2)


@pytest.mark.parametrize("period", [Period.TOTAL, Period.MONTH])
async def test_what_was_spent_before_it_was_set_counts(
    run, claim, finish, *, state_of, issue, period
):
    _, key = await issue("studio", Scope.RUN)
    jobs = [
        NewJob(id=new_id(), endpoint=FLUX, input={}, estimate_usd=str(PRICE), key_id=owner)
        for owner in [key, key, key, None]
    ]
    await run(enqueue_jobs, jobs)
    rows = sorted(await claim(), key=lambda row: [job.id for job in jobs].index(row.id))
    await finish(rows[:1], cost=PRICE / 2)
    await finish(rows[1:2], cost=None, state=JobState.CANCELLED)

    with pytest.raises(BelowSpent, match=r"0\.025 is spent or reserved"):
        await run(set_budget, name="studio", limit_usd=PRICE * 2, period=period, key_id=key)
    budget = await run(set_budget, name="studio", limit_usd=PRICE * 3, period=period, key_id=key)

    state = await state_of(budget)
    assert (state.spent_usd, state.reserved_usd) == (PRICE * 3 / 2, PRICE)
    await finish(rows[2:])
    state = await state_of(budget)
    assert (state.spent_usd, state.reserved_usd) == (PRICE * 5 / 2, 0)


async def test_a_claim_that_is_under_way_as_a_budget_is_set_counts_under_it(
    database, run, add, state_of
):
    await add(3)
    async with database.begin() as session:
        rows = await claim_submissions(
            session, endpoint=FLUX, limit=9, lease=new_id(), lease_seconds=60, proven=True
        )
        setting = asyncio.create_task(run(set_budget, name="wall", limit_usd=PRICE * 3))
        await asyncio.sleep(0.3)
        assert not setting.done()
    assert len(rows) == 3

    assert (await state_of(await setting)).reserved_usd == PRICE * 3


async def test_cheap_jobs_behind_a_dear_one_are_not_rejected_with_it(runtime, run, add, claim):
    campaign = await run(add_campaign, name="shoot", endpoint=FLUX)
    await run(
        add_budget,
        name="shoot",
        limit_usd=PRICE * 9,
        campaign_id=campaign,
        at_cap=AtCap.FINISH_IN_FLIGHT,
    )
    [dear] = await add(1, usd=PRICE * 10, campaign_id=campaign)
    await add(8, campaign_id=campaign)

    assert await claim(limit=1) == []
    await keep_limits(runtime)

    assert len(await claim()) == 8
    assert (await run(get_job, dear)).state is JobState.REJECTED


async def test_the_cheapest_are_released_first_and_as_many_as_there_is_money_for(
    runtime, run, add, claim
):
    budget = await run(add_budget, name="wall", limit_usd=PRICE)
    await add(1)
    await claim()
    await add(2, usd=PRICE * 2)
    await add(3)
    await claim()

    await run(change_budget, budget, limit_usd=PRICE * 4)
    await release(runtime, [budget])

    assert len(await claim()) == 3


async def test_one_that_was_taken_after_all_is_presumed_spent(run, add, claim, state_of):
    """Its `/run` was answered with a 5xx; a webhook then named the upstream's id."""
    budget = await run(add_budget, name="wall", limit_usd=PRICE)
    await add(1)
    [row] = await claim()
    await run(answer_attempts, [AttemptEnd(job_id=row.id, lease=row.lease, answer=Answer.FAULT)])
    await run(settle_reservations, job_ids=[row.id])
    assert (await state_of(budget)).left_usd == PRICE
    await run(follow_hints, [(row.id, row.lease, "up-1")])
    [(job, lease)] = await lease_again(run, [row])

    await run(move_jobs, [end(job, lease, state=JobState.COMPLETED)])
    await run(settle_reservations, job_ids=[job])

    assert (await state_of(budget)).spent_usd == PRICE


async def test_what_is_retried_is_settled_by_how_it_ended_before(run, add, claim, state_of):
    budget = await run(add_budget, name="wall", limit_usd=PRICE * 2)
    await add(1)
    rows = await claim()
    await run(take, rows)
    [(job, lease)] = await lease_again(run, rows)
    failed = end(job, lease, state=JobState.FAILED, reason=Reason.UPSTREAM_FAILED)
    await run(move_jobs, [failed])

    await run(retry_jobs, job_ids=[job])

    state = await state_of(budget)
    assert (state.spent_usd, state.reserved_usd) == (0, 0)


async def test_names_are_taken_once(run):
    await run(add_budget, name="wall", limit_usd=1)
    with pytest.raises(BudgetTaken):
        await run(add_budget, name="wall", limit_usd=2)
    with pytest.raises(NotFound):
        await run(find_budget, "walls")
    with pytest.raises(NotFound):
        await run(add_budget, name="of nobody", limit_usd=2, key_id=new_id())


async def test_reserving_twice_for_one_attempt_cannot_be(run, add, claim, database):
    """A second row for the same attempt and budget would count its price twice."""
    await run(add_budget, name="wall", limit_usd=1)
    await add(1)
    [row] = await claim()

    with pytest.raises(Exception, match="reservations_pkey"):
        async with database.begin() as session:
            await reserve(session, lease=row.lease, job_ids=[row.id])


def test_each_way_that_a_reservation_ends_is_a_movement():
    assert {"spent", "presumed", "released"} < set(MovementKind)
