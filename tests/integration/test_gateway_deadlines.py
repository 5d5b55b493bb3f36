"""`policy` and `s3Config`: deadlines are kept, both are passed on, and no secret is ever shown."""

import asyncio
import base64

import orjson
import pytest
from aiohttp import web
from sqlalchemy import text

from models.job import JobState, Reason
from models.key import Scope
from tasks.cancel import CANCEL
from tasks.poll import POLL
from tasks.submit import SUBMIT
from tasks.sweep import sweep_lanes
from tests.integration.conftest import FLUX, client_of, find_job, run_until
from workers.lane import LaneRun

VIDEO = "vidu-q3-t2v"  # takes seconds here
FOX = {"input": {"prompt": "a fox"}}
SECRET = "s3-SECRET/never+shown="
S3 = {
    "accessId": "ACCESSID0123",
    "accessSecret": SECRET,
    "bucketName": "mine",
    "endpointUrl": "https://s3.example.com",
}


async def submit(client, *, endpoint=VIDEO, **fields):
    response = await client.post(f"/v2/{endpoint}/run", json={**FOX, **fields})
    assert response.status_code == 200, response.text
    return response.json()["id"]


async def status(client, job_id, *, endpoint=VIDEO):
    return (await client.get(f"/v2/{endpoint}/status/{job_id}")).json()


async def let_pass(runtime, job_id, seconds):
    """The job was handed in, and begun, so much longer ago."""
    async with runtime.database.begin() as session:
        await session.execute(
            text("""
                UPDATE jobs SET created_at = created_at - make_interval(secs => :seconds),
                    deadline_at = deadline_at - make_interval(secs => :seconds)
                WHERE id = :id
            """),
            {"id": job_id, "seconds": seconds},
        )


