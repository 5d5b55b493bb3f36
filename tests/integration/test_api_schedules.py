"""Schedules over `/api/v1`: made of a specification, changed, run and removed; what is refused."""

import datetime as dt

import pytest

from models.campaign import list_campaigns
from models.key import Scope
from models.schedule import list_schedules
from tasks.tick import tick_schedules
from tests.integration.conftest import FLUX, client_of

PATH = "/api/v1/schedules"
NIGHTLY = {
    "name": "nightly",
    "endpoint": FLUX,
    "prompts": ["a fox", "an owl"],
    "input": {"width": 256, "height": 256},
    "schedule": {"cron": "0 2 * * *", "zone": "Europe/Berlin", "catch_up": "2h"},
}


@pytest.fixture
async def operator(gateway_app, issue):
    """A client whose key may do everything."""
    key, _ = await issue("operator", Scope.OPERATE)
    async with client_of(gateway_app, key) as client:
        yield client


@pytest.fixture
async def nightly(operator):
    """A schedule's path."""
    made = await operator.post(PATH, json={"specification": NIGHTLY})
    assert made.status_code == 201, made.text
    return f"{PATH}/{made.json()['id']}"


async def test_it_is_made_listed_read_and_removed(operator, nightly, run):
    [listed] = (await operator.get(PATH)).json()["schedules"]
    read = (await operator.get(nightly)).json()
    fires = (await operator.get(f"{nightly}/next")).json()["fires"]

    assert (listed["name"], listed["jobs"], listed["catch_up_seconds"]) == ("nightly", 2, 7200)
    assert listed["estimate_usd"] > 0
    assert read["specification"] == {k: v for k, v in NIGHTLY.items() if k != "schedule"}
    assert read["runs"] == []
    assert len(fires) == 10
    assert {fire["due_at"][11:16] for fire in fires} <= {"02:00", "03:00"}
    assert fires[0]["starts_at"] == listed["next_at"]
    assert (await operator.delete(nightly)).status_code == 200
    assert (await operator.get(nightly)).status_code == 404
    assert await run(list_schedules) == []


async def test_what_it_says_is_run_when_it_is_due(operator, nightly, runtime, run):
    due = dt.datetime.fromisoformat((await operator.get(nightly)).json()["next_at"])

    await tick_schedules(runtime, due)

    [decided] = (await operator.get(nightly)).json()["runs"]
    [campaign] = await run(list_campaigns, limit=5)
    assert (decided["outcome"], decided["campaign_id"]) == ("started", str(campaign.id))


async def test_a_change_holds_and_a_pause_has_no_next(operator, nightly):
    changed = await operator.patch(
        nightly, json={"cron": "30 3 * * MON", "zone": "UTC", "overlap": "allow", "jitter": "5m"}
    )
    paused = await operator.patch(nightly, json={"paused": True})
    resumed = await operator.patch(nightly, json={"paused": False})

    told = changed.json()
    assert (told["cron"], told["overlap"], told["jitter_seconds"]) == ("30 3 * * MON", "allow", 300)
    assert told["catch_up_seconds"] == 7200
    assert dt.datetime.fromisoformat(told["next_at"]).weekday() == 0
    assert (paused.json()["paused"], paused.json()["next_at"]) == (True, None)
    assert resumed.json()["next_at"] == told["next_at"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": {"cron": "0 0 30 2 *"}}, "schedule.cron: '0 0 30 2 *' never fires"),
        (
            {"schedule": {"cron": "0 2 * * *", "zone": "Europe/Berln"}},
            "schedule.zone: 'Europe/Berln' is no time zone; did you mean 'Europe/Berlin'?",
        ),
        ({"schedule": None}, "schedule: is wanted"),
        ({"endpoint": "gone away?"}, "an endpoint's id is letters"),
        ({"input": {"width": 1}}, "prompts[0]: width: "),
        ({"prompts": {"file": "rows.csv"}}, "prompts: a list was wanted, a file came"),
        ({"matrix": {"seed": list(range(6_000))}}, "more than 10,000 jobs"),
        ({"tags": ["a\u0000b"]}, "NUL"),
        ({"what": 1}, "what: "),
    ],
)
async def test_a_specification_that_is_wrong_is_refused_and_nothing_is_kept(
    operator, run, changes, said
):
    refused = await operator.post(PATH, json={"specification": {**NIGHTLY, **changes}})

    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert any(said in one for one in refused.json()["problems"]), refused.text
    assert await run(list_schedules) == []


