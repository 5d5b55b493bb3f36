"""Schedules: each fire is decided once, whoever looks and whatever dies; and what runs meet."""

import asyncio
import dataclasses
import datetime as dt
from decimal import Decimal

import pytest
from kombu.exceptions import OperationalError
from sqlalchemy import text

import tasks.expand
import tasks.tick
from endpoints.catalogue import Catalogue
from models.base import new_id
from models.budget import list_budgets
from models.campaign import add_campaign, get_campaign, list_campaigns
from models.schedule import ScheduleNameTaken, get_schedule, list_schedules, remove_schedule
from models.schedule_run import RunOutcome, list_buffered, list_runs
from models.transitions import NewJob, enqueue_jobs
from tasks.campaigns.timetable import Timetable
from tasks.expand import expand_campaign
from tasks.schedules import (
    Contents,
    InvalidSchedule,
    backfill_schedule,
    change_schedule,
    create_schedule,
    list_next,
    run_schedule,
)
from tasks.sweep import sweep_lanes
from tasks.tick import tick_schedule, tick_schedules
from tests.integration.conftest import FLUX

MIDNIGHT = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
SPEC = {"name": "nightly", "endpoint": FLUX, "prompts": ["a fox", "an owl"]}
CONTENTS = Contents(spec=SPEC, rows_key=None, jobs=2, usd=Decimal("0.02"), unpriced=0)


class Killed(BaseException):
    """As a process that dies: nothing catches it."""


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    """The campaigns that workers were sent for."""
    sent = []
    monkeypatch.setattr(tasks.tick, "send_expand", lambda _runtime, one: sent.append(one))
    return sent


@pytest.fixture
def create(run):
    """Makes an hourly schedule at midnight; its id."""

    async def create_one(name="nightly", contents=CONTENTS, **timetable):
        made = Timetable.model_validate({"cron": "0 * * * *", **timetable})
        schedule = await run(
            create_schedule, name=name, timetable=made, contents=contents, now=MIDNIGHT
        )
        return schedule.id

    return create_one


@pytest.fixture
def read(run):
    """What was decided of its fires, in order: hour, outcome."""

    async def read_all(schedule_id):
        runs = reversed(await run(list_runs, schedule_id, limit=2_000))
        return [((one.due_at - MIDNIGHT) / HOUR, one.outcome.value) for one in runs]

    return read_all


@pytest.fixture
def end(runtime, run, execute):
    """Ends every campaign there is: its jobs are enqueued, and come to this state."""

    async def end_all(state="completed"):
        for campaign in await run(list_campaigns, limit=1_000):
            await expand_campaign(runtime, campaign.id)
        reason = "NULL" if state == "completed" else "'upstream_failed'"
        await execute(
            f"""
            UPDATE jobs SET state = '{state}', reason = {reason}, finished_at = now(),
                next_at = NULL, virtual_start = NULL
            WHERE finished_at IS NULL
            """
        )

    return end_all


async def find_campaign(run, schedule_id, hour):
    """The campaign of a run."""
    [found] = [
        one.campaign_id
        for one in await run(list_runs, schedule_id, limit=100)
        if one.due_at == MIDNIGHT + hour * HOUR
    ]
    return await run(get_campaign, found)


async def test_a_fire_that_is_due_becomes_a_campaign_by_its_local_time(runtime, run, create, sent):
    schedule_id = await create(zone="Europe/Berlin")

    assert await tick_schedules(runtime, MIDNIGHT + 59 * MINUTE) == 0
    assert await tick_schedules(runtime, MIDNIGHT + HOUR) == 1

    campaign = await find_campaign(run, schedule_id, 1)
    assert campaign.name == "nightly 2026-06-01T03:00+02:00"
    assert (campaign.spec, campaign.planned, campaign.endpoint) == (SPEC, 2, FLUX)
    assert sent == [campaign.id]
    assert await tick_schedules(runtime, MIDNIGHT + HOUR + MINUTE) == 0


