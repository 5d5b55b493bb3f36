"""Budgets and what was spent, over HTTP."""

import datetime as dt

import pytest
from sqlalchemy import text

from models.attempt import settle_attempts
from models.base import new_id
from models.campaign import add_campaign
from models.job import JobState
from models.key import Scope
from models.transitions import NewJob, claim_submissions, end, enqueue_jobs, move_jobs
from tests.integration.conftest import FLUX, client_of

BUDGETS = "/api/v1/budgets"


@pytest.fixture
async def operator(gateway_app, issue):
    key, _ = await issue("operator", Scope.OPERATE)
    async with client_of(gateway_app, key) as client:
        yield client


async def claim(run):
    return await run(
        claim_submissions, endpoint=FLUX, limit=100, lease=new_id(), lease_seconds=60, proven=True
    )


async def enqueue(run, jobs, **options):
    new = [
        NewJob(id=new_id(), endpoint=FLUX, input={}, estimate_usd="0.01", **options)
        for _ in range(jobs)
    ]
    await run(enqueue_jobs, new)


async def test_a_budget_is_set_raised_and_removed_and_its_ledger_tells(operator, run):
    made = await operator.post(BUDGETS, json={"name": "wall", "limit_usd": 0.02})
    assert made.status_code == 201
    url = f"{BUDGETS}/{made.json()['id']}"
    await enqueue(run, 5)
    assert len(await claim(run)) == 2

    told = (await operator.get(url)).json()
    assert (told["left_usd"], told["jobs_held"], told["capped"]) == (0, 3, True)
    [job] = (await operator.get("/api/v1/jobs", params={"limit": 1})).json()["jobs"]
    assert job["why"] == "the budget wall has not enough left for it"
    [waits] = (await operator.get(f"{url}/held")).json()["held"]
    assert (waits["jobs"], waits["estimate_usd"], waits["campaign"]) == (3, 0.03, None)
    low = await operator.patch(url, json={"limit_usd": 0.01})
    assert low.status_code == 422
    assert "$0.02 is spent or reserved already" in low.json()["detail"]
    raised = (await operator.patch(url, json={"limit_usd": 0.03})).json()
    assert (raised["limit_usd"], raised["jobs_held"]) == (0.03, 2)
    assert len(await claim(run)) == 1

    assert (await operator.delete(url)).status_code == 200
    assert (await operator.get(BUDGETS)).json() == {"budgets": []}
    assert (await operator.get(url)).status_code == 404
    assert len(await claim(run)) == 2


async def test_its_ledger_has_each_movement(operator, run):
    made = await operator.post(BUDGETS, json={"name": "wall", "limit_usd": 0.02})
    await enqueue(run, 2)
    await claim(run)

    reply = await operator.get(f"{BUDGETS}/{made.json()['id']}/ledger")

    kinds = [one["kind"] for one in reply.json()["movements"]]
    assert sorted(kinds) == ["limit", "reserved", "reserved"]


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"limit_usd": 0}, 422, "limit_usd"),
        ({"limit_usd": 1, "zone": "Europe/Berln"}, 422, "did you mean 'Europe/Berlin'"),
        ({"limit_usd": 1, "tag": "a", "key_id": str(new_id())}, 422, "at most one of"),
        ({"limit_usd": 1, "key_id": str(new_id())}, 404, "no key has the id"),
        ({"limit_usd": 1, "period": "year"}, 422, "period"),
        ({"limit_usd": 1, "warn_at": 2}, 422, "warn_at"),
    ],
)
async def test_what_cannot_be_a_budget_is_refused(operator, form, status, said):
    reply = await operator.post(BUDGETS, json={"name": "wall", **form})

    assert reply.status_code == status
    assert said in reply.json()["detail"]
    assert (await operator.get(BUDGETS)).json() == {"budgets": []}


async def test_a_name_is_taken_once(operator):
    await operator.post(BUDGETS, json={"name": "wall", "limit_usd": 1})
    again = await operator.post(BUDGETS, json={"name": "wall", "limit_usd": 1})
    assert again.status_code == 409


async def test_a_key_sees_its_own_and_sets_none(gateway_app, operator, issue):
    key, key_id = await issue("studio", Scope.RUN)
    await operator.post(BUDGETS, json={"name": "all", "limit_usd": 1})
    mine = await operator.post(
        BUDGETS, json={"name": "mine", "limit_usd": 1, "key_id": str(key_id), "period": "month"}
    )

    async with client_of(gateway_app, key) as client:
        seen = (await client.get(BUDGETS)).json()["budgets"]
        assert [one["name"] for one in seen] == ["mine"]
        assert seen[0]["of"] == "studio"
        url = f"{BUDGETS}/{mine.json()['id']}"
        assert (await client.patch(url, json={"limit_usd": 9})).status_code == 403
        assert (await client.post(BUDGETS, json={"name": "x", "limit_usd": 9})).status_code == 403


@pytest.mark.parametrize(
    ("by", "wanted"),
    [
        ("key", {"studio": 0.02, None: 0.03}),
        ("campaign", {"shoot": 0.03, None: 0.02}),
        ("tag", {"spring": 0.03, "nightly": 0.03, None: 0.02}),
        ("endpoint", {FLUX: 0.05}),
    ],
)
async def test_what_was_spent_is_summed_up(operator, run, issue, by, wanted):
    _, key_id = await issue("studio", Scope.RUN)
    campaign = await run(add_campaign, name="shoot", endpoint=FLUX, tags=["spring", "nightly"])
    await enqueue(run, 2, key_id=key_id)
    await enqueue(run, 3, campaign_id=campaign)
    rows = await claim(run)
    await run(
        move_jobs,
        [end(row.id, row.lease, state=JobState.COMPLETED, cost_usd="0.01") for row in rows],
    )
    await run(settle_attempts, job_ids=[row.id for row in rows])

    reply = await operator.get("/api/v1/spend", params={"by": by})

    assert {one["name"]: one["usd"] for one in reply.json()["spend"]} == pytest.approx(wanted)
    none = await operator.get("/api/v1/spend", params={"by": by, "until": "2020-01-01"})
    assert none.json()["spend"] == []


async def test_days_begin_where_the_zone_says(operator, run, database):
    await enqueue(run, 2)
    rows = await claim(run)
    async with database.begin() as session:
        await session.execute(text("ALTER TABLE attempts DISABLE TRIGGER USER"))
        for row, sent in zip(rows, ["2026-03-28 22:30+00", "2026-03-28 23:30+00"], strict=True):
            await session.execute(
                text("UPDATE attempts SET sent_at = :at, cost_usd = 1 WHERE job_id = :id"),
                {"at": dt.datetime.fromisoformat(sent), "id": row.id},
            )
        await session.execute(text("ALTER TABLE attempts ENABLE TRIGGER USER"))

    async def days(zone):
        reply = await operator.get(
            "/api/v1/spend", params={"since": "2026-03-01", "zone": zone, "by": "day"}
        )
        return [one["name"] for one in reply.json()["spend"]]

    assert await days("UTC") == ["2026-03-28"]
    assert await days("Europe/Berlin") == ["2026-03-28", "2026-03-29"]
    unknown = await operator.get("/api/v1/spend", params={"zone": "Mars/Olympus"})
    assert unknown.status_code == 422
