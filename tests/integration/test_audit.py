"""The audit log: every act leaves its line with it or not at all, and none holds a secret."""

import re
from uuid import uuid4

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.audit import Action, Actor, AuditFilter, forget_acts, list_acts, note_act
from models.key import Scope
from tests.integration.conftest import FLUX, client_of

SCHEDULE = {
    "name": "nightly",
    "endpoint": FLUX,
    "prompts": ["CANARY of a prompt"],
    "schedule": {"cron": "0 2 * * *", "zone": "UTC"},
}


@pytest.fixture
async def operator(gateway_app, issue):
    key, _ = await issue("operator", Scope.OPERATE, Scope.RUN)
    async with client_of(gateway_app, key) as client:
        yield client


@pytest.fixture
def read_lines(database):
    async def read(**wanted):
        async with database.begin() as session:
            return await list_acts(session, AuditFilter(**wanted), limit=1000)

    return read


async def ask(client, method, path, body=None, **options):
    response = await client.request(method, f"/api/v1{path}", json=body, **options)
    assert response.is_success, (method, path, response.text)
    return response.json()


async def do_everything(operator):
    """Every act that there is over HTTP; the secrets that were in the answers."""
    key = await ask(operator, "POST", "/keys", {"name": "shop"})
    await ask(operator, "PATCH", f"/keys/{key['id']}", {"weight": 3})
    await ask(operator, "PATCH", f"/keys/{key['id']}", {"requests_per_second": 30})
    rotated = await ask(operator, "POST", f"/keys/{key['id']}/rotate", {})
    await ask(operator, "DELETE", f"/keys/{key['id']}")

    hook = "https://example.com/CANARY-of-a-token"
    budget = {"name": "studio", "limit_usd": 5, "webhook": hook}
    budget_id = (await ask(operator, "POST", "/budgets", budget))["id"]
    await ask(operator, "PATCH", f"/budgets/{budget_id}", {"limit_usd": 8})
    await ask(operator, "DELETE", f"/budgets/{budget_id}")

    schedule = (await ask(operator, "POST", "/schedules", {"specification": SCHEDULE}))["id"]
    for change in ({"cron": "0 3 * * *"}, {"paused": True}, {"paused": False}):
        await ask(operator, "PATCH", f"/schedules/{schedule}", change)
    await ask(operator, "POST", f"/schedules/{schedule}/run", {})
    await ask(
        operator,
        "POST",
        f"/schedules/{schedule}/backfill",
        {"start_at": "2026-01-01T00:00:00Z", "end_at": "2026-01-01T12:00:00Z"},
    )
    await ask(operator, "DELETE", f"/schedules/{schedule}")

    lane = f"/lanes/submit/{FLUX}"
    for act in ({"drain": True}, {"paused": True}, {"paused": False}, {"concurrent": 3}):
        await ask(operator, "PATCH", lane, act)

    spec = {"name": "foxes", "endpoint": FLUX, "prompts": ["CANARY of a prompt"]}
    started = await ask(operator, "POST", "/campaigns", {"spec": spec, "dry_run": False})
    campaign = f"/campaigns/{started['campaign_id']}"
    for act in ({"paused": True}, {"paused": False}, {"max_in_flight": 3}):
        await ask(operator, "PATCH", campaign, act)
    await ask(operator, "POST", f"{campaign}/cancel", {})

    body = {"endpoint": FLUX, "input": {"prompt": "CANARY of a prompt"}}
    job = await ask(operator, "POST", "/jobs", body)
    await ask(
        operator,
        "POST",
        "/jobs/prioritize",
        {"filter": {"endpoint": FLUX}, "priority": 8, "dry_run": False},
    )
    await ask(operator, "POST", f"/jobs/{job['id']}/cancel", {})
    for on in (True, False):
        await ask(operator, "PUT", "/maintenance", {"on": on, "reason": "new prices"})
    return [key["key"], key["webhook_secret"], rotated["key"], rotated["webhook_secret"]]