@pytest.fixture
def crowded(monkeypatch):
    """Of ticks at once, each looks before any has decided."""

    async def look_slowly(session, schedule_id):
        found = await list_buffered(session, schedule_id)
        await asyncio.sleep(0.1)
        return found

    monkeypatch.setattr(tasks.tick, "list_buffered", look_slowly)


@pytest.mark.usefixtures("crowded")
async def test_ticks_at_once_start_what_waits_once(runtime, run, create, sent, read):
    schedule_id = await create()
    spell = {"start": MIDNIGHT - 2 * HOUR, "end": MIDNIGHT, "at_once": True, "now": MIDNIGHT}
    await run(backfill_schedule, schedule_id, **spell)

    await asyncio.gather(*(tick_schedules(runtime, MIDNIGHT) for _ in range(6)))
    await tick_schedules(runtime, MIDNIGHT)  # what one gave way to the other for

    assert await read(schedule_id) == [(n, "started") for n in (-2, -1, 0)]
    assert len(sent) == len(set(sent)) == 3


@pytest.mark.usefixtures("crowded")
async def test_ticks_at_once_start_each_fire_once(runtime, create, sent, read):
    schedules = [await create(f"nightly {n}", overlap="allow") for n in range(2)]

    for hours in range(1, 4):
        now = MIDNIGHT + hours * HOUR
        await asyncio.gather(*(tick_schedules(runtime, now) for _ in range(6)))
    await tick_schedules(runtime, MIDNIGHT + 3 * HOUR)  # what one gave way to the other for

    for schedule_id in schedules:
        assert await read(schedule_id) == [(n, "started") for n in range(1, 4)]
    assert len(sent) == len(set(sent)) == 6


async def test_a_year_of_ticks_with_gaps_starts_each_wanted_fire_once(runtime, run, create):
    """In a zone whose clocks change, from one tick to the next the night of the change, too."""
    schedule_id = await create(
        cron="30 2 * * SUN", zone="Europe/Berlin", overlap="allow", catch_up="9d"
    )

    now = MIDNIGHT
    for days in range(0, 366, 5):
        now = MIDNIGHT + dt.timedelta(days=days, minutes=days)
        await tick_schedules(runtime, now)

    runs = await run(list_runs, schedule_id, limit=100)
    hours = [(one.due_at.weekday(), one.due_at.hour, one.due_at.minute) for one in runs]
    assert len(runs) == 52
    assert {one.outcome for one in runs} == {RunOutcome.STARTED}
    assert set(hours) == {(6, 0, 30), (6, 1, 30), (6, 1, 0)}
    assert hours.count((6, 1, 0)) == 1  # 02:30 was skipped: it fired at 03:00 by the clock


@pytest.mark.parametrize(
    ("overlap", "decided"),
    [
        ("skip", ["started", "skipped", "skipped"]),
        ("buffer_one", ["started", "buffered", "skipped"]),
        ("allow", ["started", "started", "started"]),
        ("cancel_other", ["started", "started", "started"]),
    ],
)
async def test_a_fire_that_finds_a_run_goes_by_the_overlap(runtime, create, read, overlap, decided):
    schedule_id = await create(overlap=overlap)

    for hours in (1, 2, 3):
        await tick_schedules(runtime, MIDNIGHT + hours * HOUR)

    assert [outcome for _, outcome in await read(schedule_id)] == decided


async def test_the_one_that_waits_starts_when_the_other_is_over(runtime, create, read, end):
    schedule_id = await create(overlap="buffer_one")
    for hours in (1, 2):
        await tick_schedules(runtime, MIDNIGHT + hours * HOUR)

    now = MIDNIGHT + 2 * HOUR + MINUTE
    assert await tick_schedules(runtime, now) == 0
    await end()
    assert await tick_schedules(runtime, now) == 1

    assert await read(schedule_id) == [(1, "started"), (2, "started")]
    await tick_schedules(runtime, MIDNIGHT + 3 * HOUR)
    assert (await read(schedule_id))[-1] == (3, "buffered")


