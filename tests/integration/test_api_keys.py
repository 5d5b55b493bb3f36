"""Keys over HTTP: shown once, rotated, revoked; what each may do, and what it cannot see.

The tables of routes are read from the app: one that is added and not thought of here fails.
"""

import asyncio
import re
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import text

from gateway.app import make_gateway
from models.base import new_id
from models.key import Scope, hash_key
from tests.integration.conftest import FLUX, client_of
from workers.settings import Settings

CANARY = "canary-of-the-first-key"
Route = tuple[str, str]


def list_routes() -> list[Route]:
    app = make_gateway(Settings(data_dir=Path("unused")))
    return sorted(
        {
            (method, context.path)
            for context in iter_route_contexts(app.routes)
            for method in context.methods or ()
            if context.path
        }
    )


OPEN = {  # without a key: nothing of anybody's is in them
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/hints/{job_id}/{lease}/{token}"),
    *(
        (m, f"/{part}/{{artifact_id}}/{{signature}}/{{name}}")
        for m in ("GET", "HEAD")
        for part in ("files", "thumbnails")
    ),
}
ROUTES = [route for route in list_routes() if route not in OPEN]
OPERATED = {
    route
    for route in ROUTES
    if "/keys" in route[1]
    or "/schedules" in route[1]
    or "/audit" in route[1]
    or ("/maintenance" in route[1] and route[0] != "GET")
    or route[1] == "/metrics"
    or ("/budgets" in route[1] and route[0] != "GET")
    or (route[0] == "PATCH" and "/campaigns" not in route[1])
}
RUNNING = {
    route
    for route in ROUTES
    if route[0] in {"POST", "PUT", "DELETE", "PATCH"}
    and not route[1].endswith(("/wait", "/link", "/estimate", "/stream/{job_id}"))
    and route not in OPERATED
}
BODIES = {
    "/api/v1/jobs": {"endpoint": FLUX, "input": {"prompt": "mine"}},
    "/api/v1/jobs/bulk": {"jobs": [{"endpoint": FLUX, "input": {"prompt": "mine"}}]},
    "/api/v1/jobs/cancel": {"filter": {}, "all": True, "dry_run": False},
    "/api/v1/jobs/retry": {"filter": {}, "all": True, "dry_run": False},
    "/api/v1/jobs/prioritize": {"filter": {}, "all": True, "priority": 7, "dry_run": False},
    "/api/v1/endpoints/{endpoint}/estimate": {"input": {"prompt": "mine"}},
    "/v2/{endpoint}/run": {"input": {"prompt": "mine"}},
    "/v2/{endpoint}/runsync": {"input": {"prompt": "mine"}},
}


def say(route: Route) -> str:
    return " ".join(route)


def fill(path: str, **ids: object) -> str:
    known = {"endpoint": FLUX, "stage": "submit", **ids}
    return re.sub(r"{(\w+)}", lambda found: str(known.get(found[1], uuid4())), path)


async def call(client, route, **ids):
    method, path = route
    body = BODIES.get(path, {})
    if path == "/api/v1/jobs/wait":
        body = {"ids": [str(ids["job_id"])], "wait": 0}
    params = {"wait": "1000"} if path.startswith("/v2/") else {}
    return await client.request(
        method,
        fill(path, **ids),
        json=body if method in {"POST", "PATCH"} else None,
        params=params,
    )


def any_ids() -> dict[str, object]:
    return {name: uuid4() for name in ("job_id", "artifact_id", "delivery_id", "key_id")}


# Without a key


STRANGERS = (None, "", "Bearer", "Bearer prk_nobodys", "Basic cHJrX3g6", "prk_\xff")


@pytest.mark.parametrize("route", ROUTES, ids=say)
async def test_without_a_good_key_every_route_is_401_and_reads_no_body(gateway, route):
    method, path = route
    for authorization in STRANGERS:
        headers = {"Authorization": authorization.encode("latin-1")} if authorization else {}

        response = await gateway.request(
            method,
            fill(path, **any_ids()),
            headers=headers,
            content=None if method == "GET" else b"{",
        )

        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        if method != "HEAD" and path.startswith("/api/v1"):
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["status"] == 401


def test_every_route_of_ours_is_in_the_tables():
    assert {path.split("/")[1] for _, path in ROUTES} == {"api", "metrics", "v2"}
    assert len(ROUTES) > 35
    assert set(BODIES) <= {path for _, path in ROUTES}


