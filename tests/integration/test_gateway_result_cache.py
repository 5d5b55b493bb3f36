"""A stored result answers an equal request with a fixed seed, where that was asked for."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from models.artifact import list_artifacts
from models.delivery import DeliveryState, list_deliveries
from models.job import JobState
from models.key import Scope
from models.lane import StageName
from models.setting import put_setting
from tests.integration.conftest import FLUX, client_of, complete, find_job, run_until

SEEDED = {"input": {"prompt": "a fox", "seed": 7}}
TAKE = {"Pressroom-Cache": "true"}
LEAVE = {"Pressroom-Cache": "false"}

pytestmark = pytest.mark.usefixtures("emulator")


async def run(client, body=SEEDED, *, headers=None, path="run", endpoint=FLUX):
    response = await client.post(f"/v2/{endpoint}/{path}", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response


async def store_result(client, runtime, body=SEEDED):
    """The id of a job whose result is stored."""
    job_id = (await run(client, body)).json()["id"]
    await complete(runtime, job_id)
    return job_id


async def find_artifacts(runtime, job_id):
    async with runtime.database.begin() as session:
        return await list_artifacts(session, job_ids=[job_id])


async def test_a_cached_result_is_a_job_of_its_own_marked_and_free(client, gateway, runtime):
    source = await store_result(client, runtime)

    hit = await run(client, headers=TAKE)

    job = await find_job(runtime, hit.json()["id"])
    assert hit.headers["pressroom-cache"] == "hit"
    assert hit.json()["status"] == "COMPLETED"
    assert (job.state, str(job.cached_from)) == (JobState.COMPLETED, source)
    assert job.cost_usd == job.estimate_usd == job.attempt == 0
    assert job.id != job.cached_from
    reply = (await client.get(f"/v2/{FLUX}/status/{job.id}")).json()
    assert None not in reply.values()
    image = reply["output"]["image_url"]
    assert image.startswith("http://gateway.test/files/")
    assert (await gateway.get(image)).status_code == 200


async def test_the_files_of_a_cached_result_are_its_own_rows_of_the_same_bytes(client, runtime):
    source = await store_result(client, runtime)
    hit = (await run(client, headers=TAKE)).json()["id"]

    [original], [copy] = [await find_artifacts(runtime, job_id) for job_id in (source, hit)]

    assert copy.id != original.id
    assert (copy.sha256, copy.store_key) == (original.sha256, original.store_key)
    assert (copy.state, copy.width) == (original.state, original.width)


async def test_runsync_answers_at_once_with_a_cached_result(client, runtime):
    await store_result(client, runtime)

    hit = await run(client, headers=TAKE, path="runsync")

    assert (hit.headers["pressroom-cache"], hit.json()["status"]) == ("hit", "COMPLETED")
    assert hit.json()["output"]["image_url"].startswith("http://gateway.test/")


async def test_the_defaults_of_the_endpoint_may_be_said_or_left_out(client, runtime):
    await store_result(client, runtime)

    body = {"input": {"seed": 7, "prompt": "a fox", "width": 1024, "height": 1024}}
    hit = await run(client, body, headers=TAKE)

    assert hit.headers.get("pressroom-cache") == "hit"


@pytest.mark.parametrize(
    ("setting", "key", "header", "hit"),
    [
        (None, None, None, False),
        (None, None, TAKE, True),
        (None, True, None, True),
        (None, True, LEAVE, False),
        (True, None, None, True),
        (True, False, None, False),
        (True, False, TAKE, True),
        (False, True, None, True),
    ],
)
async def test_the_request_says_first_then_the_key_then_the_setting(  # noqa: PLR0917 -- a table
    gateway_app, issue, runtime, setting, key, header, hit
):
    if setting is not None:
        async with runtime.database.begin() as session:
            await put_setting(session, name="result_cache", value=setting)
    secret, _ = await issue("tests", Scope.RUN, result_cache=key)
    async with client_of(gateway_app, secret) as client:
        await store_result(client, runtime)

        again = await run(client, headers=header)

    assert (again.json()["status"] == "COMPLETED") is hit
    assert ("pressroom-cache" in again.headers) is hit


@pytest.mark.parametrize("value", ["yes", "", "1"])
async def test_a_header_that_says_neither_is_refused(client, value):
    response = await client.post(f"/v2/{FLUX}/run", json=SEEDED, headers={"Pressroom-Cache": value})

    assert response.status_code == 400
    assert "Pressroom-Cache" in response.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        {"input": {"prompt": "a hare", "seed": 7}},
        {"input": {"prompt": "a fox", "seed": 8}},
        {"input": {"prompt": "a fox", "seed": 7, "width": 512}},
        {**SEEDED, "s3Config": {"bucketName": "mine"}},  # its files are wanted there
    ],
)
async def test_what_is_not_equal_is_generated_anew(client, runtime, body):
    await store_result(client, runtime)

    assert (await run(client, body, headers=TAKE)).json()["status"] == "IN_QUEUE"


async def test_a_result_left_to_chance_answers_nothing(client, runtime):
    await store_result(client, runtime, {"input": {"prompt": "a fox"}})

    again = await run(client, {"input": {"prompt": "a fox"}}, headers=TAKE)

    assert again.json()["status"] == "IN_QUEUE"


async def test_a_result_answers_nobody_but_the_key_that_paid_for_it(
    gateway_app, client, issue, runtime
):
    await store_result(client, runtime)
    stranger, _ = await issue("stranger", Scope.RUN)

    async with client_of(gateway_app, stranger) as other:
        theirs = await run(other, headers=TAKE)

    assert theirs.json()["status"] == "IN_QUEUE"


async def test_a_result_whose_file_is_not_stored_answers_nothing(client, runtime):
    job_id = (await run(client)).json()["id"]
    await run_until(runtime, job_id)
    while_pending = await run(client, headers=TAKE)
    await client.post(f"/v2/{FLUX}/cancel/{while_pending.json()['id']}")
    async with runtime.database.begin() as session:
        await session.execute(text("UPDATE artifacts SET state = 'expired', lease = NULL"))

    once_expired = await run(client, headers=TAKE)

    assert while_pending.json()["status"] == once_expired.json()["status"] == "IN_QUEUE"


async def test_a_failed_job_answers_nothing(client, runtime, emulator):
    await emulator.post("/admin/faults", json={"kind": "fail_job", "count": 1})
    job_id = (await run(client)).json()["id"]
    await run_until(runtime, job_id)

    assert (await run(client, headers=TAKE)).json()["status"] == "IN_QUEUE"


async def test_the_webhook_of_a_cached_job_is_woken_and_rung_for(client, runtime, settings):
    await store_result(client, runtime)

    hit = await run(client, {**SEEDED, "webhook": "https://example.com/hook"}, headers=TAKE)

    async with runtime.database.begin() as session:
        job_id = UUID(hit.json()["id"])
        [delivery] = await list_deliveries(session, limit=2, job_id=job_id)
    assert delivery.state is DeliveryState.PENDING
    bell = f"{settings.redis_prefix}bell:{StageName.WEBHOOK}:{FLUX}"
    async with asyncio.timeout(5):
        while not await runtime.redis.exists(bell):  # noqa: ASYNC110 -- rung after the answer
            await asyncio.sleep(0.01)


async def test_a_cached_job_is_named_by_its_idempotency_key(client, runtime):
    await store_result(client, runtime)
    headers = {**TAKE, "Idempotency-Key": "k"}

    first, again = [await run(client, headers=headers) for _ in range(2)]

    assert first.json() == again.json()
    assert first.headers["pressroom-cache"] == "hit"
    assert again.headers["idempotency-replayed"] == "true"
