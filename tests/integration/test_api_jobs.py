"""Jobs over `/api/v1`: handed in, read, waited for, listed, cancelled and retried."""

import asyncio
import datetime as dt
import itertools
import json
from collections import Counter
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select, text

from gateway import submission
from gateway.api import jobs as job_routes
from models.campaign import Campaign
from models.errors import DatabaseUnavailable
from models.job import Job, JobState
from models.key import Scope
from tasks.submit import SUBMIT
from tests.integration.conftest import FLUX, client_of, complete, find_job, run_until
from workers.lane import LaneRun

VIDEO = "vidu-q3-t2v"
HOOK = "https://example.com/hook"


def flux(prompt="a fox", **options):
    return {"endpoint": FLUX, "input": {"prompt": prompt}, **options}


async def create(client, **options):
    response = await client.post("/api/v1/jobs", json=flux(**options))
    assert response.status_code == 202, response.text
    return response.json()


async def create_many(client, count, *, endpoint=FLUX):
    items = [{"endpoint": endpoint, "input": {"prompt": f"fox {n}"}} for n in range(count)]
    reply = (await client.post("/api/v1/jobs/bulk", json={"jobs": items})).json()
    assert reply["accepted"] == count
    return [item["id"] for item in reply["items"]]


async def count_jobs(database):
    async with database.begin() as session:
        return await session.scalar(select(func.count()).select_from(Job))


async def end_jobs(database, ids, state, *, reason=None):
    """As if a worker had ended them."""
    async with database.begin() as session:
        await session.execute(
            text(
                "UPDATE jobs SET state = :state, reason = :reason, finished_at = now(), "
                "next_at = NULL, lease = NULL WHERE id = ANY(CAST(:ids AS uuid[]))"
            ),
            {"state": state, "reason": reason, "ids": list(ids)},
        )


def assert_problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem


# Hand in


async def test_a_job_is_written_down_before_it_is_answered(client, database):
    response = await client.post("/api/v1/jobs", json=flux())

    job = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["status"], job["state"], job["attempt"]) == ("IN_QUEUE", "queued", 0)
    assert job["input"] == {"prompt": "a fox"}
    assert job["why"] == "it is the next in line"
    assert (job["waiting"]["cause"], job["waiting"]["ahead"]) == ("line", 0)
    assert await count_jobs(database) == 1
    assert (await client.get(response.headers["location"])).json()["id"] == job["id"]


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"{", JSON, 400, "not JSON"),
        (b"", JSON, 400, "not JSON"),
        (b"[]", JSON, 400, "array"),
        (b'{"endpoint": "x", "input": {"a": NaN}}', JSON, 400, "not JSON"),
        (b'{"endpoint": "x", "input": {"a": "\xff"}}', JSON, 400, "not JSON"),
        (b'{"endpoint": "x", "input": {"a": 1' + b"0" * 30 + b"}}", JSON, 400, "64 bits"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, JSON, 400, "nested"),
        (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        (flux(prompt="x" * 10_000_000), {}, 413, "bytes"),
        ({"endpoint": FLUX}, {}, 422, "input: "),
        ({"input": {}}, {}, 422, "endpoint: "),
        ({"endpoint": FLUX, "input": []}, {}, 422, "input: "),
        (flux(promt=1), {}, 422, "promt: "),
        ({"endpoint": FLUX, "input": {"promt": "a"}}, {}, 422, "did you mean"),
        (flux(prompt="a\x00b"), {}, 422, "NUL"),
        ({"endpoint": "no/such name", "input": {}}, {}, 422, "letters"),
        (flux(on_unknown="pay"), {}, 422, "on_unknown: "),
        (flux(cache="yes"), {}, 422, "cache: "),
        (flux(policy={"ttl": 1}), {}, 422, "policy.ttl: "),
        (flux(policy={"tll": 10_000}), {}, 422, "policy.tll: "),
        (flux(s3Config={"accessId": "a"}), {}, 422, "s3Config.accessSecret: "),
        (flux(webhook="nonsense"), {}, 400, "webhook: "),
        (flux(webhook="http://127.0.0.1/x"), {}, 400, "public internet"),
        (flux(webhook="http://[::ffff:10.0.0.1]/x"), {}, 400, "public internet"),
        (flux(webhook="http://2130706433/x"), {}, 400, "public internet"),
        (flux(webhook="file:///etc/passwd"), {}, 400, "http"),
        (flux(), {"Idempotency-Key": ""}, 400, "Idempotency-Key"),
        (flux(), {"Idempotency-Key": "x" * 256}, 422, "255"),
        (flux(), {"Idempotency-Key": "a\tb"}, 400, "printable"),
    ],
)
async def test_what_cannot_be_taken_is_refused_with_a_reason_and_leaves_nothing(  # noqa: PLR0917
    client, database, body, headers, status, said
):
    content = {"content": body} if isinstance(body, bytes) else {"json": body}

    response = await client.post("/api/v1/jobs", headers=headers, **content)

    assert said in assert_problem(response, status)["detail"]
    assert await count_jobs(database) == 0