# What a key may do


@pytest.mark.parametrize("route", sorted(RUNNING | OPERATED), ids=say)
async def test_a_key_that_may_read_may_not_run_or_operate(gateway_app, issue, route):
    key, _ = await issue("reader", Scope.READ)
    async with client_of(gateway_app, key) as client:
        response = await call(client, route, **any_ids())

    assert response.status_code == 403
    assert "reader" in response.text


@pytest.mark.parametrize("route", sorted(OPERATED), ids=say)
async def test_a_key_that_may_run_may_not_operate(client, route):
    assert (await call(client, route, **any_ids())).status_code == 403


@pytest.mark.parametrize(
    "route", sorted(set(ROUTES) - RUNNING - OPERATED - {("GET", "/api/v1/events")}), ids=say
)
@pytest.mark.usefixtures("emulator")
async def test_every_other_route_may_be_read(gateway_app, issue, route):
    key, _ = await issue("reader", Scope.READ)
    async with client_of(gateway_app, key) as client:
        response = await call(client, route, **any_ids())

    assert response.status_code not in {401, 403}
    assert response.status_code < 500


# What a key sees


@pytest.fixture
async def first(gateway_app, issue, database):
    """A key with a queued and a failed job, a file and a delivery of each; ids of the first."""
    key, key_id = await issue("first", Scope.RUN)
    async with client_of(gateway_app, key) as client:
        made = [
            (
                await client.post(
                    "/api/v1/jobs",
                    json={
                        "endpoint": FLUX,
                        "input": {"prompt": f"{CANARY} {n}"},
                        "webhook": f"https://example.com/{CANARY}",
                    },
                )
            ).json()["id"]
            for n in range(2)
        ]
        deliveries = (await client.get(f"/api/v1/jobs/{made[0]}/deliveries")).json()["deliveries"]
    artifact_id = new_id()
    async with database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url, "
                "expires_at) VALUES (:id, :job, 0, :endpoint, 'output', :url, now())"
            ),
            {"id": artifact_id, "job": made[0], "endpoint": FLUX, "url": f"https://x/{CANARY}"},
        )
        await session.execute(
            text(
                "UPDATE jobs SET state = 'failed', finished_at = now(), next_at = NULL, "
                "reason = 'upstream_failed' WHERE id = :id"
            ),
            {"id": made[1]},
        )
    return {
        "job_id": made[0],
        "artifact_id": artifact_id,
        "delivery_id": deliveries[0]["id"],
        "key_id": key_id,
    }


async def states(database):
    async with database.begin() as session:
        rows = await session.execute(
            text(
                "SELECT jobs.state, cancel_requested_at, jobs.retries, deliveries.state "
                "FROM jobs JOIN deliveries ON deliveries.job_id = jobs.id "
                "JOIN api_keys ON api_keys.id = key_id WHERE api_keys.name = 'first' "
                "ORDER BY jobs.id"
            )
        )
        return rows.all()


OF_NOBODY = {  # what is asked for there is nobody's: the catalogue and the lanes of all
    ("GET", "/api/v1/endpoints"),
    ("GET", "/api/v1/endpoints/{endpoint}"),
    ("POST", "/api/v1/endpoints/{endpoint}/estimate"),
    ("GET", "/api/v1/lanes"),
    ("GET", "/api/v1/lanes/{stage}/{endpoint}"),
    ("GET", "/api/v1/events"),  # test_api_events.py
}


@pytest.mark.parametrize("scope", [Scope.RUN, Scope.READ], ids=str)
@pytest.mark.parametrize("route", sorted(set(ROUTES) - OF_NOBODY), ids=say)
@pytest.mark.usefixtures("emulator")
async def test_of_the_first_keys_jobs_and_files_another_sees_and_changes_nothing(  # noqa: PLR0917
    gateway_app, issue, database, first, route, scope
):
    key, _ = await issue("second", scope)
    before = await states(database)
    async with client_of(gateway_app, key) as second:
        response = await call(second, route, **first)

    asked_for = {name for name in first if f"{{{name}}}" in route[1]}
    if asked_for:
        assert response.status_code in {403, 404}
    assert response.status_code < 500
    told = response.text
    assert CANARY not in told
    for name, one in first.items():
        if name not in asked_for and not (route[1].endswith("/wait") and name == "job_id"):
            assert str(one) not in told
    if route[1].endswith("/wait"):
        assert response.json() == {"jobs": [], "pending": [], "unknown": [first["job_id"]]}
    assert await states(database) == before