async def test_what_waits_starts_not_while_it_is_paused(runtime, run, create, read, end):
    schedule_id = await create(overlap="buffer_one")
    for hours in (1, 2):
        await tick_schedules(runtime, MIDNIGHT + hours * HOUR)
    now = MIDNIGHT + 2 * HOUR + MINUTE
    await run(change_schedule, schedule_id, paused=True, now=now)
    await end()

    assert await tick_schedules(runtime, now) == 0
    await run(change_schedule, schedule_id, paused=False, now=now)
    assert await tick_schedules(runtime, now) == 1

    assert await read(schedule_id) == [(1, "started"), (2, "started")]


async def test_what_is_over_holds_up_nobody(runtime, create, read, end):
    schedule_id = await create(overlap="skip")

    for hours in (1, 2, 3):
        await tick_schedules(runtime, MIDNIGHT + hours * HOUR)
        await end()

    assert await read(schedule_id) == [(n, "started") for n in (1, 2, 3)]


async def test_cancel_other_cancels_what_has_not_ended(runtime, run, create, database):
    schedule_id = await create(overlap="cancel_other")
    await tick_schedules(runtime, MIDNIGHT + HOUR)
    first = await find_campaign(run, schedule_id, 1)
    await expand_campaign(runtime, first.id)

    await tick_schedules(runtime, MIDNIGHT + 2 * HOUR)

    second = await find_campaign(run, schedule_id, 2)
    await expand_campaign(runtime, second.id)
    async with database.begin() as session:
        states = await session.execute(
            text("SELECT campaign_id, state, count(*) FROM jobs GROUP BY 1, 2")
        )
        assert {tuple(row) for row in states} == {
            (first.id, "cancelled", 2),
            (second.id, "queued", 2),
        }
    await tick_schedules(runtime, MIDNIGHT + 2 * HOUR)
    assert [one.ended_at is None for one in await run(list_runs, schedule_id, limit=2)] == [
        True,
        False,
    ]


async def test_what_cancel_other_finds_not_enqueued_is_enqueued_no_more(runtime, run, create):
    schedule_id = await create(overlap="cancel_other")
    await tick_schedules(runtime, MIDNIGHT + HOUR)
    first = await find_campaign(run, schedule_id, 1)

    await tick_schedules(runtime, MIDNIGHT + 2 * HOUR)
    await expand_campaign(runtime, first.id)

    assert (await run(get_campaign, first.id)).expanded == 0


async def test_if_it_dies_before_it_cancels_the_next_tick_does(
    runtime, run, create, monkeypatch, database
):
    schedule_id = await create(overlap="cancel_other")
    await tick_schedules(runtime, MIDNIGHT + HOUR)
    first = await find_campaign(run, schedule_id, 1)
    await expand_campaign(runtime, first.id)

    async def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(tasks.tick, "_cancel_some", die)
        with pytest.raises(Killed):
            await tick_schedules(runtime, MIDNIGHT + 2 * HOUR)
    await tick_schedules(runtime, MIDNIGHT + 2 * HOUR)

    async with database.begin() as session:
        left = await session.scalar(
            text("SELECT count(*) FROM jobs WHERE campaign_id = :id AND finished_at IS NULL"),
            {"id": first.id},
        )
    assert left == 0


async def test_if_it_dies_before_it_sends_the_sweep_expands_it(
    runtime, run, create, monkeypatch, read
):
    schedule_id = await create()

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(tasks.tick, "send_expand", die)
        with pytest.raises(Killed):
            await tick_schedules(runtime, MIDNIGHT + HOUR)

    assert await tick_schedules(runtime, MIDNIGHT + HOUR) == 0
    assert await read(schedule_id) == [(1, "started")]
    campaign = await find_campaign(run, schedule_id, 1)
    assert campaign.total is None  # which is what the sweep looks for
    await expand_campaign(runtime, campaign.id)
    assert (await run(get_campaign, campaign.id)).total == 2


