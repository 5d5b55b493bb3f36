"""Clients send again what they do not know to have arrived: what is the same is done once."""

import asyncio

import pytest
from sqlalchemy import text

from models.job import JobState
from models.key import Scope
from tests.integration.conftest import FLUX, client_of, complete, find_job, open_app, run_until

FOX = {"input": {"prompt": "a fox"}}
SEEDED = {"input": {"prompt": "a fox", "seed": 7}}


async def run(client, body, *, key=None, path="run", endpoint=FLUX):
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post(f"/v2/{endpoint}/{path}", json=body, headers=headers)


async def count_jobs(database):
    async with database.begin() as session:
        return await session.scalar(text("SELECT count(*) FROM jobs"))


async def age_handles(database, hours):
    async with database.begin() as session:
        await session.execute(
            text("UPDATE handles SET created_at = created_at - make_interval(hours => :hours)"),
            {"hours": hours},
        )


@pytest.mark.usefixtures("emulator")
async def test_the_same_key_and_body_again_is_the_same_job_in_its_state_now(client, runtime):
    first = await run(client, FOX, key="order 7")
    again = await run(client, FOX, key="order 7")
    await complete(runtime, first.json()["id"])
    at_last = await run(client, FOX, key="order 7")

    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert at_last.json() == {"id": first.json()["id"], "status": "COMPLETED"}
    assert await count_jobs(runtime.database) == 1


@pytest.mark.usefixtures("emulator")
async def test_a_runsync_sent_again_is_answered_with_the_result_of_the_first(client, runtime):
    first = await run(client, FOX, key="k")
    await complete(runtime, first.json()["id"])

    again = await run(client, FOX, key="k", path="runsync")

    assert again.json()["id"] == first.json()["id"]
    assert again.json()["status"] == "COMPLETED"
    assert again.json()["output"]["image_url"].startswith("http://gateway.test/")


@pytest.mark.parametrize(
    "other",
    [
        {"input": {"prompt": "a hare"}},
        {**FOX, "webhook": "https://example.com/hook"},
        {**FOX, "policy": {"ttl": 60_000}},
        {**FOX, "s3Config": {"bucketName": "mine"}},
    ],
)
async def test_the_same_key_with_another_body_is_refused_and_enqueues_nothing(
    client, runtime, other
):
    await run(client, FOX, key="k")

    response = await run(client, other, key="k")

    assert response.status_code == 422
    assert response.json()["status"] == "FAILED"
    assert "'k'" in response.json()["error"]
    assert await count_jobs(runtime.database) == 1


async def test_fifty_at_once_at_two_gateways_are_one_job(settings, issue, database):
    key, _ = await issue("tests", Scope.RUN)
    async with (
        open_app(settings) as here,
        open_app(settings) as there,
        client_of(here, key) as one,
        client_of(there, key) as other,
    ):
        responses = await asyncio.gather(
            *(run(client, FOX, key="k") for client in (one, other) for _ in range(25))
        )

    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["id"] for response in responses}) == 1
    replayed = [response.headers.get("idempotency-replayed") for response in responses]
    assert replayed.count(None) == 1
    assert await count_jobs(database) == 1


async def test_many_keys_in_any_order_at_two_gateways_wait_for_no_ring(settings, issue, database):
    key, _ = await issue("tests", Scope.RUN)
    names = [f"k{number}" for number in range(40)]
    async with (
        open_app(settings) as here,
        open_app(settings) as there,
        client_of(here, key) as one,
        client_of(there, key) as other,
    ):
        responses = await asyncio.gather(
            *(run(one, SEEDED, key=name) for name in names),
            *(run(other, SEEDED, key=name) for name in reversed(names)),
        )

    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["id"] for response in responses}) == 1
    assert await count_jobs(database) == 1


async def test_another_keys_idempotency_key_is_another(gateway_app, client, issue, database):
    stranger, _ = await issue("stranger", Scope.RUN)
    mine = await run(client, FOX, key="k")

    async with client_of(gateway_app, stranger) as other:
        theirs = await run(other, FOX, key="k")

    assert theirs.json()["id"] != mine.json()["id"]
    assert await count_jobs(database) == 2


