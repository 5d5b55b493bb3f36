"""Lanes and endpoints over `/api/v1`: what waits, what holds it up, and what it will cost."""

import pytest
from redis.exceptions import ConnectionError as RedisAway
from sqlalchemy import text

from endpoints.catalogue import Operation, load_catalogue
from endpoints.forecast import BINS, count_durations
from models.endpoint_stats import add_durations
from models.job import JobState
from models.key import Scope
from models.lane import StageName, close_lane
from tasks.poll import POLL
from tasks.submit import SUBMIT
from tasks.sweep import sweep_lanes
from tests.integration.conftest import FLUX, client_of, find_job, run_until
from workers.lane import LaneRun

PATH = f"/api/v1/lanes/submit/{FLUX}"


@pytest.fixture
async def operator(gateway_app, issue):
    """A client whose key may do everything."""
    key, _ = await issue("operator", Scope.OPERATE)
    async with client_of(gateway_app, key) as client:
        yield client


async def hand_in(client, count=1):
    items = [{"endpoint": FLUX, "input": {"prompt": f"fox {n}"}} for n in range(count)]
    reply = (await client.post("/api/v1/jobs/bulk", json={"jobs": items})).json()
    return [item["id"] for item in reply["items"]]


async def read(client, path=PATH):
    response = await client.get(path)
    assert response.status_code == 200, response.text
    return response.json()


async def change(operator, path=PATH, **asked):
    response = await operator.patch(path, json=asked)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_lane_that_nothing_was_said_of_is_open_and_nothing_waits(client):
    lane = await read(client)

    assert (lane["state"], lane["waiting"], lane["due_seconds"]) == ("open", 0, None)
    assert lane["why"] == "nothing waits"
    assert (await client.get("/api/v1/lanes")).json() == {"lanes": []}


async def test_what_waits_is_counted_and_listed(client):
    await hand_in(client, 3)

    [listed] = (await client.get("/api/v1/lanes")).json()["lanes"]

    assert (listed["stage"], listed["endpoint"], listed["waiting"]) == ("submit", FLUX, 3)
    assert listed["due_seconds"] <= 0
    assert listed["why"] == "it is being worked on"
    lane = await read(client)
    assert {**lane, **listed, "due_seconds": None} == {**lane, "due_seconds": None}


@pytest.mark.usefixtures("emulator")
async def test_a_pause_stops_a_lane_and_a_resume_starts_it(client, operator, runtime):
    [job_id] = await hand_in(client)

    paused = await change(operator, paused=True)
    stopped = await LaneRun(runtime, SUBMIT, FLUX).run()
    why = (await client.get(f"/api/v1/jobs/{job_id}")).json()["why"]
    resumed = await change(operator, paused=False)
    started = await LaneRun(runtime, SUBMIT, FLUX).run()

    assert (paused["state"], paused["why"]) == ("paused", "it is paused")
    assert (stopped, started) == (0, 1)
    assert "paused" in why
    assert (resumed["state"], resumed["waiting"]) == ("open", 1)
    assert (await find_job(runtime, job_id)).state is not JobState.QUEUED


@pytest.mark.usefixtures("emulator")
async def test_a_pause_of_one_stage_or_endpoint_holds_no_other(client, operator, runtime):
    await hand_in(client)

    await change(operator, "/api/v1/lanes/submit/vidu-q3-t2v", paused=True)
    await change(operator, f"/api/v1/lanes/poll/{FLUX}", paused=True)

    assert await LaneRun(runtime, SUBMIT, FLUX).run() == 1
    assert await LaneRun(runtime, POLL, FLUX).run() == 0
    assert {one["why"] for one in (await client.get("/api/v1/lanes")).json()["lanes"]} == {
        "it is paused"
    }


async def test_a_closed_lane_says_why_and_until_when_and_a_resume_opens_it(
    client, operator, database
):
    await hand_in(client)
    async with database.begin() as session:
        await close_lane(session, StageName.SUBMIT, FLUX, reason="HTTP 429: slow down", seconds=90)

    closed = await read(client)
    opened = await change(operator, paused=False)

    assert closed["state"] == "closed"
    assert closed["closed_seconds"] == pytest.approx(90, abs=10)
    assert "HTTP 429: slow down" in closed["why"]
    assert (opened["state"], opened["closed_reason"]) == ("open", None)