async def test_after_an_outage_what_is_within_the_window_is_caught_up_and_the_rest_is_missed(
    runtime, run, create, read
):
    schedule_id = await create(overlap="allow", catch_up="3h")

    await tick_schedules(runtime, MIDNIGHT + 500.5 * HOUR)

    assert await read(schedule_id) == [
        (1, "missed"),
        (498, "started"),
        (499, "started"),
        (500, "started"),
    ]
    *_, missed = await run(list_runs, schedule_id, limit=10)
    assert "2026-06-21T18:00+00:00" in missed.note


@pytest.mark.parametrize(("late", "outcome"), [(0, "started"), (1, "missed")])
async def test_the_window_counts_from_when_it_was_to_start(runtime, create, read, late, outcome):
    schedule_id = await create(catch_up="10m")

    await tick_schedules(runtime, MIDNIGHT + HOUR + 10 * MINUTE + dt.timedelta(seconds=late))

    assert await read(schedule_id) == [(1, outcome)]


async def test_a_jitter_starts_it_later_and_its_name_says_when_it_was_due(runtime, run, create):
    schedule_id = await create(jitter="30m")
    schedule = await run(get_schedule, schedule_id)
    assert MIDNIGHT + HOUR < schedule.starts_at < MIDNIGHT + 1.5 * HOUR
    second = dt.timedelta(seconds=1)

    assert await tick_schedules(runtime, schedule.starts_at - second) == 0
    assert await tick_schedules(runtime, schedule.starts_at) == 1

    assert (await find_campaign(run, schedule_id, 1)).name == "nightly 2026-06-01T01:00+00:00"
    [fire] = list_next(schedule, now=MIDNIGHT, count=1)
    assert (fire.due_at, fire.starts_at) == (MIDNIGHT + HOUR, schedule.starts_at)


async def test_a_jitter_longer_than_the_time_between_fires_leaves_none_out(
    runtime, run, create, read
):
    schedule_id = await create(cron="*/5 * * * *", jitter="1h", catch_up="2m", overlap="allow")
    shown = list_next(await run(get_schedule, schedule_id), now=MIDNIGHT, count=12)

    for minutes in range(200):
        await tick_schedules(runtime, MIDNIGHT + minutes * MINUTE)

    decided = await read(schedule_id)
    assert len(decided) > 24
    assert {outcome for _, outcome in decided} == {"started"}
    starts = [fire.starts_at for fire in shown]
    assert starts == sorted(starts)
    assert [hour for hour, _ in decided[:12]] == [(one.due_at - MIDNIGHT) / HOUR for one in shown]


async def test_what_comes_next_is_what_nothing_was_decided_of_or_if_it_were_resumed(run, create):
    schedule_id = await create(jitter="50m")
    schedule = await run(get_schedule, schedule_id)
    now = MIDNIGHT + HOUR + dt.timedelta(seconds=1)

    [waiting] = list_next(schedule, now=now, count=1)
    paused = await run(change_schedule, schedule_id, paused=True, now=now)
    [resumed] = list_next(paused, now=now + 5 * HOUR, count=1)

    assert waiting.due_at == MIDNIGHT + HOUR
    assert resumed.due_at == MIDNIGHT + 7 * HOUR


async def test_without_a_broker_what_is_due_is_started_all_the_same(
    runtime, create, read, monkeypatch
):
    """The sweep sends for it once the broker is back."""
    monkeypatch.setattr(tasks.tick, "send_expand", tasks.expand.send_expand)

    def fail(*_, **__):
        raise OperationalError("away")

    monkeypatch.setattr(runtime.app, "send_task", fail)
    schedules = [await create(name) for name in ("a", "b")]

    assert await tick_schedules(runtime, MIDNIGHT + HOUR) == 2

    assert [await read(one) for one in schedules] == [[(1, "started")]] * 2