async def test_the_same_key_is_the_same_job_and_another_body_is_refused(client, database):
    headers = {"Idempotency-Key": "order 17 / ü".encode("latin-1")}

    first = await client.post("/api/v1/jobs", json=flux(), headers=headers)
    again = await client.post("/api/v1/jobs", json=flux(), headers=headers)
    other = await client.post("/api/v1/jobs", json=flux("a bear"), headers=headers)

    assert (first.status_code, again.status_code) == (202, 200)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert assert_problem(other, 422)["type"] == "/problems/idempotency-key-reused"
    assert await count_jobs(database) == 1


async def test_a_job_that_was_accepted_and_cannot_be_shown_is_not_said_to_be_lost(
    client, database, monkeypatch
):
    async def away(*_):
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(job_routes, "describe_one", away)

    response = await client.post("/api/v1/jobs", json=flux())

    problem = assert_problem(response, 503)
    [job_id] = await list_ids(database)
    assert job_id in problem["detail"]
    assert "nothing was recorded" not in problem["detail"]
    assert response.headers["location"].endswith(job_id)


async def list_ids(database):
    async with database.begin() as session:
        return [str(one) for one in await session.scalars(select(Job.id).order_by(Job.id.desc()))]


# Hand in many


BAD_ITEMS = {
    0: ({"endpoint": FLUX}, 422),
    17: ("no object", 422),
    18: (None, 422),
    499: (flux(webhook="http://10.0.0.1/"), 400),
    500: ({"endpoint": FLUX, "input": {"width": 1}}, 422),
    7_777: (flux(idempotency_key=""), 422),
    9_998: (flux(idempotency_key="a\nb"), 400),
    9_999: ({"endpoint": "no/such name", "input": {}}, 422),
}


async def test_of_ten_thousand_each_has_its_result_in_order_and_a_repeat_changes_nothing(
    client, database
):
    items = [
        {"endpoint": FLUX, "input": {"prompt": f"fox {n}"}}
        if n not in BAD_ITEMS
        else BAD_ITEMS[n][0]
        for n in range(10_000)
    ]
    headers = {"Idempotency-Key": "night run"}

    first = await client.post("/api/v1/jobs/bulk", json={"jobs": items}, headers=headers)
    again = await client.post("/api/v1/jobs/bulk", json={"jobs": items}, headers=headers)

    assert (first.status_code, again.status_code) == (200, 200)
    reply, repeated = first.json(), again.json()
    good = 10_000 - len(BAD_ITEMS)
    assert (reply["accepted"], reply["refused"]) == (good, len(BAD_ITEMS))
    assert [item["index"] for item in reply["items"]] == list(range(10_000))
    for index, (_, status) in BAD_ITEMS.items():
        assert reply["items"][index]["error"]["status"] == status
        assert reply["items"][index]["error"]["detail"]
    ids = [item.get("id") for item in reply["items"]]
    assert [item.get("id") for item in repeated["items"]] == ids
    assert len(set(ids)) == good + 1
    assert not any(item.get("existing") for item in reply["items"])
    assert sum(item.get("existing", False) for item in repeated["items"]) == good
    assert await count_jobs(database) == good
    middle = (await client.get(f"/api/v1/jobs/{ids[5_000]}")).json()
    assert middle["input"] == {"prompt": "fox 5000"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"jobs": [{}] * 10_001}, 422),
        ({"jobs": []}, 422),
        ({"jobs": {}}, 422),
        ({"jobs": [flux()], "dry_run": True}, 422),
        ([flux()], 400),
    ],
)
async def test_a_bulk_call_of_another_form_is_refused_as_a_whole(client, database, body, status):
    assert_problem(await client.post("/api/v1/jobs/bulk", json=body), status)
    assert await count_jobs(database) == 0


