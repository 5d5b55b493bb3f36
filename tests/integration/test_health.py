"""`/healthz` and `/readyz` tell the truth: to load balancers by their code, to people in words."""

import asyncio
import socket

import httpx
import pytest
import redis.asyncio
from pydantic import SecretStr

import workers.health
from gateway import health
from models.lane import StageName, close_lane, set_paused
from tests.integration.conftest import FLUX, client_of, open_app
from workers.app import QUEUES
from workers.sign import SILENT_SECONDS, Sign, sign_key
from workers.sweep_watch import note_sweep

NOWHERE = "127.0.0.1:1"


async def ask(gateway):
    response = await gateway.get("/readyz")
    return response.status_code, response.json()


async def test_it_is_up_and_says_no_more_without_a_key(gateway):
    response = await gateway.get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_all_is_well_when_a_worker_has_swept(gateway, runtime):
    await note_sweep(runtime)

    status, report = await ask(gateway)

    assert status == 200
    assert report == {
        "ready": True,
        "parts": dict.fromkeys(("postgres", "redis", "workers", "lanes"), "ok"),
        "problems": [],
    }


async def test_without_a_worker_requests_are_taken_and_it_is_said(gateway):
    status, report = await ask(gateway)

    assert (status, report["ready"]) == (200, True)
    assert "no worker has swept" in report["parts"]["workers"]
    assert report["problems"] == [f"workers: {report['parts']['workers']}"]


@pytest.mark.parametrize(
    ("hold", "said"),
    [
        (lambda session: set_paused(session, StageName.SUBMIT, FLUX, paused=True), "is paused"),
        (
            lambda session: close_lane(
                session, StageName.POLL, FLUX, reason="HTTP 429: slow down", seconds=60
            ),
            "s more",
        ),
    ],
)
async def test_a_lane_that_is_held_up_is_told_and_requests_are_taken(
    gateway, runtime, database, hold, said
):
    await note_sweep(runtime)
    async with database.begin() as session:
        await hold(session)

    status, report = await ask(gateway)

    assert (status, report["ready"]) == (200, True)
    assert said in report["parts"]["lanes"]
    assert "slow down" not in str(report)  # it asks for no key
    assert FLUX in report["parts"]["lanes"]


async def test_of_several_lanes_it_is_said_how_many(gateway, database):
    async with database.begin() as session:
        for stage in StageName:
            await set_paused(session, stage, FLUX, paused=True)

    _, report = await ask(gateway)

    assert f"and {len(StageName) - 1} more" in report["parts"]["lanes"]


async def test_a_lane_that_was_opened_again_is_no_problem(gateway, runtime, database):
    await note_sweep(runtime)
    async with database.begin() as session:
        await set_paused(session, StageName.SUBMIT, FLUX, paused=True)
        await set_paused(session, StageName.SUBMIT, FLUX, paused=False)

    assert (await ask(gateway))[1]["parts"]["lanes"] == "ok"


async def test_without_postgres_it_is_not_ready_and_still_up(settings):
    away = settings.model_copy(
        update={"database_url": SecretStr(f"postgresql://nobody@{NOWHERE}/x")}
    )
    async with open_app(away) as app, client_of(app) as gateway:
        status, report = await ask(gateway)
        up = await gateway.get("/healthz")
        job = await gateway.get("/api/v1/jobs", headers={"Authorization": "Bearer prk_x"})

    assert (status, report["ready"], up.status_code) == (503, False, 200)
    assert "PostgreSQL did not answer" in report["parts"]["postgres"]
    assert report["parts"]["lanes"] == "not known"
    assert report["parts"]["redis"] == "ok"
    assert (job.status_code, job.headers["retry-after"]) == (503, "2")
    assert job.headers["content-type"] == "application/problem+json"


async def test_without_redis_it_is_told_and_requests_are_taken(settings, issue):
    key, _ = await issue("shop", "run")
    away = settings.model_copy(update={"redis_url": SecretStr(f"redis://{NOWHERE}/0")})
    async with open_app(away) as app, client_of(app, key) as gateway:
        status, report = await ask(gateway)
        job = await gateway.post(
            "/api/v1/jobs", json={"endpoint": FLUX, "input": {"prompt": "a fox"}}
        )

    assert (status, report["ready"]) == (200, True)
    assert "Redis did not answer" in report["parts"]["redis"]
    assert "no worker" in report["parts"]["workers"]
    assert job.status_code == 202


async def test_a_server_that_takes_a_connection_and_says_nothing_is_not_waited_for(
    settings, monkeypatch
):
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hung = settings.model_copy(
            update={"database_url": SecretStr(f"postgresql://nobody@127.0.0.1:{port}/x")}
        )
        async with asyncio.timeout(20), open_app(hung) as app, client_of(app) as gateway:
            status, report = await ask(gateway)

    assert status == 503
    assert "no answer within" in report["parts"]["postgres"]


@pytest.fixture
async def connection(settings):
    connection = redis.asyncio.Redis.from_url(settings.redis_dsn, decode_responses=True)
    yield connection
    await connection.aclose()


async def test_where_no_worker_runs_the_queues_are_named_and_no_canary_is_left(
    settings, connection, monkeypatch
):
    monkeypatch.setattr(workers.health, "CANARY_SECONDS", 0.3)
    await connection.lpush(f"{settings.redis_prefix}sweep", "somebody else's")

    said = await workers.health.check_queues(settings)

    assert "no worker took a message from announce, archive, cancel, expand, generate" in str(said)
    left = {queue: await connection.llen(f"{settings.redis_prefix}{queue}") for queue in QUEUES}
    assert left == dict.fromkeys(QUEUES, 0) | {"sweep": 1}


@pytest.mark.parametrize(
    ("age", "said", "told"),
    [
        (0, "", None),
        (SILENT_SECONDS, "", None),
        (SILENT_SECONDS + 15, "", "w1@a has shown no sign of life for 45 s"),
        (0, "has every thread busy", "w1@a has every thread busy"),
    ],
)
async def test_a_worker_that_is_silent_or_unwell_is_named(settings, connection, age, said, told):
    now, _ = await connection.time()
    await connection.set(sign_key(settings, "w1@a"), Sign(now - age, said).to_json())
    await connection.set(sign_key(settings, "w2@b"), Sign(now, "").to_json())

    assert await workers.health.find_silent_workers(settings, connection) == told


async def test_no_secret_is_in_what_is_told(settings):
    away = settings.model_copy(
        update={
            "database_url": SecretStr(f"postgresql://nobody:canary@{NOWHERE}/x"),
            "redis_url": SecretStr(f"redis://:canary@{NOWHERE}/0"),
        }
    )
    async with open_app(away) as app, client_of(app) as gateway:
        response = await gateway.get("/readyz")

    assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert "canary" not in response.text