@pytest.mark.parametrize(
    ("pause_on_failure", "state"), [(True, "failed"), (True, "completed"), (False, "failed")]
)
async def test_failed_jobs_pause_a_schedule_that_wants_it_so(  # noqa: PLR0917 -- a table
    runtime, run, create, end, pause_on_failure, state
):
    paused = pause_on_failure and state == "failed"
    schedule_id = await create(pause_on_failure=pause_on_failure)
    await tick_schedules(runtime, MIDNIGHT + HOUR)
    await end(state)

    await tick_schedules(runtime, MIDNIGHT + 2 * HOUR)

    schedule = await run(get_schedule, schedule_id)
    assert (schedule.paused_at is not None) is paused
    if paused:
        assert schedule.problem == "the run of 2026-06-01T01:00+00:00: 2 jobs failed"
    assert len(await run(list_runs, schedule_id, limit=5)) == (1 if paused else 2)


async def test_an_endpoint_that_is_gone_by_then_is_said_and_nothing_is_added(
    runtime, run, create, monkeypatch
):
    schedule_id = await create(pause_on_failure=True)
    gone = f"{FLUX} was withdrawn"
    monkeypatch.setattr(Catalogue, "retired", lambda _self, name: gone if name == FLUX else None)

    await tick_schedules(runtime, MIDNIGHT + HOUR)

    [failed] = await run(list_runs, schedule_id, limit=5)
    assert failed.outcome is RunOutcome.FAILED
    assert gone in failed.note
    assert gone in (await run(get_schedule, schedule_id)).problem
    assert await run(list_campaigns, limit=5) == []


async def test_a_campaign_of_its_name_fails_that_run_alone(runtime, run, create, read):
    schedule_id = await create()
    taken = "nightly 2026-06-01T01:00+00:00"
    await run(add_campaign, name=taken, endpoint=FLUX, spec=SPEC)

    for hours in (1, 2):
        await tick_schedules(runtime, MIDNIGHT + hours * HOUR)

    assert await read(schedule_id) == [(1, "failed"), (2, "started")]


async def test_a_paused_schedule_fires_nothing_and_goes_on_from_when_it_is_resumed(
    runtime, run, create, read
):
    schedule_id = await create(catch_up="10h", overlap="allow")
    await run(change_schedule, schedule_id, paused=True, now=MIDNIGHT)

    assert await tick_schedules(runtime, MIDNIGHT + 3 * HOUR) == 0
    await run(change_schedule, schedule_id, paused=False, now=MIDNIGHT + 3.5 * HOUR)
    await tick_schedules(runtime, MIDNIGHT + 5 * HOUR)

    assert await read(schedule_id) == [(4, "started"), (5, "started")]


async def test_what_is_changed_holds_from_then_on(runtime, run, create, read):
    schedule_id = await create(overlap="allow")
    await tick_schedules(runtime, MIDNIGHT + HOUR)

    changes = {"cron": "0 */6 * * *", "zone": "Europe/Berlin"}
    await run(change_schedule, schedule_id, changes=changes, now=MIDNIGHT + 1.5 * HOUR)
    for hours in range(2, 12):
        await tick_schedules(runtime, MIDNIGHT + hours * HOUR)

    assert await read(schedule_id) == [(1, "started"), (4, "started"), (10, "started")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cron": "0 0 30 2 *"}, "cron: '0 0 30 2 \\*' never fires"),
        ({"zone": "Europe/Berln"}, "zone: 'Europe/Berln' is no time zone; did you mean"),
        ({"overlap": "queue"}, "overlap: .*'skip'"),
        ({"catch_up": 1}, "catch_up: .*60"),
        ({"jitter": "soon"}, "jitter: a duration such as"),
    ],
)
async def test_a_change_that_is_wrong_is_refused_and_changes_nothing(run, create, changes, said):
    schedule_id = await create()
    before = vars(await run(get_schedule, schedule_id)).copy()

    with pytest.raises(InvalidSchedule, match=said):
        await run(change_schedule, schedule_id, changes=changes)

    after = vars(await run(get_schedule, schedule_id))
    assert {**after, "_sa_instance_state": 0} == {**before, "_sa_instance_state": 0}