async def test_a_bulk_call_that_is_not_json_is_refused(client):
    body = json.dumps({"jobs": [flux()]}).encode()

    response = await client.post(
        "/api/v1/jobs/bulk", content=body, headers={"Content-Type": "text/csv"}
    )

    assert_problem(response, 415)


async def test_a_bulk_call_that_dies_half_way_is_completed_by_its_repeat(
    client, database, monkeypatch
):
    monkeypatch.setattr(job_routes, "BULK_STEP", 10)
    body = {"jobs": [flux(f"fox {n}") for n in range(35)]}
    headers = {"Idempotency-Key": "night run"}
    calls = itertools.count(1)

    async def dying(state, incoming, *, size):
        if next(calls) == 3:
            raise DatabaseUnavailable("the server is gone")
        return await submission.accept(state, incoming, size=size)

    monkeypatch.setattr(job_routes, "accept", dying)

    broken = await client.post("/api/v1/jobs/bulk", json=body, headers=headers)
    left = await count_jobs(database)
    whole = (await client.post("/api/v1/jobs/bulk", json=body, headers=headers)).json()

    assert_problem(broken, 503)
    assert left == 20
    assert [item["existing"] for item in whole["items"]] == [True] * 20 + [False] * 15
    assert await count_jobs(database) == 35


async def test_equal_items_of_one_key_in_one_call_are_one_job(client, database):
    body = {
        "jobs": [
            flux(idempotency_key="a"),
            flux(idempotency_key="a"),
            flux("b", idempotency_key="a"),
        ]
    }

    reply = (await client.post("/api/v1/jobs/bulk", json=body)).json()

    first, second, other = reply["items"]
    assert first["id"] == second["id"]
    assert second["existing"]
    assert other["error"]["type"] == "/problems/idempotency-key-reused"
    assert await count_jobs(database) == 1


async def test_a_bulk_call_lets_others_in_between(client, monkeypatch):
    """To check thousands of inputs takes seconds: nobody else must wait for all of them."""
    items = [flux(f"fox {n}") for n in range(job_routes.BULK_STEP)]
    turn, checked = 0, Counter[int]()

    async def counting(*arguments):
        checked[turn] += 1
        return await submission.check(*arguments)

    monkeypatch.setattr(job_routes, "check", counting)
    bulk = asyncio.create_task(client.post("/api/v1/jobs/bulk", json={"jobs": items}))

    while not bulk.done():
        await asyncio.sleep(0)
        turn += 1

    assert (await bulk).json()["accepted"] == checked.total() == len(items)
    assert max(checked.values()) <= 2 * job_routes.CHECKED_AT_ONCE


# Wait


async def test_a_get_that_waits_answers_when_the_job_ends(client, database, gateway_app):
    job = await create(client)
    waiting = asyncio.create_task(client.get(f"/api/v1/jobs/{job['id']}", params={"wait": 60}))
    ends = gateway_app.state.gateway.ends
    async with asyncio.timeout(5):
        while not ends._waiters:  # noqa: ASYNC110, SLF001 -- nobody tells that somebody waits
            await asyncio.sleep(0.01)

    await end_jobs(database, [job["id"]], "completed")
    async with asyncio.timeout(10):
        response = await waiting

    assert response.json()["status"] == "COMPLETED"
    assert response.json()["why"] == "it is done"


