"""`/v2`: jobs are handed in, waited for, looked at and listed in the upstream's own words."""

import asyncio
import re
from uuid import uuid4

import pytest

from gateway.state import GatewayState
from models.job import JobState
from models.key import Scope
from tasks.archive import ARCHIVE
from tests.integration.conftest import FLUX, client_of, complete, find_job, run_until
from workers.lane import LaneRun

DOCUMENTED = {
    "id": str,
    "status": str,
    "delayTime": int,
    "executionTime": int,
    "workerId": str,
    "output": dict,
    "error": str,
}
FOX = {"input": {"prompt": "a fox"}}


async def submit(client, *, endpoint=FLUX, body=FOX, **options):
    """The id of a job that was handed in."""
    response = await client.post(f"/v2/{endpoint}/run", json=body, **options)
    assert response.status_code == 200, response.text
    return response.json()["id"]


async def status(client, job_id, *, endpoint=FLUX):
    response = await client.get(f"/v2/{endpoint}/status/{job_id}")
    assert response.status_code == 200, response.text
    return response.json()


def assert_documented(reply):
    assert reply.keys() <= DOCUMENTED.keys()
    for field, value in reply.items():
        assert isinstance(value, DOCUMENTED[field]), (field, value)
        assert not isinstance(value, bool)


async def test_run_answers_with_an_id_and_a_status_and_nothing_else(client, runtime):
    response = await client.post(f"/v2/{FLUX}/run", json=FOX)

    assert response.status_code == 200
    assert response.json() == {"id": response.json()["id"], "status": "IN_QUEUE"}
    job = await find_job(runtime, response.json()["id"])
    assert (job.state, job.endpoint, job.input) == (JobState.QUEUED, FLUX, {"prompt": "a fox"})


@pytest.mark.usefixtures("emulator")
async def test_a_job_is_shown_at_every_step_with_documented_fields_and_no_nulls(client, runtime):
    job_id = await submit(client)
    replies = [await status(client, job_id)]

    await run_until(runtime, job_id, {JobState.IN_QUEUE, JobState.IN_PROGRESS})
    replies.append(await status(client, job_id))
    await run_until(runtime, job_id)
    replies.append(await status(client, job_id))

    for reply in replies:
        assert_documented(reply)
    assert [reply["status"] for reply in replies[::2]] == ["IN_QUEUE", "COMPLETED"]
    assert replies[0].keys() == {"id", "status"}
    assert replies[2].keys() >= {"delayTime", "executionTime", "output"}


async def test_a_failed_job_is_shown_with_its_error_and_no_output(client, runtime, emulator):
    await emulator.post("/admin/faults", json={"kind": "fail_job", "body": "no such style"})
    job_id = await submit(client)
    await run_until(runtime, job_id)

    reply = await status(client, job_id)

    assert_documented(reply)
    assert (reply["status"], "output" in reply) == ("FAILED", False)
    assert "no such style" in reply["error"]


async def test_output_urls_are_the_upstreams_until_the_file_is_ours(
    client, gateway, runtime, emulator
):
    job_id = await submit(client)
    await run_until(runtime, job_id)
    pending = (await status(client, job_id))["output"]["image_url"]
    await LaneRun(runtime, ARCHIVE, FLUX).run()

    stored = [(await status(client, job_id))["output"]["image_url"] for _ in range(3)]

    assert pending.startswith(str(emulator.base_url).rstrip("/"))
    assert set(stored) == {stored[0]}  # it can be read again and again
    assert stored[0].startswith("http://gateway.test/files/")
    downloaded = await gateway.get(stored[0])  # without a key
    assert (downloaded.status_code, downloaded.headers["content-type"]) == (200, "image/jpeg")
    forged = re.sub(
        r"(/files/[^/]+/)(.)",
        lambda found: found[1] + ("B" if found[2] == "A" else "A"),  # never what stood there
        stored[0],
    )
    assert (await gateway.get(forged)).status_code == 404


@pytest.mark.usefixtures("emulator")
async def test_runsync_answers_with_the_whole_job_once_it_has_ended(client, runtime):
    waiting = asyncio.create_task(client.post(f"/v2/{FLUX}/runsync", json=FOX))
    async with asyncio.timeout(10):
        while not (listed := (await client.get(f"/v2/{FLUX}/requests")).json()["requests"]):  # noqa: ASYNC110 -- by HTTP
            await asyncio.sleep(0.01)
    await complete(runtime, listed[0]["id"])

    response = await waiting

    assert response.status_code == 200
    assert_documented(response.json())
    assert response.json()["status"] == "COMPLETED"
    assert response.json()["output"]["image_url"].startswith("http://gateway.test/files/")


@pytest.mark.parametrize("path", ["runsync", "status-sync"])
async def test_a_wait_that_runs_out_is_answered_with_the_state_of_the_job(client, path):
    if path == "runsync":
        response = await client.post(f"/v2/{FLUX}/runsync?wait=1000", json=FOX)
    else:
        job_id = await submit(client)
        response = await client.get(f"/v2/{FLUX}/status-sync/{job_id}?wait=1000")

    assert response.status_code == 200
    assert response.json() == {"id": response.json()["id"], "status": "IN_QUEUE"}