async def test_every_act_over_http_leaves_its_line_and_no_secret_or_prompt(operator, read_lines):
    secrets = await do_everything(operator)

    lines = await read_lines()

    not_over_http = {
        Action.JOBS_RETRY,  # see test_bulk.py
        Action.SETTING_SET,
        Action.SETTING_UNSET,
        Action.ARTIFACT_REFETCH,
        Action.DELIVERY_REPLAY,
        Action.DATABASE_RESTORE,
        Action.WORKER_DRAIN,
        Action.WORKER_RESUME,
        Action.WORKER_RESTART,
    }
    assert {line.action for line in lines} == set(Action) - not_over_http
    assert {line.actor for line in lines} == {"operator"}
    kept = "\n".join(
        str(orjson.dumps([line.target, line.before, line.after, line.source])) for line in lines
    )
    assert "CANARY" not in kept
    assert not re.search("prk_|whsec_", kept)
    assert not [secret for secret in secrets if secret[8:20] in kept]


async def test_a_line_tells_who_from_where_and_how_it_was_before_and_after(operator, read_lines):
    await ask(operator, "PATCH", f"/lanes/submit/{FLUX}", {"paused": True, "reason": "new model"})
    named = {"X-Request-ID": "deploy-17"}
    await ask(operator, "PATCH", f"/lanes/submit/{FLUX}", {"paused": False}, headers=named)

    resumed, paused = await read_lines(target=FLUX)

    assert (paused.before, paused.after["reason"]) == ({"paused": False}, "new model")
    assert (resumed.before["reason"], resumed.after) == ("new model", {"paused": False})
    assert (paused.request_id, resumed.request_id) == (None, "deploy-17")
    assert paused.source
    listed = await ask(operator, "GET", "/audit?action=lane&limit=1")
    [first] = listed["acts"]
    assert (first["id"], first["action"]) == (str(resumed.id), "lane.resume")
    rest = await ask(operator, "GET", f"/audit?action=lane&cursor={listed['next']}")
    assert [one["id"] for one in rest["acts"]] == [str(paused.id)]
    assert await ask(operator, "GET", f"/audit/{paused.id}") == rest["acts"][0]
    assert (await ask(operator, "GET", "/audit?actor=somebody"))["acts"] == []


async def test_what_cannot_be_noted_is_not_done(operator, read_lines, monkeypatch):
    async def broken(*_args, **_options):
        raise RuntimeError("no line")

    monkeypatch.setattr("gateway.lane_acts.note_act", broken)
    monkeypatch.setattr("tasks.control.note_act", broken)
    job = (await ask(operator, "POST", "/jobs", {"endpoint": FLUX, "input": {"prompt": "a"}}))["id"]

    with pytest.raises(RuntimeError, match="no line"):
        await operator.patch(f"/api/v1/lanes/submit/{FLUX}", json={"paused": True})
    with pytest.raises(RuntimeError, match="no line"):
        await operator.post(f"/api/v1/jobs/{job}/cancel")

    assert (await ask(operator, "GET", f"/lanes/submit/{FLUX}"))["state"] == "open"
    assert (await ask(operator, "GET", f"/jobs/{job}"))["state"] == "queued"
    assert await read_lines() == []


async def test_no_line_is_changed_and_old_ones_alone_are_forgotten(database, read_lines):
    for name in ("old", "new"):
        async with database.begin() as session:
            await note_act(session, Actor(name), Action.KEY_REVOKE, uuid4())
    with pytest.raises(DBAPIError, match="never changed"):
        async with database.begin() as session:
            await session.execute(text("UPDATE audit SET actor = 'somebody else'"))
    async with database.begin() as session:
        await session.execute(text("ALTER TABLE audit DISABLE TRIGGER USER"))
        await session.execute(
            text("UPDATE audit SET at = now() - interval '3 days' WHERE actor = 'old'")
        )
        await session.execute(text("ALTER TABLE audit ENABLE TRIGGER USER"))

    async with database.begin() as session:
        assert await forget_acts(session, older_than_seconds=2 * 86_400) == 1

    assert [line.actor for line in await read_lines()] == ["new"]