async def test_a_wait_that_is_over_answers_with_the_state_then(client):
    job = await create(client)

    response = await client.get(f"/api/v1/jobs/{job['id']}", params={"wait": 0.1})

    assert (response.status_code, response.json()["status"]) == (200, "IN_QUEUE")


@pytest.mark.parametrize("wait", ["-1", "300.1", "nan", "inf", "-inf", "1e400", "soon", ""])
async def test_a_wait_out_of_range_is_refused(client, wait):
    job = await create(client)

    assert_problem(await client.get(f"/api/v1/jobs/{job['id']}", params={"wait": wait}), 422)
    body = f'{{"ids": ["{job["id"]}"], "wait": {wait or "null"}}}'
    many = await client.post("/api/v1/jobs/wait", content=body, headers=JSON)
    assert many.status_code in {400, 422}


async def test_the_first_end_of_several_is_told_with_what_is_pending_and_what_is_not_there(
    client, database, issue, gateway_app
):
    others_key, _ = await issue("other", Scope.RUN)
    async with client_of(gateway_app, others_key) as other:
        others = (await create(other))["id"]
    first, second, third = await create_many(client, 3)
    unknown = str(uuid4())
    ids = [first, others, second, second, unknown, third]
    waiting = asyncio.create_task(client.post("/api/v1/jobs/wait", json={"ids": ids, "wait": 60}))
    async with asyncio.timeout(5):
        while not gateway_app.state.gateway.ends._waiters:  # noqa: ASYNC110, SLF001
            await asyncio.sleep(0.01)

    await end_jobs(database, [second], "failed", reason="upstream_failed")
    async with asyncio.timeout(10):
        reply = (await waiting).json()

    [ended] = reply["jobs"]
    assert (ended["id"], ended["status"], ended["input"]) == (second, "FAILED", None)
    assert reply["pending"] == [first, third]
    assert reply["unknown"] == [others, unknown]


async def test_what_has_ended_already_is_told_at_once_and_in_the_order_asked_for(client, database):
    ids = await create_many(client, 3)
    await end_jobs(database, ids[1:], "completed")

    async with asyncio.timeout(10):
        response = await client.post("/api/v1/jobs/wait", json={"ids": ids[::-1], "wait": 300})

    assert [job["id"] for job in response.json()["jobs"]] == [ids[2], ids[1]]
    assert response.json()["pending"] == [ids[0]]


@pytest.mark.parametrize(
    "body", [{"ids": []}, {"ids": ["x"]}, {"ids": [str(uuid4())] * 1_001}, {}, {"id": []}]
)
async def test_a_wait_for_no_ids_is_refused(client, body):
    assert_problem(await client.post("/api/v1/jobs/wait", json=body), 422)


# Read and list


@pytest.mark.parametrize("path", ["", "/attempts", "/timeline", "/deliveries"])
@pytest.mark.parametrize(("job_id", "status"), [(str(uuid4()), 404), ("x", 422), ("1" * 500, 422)])
async def test_a_job_that_is_not_there_is_not_found(client, path, job_id, status):
    assert_problem(await client.get(f"/api/v1/jobs/{job_id}{path}"), status)