async def test_two_schedules_of_one_name_are_refused(run, create):
    await create()

    with pytest.raises(ScheduleNameTaken, match="'nightly' is there already"):
        await create()

    assert len(await run(list_schedules)) == 1


async def test_a_backfill_runs_what_was_not_run_one_after_the_other(
    runtime, run, create, read, end
):
    schedule_id = await create(catch_up="1h")
    await tick_schedules(runtime, MIDNIGHT + 5.5 * HOUR)
    await end()
    assert await read(schedule_id) == [(1, "missed"), (5, "started")]
    now = MIDNIGHT + 5.6 * HOUR

    waits = await run(
        backfill_schedule,
        schedule_id,
        start=MIDNIGHT + 2 * HOUR,
        end=MIDNIGHT + 5 * HOUR,
        at_once=False,
        now=now,
    )

    assert waits == 3
    for done in (1, 2, 3):
        assert await tick_schedule(runtime, schedule_id, now) == 1
        assert [outcome for _, outcome in await read(schedule_id)].count("started") == done + 1
        await end()
    assert await read(schedule_id) == [(1, "missed"), *((n, "started") for n in (2, 3, 4, 5))]
    assert (await find_campaign(run, schedule_id, 3)).name == "nightly 2026-06-01T03:00+00:00"


async def test_a_backfill_at_once_waits_for_nothing_and_again_adds_nothing(
    runtime, run, create, read
):
    schedule_id = await create()
    spell = {"start": MIDNIGHT - 5 * HOUR, "end": MIDNIGHT - HOUR, "at_once": True, "now": MIDNIGHT}

    counts = [await run(backfill_schedule, schedule_id, **spell)]
    assert await tick_schedules(runtime, MIDNIGHT) == 5
    counts.append(await run(backfill_schedule, schedule_id, **spell))

    assert counts == [5, 0]
    assert await read(schedule_id) == [(n, "started") for n in (-5, -4, -3, -2, -1)]


async def test_a_backfill_and_the_clock_hold_up_each_other_not(runtime, run, create, read):
    schedule_id = await create(overlap="skip")
    await run(
        backfill_schedule,
        schedule_id,
        start=MIDNIGHT - HOUR,
        end=MIDNIGHT,
        at_once=False,
        now=MIDNIGHT,
    )

    await tick_schedules(runtime, MIDNIGHT + HOUR)

    assert await read(schedule_id) == [(-1, "started"), (0, "buffered"), (1, "started")]


async def test_a_fire_that_was_backfilled_before_its_jitter_was_over_is_not_started_twice(
    runtime, run, create, read
):
    schedule_id = await create(jitter="50m", overlap="allow")
    now = MIDNIGHT + HOUR + dt.timedelta(seconds=1)
    await run(
        backfill_schedule,
        schedule_id,
        start=MIDNIGHT,
        end=now,
        at_once=True,
        now=now,
    )

    await tick_schedules(runtime, now)
    await tick_schedules(runtime, MIDNIGHT + 1.9 * HOUR)

    assert await read(schedule_id) == [(0, "started"), (1, "started")]


@pytest.mark.parametrize(
    ("spell", "said"),
    [
        ((-1, 1), "a time that is past was wanted"),
        ((-1, -2), "between 2000-01-01 and 2026-05-31T22:00:00"),
        ((-5_000, -1), "more than 1,000 fires"),
    ],
)
async def test_a_range_that_cannot_be_backfilled_is_refused(run, create, read, spell, said):
    schedule_id = await create()

    with pytest.raises(InvalidSchedule, match=said):
        await run(
            backfill_schedule,
            schedule_id,
            start=MIDNIGHT + spell[0] * HOUR,
            end=MIDNIGHT + spell[1] * HOUR,
            at_once=False,
            now=MIDNIGHT,
        )

    assert await read(schedule_id) == []


