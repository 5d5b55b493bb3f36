"""`/v2`: who is let in, for what, how often; and what is said while Postgres is away."""

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from pydantic import SecretStr

from models.key import Scope, revoke_key, rotate_key
from tests.integration.conftest import FLUX, client_of, open_app

FOX = {"input": {"prompt": "a fox"}}
JOB = uuid4()
ROUTES = [
    ("POST", "run"),
    ("POST", "runsync"),
    ("GET", f"status/{JOB}"),
    ("GET", f"status-sync/{JOB}"),
    ("POST", f"cancel/{JOB}"),
    ("POST", f"retry/{JOB}"),
    ("POST", "purge-queue"),
    ("GET", "health"),
    ("GET", "requests"),
]
READS = [("GET", path) for method, path in ROUTES if method == "GET"]
WRITES = [("POST", path) for method, path in ROUTES if method == "POST"]


async def call(client, method, path, **options):
    body = {"json": FOX} if path in {"run", "runsync"} else {}
    return await client.request(method, f"/v2/{FLUX}/{path}", **body, **options)


def assert_refused(response, status):
    assert response.status_code == status
    assert response.json()["status"] == "FAILED"
    assert isinstance(response.json()["error"], str)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_without_a_key_nothing_is_served(gateway, method, path):
    response = await call(gateway, method, path)

    assert_refused(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Bearer prk_wrong", "prk_wrong", "Basic cHJrOng=", "\xe9", " "]
)
async def test_a_header_that_holds_no_good_key_opens_nothing(gateway, value):
    raw = [("Authorization", value.encode("latin-1"))]

    assert_refused(await gateway.post(f"/v2/{FLUX}/run", json=FOX, headers=raw), 401)


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "{}", "  {} ", "BEARER   {}"])
async def test_a_key_may_be_sent_with_or_without_the_word(gateway, issue, form):
    key, _ = await issue("tests", Scope.RUN)

    response = await gateway.post(
        f"/v2/{FLUX}/run", json=FOX, headers={"Authorization": form.format(key)}
    )

    assert response.status_code == 200


async def test_a_revoked_key_opens_nothing(gateway, issue, database):
    key, key_id = await issue("tests", Scope.RUN)
    async with database.begin() as session:
        await revoke_key(session, key_id)

    assert_refused(await gateway.get(f"/v2/{FLUX}/health", headers={"Authorization": key}), 401)


async def test_a_key_that_was_open_closes_soon_after_it_is_revoked(
    gateway, issue, database, monkeypatch
):
    monkeypatch.setattr("gateway.callers.KNOWN_SECONDS", 0.0)
    key, key_id = await issue("tests", Scope.RUN)
    headers = {"Authorization": key}
    before = await gateway.get(f"/v2/{FLUX}/requests", headers=headers)
    async with database.begin() as session:
        await revoke_key(session, key_id)

    assert before.status_code == 200
    assert_refused(await gateway.get(f"/v2/{FLUX}/requests", headers=headers), 401)


@pytest.mark.parametrize(("grace_seconds", "status"), [(3600, 200), (0, 401)])
async def test_a_rotated_key_opens_for_its_grace_and_no_longer(
    gateway, issue, database, grace_seconds, status
):
    old, key_id = await issue("tests", Scope.RUN)
    async with database.begin() as session:
        rotated = await rotate_key(
            session, key_id, grace_seconds=grace_seconds, webhook_secret=False
        )

    answers = [
        (await gateway.get(f"/v2/{FLUX}/requests", headers={"Authorization": key})).status_code
        for key in (old, rotated.secret)
    ]

    assert answers == [status, 200]


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_a_key_that_may_read_starts_and_stops_nothing(gateway_app, issue, method, path):
    key, _ = await issue("reader", Scope.READ)

    async with client_of(gateway_app, key) as client:
        response = await call(client, method, path)

    assert_refused(response, 403)
    assert "reader" in response.json()["error"]


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize(("method", "path"), READS)
async def test_every_key_may_read(gateway_app, issue, scope, method, path):
    key, _ = await issue("tests", scope)

    async with client_of(gateway_app, key) as client:
        response = await call(client, method, path)

    assert response.status_code in {200, 404}


async def test_too_many_requests_of_a_key_are_told_when_to_come_again(gateway_app, issue):
    key, _ = await issue("busy", Scope.RUN, requests_per_second=3)
    other, _ = await issue("other", Scope.RUN)

    async with client_of(gateway_app, key) as client:
        answers = await asyncio.gather(*(client.get(f"/v2/{FLUX}/requests") for _ in range(20)))
    async with client_of(gateway_app, other) as client:
        others = await client.get(f"/v2/{FLUX}/requests")

    turned_away = [answer for answer in answers if answer.status_code == 429]
    assert len(turned_away) >= 20 - 2 * 3  # a second may have turned
    for answer in turned_away:
        assert_refused(answer, 429)
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["ratelimit-limit"] == "3"
        assert answer.headers["ratelimit-remaining"] == "0"
    left = [int(one.headers["ratelimit-remaining"]) for one in answers if one.is_success]
    assert set(left) <= {0, 1, 2}
    assert others.status_code == 200


@asynccontextmanager
async def cut_off(services, settings):
    """Settings that reach Postgres through a line, and what cuts it: every connection drops."""
    connections: set[asyncio.StreamWriter] = set()
    target = f"{services.socket_dir}/.s.PGSQL.5432"

    async def pass_on(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def connect(reader, writer):
        to_reader, to_writer = await asyncio.open_unix_connection(target)
        connections.update({writer, to_writer})
        await asyncio.wait(
            [
                asyncio.create_task(pass_on(reader, to_writer)),
                asyncio.create_task(pass_on(to_reader, writer)),
            ],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for one in (writer, to_writer):
            one.close()

    line = await asyncio.start_server(connect, "127.0.0.1", 0)
    port = line.sockets[0].getsockname()[1]

    async def cut():
        line.close()
        for writer in connections:
            writer.transport.abort()
        await line.wait_closed()

    url = SecretStr(f"postgresql://postgres@127.0.0.1:{port}/postgres")
    try:
        yield settings.model_copy(update={"database_url": url}), cut
    finally:
        await cut()


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_while_postgres_is_away_clients_are_told_to_come_again(
    services, settings, issue, method, path
):
    key, _ = await issue("tests", Scope.RUN)
    async with (
        cut_off(services, settings) as (reached, cut),
        open_app(reached) as app,
        client_of(app, key) as client,
    ):
        before = await client.get(f"/v2/{FLUX}/requests")
        await cut()

        response = await call(client, method, path)

    assert before.status_code == 200
    assert_refused(response, 503)
    assert int(response.headers["retry-after"]) >= 1