async def test_every_filter_lists_what_fits_and_nothing_else(client, database):
    campaign = uuid4()
    flux_job, ended, video = await create_many(client, 2) + await create_many(
        client, 1, endpoint=VIDEO
    )
    await end_jobs(database, [ended], "cancelled", reason="cancelled")
    # Not long ago: a job's id tells its time, too, within an hour.
    moment = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(minutes=30)
    async with database.begin() as session:
        session.add(Campaign(id=campaign, name="c"))
        await session.flush()
        await session.execute(
            text("UPDATE jobs SET created_at = :at, campaign_id = :campaign WHERE id = :id"),
            {"at": moment, "campaign": campaign, "id": video},
        )

    async def listed(**params):
        reply = (await client.get("/api/v1/jobs", params=params)).json()
        return {job["id"] for job in reply["jobs"]}

    assert await listed() == {flux_job, ended, video}
    assert await listed(state="cancelled") == {ended}
    assert await listed(state=["cancelled", "queued"]) == {flux_job, ended, video}
    assert await listed(reason="cancelled") == {ended}
    assert await listed(reason="upstream_failed") == set()
    assert await listed(endpoint=VIDEO) == {video}
    assert await listed(endpoint=FLUX, state="queued") == {flux_job}
    assert await listed(endpoint="nobodys") == set()
    assert await listed(campaign=str(campaign)) == {video}
    assert await listed(campaign=str(uuid4())) == set()
    after = moment + dt.timedelta(seconds=1)
    unzoned, elsewhere = moment.replace(tzinfo=None), after.astimezone(ZoneInfo("Asia/Tokyo"))
    assert await listed(created_before=after.isoformat()) == {video}
    assert await listed(created_before=moment.isoformat()) == set()
    assert await listed(created_after=unzoned.isoformat()) == {flux_job, ended, video}
    assert await listed(created_after=elsewhere.isoformat()) == {flux_job, ended}


async def test_who_sees_all_jobs_can_ask_for_its_own_alone(client, gateway_app, issue):
    [others] = await create_many(client, 1)
    key, _ = await issue("operator", Scope.OPERATE)
    async with client_of(gateway_app, key) as operator:
        [own] = await create_many(operator, 1)

        async def listed(**params):
            reply = (await operator.get("/api/v1/jobs", params=params)).json()
            return {job["id"] for job in reply["jobs"]}

        assert await listed() == {others, own}
        assert await listed(mine=True) == {own}


async def test_a_listed_job_is_known_by_its_prompt_and_its_key(client):
    [job_id] = await create_many(client, 1)

    [listed] = (await client.get("/api/v1/jobs")).json()["jobs"]

    read = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert listed["prompt"] == read["input"]["prompt"]
    assert (listed["key"], listed["thumbnail_url"]) == ("tests", None)


@pytest.mark.parametrize(
    "params",
    [
        {"state": "done"},
        {"reason": "bad luck"},
        {"limit": 0},
        {"limit": 1_001},
        {"cursor": "x"},
        {"cursor": "x" * 100},
        {"endpoint": "a\x00b"},
        {"endpoint": "x" * 500},
        {"campaign": "x"},
        {"created_after": "yesterday"},
    ],
)
async def test_a_filter_that_says_nothing_is_refused(client, params):
    assert_problem(await client.get("/api/v1/jobs", params=params), 422)


async def test_pages_hold_each_job_once_while_others_are_added(client):
    ids = await create_many(client, 25)
    seen, cursor = [], None

    while True:
        params = {"limit": 4} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/v1/jobs", params=params)).json()
        seen += [job["id"] for job in page["jobs"]]
        await create_many(client, 3)
        cursor = page["next"]
        if cursor is None:
            break

    assert seen == ids[::-1]


async def test_the_last_page_says_that_it_is_the_last(client):
    ids = await create_many(client, 4)

    full = (await client.get("/api/v1/jobs", params={"limit": 4})).json()
    beyond = (await client.get("/api/v1/jobs", params={"cursor": ids[0]})).json()

    assert (len(full["jobs"]), full["next"]) == (4, None)
    assert beyond == {"jobs": [], "next": None}


# Cancel and retry


async def test_a_queued_job_is_cancelled_at_once_and_stays_so(client):
    job = await create(client)

    cancelled = await client.post(f"/api/v1/jobs/{job['id']}/cancel")
    again = await client.post(f"/api/v1/jobs/{job['id']}/cancel")

    for response in (cancelled, again):
        assert (response.status_code, response.json()["status"]) == (200, "CANCELLED")
    assert again.json()["finished_at"] == cancelled.json()["finished_at"]


@pytest.mark.parametrize("state", ["completed", "cancelled", "queued"])
async def test_only_what_ended_without_a_result_is_retried(client, database, state):
    job = await create(client)
    if state != "queued":
        await end_jobs(database, [job["id"]], state)

    response = await client.post(f"/api/v1/jobs/{job['id']}/retry")

    assert "was wanted" in assert_problem(response, 409)["detail"]