async def test_a_run_by_hand_starts_although_it_is_paused_and_another_runs(runtime, run, create):
    schedule_id = await create()
    await tick_schedules(runtime, MIDNIGHT + HOUR)
    now = MIDNIGHT + HOUR + dt.timedelta(seconds=7)
    await run(change_schedule, schedule_id, paused=True, now=now)

    await run(run_schedule, schedule_id, now=now)
    with pytest.raises(InvalidSchedule, match="of this second"):
        await run(run_schedule, schedule_id, now=now)

    assert await tick_schedules(runtime, now) == 1
    names = [one.name for one in await run(list_campaigns, limit=5)]
    assert "nightly 2026-06-01T01:00:07+00:00" in names


async def test_one_that_is_removed_leaves_its_campaigns(runtime, run, create):
    schedule_id = await create()
    await tick_schedules(runtime, MIDNIGHT + HOUR)

    await run(remove_schedule, schedule_id)

    assert len(await run(list_campaigns, limit=5)) == 1
    assert await tick_schedules(runtime, MIDNIGHT + 2 * HOUR) == 0


async def test_the_sweep_ticks_by_the_clock_of_the_database(runtime, run, create, execute, sent):
    schedule_id = await create(overlap="allow")
    await execute("UPDATE schedules SET due_at = now(), starts_at = now()")

    await sweep_lanes(runtime)

    assert len(sent) == 1
    assert (await run(get_schedule, schedule_id)).due_at > dt.datetime.now(dt.UTC) - MINUTE


async def test_runs_that_are_open_are_found_by_their_unended_jobs(runtime, run, create, end, read):
    """One job of many that still runs keeps the run open."""
    schedule_id = await create()
    await tick_schedules(runtime, MIDNIGHT + HOUR)
    await end()
    campaign = await find_campaign(run, schedule_id, 1)
    late = NewJob(id=new_id(), endpoint=FLUX, input={}, campaign_id=campaign.id, position=2)
    await run(enqueue_jobs, [late])

    await tick_schedules(runtime, MIDNIGHT + 2 * HOUR)

    assert await read(schedule_id) == [(1, "started"), (2, "skipped")]


async def test_one_that_nobody_thought_of_keeps_no_other_from_its_time(
    runtime, create, sent, monkeypatch
):
    broken, good = await create("broken"), await create("good")
    tick = tasks.tick.tick_schedule

    async def tick_one(given_runtime, schedule_id, now):
        if schedule_id == broken:
            raise ZeroDivisionError
        return await tick(given_runtime, schedule_id, now)

    monkeypatch.setattr(tasks.tick, "tick_schedule", tick_one)

    assert await tick_schedules(runtime, MIDNIGHT + HOUR) == 1

    assert len(sent) == 1
    assert good != broken


async def test_each_run_brings_its_budget_along(runtime, run, create):
    spec = {**SPEC, "budget": 2, "tags": ["nightly"], "pace": {"max_in_flight": 3}}
    await create(contents=dataclasses.replace(CONTENTS, spec=spec))

    await tick_schedules(runtime, MIDNIGHT + HOUR)
    await tick_schedules(runtime, MIDNIGHT + 2 * HOUR)

    budgets = await run(list_budgets)
    assert [one.limit_usd for one in budgets] == [2] * len(budgets)
    campaigns = await run(list_campaigns, limit=10)
    assert {one.campaign_id for one in budgets} == {one.id for one in campaigns}
    assert [(one.tags, one.max_in_flight) for one in campaigns] == [(["nightly"], 3)] * len(budgets)
