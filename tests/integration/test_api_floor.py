"""The floor over `/api/v1`: lanes, workers, alarms, waits and money, read once for all who look."""

import pytest
from redis.exceptions import ConnectionError as RedisAway
from sqlalchemy import text

from gateway.alarms import Losses, find_alarms
from gateway.fact_families import Facts, make_families
from gateway.kept import Kept
from models.base import new_id
from models.key import Scope
from models.lane import StageName, close_lane
from tests.integration.conftest import FLUX, client_of
from workers.sign import Sign, sign_key

PATH = "/api/v1/floor"


@pytest.fixture
async def operator(gateway_app, issue):
    """A client whose key may do everything."""
    key, _ = await issue("operator", Scope.OPERATE)
    async with client_of(gateway_app, key) as client:
        yield client


async def hand_in(client, prompt="a fox"):
    asked = {"endpoint": FLUX, "input": {"prompt": prompt}}
    return (await client.post("/api/v1/jobs", json=asked)).json()["id"]


async def look(client, **query):
    response = await client.get(PATH, params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_floor_on_which_nothing_happens_has_no_lanes(client):
    found = await look(client)

    assert (found["lanes"], found["waits"], found["workers"]) == ([], [], [])
    assert found["maintenance"]["on"] is False
    assert found["emulated"] is True


async def test_a_lane_with_waiting_jobs_is_on_it_and_all_others_if_they_are_asked_for(client):
    await hand_in(client)

    [lane] = (await look(client))["lanes"]
    every = (await look(client, all=True))["lanes"]

    assert (lane["stage"], lane["endpoint"], lane["waiting"]) == ("submit", FLUX, 1)
    assert (lane["in_flight"], lane["closed_until"]) == (0, None)
    assert {one["stage"] for one in every} == set(StageName)


async def test_a_closed_lane_tells_until_when(client, run):
    await hand_in(client)
    await run(close_lane, StageName.SUBMIT, FLUX, reason="rate limited", seconds=60)

    [lane] = (await look(client))["lanes"]

    assert (lane["state"], lane["closed_reason"], lane["closures"]) == ("closed", "rate limited", 1)
    assert lane["breaker"]["half_open"]
    assert lane["closed_until"] is not None


async def test_what_waits_longest_is_named_to_its_own_key_and_to_operators(
    client, operator, gateway_app, issue
):
    oldest = await hand_in(client)
    await hand_in(client)
    other, _ = await issue("other", Scope.RUN)

    [told] = (await look(operator))["waits"]
    own = (await look(client))["waits"]
    async with client_of(gateway_app, other) as stranger:
        others = (await look(stranger))["waits"]

    assert (told["job_id"], told["endpoint"]) == (oldest, FLUX)
    assert told["why"]
    assert own[0] == told
    assert others == []


async def test_money_is_told_to_whose_it_is(client, operator, gateway_app, issue, run):
    job_id = await hand_in(client)
    await run(spend, job_id)
    other, _ = await issue("other", Scope.READ)

    everybody = (await look(operator))["money"]
    async with client_of(gateway_app, other) as stranger:
        others = (await look(stranger))["money"]

    assert (everybody["hour_usd"], everybody["last_60_minutes_usd"]) == (0.25, 0.25)
    assert (others["hour_usd"], others["last_60_minutes_usd"]) == (0, 0)


async def spend(session, job_id):
    await session.execute(
        text("""
            INSERT INTO attempts (job_id, lease, number, endpoint, answer, cost_usd)
            VALUES (:job, :lease, 1, :endpoint, 'accepted', 0.25)
        """),
        {"job": job_id, "lease": new_id(), "endpoint": FLUX},
    )


async def test_many_who_look_cost_one_reading():
    readings = 0

    async def read():
        nonlocal readings
        readings += 1
        return readings

    kept = Kept(read, seconds=60)

    assert [await kept.get() for _ in range(5)] == [1] * 5
    assert readings == 1


async def test_workers_are_listed_by_the_signs_that_they_leave(client, runtime):
    seconds, _ = await runtime.redis.time()
    for node, sign in (
        ("one@here", Sign(int(seconds), "")),
        ("two@there", Sign(int(seconds) - 60, "")),
        ("three@there", Sign(int(seconds), "has every thread busy")),
    ):
        await runtime.redis.set(sign_key(runtime.settings, node), sign.to_json())

    listed = (await client.get("/api/v1/workers")).json()["workers"]

    states = {one["node"]: one["state"] for one in listed}
    assert states == {"one@here": "well", "two@there": "silent", "three@there": "troubled"}
    assert {one["node"] for one in (await look(client))["workers"]} == set(states)


async def test_without_redis_nobody_knows_of_workers_and_the_rest_is_told(
    client, gateway_app, monkeypatch
):
    async def away(*_given):
        raise RedisAway("away")

    await hand_in(client)
    monkeypatch.setattr(gateway_app.state.gateway.runtime.redis, "time", away)

    found = await look(client)

    assert found["workers"] is None
    assert len(found["lanes"]) == 1
    assert (await client.get("/api/v1/workers")).status_code == 503


ALARMS = [
    ("pressroom_up", 0, ("redis",), "Redis does not answer", "server-away"),
    ("pressroom_disk_free_bytes", 1e9, (), "1.0 GB are free", "disk-low"),
    ("pressroom_sweep_missing", 1, (), "Nobody sweeps", "no-sweep"),
    ("pressroom_unsent_seconds", 300, (FLUX,), "have been due", "work-not-moving"),
    ("pressroom_lane_blocked", 1, ("submit", FLUX, "closed"), "is closed", "lane-closed"),
    ("pressroom_lane_blocked", 1, ("archive", FLUX, "closed"), "cannot be stored", "store-refuses"),
    ("pressroom_oldest_unread_seconds", 700, (), "unread", "results-unread"),
    ("pressroom_oldest_uncopied_seconds", 90_000, (), "has not been stored", "files-uncopied"),
    ("pressroom_budget_reached", 1, ("shop",), "budget shop is used up", "budget-reached"),
    ("pressroom_jobs", 2, (FLUX, "unknown"), "2 replies to /run", "unknown-outcomes"),
    ("pressroom_workers", 1, ("silent",), "No worker shows a sign", "no-workers"),
    ("pressroom_workers", 2, ("troubled",), "2 workers have no thread free", "workers-unwell"),
]


@pytest.mark.parametrize(("fact", "value", "labels", "says", "runbook"), ALARMS)
def test_what_is_wrong_is_said_with_its_runbook(fact, value, labels, says, runbook):
    families = make_families()
    families[fact].add(value, *labels)

    [alarm] = find_alarms(Facts(families), Losses(), operates=True)

    assert says in alarm.says
    assert alarm.describe()["runbook"] == f"docs/runbooks/{runbook}.md"


def test_what_is_within_its_bounds_is_no_alarm():
    families = make_families()
    for fact, value, labels in (
        ("pressroom_up", 1, ("redis",)),
        ("pressroom_disk_free_bytes", 9e9, ()),
        ("pressroom_unsent_seconds", 100, (FLUX,)),
        ("pressroom_lane_blocked", 1, ("submit", FLUX, "paused")),
        ("pressroom_budget_reached", 0, ("shop",)),
        ("pressroom_workers", 2, ("well",)),
    ):
        families[fact].add(value, *labels)

    assert find_alarms(Facts(families), Losses(), operates=True) == []


def test_words_that_were_given_up_are_told_to_operators_alone():
    losses = Losses(words_given_up=3)

    [alarm] = find_alarms(Facts({}), losses, operates=True)

    assert alarm.says.startswith("3 deliveries were given up")
    assert find_alarms(Facts({}), losses, operates=False) == []