async def send_and_leave(app, key, path, *, body, left):
    """A client that goes away while it is waited for; returns what it was sent."""
    sent = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST" if body else "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"authorization", key.encode()), (b"content-type", b"application/json")],
        "server": ("gateway.test", 80),
        "client": ("127.0.0.1", 1),
        "state": {},
    }
    await app(scope, receive, send)
    return sent


def waiters(app):
    state: GatewayState = app.state.gateway
    return sum(len(events) for events in state.ends._waiters.values())  # noqa: SLF001 -- what is asked


async def test_a_client_that_goes_away_frees_its_waiter_and_leaves_its_job(
    gateway_app, gateway, issue
):
    key, _ = await issue("tests", Scope.RUN)
    left = asyncio.Event()
    call = asyncio.create_task(
        send_and_leave(
            gateway_app, key, f"/v2/{FLUX}/runsync", body=b'{"input": {"prompt": "a"}}', left=left
        )
    )
    async with asyncio.timeout(10):
        while not waiters(gateway_app):  # noqa: ASYNC110 -- no event tells
            await asyncio.sleep(0.01)
        left.set()
        await call  # and nothing is raised: it is no error of ours

    assert waiters(gateway_app) == 0
    listed = await gateway.get(f"/v2/{FLUX}/requests", headers={"Authorization": key})
    assert len(listed.json()["requests"]) == 1


async def test_three_hundred_that_wait_hold_no_database_connection(gateway_app, client, runtime):
    job_id = await submit(client)
    path = f"/v2/{FLUX}/status-sync/{job_id}"
    calls = [asyncio.create_task(client.get(path)) for _ in range(300)]
    pool = gateway_app.state.gateway.runtime.database.engine.pool
    async with asyncio.timeout(30):
        while waiters(gateway_app) < 300:  # noqa: ASYNC110 -- no event tells
            await asyncio.sleep(0.05)
        while pool.checkedout():  # noqa: ASYNC110 -- the look, twenty times a second
            await asyncio.sleep(0.001)
        busiest = 0
        for _ in range(100):
            busiest = max(busiest, pool.checkedout())
            await asyncio.sleep(0.005)

        await client.post(f"/v2/{FLUX}/cancel/{job_id}")
        replies = await asyncio.gather(*calls)

    assert busiest <= 1
    assert {reply.json()["status"] for reply in replies} == {"CANCELLED"}
    assert (await find_job(runtime, job_id)).state is JobState.CANCELLED


@pytest.mark.parametrize("path", ["status", "status-sync", "cancel", "retry"])
@pytest.mark.parametrize(
    "job_id", ["7", str(uuid4()), f"{uuid4()}-u1", "sync-x", "%00", "%ED%A0%80", "x" * 3000]
)
async def test_an_id_that_is_no_jobs_is_not_found(client, path, job_id):
    method = client.get if path.startswith("status") else client.post

    response = await method(f"/v2/{FLUX}/{path}/{job_id}")

    assert response.status_code == 404
    assert response.json()["status"] == "FAILED"
    assert response.json()["error"] == "job not found"


@pytest.mark.parametrize("path", ["status", "status-sync", "cancel", "retry"])
async def test_a_job_of_another_key_or_endpoint_is_not_found(gateway_app, client, issue, path):
    job_id = await submit(client)
    stranger, _ = await issue("stranger", Scope.RUN, Scope.READ)
    method = "GET" if path.startswith("status") else "POST"

    async with client_of(gateway_app, stranger) as other:
        anothers = await other.request(method, f"/v2/{FLUX}/{path}/{job_id}")
    elsewhere = await client.request(method, f"/v2/vidu-q3-t2v/{path}/{job_id}")

    assert [anothers.status_code, elsewhere.status_code] == [404, 404]
    assert (await status(client, job_id))["status"] == "IN_QUEUE"


async def test_a_key_that_operates_sees_the_jobs_of_all(gateway_app, client, issue):
    job_id = await submit(client)
    key, _ = await issue("operator", Scope.OPERATE)

    async with client_of(gateway_app, key) as operator:
        assert (await status(operator, job_id))["id"] == job_id


async def test_a_job_is_the_same_under_any_name_of_its_endpoint(client, runtime):
    alias, name = "bytedance-seedream-4-0-t2i", "seedream-v4-t2i"
    job_id = await submit(client, endpoint=alias)

    assert (await find_job(runtime, job_id)).endpoint == name
    assert await status(client, job_id, endpoint=alias) == await status(
        client, job_id, endpoint=name
    )


@pytest.mark.parametrize("path", ["run", "runsync"])
async def test_a_withdrawn_endpoint_is_not_found_and_says_when_it_was(client, path):
    response = await client.post(f"/v2/seedance-1-0-pro/{path}", json=FOX)

    assert response.status_code in {400, 404}
    assert response.json()["status"] == "FAILED"
    assert "2026-06-18" in response.json()["error"]


async def test_an_endpoint_that_nobody_listed_takes_anything_and_has_no_price(
    client, runtime, emulator
):
    await emulator.post("/admin/custom", json={"endpoint": "my-own"})
    values = {"anything": [1, 2.5, None, {"deep": "ü"}], "pollIntervalMillis": 7}
    job_id = await submit(client, endpoint="my-own", body={"input": values, "unheard": "of"})

    job = await run_until(runtime, job_id, endpoint="my-own")

    assert (job.state, job.estimate_usd, job.input) == (JobState.COMPLETED, None, values)
    assert (await status(client, job_id, endpoint="my-own"))["status"] == "COMPLETED"