@pytest.mark.parametrize("state", ["failed", "timed_out", "lost", "rejected"])
async def test_a_failed_job_is_queued_again_under_its_id(client, database, state):
    job = await create(client)
    await end_jobs(database, [job["id"]], state, reason="upstream_failed")

    response = await client.post(f"/api/v1/jobs/{job['id']}/retry")

    assert response.status_code == 200
    assert (response.json()["id"], response.json()["state"]) == (job["id"], "queued")
    assert (response.json()["reason"], response.json()["finished_at"]) == (None, None)


async def test_a_streamed_text_that_failed_is_not_retried_and_why_is_said(client, database):
    job = await create(client)
    await end_jobs(database, [job["id"]], "failed", reason="upstream_failed")
    async with database.begin() as session:
        await session.execute(text("UPDATE jobs SET route = 'openai'"))

    response = await client.post(f"/api/v1/jobs/{job['id']}/retry")
    many = await client.post("/api/v1/jobs/retry", json={"filter": {}})

    assert "client waited" in assert_problem(response, 409)["detail"]
    assert (many.json()["count"], many.json()["dry_run"]) == (0, True)


async def test_many_are_counted_first_and_cancelled_when_it_is_meant(
    client, database, issue, gateway_app, monkeypatch
):
    monkeypatch.setattr("tasks.bulk.AT_ONCE", 3)
    others_key, _ = await issue("other", Scope.RUN)
    async with client_of(gateway_app, others_key) as other:
        await create_many(other, 2)
    ids = await create_many(client, 10)
    videos = await create_many(client, 2, endpoint=VIDEO)
    await end_jobs(database, ids[:1], "completed")
    wanted = {"filter": {"endpoint": FLUX}}

    preview = (await client.post("/api/v1/jobs/cancel", json=wanted)).json()
    untouched = (await client.get("/api/v1/jobs", params={"state": "cancelled"})).json()["jobs"]
    done = (await client.post("/api/v1/jobs/cancel", json={**wanted, "dry_run": False})).json()
    again = (await client.post("/api/v1/jobs/cancel", json={**wanted, "dry_run": False})).json()

    assert (preview["count"], preview["dry_run"], preview["left"]) == (9, True, 9)
    assert untouched == []
    assert (done["count"], done["left"], done["next"]) == (9, 0, None)
    assert again["count"] == 0
    async with database.begin() as session:
        rows = await session.execute(select(Job.id, Job.state))
        states = {str(job_id): state for job_id, state in rows}
    assert {states[one] for one in ids[1:]} == {JobState.CANCELLED}
    assert {states[one] for one in videos} == {JobState.QUEUED}
    assert list(states.values()).count(JobState.QUEUED) == 4  # the other key's two


async def test_many_are_retried_and_each_once(client, database, monkeypatch):
    monkeypatch.setattr("tasks.bulk.AT_ONCE", 3)
    ids = await create_many(client, 8)
    await end_jobs(database, ids[:7], "failed", reason="upstream_failed")
    await end_jobs(database, ids[6:7], "lost", reason="vanished")
    wanted = {"filter": {"state": ["failed", "completed"]}}

    preview = (await client.post("/api/v1/jobs/retry", json=wanted)).json()
    done = (await client.post("/api/v1/jobs/retry", json={**wanted, "dry_run": False})).json()

    assert (preview["count"], done["count"]) == (6, 6)
    async with database.begin() as session:
        assert (await session.scalars(select(Job.retries).order_by(Job.id))).all() == [1] * 6 + [
            0
        ] * 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filter": {"status": "FAILED"}},
        {"filter": {}, "dry_run": "no"},
        {"filter": {}, "dry_run": 0},
        {"filter": {"endpoint": "\x00"}},
        {"filter": {"created_after": "9999-99-99"}},
        {"filter": {"state": ["queued"] * 50}},
    ],
)
@pytest.mark.parametrize("act", ["cancel", "retry", "prioritize"])
async def test_an_act_on_many_that_is_not_clear_is_refused(client, act, body):
    job = await create(client)

    assert_problem(await client.post(f"/api/v1/jobs/{act}", json=body), 422)

    assert (await client.get(f"/api/v1/jobs/{job['id']}")).json()["state"] == "queued"