async def test_one_that_operates_sees_all(gateway_app, issue, first):
    key, _ = await issue("operator", Scope.OPERATE)
    async with client_of(gateway_app, key) as client:
        jobs = (await client.get("/api/v1/jobs")).json()["jobs"]
        job = (await client.get(f"/api/v1/jobs/{first['job_id']}")).json()
        files = (await client.get("/api/v1/artifacts")).json()["artifacts"]
        deliveries = (await client.get("/api/v1/deliveries")).json()["deliveries"]
        cancelled = await client.post(f"/api/v1/jobs/{first['job_id']}/cancel")

    assert len(jobs) == len(deliveries) == 2
    assert CANARY in job["input"]["prompt"]
    assert [one["id"] for one in files] == [str(first["artifact_id"])]
    assert cancelled.json()["status"] == "CANCELLED"


# Made, rotated, revoked


@pytest.fixture
async def operator(gateway_app, issue):
    key, _ = await issue("operator", Scope.OPERATE)
    async with client_of(gateway_app, key) as client:
        yield client


@pytest.fixture
def opens(gateway):
    """Whether a key opens anything."""

    async def check(key):
        response = await gateway.get("/api/v1/jobs", headers={"Authorization": f"Bearer {key}"})
        return response.status_code == 200

    return check


async def until_closed(opens, key):
    async with asyncio.timeout(10):
        while await opens(key):  # noqa: ASYNC110 -- a gateway tells nobody what it forgot
            await asyncio.sleep(0.05)


async def test_a_key_is_shown_once_and_only_its_hash_is_kept(operator, opens, database):
    response = await operator.post("/api/v1/keys", json={"name": "shop", "scopes": ["run", "run"]})

    made = response.json()
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    assert made["key"].startswith("prk_")
    assert made["webhook_secret"].startswith("whsec_")
    assert made["scopes"] == ["run"]
    assert await opens(made["key"])
    async with database.begin() as session:
        row = (
            await session.execute(text("SELECT * FROM api_keys WHERE id = :id"), {"id": made["id"]})
        ).one()
    assert row.hash == hash_key(made["key"])
    assert made["key"][4:] not in str(row)
    for path in ("/api/v1/keys", f"/api/v1/keys/{made['id']}"):
        told = (await operator.get(path)).text
        assert made["key"] not in told
        assert made["webhook_secret"] not in told
        assert made["shown"] in told


async def test_a_rotated_key_is_good_beside_the_new_one_for_its_grace(operator, opens, database):
    made = (await operator.post("/api/v1/keys", json={"name": "shop"})).json()
    path = f"/api/v1/keys/{made['id']}/rotate"

    new = (await operator.post(path, json={"grace_seconds": 3600})).json()

    assert new["key"] != made["key"]
    assert new["webhook_secret"] == made["webhook_secret"]
    assert await opens(new["key"])
    assert await opens(made["key"])
    async with database.begin() as session:
        await session.execute(text("UPDATE api_keys SET previous_until = now()"))
    await until_closed(opens, made["key"])
    assert await opens(new["key"])


async def test_a_rotation_without_grace_ends_the_key_before_at_once(operator, opens):
    made = (await operator.post("/api/v1/keys", json={"name": "shop"})).json()
    assert await opens(made["key"])
    asked = {"webhook_secret": True}

    new = (await operator.post(f"/api/v1/keys/{made['id']}/rotate", json=asked)).json()

    await until_closed(opens, made["key"])
    assert await opens(new["key"])
    assert new["webhook_secret"] != made["webhook_secret"]


async def test_a_rotated_keys_jobs_stay_its_own(operator, gateway_app):
    made = (await operator.post("/api/v1/keys", json={"name": "shop"})).json()
    async with client_of(gateway_app, made["key"]) as client:
        body = {"endpoint": FLUX, "input": {"prompt": "a fox"}}
        job_id = (await client.post("/api/v1/jobs", json=body)).json()["id"]

    new = (await operator.post(f"/api/v1/keys/{made['id']}/rotate", json={})).json()

    async with client_of(gateway_app, new["key"]) as client:
        assert (await client.get(f"/api/v1/jobs/{job_id}")).status_code == 200


