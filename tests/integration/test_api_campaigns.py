"""Campaigns over HTTP: planned, started, held, paced, cancelled and retried by their own key."""

import pytest
from sqlalchemy import text

from models.base import new_id
from models.interventions import retry_jobs
from models.job import JobState
from models.job_queries import JobFilter, list_jobs
from models.key import Scope
from models.transitions import claim_submissions, end, move_jobs
from tasks.expand import expand_campaign
from tests.integration.conftest import FLUX, client_of

SPEC = {
    "name": "foxes",
    "endpoint": FLUX,
    "prompts": ["a fox in the snow", "a fox asleep"],
    "matrix": {"seed": [1, 2]},
    "tags": ["nightly"],
}
CAMPAIGNS = "/api/v1/campaigns"


async def list_ids(session, campaign):
    return [job.id for job in await list_jobs(session, JobFilter(campaign_id=campaign), limit=None)]


async def start(client, **changes):
    reply = await client.post(CAMPAIGNS, json={"spec": {**SPEC, **changes}, "dry_run": False})
    assert reply.status_code == 201, reply.text
    return reply.json()["campaign_id"]


async def test_a_plan_says_what_it_comes_to_and_keeps_nothing(client):
    reply = await client.post(CAMPAIGNS, json={"spec": SPEC})

    assert reply.status_code == 200
    plan = reply.json()
    assert (plan["jobs"], plan["per_endpoint"], plan["exact"]) == (4, {FLUX: 4}, True)
    assert plan["estimate_usd"] == pytest.approx(4 * 0.00251658, rel=1e-3)
    assert plan["least_seconds"] > 0
    assert plan["campaign_id"] is None
    assert (await client.get(CAMPAIGNS)).json() == {"campaigns": [], "next": None}


async def test_what_is_started_is_enqueued_as_the_keys_own(client, runtime, run):
    campaign = await start(client, budget=1, pace={"max_in_flight": 3})
    assert (await client.get(f"{CAMPAIGNS}/{campaign}")).json()["seconds_left"] is None
    await expand_campaign(runtime, campaign)

    told = (await client.get(f"{CAMPAIGNS}/{campaign}")).json()

    assert (told["name"], told["jobs"], told["queued"]) == ("foxes", 4, 4)
    assert (told["tags"], told["max_in_flight"]) == (["nightly"], 3)
    assert told["seconds_left"] > 0
    [budget] = told["budgets"]
    assert (budget["name"], budget["limit_usd"]) == ("campaign foxes", 1)
    jobs = await run(list_jobs, JobFilter(campaign_id=campaign), limit=None)
    assert len({job.key_id for job in jobs} - {None}) == 1
    listed = (await client.get(CAMPAIGNS, params={"limit": 1})).json()
    assert [one["campaign_id"] for one in listed["campaigns"]] == [campaign]


async def test_one_of_another_key_is_not_there(gateway_app, client, issue):
    campaign = await start(client)
    key, _ = await issue("other", Scope.RUN)

    async with client_of(gateway_app, key) as other:
        assert (await other.get(CAMPAIGNS)).json()["campaigns"] == []
        assert (await other.get(f"{CAMPAIGNS}/names")).json() == {"campaigns": [], "next": None}
        for call in (
            other.get(f"{CAMPAIGNS}/{campaign}"),
            other.patch(f"{CAMPAIGNS}/{campaign}", json={"paused": True}),
            other.post(f"{CAMPAIGNS}/{campaign}/cancel"),
            other.post(f"{CAMPAIGNS}/{campaign}/retry", json={"dry_run": False}),
        ):
            assert (await call).status_code == 404


async def test_names_are_listed_without_figures_a_page_at_a_time(client):
    first, second = await start(client), await start(client, name="owls")

    page = (await client.get(f"{CAMPAIGNS}/names", params={"limit": 1})).json()
    rest = (await client.get(f"{CAMPAIGNS}/names", params={"cursor": page["next"]})).json()

    told = [(one["campaign_id"], one["name"]) for one in (*page["campaigns"], *rest["campaigns"])]
    assert told == [(second, "owls"), (first, "foxes")]
    assert rest["next"] is None