async def test_why_a_lane_waits_for_a_time_is_said(client, database):
    await hand_in(client)
    async with database.begin() as session:
        await session.execute(text("UPDATE jobs SET next_at = now() + interval '1 hour'"))

    lane = await read(client)

    assert lane["why"].startswith("the next is due in 3")


@pytest.mark.usefixtures("emulator")
async def test_a_limit_is_overridden_used_up_and_put_back(client, operator, runtime):
    await hand_in(client, 5)
    usual = (await read(client))["quota"]

    changed = await change(operator, per_10_seconds=2, concurrent=1)
    await runtime.operator.get(fresh=True)
    claimed = await LaneRun(runtime, SUBMIT, FLUX).run()
    used = await read(client)
    back = await change(operator, reset_limit=True)

    assert (changed["quota"]["per_window"], changed["quota"]["concurrent"]) == (2, 1)
    assert claimed == 1
    assert used["quota"]["used_in_window"] >= 1
    assert used["waiting"] == 4
    limits = ("per_window", "window_seconds", "concurrent")
    assert [back["quota"][name] for name in limits] == [usual[name] for name in limits]
    known = load_catalogue().limit(FLUX, Operation.RUN)
    assert known is not None
    assert usual["per_window"] == known.per_window


@pytest.mark.usefixtures("emulator")
async def test_a_quota_that_is_used_up_is_the_reason_that_is_said(client, operator, runtime):
    await hand_in(client, 3)
    await change(operator, per_10_seconds=1)
    await runtime.operator.get(fresh=True)
    await LaneRun(runtime, SUBMIT, FLUX).run()

    lane = await read(client)

    assert lane["quota"]["used_in_window"] == 1
    assert "the limit of 1 in" in lane["why"]


async def test_a_limit_of_one_endpoint_leaves_the_others_as_they_were(operator):
    before = await read(operator, "/api/v1/lanes/submit/vidu-q3-t2v")

    await change(operator, per_10_seconds=1)

    assert await read(operator, "/api/v1/lanes/submit/vidu-q3-t2v") == before


async def test_the_limit_is_the_operations_whatever_the_stage(operator):
    await change(operator, f"/api/v1/lanes/poll/{FLUX}", concurrent=7)

    assert (await read(operator, f"/api/v1/lanes/poll/{FLUX}"))["quota"]["concurrent"] == 7
    assert (await read(operator))["quota"]["concurrent"] != 7


async def test_an_alias_is_the_lane_of_its_endpoint(operator):
    aliased = next(one for one in load_catalogue() if one.aliases)

    lane = await change(operator, f"/api/v1/lanes/submit/{aliased.aliases[0]}", paused=True)

    assert lane["endpoint"] == aliased.id
    assert (await read(operator, f"/api/v1/lanes/submit/{aliased.id}"))["state"] == "paused"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (PATH, {"paused": "yes"}, 422),
        (PATH, {"paused": 1}, 422),
        (PATH, {"per_10_seconds": 0}, 422),
        (PATH, {"concurrent": 10**9}, 422),
        (PATH, {"limit": 1}, 422),
        (PATH, [], 400),
        (f"/api/v1/lanes/archive/{FLUX}", {"concurrent": 1}, 422),
        (f"/api/v1/lanes/webhook/{FLUX}", {"reset_limit": True}, 422),
        (f"/api/v1/lanes/walk/{FLUX}", {"paused": True}, 422),
        ("/api/v1/lanes/submit/no%20name", {"paused": True}, 404),
        ("/api/v1/lanes/submit/%00", {"paused": True}, 404),
    ],
)
async def test_a_change_that_cannot_be_made_is_refused(operator, path, body, status):
    response = await operator.patch(path, json=body)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert (await operator.get("/api/v1/lanes")).json() == {"lanes": []}


async def test_a_change_of_nothing_changes_nothing(operator):
    assert (await change(operator))["state"] == "open"