async def test_two_of_one_name_and_a_change_that_is_wrong_are_refused(operator, nightly):
    again = await operator.post(PATH, json={"specification": NIGHTLY})
    wrong = await operator.patch(nightly, json={"cron": "0 0 30 2 *", "overlap": "allow"})

    assert (again.status_code, "there already" in again.json()["detail"]) == (409, True)
    assert (wrong.status_code, "never fires" in wrong.json()["detail"]) == (422, True)
    read = (await operator.get(nightly)).json()
    assert (read["cron"], read["overlap"]) == ("0 2 * * *", "skip")


async def test_what_was_not_run_is_counted_backfilled_and_started(operator, nightly, runtime, run):
    spell = {"start_at": "2026-03-28T00:00:00+01:00", "end_at": "2026-03-30T12:00:00+02:00"}

    counted = (await operator.post(f"{nightly}/backfill", json={**spell, "dry_run": True})).json()
    asked = (await operator.post(f"{nightly}/backfill", json={**spell, "at_once": True})).json()
    again = (await operator.post(f"{nightly}/backfill", json=spell)).json()
    await tick_schedules(runtime)

    fires = ["2026-03-28T02:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]
    assert (counted["fires"], counted["jobs"], counted["waiting"]) == (fires, 6, 0)
    assert (asked["fires"], asked["waiting"]) == (fires, 3)
    assert (again["fires"], again["waiting"]) == ([], 0)
    names = {one.name for one in await run(list_campaigns, limit=9)}
    assert names == {f"nightly {one.replace(':00+', '+')}" for one in fires}


@pytest.mark.parametrize(
    "spell",
    [
        {"start_at": "2026-01-01T00:00:00Z", "end_at": "9999-12-31T23:59:59Z"},
        {"start_at": "0001-01-01T00:00:00Z", "end_at": "2026-01-01T00:00:00Z"},
        {"start_at": "2026-01-02T00:00:00Z", "end_at": "2026-01-01T00:00:00Z"},
        {"start_at": "2026-01-02T00:00:00", "end_at": "2026-01-03T00:00:00Z"},
    ],
)
async def test_a_time_that_cannot_be_backfilled_is_refused(operator, nightly, spell):
    refused = await operator.post(f"{nightly}/backfill", json=spell)

    assert refused.status_code == 422, refused.text


async def test_a_run_by_hand_starts_at_once(operator, nightly, run):
    started = (await operator.post(f"{nightly}/run")).json()

    [campaign] = await run(list_campaigns, limit=5)
    assert (started["outcome"], started["campaign_id"]) == ("started", str(campaign.id))


async def test_a_key_that_only_runs_jobs_may_not_see_them(client, nightly):
    answers = [
        await client.get(PATH),
        await client.get(nightly),
        await client.post(PATH, json={"specification": NIGHTLY}),
        await client.post(f"{nightly}/run"),
        await client.delete(nightly),
    ]

    assert {one.status_code for one in answers} == {403}


async def test_a_cron_that_is_still_written_says_when_it_would_fire(operator, run):
    told = await operator.post(
        f"{PATH}/preview", json={"cron": "0 2 * * *", "zone": "Europe/Berlin", "count": 3}
    )
    cron = await operator.post(f"{PATH}/preview", json={"cron": "0 25 * * *"})
    zone = await operator.post(f"{PATH}/preview", json={"cron": "0 2 * * *", "zone": "Berlin"})

    assert told.json()["words"] == "At 02:00 every day"
    assert len(told.json()["fires"]) == 3
    assert {fire[11:16] for fire in told.json()["fires"]} <= {"02:00", "03:00"}
    assert (cron.status_code, zone.status_code) == (422, 422)
    assert "hour" in cron.json()["detail"]
    assert "Europe/Berlin" in zone.json()["detail"]
    assert await run(list_schedules) == []


async def test_what_it_runs_is_changed_and_checked_first(operator, nightly):
    spec = {key: value for key, value in NIGHTLY.items() if key != "schedule"}

    changed = await operator.patch(
        nightly, json={"specification": {**spec, "prompts": ["a fox", "an owl", "a hare"]}}
    )
    bad = await operator.patch(nightly, json={"specification": {**spec, "input": {"width": 3}}})

    assert changed.json()["jobs"] == 3
    assert (bad.status_code, "width" in bad.json()["detail"]) == (422, True)
    assert len((await operator.get(nightly)).json()["specification"]["prompts"]) == 3


async def test_the_list_says_what_came_of_the_last_fires(operator, nightly):
    await operator.post(f"{nightly}/run")

    [listed] = (await operator.get(PATH)).json()["schedules"]

    [last] = listed["runs"]
    assert (last["outcome"], last["note"]) == ("started", "run by hand")