async def test_figures_of_one_that_is_complete_are_kept_until_it_is_retried(
    client, runtime, run, execute
):
    campaign = await start(client)
    await expand_campaign(runtime, campaign)
    await execute("UPDATE jobs SET state = 'failed', finished_at = now(), next_at = NULL")
    await execute("UPDATE campaigns SET completed_at = now()")

    async def read():
        return (await client.get(f"{CAMPAIGNS}/{campaign}")).json()

    assert (await read())["failed"] == 4
    await execute("UPDATE jobs SET state = 'lost' WHERE position = 0")
    assert [one["state"] for one in (await read())["failures"]] == ["failed"]
    assert await run(retry_jobs, job_ids=await run(list_ids, campaign))
    assert ((await read())["queued"], (await read())["failed"]) == (4, 0)


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"prompts": ["fox"], "input": {"width": 3}}, 422, "prompts[0]: width"),
        ({"endpoint": "never/was"}, 422, "an endpoint's id is letters"),
        ({"matrix": {"seed": list(range(400)), "num": list(range(300))}}, 422, "matrix"),
        ({"colour": "red"}, 422, "colour: no such field"),
        ({"prompts": {"file": "foxes.tsv"}}, 422, "prompts: a list was wanted, a file came"),
        ({"budget": 0}, 422, "budget"),
        ({"max_jobs": 3}, 422, "4 jobs came, at most 3 were wanted"),
        ({"prompts": ["a"] * 11_000}, 422, "more than 20,000 jobs came"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_kept(client, change, status, said):
    reply = await client.post(CAMPAIGNS, json={"spec": {**SPEC, **change}, "dry_run": False})

    assert reply.status_code == status
    assert said in reply.json()["detail"]
    assert (await client.get(CAMPAIGNS)).json()["campaigns"] == []


async def test_a_name_is_taken_once(client):
    await start(client)

    reply = await client.post(CAMPAIGNS, json={"spec": SPEC, "dry_run": False})

    assert reply.status_code == 409
    assert "another name was wanted" in reply.json()["detail"]


async def test_it_is_paused_resumed_and_paced(client, runtime, database):
    campaign = await start(client)
    await expand_campaign(runtime, campaign)

    told = (await client.patch(f"{CAMPAIGNS}/{campaign}", json={"paused": True})).json()
    assert (told["paused"], told["seconds_left"]) == (True, None)
    told = (await client.patch(f"{CAMPAIGNS}/{campaign}", json={"paused": False})).json()
    assert not told["paused"]
    await client.patch(f"{CAMPAIGNS}/{campaign}", json={"over_seconds": 300, "max_in_flight": 1})

    async with database.begin() as session:
        last = await session.scalar(text("SELECT max(next_at) - now() FROM jobs"))
    assert last.total_seconds() == pytest.approx(300, abs=5)
    told = (await client.patch(f"{CAMPAIGNS}/{campaign}", json={"max_in_flight": None})).json()
    assert told["max_in_flight"] is None
    assert told["seconds_left"] > 290


async def test_it_is_cancelled_and_what_failed_is_retried(client, runtime, run):
    campaign = await start(client)
    await expand_campaign(runtime, campaign)
    rows = await run(
        claim_submissions, endpoint=FLUX, limit=2, lease=new_id(), lease_seconds=60, proven=True
    )
    await run(
        move_jobs, [end(row.id, row.lease, state=JobState.FAILED, error="no") for row in rows]
    )

    told = (await client.post(f"{CAMPAIGNS}/{campaign}/cancel")).json()
    assert (told["failed"], told["cancelled"]) == (2, 2)
    counted = (await client.post(f"{CAMPAIGNS}/{campaign}/retry", json={})).json()
    assert (counted["count"], counted["dry_run"]) == (2, True)
    assert counted["estimate_usd"] > 0
    retried = await client.post(f"{CAMPAIGNS}/{campaign}/retry", json={"dry_run": False})
    assert retried.json()["count"] == 2
    refused = await client.post(f"{CAMPAIGNS}/{campaign}/retry", json={"only": ["completed"]})
    assert refused.status_code == 422


async def test_only_those_who_operate_may_have_tasks_sent(gateway_app, client, issue):
    spec = {**SPEC, "on_complete": {"celery": {"task": "shop.done"}}}

    refused = await client.post(CAMPAIGNS, json={"spec": spec, "dry_run": False})

    assert refused.status_code == 403
    key, _ = await issue("operator", Scope.OPERATE)
    async with client_of(gateway_app, key) as operator:
        made = await operator.post(CAMPAIGNS, json={"spec": spec, "dry_run": False})
    assert made.status_code == 201


async def hand_in(client, name, content):
    return await client.post(f"{CAMPAIGNS}/rows", params={"name": name}, content=content)


async def test_a_file_of_prompts_is_handed_in_planned_and_run(client, runtime):
    made = await hand_in(client, "foxes.csv", b"prompt,mood\na fox,calm\nan owl,sad\n")
    assert made.status_code == 201, made.text
    assert made.json()["columns"] == ["prompt", "mood"]
    spec = {"name": "from a file", "endpoint": FLUX, "prompts": {"file": "foxes.csv"}}
    body = {"spec": spec, "rows": made.json()["rows"]}

    plan = (await client.post(CAMPAIGNS, json=body)).json()
    started = await client.post(CAMPAIGNS, json={**body, "dry_run": False})
    campaign = started.json()["campaign_id"]
    await expand_campaign(runtime, campaign)

    assert (plan["jobs"], plan["unused_columns"]) == (2, ["mood"])
    assert plan["last"]["place"] == "foxes.csv:3"
    items = (await client.get(f"{CAMPAIGNS}/{campaign}/items")).json()["items"]
    assert [one["prompt"] for one in items] == ["a fox", "an owl"]
    later = await client.get(f"{CAMPAIGNS}/{campaign}/items", params={"start": 1})
    assert [one["prompt"] for one in later.json()["items"]] == ["an owl"]
    none = await client.get(f"{CAMPAIGNS}/{campaign}/items", params={"state": "completed"})
    assert none.json()["items"] == []
    [share] = (await client.get(f"{CAMPAIGNS}/{campaign}/endpoints")).json()["endpoints"]
    assert (share["endpoint"], share["jobs"]) == (FLUX, 2)


async def test_a_bad_line_of_a_file_is_named(client):
    made = await hand_in(client, "foxes.txt", b"a fox\n" * 150)
    bad = await hand_in(client, "bad.jsonl", b'"a fox"\n{"prompt": \n')
    odd = await hand_in(client, "foxes.pdf", b"a fox")
    spec = {"name": "n", "endpoint": FLUX, "prompts": {"file": "foxes.txt"}, "input": {"width": 3}}

    plan = await client.post(CAMPAIGNS, json={"spec": spec, "rows": made.json()["rows"]})

    assert plan.status_code == 422
    assert plan.json()["problems"][0].startswith("foxes.txt:1: width")
    assert len(plan.json()["problems"]) == 21
    assert bad.status_code == 422
    assert "bad.jsonl:2" in bad.json()["detail"]
    assert odd.status_code == 422
    assert "foxes.pdf" in odd.json()["detail"]


async def test_no_other_stored_file_is_read_as_prompts(client):
    ticket = (await hand_in(client, "foxes.txt", b"a fox")).json()["rows"]
    spec = {"name": "n", "endpoint": FLUX, "prompts": {"file": "foxes.txt"}}
    key, _, signature = ticket.rpartition(":")

    for rows in (key, f"{key}x:{signature}", f"files/aa/bb/cc.txt:{signature}"):
        reply = await client.post(CAMPAIGNS, json={"spec": spec, "rows": rows})
        assert reply.status_code == 422
        assert "rows:" in reply.json()["detail"]


async def test_the_text_of_a_yaml_file_is_a_specification_and_its_lines_are_named(client):
    good = f"name: foxes\nendpoint: {FLUX}\nprompts: [a fox]\n"

    plan = await client.post(CAMPAIGNS, json={"spec": good})
    bad = await client.post(CAMPAIGNS, json={"spec": f"{good}colour: red\n"})

    assert plan.json()["jobs"] == 1
    assert bad.json()["problems"] == ["spec:4: colour: no such field"]


async def test_two_campaigns_stand_side_by_side_a_page_at_a_time(
    client, gateway_app, runtime, issue
):
    first = await start(client)
    second = await start(client, name="again")
    for one in (first, second):
        await expand_campaign(runtime, one)
    asked = {"a": first, "b": second, "start": 1, "limit": 2}

    told = (await client.get(f"{CAMPAIGNS}/compare", params=asked)).json()
    alone = await client.get(f"{CAMPAIGNS}/compare", params={"a": first})
    key, _ = await issue("other", Scope.RUN)
    async with client_of(gateway_app, key) as other:
        hidden = await other.get(f"{CAMPAIGNS}/compare", params=asked)

    assert (told["pairs"], told["matched_by"], len(told["shown"])) == (4, "prompt and seed", 2)
    assert [one["name"] for one in told["sides"]] == ["foxes", "again"]
    for left, right in told["shown"]:
        assert (left["prompt"], left["seed"]) == (right["prompt"], right["seed"])
    assert alone.status_code == 422
    assert "a second campaign was wanted" in alone.json()["detail"]
    assert hidden.status_code == 404