async def test_without_redis_the_lanes_are_told_without_their_use(client, gateway_app, monkeypatch):
    async def away(*_):
        raise RedisAway("gone")

    await hand_in(client)
    monkeypatch.setattr(gateway_app.state.gateway.runtime.quota, "usage", away)

    lane = await read(client)

    assert (lane["waiting"], lane["quota"]["used_in_window"]) == (1, None)
    assert lane["quota"]["per_window"] > 0


# Endpoints


async def test_every_endpoint_of_the_catalogue_is_listed_and_described(client):
    listed = (await client.get("/api/v1/endpoints")).json()["endpoints"]

    assert {one["id"] for one in listed} == {one.id for one in load_catalogue()}
    for one in listed:
        described = (await client.get(f"/api/v1/endpoints/{one['id']}")).json()
        assert described["input_schema"]["type"] == "object"
        assert described["limits"]["run"]["per_window"] > 0
        assert {name: described[name] for name in one} == one


async def test_how_long_jobs_took_here_is_told_once_one_has_ended(client, gateway_app):
    before = (await client.get(f"/api/v1/endpoints/{FLUX}")).json()["measured"]
    await hand_in(client)  # it is used from now on, and so looked after

    async with gateway_app.state.gateway.runtime.database.begin() as session:
        counts = count_durations([1.0, 2.0, 9.0])
        await add_durations(session, FLUX, counts=counts, bins=BINS, keep=1.0)

    listed = (await client.get("/api/v1/endpoints")).json()["endpoints"]
    measured = {one["id"]: one["measured"] for one in listed}
    assert before is None
    assert measured.pop(FLUX) == {"jobs": 3, "p50_seconds": pytest.approx(2.0, rel=0.06)}
    assert set(measured.values()) == {None}


async def test_that_the_upstream_is_the_emulator_is_told(client, gateway_app):
    settings = gateway_app.state.gateway.runtime.settings

    assert (await client.get("/api/v1/endpoints")).json()["emulated"] is settings.emulated


async def test_an_endpoint_is_found_by_its_alias(client):
    aliased = next(one for one in load_catalogue() if one.aliases)

    assert (await client.get(f"/api/v1/endpoints/{aliased.aliases[0]}")).json()["id"] == aliased.id


async def test_an_endpoint_that_is_not_known_is_not_found(client):
    response = await client.get("/api/v1/endpoints/nobodys")

    assert response.status_code == 404
    assert "nobodys" in response.json()["detail"]


@pytest.mark.parametrize(
    ("endpoint", "body", "status", "said"),
    [
        (FLUX, {"input": {"prompt": "a", "width": 512, "height": 512}}, 200, "exact"),
        ("nobodys", {"input": {"anything": 1}}, 200, "unlisted"),
        (FLUX, {"input": {}}, 422, "prompt"),
        (FLUX, {"input": {"prompt": "a", "width": 1}}, 422, "width"),
        (FLUX, {"inputs": {}}, 422, "inputs"),
        (FLUX, {"input": []}, 422, "input"),
        ("no%20name", {"input": {}}, 422, "letters"),
    ],
)
async def test_what_a_generation_costs_is_said_before_it_is_run(  # noqa: PLR0917
    client, database, endpoint, body, status, said
):
    response = await client.post(f"/api/v1/endpoints/{endpoint}/estimate", json=body)

    assert response.status_code == status
    assert said in response.text
    async with database.begin() as session:
        assert await session.scalar(text("SELECT count(*) FROM jobs")) == 0


async def test_an_estimate_is_what_the_job_then_says(client):
    body = {"input": {"prompt": "a", "width": 1024, "height": 512}}

    estimate = (await client.post(f"/api/v1/endpoints/{FLUX}/estimate", json=body)).json()
    job = (await client.post("/api/v1/jobs", json={"endpoint": FLUX, **body})).json()

    assert estimate["usd"] == job["estimate_usd"] > 0


# What operators do to them