# What happened


async def test_attempts_and_timeline_tell_a_job_from_its_beginning_to_its_stored_file(
    client, runtime, emulator
):
    await emulator.post("/admin/faults", json={"kind": "error", "status": 500, "count": 1})
    job = await create(client)
    await complete(runtime, job["id"])

    sent = (await client.get(f"/api/v1/jobs/{job['id']}/attempts")).json()["attempts"]
    happened = (await client.get(f"/api/v1/jobs/{job['id']}/timeline")).json()["timeline"]
    whole = (await client.get(f"/api/v1/jobs/{job['id']}")).json()

    assert [(one["number"], one["answer"]) for one in sent] == [(1, "fault"), (2, "accepted")]
    assert sent[1]["upstream_id"] == whole["upstream_id"]
    told = [one["what"] for one in happened]
    assert told[0] == "job.queued"
    assert told.count("attempt.sent") == told.count("attempt.answered") == 2
    assert told.index("job.in_queue") > told.index("attempt.sent")
    assert told.index("job.completed") < told.index("artifact.stored")
    assert [one["at"] for one in happened] == sorted(one["at"] for one in happened)
    [file] = whole["artifacts"]
    assert whole["output"]["image_url"] == file["url"]
    assert whole["cost_usd"] > 0


async def test_why_a_job_waits_is_said(client, runtime, emulator):
    await emulator.post("/admin/faults", json={"kind": "busy", "count": 1, "retry_after": 30})
    job = await create(client)
    await LaneRun(runtime, SUBMIT, FLUX).run()

    read = (await client.get(f"/api/v1/jobs/{job['id']}")).json()
    listed = (await client.get("/api/v1/jobs")).json()["jobs"][0]

    for one in (read, listed):
        assert "closed" in one["why"]
        assert "429" in one["why"]


@pytest.mark.usefixtures("emulator")
async def test_a_cancel_reaches_a_job_that_is_upstream(client, runtime):
    job = (
        await client.post(
            "/api/v1/jobs", json={"endpoint": VIDEO, "input": {"prompt": "the tide goes out"}}
        )
    ).json()
    await run_until(runtime, job["id"], {JobState.IN_QUEUE, JobState.IN_PROGRESS}, endpoint=VIDEO)

    asked = (await client.post(f"/api/v1/jobs/{job['id']}/cancel")).json()
    await run_until(runtime, job["id"], endpoint=VIDEO)

    assert "to be cancelled" in asked["why"]
    assert (await find_job(runtime, job["id"])).state is JobState.CANCELLED


@pytest.mark.parametrize("act", ["cancel", "retry", "prioritize"])
@pytest.mark.parametrize("empty", [{}, {"campaign": None}])
async def test_an_empty_filter_reaches_nothing_unless_all_is_meant(client, act, empty):
    created = await create(client)
    body = {"filter": empty, "dry_run": False} | ({"priority": 7} if act == "prioritize" else {})

    refused = await client.post(f"/api/v1/jobs/{act}", json=body)
    meant = await client.post(f"/api/v1/jobs/{act}", json={**body, "all": True})

    assert refused.status_code == 422
    assert "all" in refused.json()["detail"]
    assert (meant.status_code, meant.json()["count"]) == (200, 0 if act == "retry" else 1)
    assert (await client.get(f"/api/v1/jobs/{created['id']}")).status_code == 200


async def test_a_list_tells_what_was_said_last_in_a_conversation(client):
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Of herons"}]
    body = {"endpoint": "nobodys-endpoint", "input": {"messages": said}}
    (await client.post("/api/v1/jobs", json=body)).raise_for_status()

    [listed] = (await client.get("/api/v1/jobs")).json()["jobs"]

    assert listed["prompt"] == "Of herons"