@pytest.mark.parametrize(("hours", "jobs"), [(23, 1), (25, 2)])
async def test_an_idempotency_key_holds_for_a_day(client, database, hours, jobs):
    first = await run(client, FOX, key="k")
    await age_handles(database, hours)

    again = await run(client, FOX, key="k")

    assert (again.json()["id"] == first.json()["id"]) == (jobs == 1)
    assert await count_jobs(database) == jobs


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "a\u00a0b", "\u00ad"])
async def test_an_idempotency_key_that_is_none_is_refused(client, database, key):
    raw = [("Idempotency-Key", key.encode("latin-1"))]

    response = await client.post(f"/v2/{FLUX}/run", json=FOX, headers=raw)

    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["error"]
    assert await count_jobs(database) == 0


@pytest.mark.parametrize("key", ["x" * 255, "ordér: 7", "0"])
async def test_any_printable_text_is_an_idempotency_key(client, database, key):
    raw = [("Idempotency-Key", key.encode("latin-1"))]

    for _ in range(2):
        assert (await client.post(f"/v2/{FLUX}/run", json=FOX, headers=raw)).status_code == 200

    assert await count_jobs(database) == 1


@pytest.mark.usefixtures("emulator")
async def test_a_fixed_seed_joins_what_is_in_flight_and_not_what_has_ended(client, runtime):
    first = (await run(client, SEEDED)).json()["id"]
    while_queued = await run(client, SEEDED)
    await run_until(runtime, first, {JobState.IN_QUEUE, JobState.IN_PROGRESS})
    while_in_flight = await run(client, SEEDED)
    await complete(runtime, first)

    after = await run(client, SEEDED)

    assert [while_queued.json()["id"], while_in_flight.json()["id"]] == [first, first]
    assert while_queued.headers["idempotency-replayed"] == "true"
    assert (after.json()["id"] != first, after.json()["status"]) == (True, "IN_QUEUE")


@pytest.mark.parametrize(
    "body",
    [
        FOX,
        {"input": {"prompt": "a fox", "seed": -1}},
    ],
)
async def test_what_is_left_to_chance_joins_nothing(client, body):
    first, second = [(await run(client, body)).json()["id"] for _ in range(2)]

    assert first != second


@pytest.mark.parametrize("seed", [True, "7", None, 7.5])
async def test_a_seed_that_is_no_number_joins_nothing(client, seed):
    body = {"input": {"seed": seed}}

    first, second = [(await run(client, body, endpoint="own")).json()["id"] for _ in range(2)]

    assert first != second


async def test_a_fixed_seed_joins_no_other_keys_job_and_no_other_request(
    gateway_app, client, issue
):
    mine = (await run(client, SEEDED)).json()["id"]
    stranger, _ = await issue("stranger", Scope.RUN)

    async with client_of(gateway_app, stranger) as other:
        theirs = (await run(other, SEEDED)).json()["id"]
    elsewhere = (await run(client, SEEDED, endpoint="black-forest-labs-flux-1-dev")).json()["id"]
    with_hook = (await run(client, {**SEEDED, "webhook": "https://example.com/"})).json()["id"]

    assert len({mine, theirs, elsewhere, with_hook}) == 4


@pytest.mark.usefixtures("emulator")
async def test_an_idempotency_key_that_joined_a_job_still_names_it_after_its_end(client, runtime):
    first = (await run(client, SEEDED)).json()["id"]
    joined = await run(client, SEEDED, key="k")
    await complete(runtime, first)

    again = await run(client, SEEDED, key="k")

    assert joined.json()["id"] == first
    assert again.json() == {"id": first, "status": "COMPLETED"}
    assert await count_jobs(runtime.database) == 1


async def test_equal_requests_of_one_moment_are_answered_with_a_job_that_is_there(
    client, runtime, database
):
    """One transaction takes them all: two of a name, whose first joins a job by its seed."""
    first = (await run(client, SEEDED)).json()["id"]

    responses = await asyncio.gather(*(run(client, SEEDED, key=f"k{n % 4}") for n in range(40)))

    assert {response.json()["id"] for response in responses} == {first}
    assert (await find_job(runtime, first)).state is JobState.QUEUED
    assert await count_jobs(database) == 1