@pytest.fixture
async def upstream(settings):
    """In the upstream's place: what it was sent; it takes everything."""
    bodies = []

    async def take(request):
        bodies.append(await request.json())
        return web.json_response({"id": f"u{len(bodies)}", "status": "IN_QUEUE"})

    app = web.Application()
    app.router.add_post("/v2/{endpoint}/run", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", settings.emulator_port).start()
    yield bodies
    await runner.cleanup()


async def test_a_job_that_waits_past_its_ttl_is_timed_out_and_never_sent(client, runtime, emulator):
    late = await submit(client, policy={"ttl": 60_000})
    in_time = await submit(client, policy={"ttl": 120_000})
    for job_id in (late, in_time):
        await let_pass(runtime, job_id, 90)

    await sweep_lanes(runtime)

    assert (await status(client, late))["status"] == "TIMED_OUT"
    assert "policy.ttl" in (await status(client, late))["error"]
    assert (await status(client, in_time))["status"] == "IN_QUEUE"
    assert await LaneRun(runtime, SUBMIT, VIDEO).run() == 1
    assert (await emulator.get("/admin/stats")).json()["jobs"]["accepted"] == 1


async def test_a_job_in_flight_past_its_ttl_is_cancelled_upstream_and_timed_out(
    client, runtime, emulator
):
    job_id = await submit(client, policy={"ttl": 60_000})
    await run_until(runtime, job_id, {JobState.IN_QUEUE}, endpoint=VIDEO, stages=[SUBMIT])
    await let_pass(runtime, job_id, 61)

    await sweep_lanes(runtime)
    job = await run_until(runtime, job_id, endpoint=VIDEO, stages=[CANCEL, POLL])

    assert (job.state, job.reason) == (JobState.TIMED_OUT, Reason.TTL_PASSED)
    assert (await emulator.get("/admin/stats")).json()["jobs"]["cancelled"] == 1
    assert (await status(client, job_id))["status"] == "TIMED_OUT"


async def test_a_job_that_runs_for_too_long_is_cancelled_upstream_and_timed_out(
    client, runtime, emulator
):
    await emulator.post("/admin/custom", json={"endpoint": "slow", "execution_seconds": 9_000})
    job_id = await submit(client, endpoint="slow", policy={"executionTimeout": 1_200_000})
    queued = await find_job(runtime, job_id)
    await run_until(runtime, job_id, {JobState.IN_PROGRESS}, endpoint="slow")
    await let_pass(runtime, job_id, 1_201)

    await sweep_lanes(runtime)
    job = await run_until(runtime, job_id, endpoint="slow", stages=[CANCEL, POLL])

    assert queued.deadline_at is None  # what it waits does not count
    assert (job.state, job.reason) == (JobState.TIMED_OUT, Reason.RAN_TOO_LONG)
    assert (await emulator.get("/admin/stats")).json()["jobs"]["cancelled"] == 1


@pytest.mark.usefixtures("emulator")
async def test_a_job_that_timed_out_may_be_retried_with_all_of_its_time(client, runtime):
    job_id = await submit(client, policy={"ttl": 60_000})
    await let_pass(runtime, job_id, 61)
    await sweep_lanes(runtime)

    response = await client.post(f"/v2/{VIDEO}/retry/{job_id}")
    await sweep_lanes(runtime)

    assert response.status_code == 200
    assert (await status(client, job_id))["status"] == "IN_QUEUE"


async def test_the_policy_is_passed_on_by_the_upstreams_clock(client, runtime, upstream, settings):
    policy = {"ttl": 100_000, "executionTimeout": 50_000, "lowPriority": True}
    job_id = await submit(client, policy=policy)
    await let_pass(runtime, job_id, 40)

    await LaneRun(runtime, SUBMIT, VIDEO).run()

    [sent] = upstream
    assert sent["policy"]["ttl"] == pytest.approx(60_000 * settings.emulator_clock, rel=0.2)
    assert sent["policy"]["executionTimeout"] == 50_000 * settings.emulator_clock
    assert sent["policy"]["lowPriority"] is True
    assert (await find_job(runtime, job_id)).policy == policy


async def test_without_policy_and_s3config_none_is_sent(client, runtime, upstream):
    await submit(client, policy={}, s3Config=None)

    await LaneRun(runtime, SUBMIT, VIDEO).run()

    assert upstream[0].keys() == {"input", "webhook"}


async def read_everything(database):
    """Every row of every table, with its bytes as they are."""
    async with database.begin() as session:
        tables = await session.scalars(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        )
        return {
            table: [
                row.row
                for row in await session.execute(text(f"SELECT t::text AS row FROM {table} t"))
            ]
            for table in tables
        }


async def test_an_s3config_is_passed_on_and_its_secret_is_kept_and_shown_nowhere(  # noqa: PLR0917 -- fixtures
    gateway_app, client, issue, runtime, upstream, capfd, caplog
):
    job_id = await submit(client, s3Config=S3, webhook="https://example.com/hook")
    twice = await client.post(
        f"/v2/{VIDEO}/run",
        json={**FOX, "s3Config": {**S3, "accessSecret": SECRET * 2}, "policy": {"ttl": 1}},
        headers={"Idempotency-Key": "k"},
    )
    await LaneRun(runtime, SUBMIT, VIDEO).run()
    operator, _ = await issue("operator", Scope.OPERATE)
    async with client_of(gateway_app, operator) as other:
        shown = [
            (await other.get(path)).text
            for path in (
                f"/v2/{VIDEO}/status/{job_id}",
                f"/v2/{VIDEO}/requests",
                f"/api/v1/jobs/{job_id}",
                f"/api/v1/jobs/{job_id}/attempts",
                f"/api/v1/jobs/{job_id}/timeline",
                f"/api/v1/jobs/{job_id}/deliveries",
                "/api/v1/jobs",
            )
        ]
    tables = await read_everything(runtime.database)
    written = capfd.readouterr()

    assert upstream[0]["s3Config"] == S3
    assert twice.status_code == 400
    assert len(tables["jobs"]) == 1
    everything = [*shown, twice.text, written.out, written.err, caplog.text]
    everything += [row for rows in tables.values() for row in rows]
    encoded = base64.b64encode(SECRET.encode()).decode().rstrip("=")
    for secret in (SECRET, encoded, SECRET.encode().hex(), S3["accessId"]):
        assert not [text for text in everything if secret in text]


@pytest.mark.parametrize(
    "s3_config",
    [
        {"accessSecret": [SECRET]},
        {"accessSecret": SECRET + "x" * 2048},
        {"accessSecret": {"value": SECRET}},
        {"accessSecret": SECRET + "\x00"},
        {"accessSecret": SECRET, "endpointUrl": 7},
    ],
)
async def test_a_refusal_of_an_s3config_does_not_repeat_it(client, capfd, s3_config):
    response = await client.post(f"/v2/{VIDEO}/run", json={**FOX, "s3Config": s3_config})

    assert response.status_code == 400
    written = capfd.readouterr()
    assert not [text for text in (response.text, written.out, written.err) if "SECRET" in text]


async def test_a_body_cut_short_within_its_secret_is_not_repeated(client, capfd):
    whole = orjson.dumps({**FOX, "s3Config": S3})
    content = whole[: whole.index(b"never")]

    response = await client.post(
        f"/v2/{VIDEO}/run", content=content, headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 400
    assert "SECRET" not in response.text + "".join(capfd.readouterr())


async def test_a_client_that_waits_hears_of_the_deadline(client, runtime):
    job_id = await submit(client, endpoint=FLUX, policy={"ttl": 60_000})
    waiting = asyncio.create_task(client.get(f"/v2/{FLUX}/status-sync/{job_id}"))
    await let_pass(runtime, job_id, 61)

    await sweep_lanes(runtime)

    assert (await waiting).json()["status"] == "TIMED_OUT"