@pytest.mark.usefixtures("emulator")
async def test_all_of_a_lane_is_shown(client, operator, runtime):
    await hand_in(client, 3)
    await change(operator, per_10_seconds=2)
    await runtime.operator.get(fresh=True)
    await LaneRun(runtime, SUBMIT, FLUX).run()

    lane = await read(operator)

    assert lane["places"] == {"queued": 1, "held": 0, "in_flight": 2, "to_store": 0, "to_send": 0}
    documented = load_catalogue().limit(FLUX, Operation.RUN)
    assert documented is not None
    assert lane["limits"]["documented"]["per_10_seconds"] == documented.per_window
    assert lane["limits"]["operator"] == {"per_10_seconds": 2, "concurrent": None}
    assert lane["breaker"]["failed_in_a_row"] == 0
    [share] = lane["shares"]
    assert (share["name"], share["jobs"], share["first"], share["priority"]) == ("tests", 1, 1, 5)
    assert (await read(client))["shares"] == []  # names of others' keys


async def test_a_limit_beyond_what_is_documented_is_refused_unless_it_is_meant(operator):
    documented = load_catalogue().limit(FLUX, Operation.RUN)
    assert documented is not None
    more = {"per_10_seconds": documented.per_window + 1}

    refused = await operator.patch(PATH, json=more)
    lane = await read(operator)
    meant = await change(operator, **more, beyond=True)

    assert refused.status_code == 422
    assert "beyond" in refused.json()["detail"]
    assert lane["quota"]["per_window"] == documented.per_window
    assert meant["quota"]["per_window"] == documented.per_window + 1


async def test_of_a_limit_what_is_not_given_stays(operator):
    await change(operator, per_10_seconds=7)

    lane = await change(operator, concurrent=3)

    assert lane["limits"]["operator"] == {"per_10_seconds": 7, "concurrent": 3}


@pytest.mark.usefixtures("emulator")
async def test_a_lane_that_is_paused_for_a_time_goes_on_by_itself(
    client, operator, runtime, database
):
    await hand_in(client)
    paused = await change(operator, paused=True, pause_seconds=90, reason="new prices")
    await sweep_lanes(runtime)
    stopped = await LaneRun(runtime, SUBMIT, FLUX).run()
    async with database.begin() as session:
        await session.execute(text("UPDATE lanes SET paused_until = now()"))

    await sweep_lanes(runtime)

    assert (paused["state"], paused["paused_reason"]) == ("paused", "new prices")
    assert paused["why"].endswith("more: new prices")
    assert stopped == 0
    assert (await read(operator))["state"] == "open"
    assert await LaneRun(runtime, SUBMIT, FLUX).run() == 1


@pytest.mark.usefixtures("emulator")
async def test_a_drained_lane_sends_nothing_and_tells_how_much_still_runs(
    client, operator, runtime
):
    sent, waits = await hand_in(client, 2)
    await change(operator, concurrent=1)
    await runtime.operator.get(fresh=True)
    await LaneRun(runtime, SUBMIT, FLUX).run()

    draining = await change(operator, drain=True)
    [running] = [one for one in (sent, waits) if (await find_job(runtime, one)).attempt]
    await run_until(runtime, running)
    drained = await read(operator)

    assert (draining["state"], draining["places"]["in_flight"]) == ("paused", 1)
    assert (drained["state"], drained["places"]["in_flight"]) == ("paused", 0)
    assert drained["places"]["queued"] == 1


async def test_a_hold_without_an_end_is_given_none_by_a_pause_for_a_time(operator):
    await change(operator, paused=True, reason="restored")

    held = await change(operator, paused=True, pause_seconds=60)
    await change(operator, paused=False)
    again = await change(operator, paused=True, pause_seconds=60)

    assert "restored" in held["why"]
    assert held["paused_seconds"] is None
    assert again["paused_seconds"] == pytest.approx(60, abs=10)


@pytest.mark.parametrize(
    "asked",
    [
        {"pause_seconds": 60},
        {"reason": "new prices"},
        {"paused": False, "drain": True},
        {"reset_limit": True, "per_10_seconds": 5},
    ],
)
async def test_what_contradicts_itself_or_says_nothing_is_refused_and_changes_nothing(
    operator, asked
):
    before = await read(operator)

    refused = await operator.patch(PATH, json=asked)

    assert refused.status_code == 422
    assert "wanted" in refused.json()["detail"]
    assert await read(operator) == before