async def test_a_revoked_key_opens_nothing_within_a_second_or_so_and_stays_so(operator, opens):
    made = (await operator.post("/api/v1/keys", json={"name": "shop"})).json()
    assert await opens(made["key"])

    revoked = await operator.delete(f"/api/v1/keys/{made['id']}")
    again = await operator.delete(f"/api/v1/keys/{made['id']}")

    await until_closed(opens, made["key"])
    assert revoked.json()["revoked_at"] == again.json()["revoked_at"]
    rotated = await operator.post(f"/api/v1/keys/{made['id']}/rotate", json={})
    assert rotated.status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a\x00b"},
        {"name": "x" * 201},
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["admin"]},
        {"name": "a", "requests_per_second": 0},
        {"name": "a", "result_cache": "yes"},
        {"name": "a", "key": "prk_mine"},
        {"name": "a", "weight": 0},
        {"name": "a", "weight": 101},
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(operator, body):
    response = await operator.post("/api/v1/keys", json=body)

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert len((await operator.get("/api/v1/keys")).json()["keys"]) == 1


async def test_a_keys_weight_is_told_and_can_be_changed(operator):
    made = (await operator.post("/api/v1/keys", json={"name": "shop", "weight": 3})).json()

    changed = await operator.patch(f"/api/v1/keys/{made['id']}", json={"weight": 0.5})

    assert made["weight"] == 3
    assert changed.json()["weight"] == 0.5
    assert (await operator.get(f"/api/v1/keys/{made['id']}")).json()["weight"] == 0.5


async def test_how_often_a_key_may_ask_is_changed_and_the_log_tells(operator):
    made = (await operator.post("/api/v1/keys", json={"name": "shop", "weight": 3})).json()
    url = f"/api/v1/keys/{made['id']}"

    slowed = (await operator.patch(url, json={"requests_per_second": 7})).json()
    freed = (await operator.patch(url, json={"requests_per_second": None, "weight": 2})).json()

    assert (slowed["requests_per_second"], slowed["weight"]) == (7, 3)
    assert (freed["requests_per_second"], freed["weight"]) == (None, 2)
    acts = (await operator.get("/api/v1/audit", params={"target": made["id"]})).json()["acts"]
    assert [act["action"] for act in acts] == ["key.limit", "key.weigh", "key.limit", "key.create"]
    [freeing, weighing, slowing, _] = acts
    assert slowing["after"]["requests_per_second"] == 7
    assert (weighing["before"]["weight"], weighing["after"]["weight"]) == (3, 2)
    assert weighing["after"]["requests_per_second"] == 7
    assert freeing["after"]["requests_per_second"] is None


@pytest.mark.parametrize("body", [{}, {"weight": 0}, {"weight": None}, {"name": "other"}])
async def test_a_change_that_makes_no_sense_is_refused(operator, body):
    made = (await operator.post("/api/v1/keys", json={"name": "shop"})).json()

    response = await operator.patch(f"/api/v1/keys/{made['id']}", json=body)

    assert response.status_code == 422
    assert (await operator.get(f"/api/v1/keys/{made['id']}")).json()["weight"] == 1


@pytest.mark.parametrize("body", [{"grace_seconds": -1}, {"grace_seconds": 10**9}, {"grace": 1}])
async def test_a_rotation_that_makes_no_sense_is_refused(operator, opens, body):
    made = (await operator.post("/api/v1/keys", json={"name": "shop"})).json()

    response = await operator.post(f"/api/v1/keys/{made['id']}/rotate", json=body)

    assert response.status_code == 422
    assert await opens(made["key"])


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_key_that_is_not_there_is_not_found(operator, method):
    assert (await operator.request(method, f"/api/v1/keys/{uuid4()}")).status_code == 404


async def test_how_often_a_key_may_call_is_told_and_held(gateway_app, issue):
    key, _ = await issue("slow", Scope.READ, requests_per_second=3)
    async with client_of(gateway_app, key) as client:
        answers = await asyncio.gather(*(client.get("/api/v1/lanes") for _ in range(12)))

    served = [one for one in answers if one.status_code == 200]
    refused = [one for one in answers if one.status_code == 429]
    assert len(served) + len(refused) == 12
    assert refused
    assert {one.headers["ratelimit-limit"] for one in answers} == {"3"}
    for one in refused:
        assert one.headers["retry-after"] == "1"
        assert one.headers["ratelimit-remaining"] == "0"
        assert one.headers["content-type"] == "application/problem+json"
