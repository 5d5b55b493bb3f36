"""Batches: collected as drafts, enqueued once whatever dies half-way, counted, cancelled."""

import asyncio
import datetime as dt

import pytest
from sqlalchemy import text

import tasks.batch
from models.errors import DatabaseUnavailable
from models.key import Scope
from tasks.accept import accept
from tasks.intake import InvalidRequest
from tasks.sweep import sweep_lanes
from tests.integration.conftest import FLUX, client_of, complete

BATCH = f"/v2/{FLUX}/batch"
NOBODY = "00000000-0000-7000-8000-000000000000"


def items(count, **more):
    return [{"input": {"prompt": f"fox {number}", **more}} for number in range(count)]


async def ok(response):
    sent = await response
    assert sent.status_code == 200, sent.text
    return sent.json()


async def make(client, count=0, *, finalized=False):
    """The id of a new batch."""
    batch_id = (await ok(client.post(BATCH, json=items(count))))["id"]
    if finalized:
        await ok(client.post(f"{BATCH}/{batch_id}/finalize"))
    return batch_id


async def counts(client, batch_id):
    """Its status, and how many requests there are, run, are completed and failed."""
    batch = await ok(client.get(f"{BATCH}/{batch_id}"))
    names = ("requestTotal", "requestInProgress", "requestCompleted", "requestFailed")
    return batch["status"], *(batch[name] for name in names)


async def requests(client, batch_id, **page):
    return (await ok(client.get(f"{BATCH}/{batch_id}/requests", params=page)))["requests"]


async def execute(database, statement, **values):
    async with database.begin() as session:
        return await session.execute(text(statement), values)


async def count(database, table):
    return (await execute(database, f"SELECT count(*) FROM {table}")).scalar_one()


async def begin(database, job_id):
    await execute(
        database,
        "UPDATE jobs SET state = 'in_progress', upstream_id = id WHERE id = :id",
        id=job_id,
    )


async def end(database, job_id, state="completed"):
    await execute(
        database,
        "UPDATE jobs SET state = :state, finished_at = now(), next_at = NULL WHERE id = :id",
        id=job_id,
        state=state,
    )


@pytest.fixture
def cut_off(monkeypatch):
    """Enqueuing is cut off once, in its third step of two requests."""
    calls = []

    async def dies(session, incoming):
        acceptance = await accept(session, incoming)
        calls.append(acceptance)
        if len(calls) == 3:
            raise DatabaseUnavailable("it went away")
        return acceptance

    monkeypatch.setattr(tasks.batch, "STEP", 2)
    monkeypatch.setattr(tasks.batch, "accept", dies)


@pytest.mark.usefixtures("emulator")
async def test_a_batch_is_collected_finalized_run_and_read_with_our_links(client, runtime):
    created = await ok(client.post(BATCH, json=items(1)))
    url = f"{BATCH}/{created['id']}"
    draft = await ok(client.post(f"{url}/requests", json={"requests": items(1)}))
    await ok(client.post(f"{url}/finalize"))
    for request in await requests(client, created["id"]):
        await complete(runtime, request["id"])

    assert created == {"id": created["id"], "status": "DRAFT"}
    assert (draft["status"], draft["requestTotal"]) == ("DRAFT", 2)
    batch = await ok(client.get(url))
    age = dt.datetime.now(dt.UTC).timestamp() * 1000 - batch.pop("createdAt")
    assert 0 <= age < 60_000
    assert batch == {
        "id": created["id"],
        "endpointId": FLUX,
        "status": "FINALIZED",
        "requestTotal": 2,
        "requestInProgress": 0,
        "requestCompleted": 2,
        "requestFailed": 0,
    }
    for request in await requests(client, created["id"]):
        assert request["status"] == "COMPLETED"
        assert request["output"]["image_url"].startswith("http://gateway.test/files/")
        started, ended = (
            dt.datetime.fromisoformat(request[name]) for name in ("startedAt", "completedAt")
        )
        assert started <= ended
        status = await ok(client.get(f"/v2/{FLUX}/status/{request['id']}"))
        assert status.items() <= request.items()


async def test_a_draft_runs_nothing(client, database, runtime):
    batch_id = await make(client, 3)

    await sweep_lanes(runtime)

    assert await count(database, "jobs") == 0
    assert await counts(client, batch_id) == ("DRAFT", 3, 0, 0, 0)
    assert [one["status"] for one in await requests(client, batch_id)] == ["IN_QUEUE"] * 3


async def test_finalizing_rings_the_lane(client, runtime, settings):
    await make(client, 1, finalized=True)

    assert await runtime.redis.exists(f"{settings.redis_prefix}bell:submit:{FLUX}")


async def test_requests_keep_their_order_and_are_read_by_the_page(client, database):
    batch_id = await make(client, 3)
    await ok(client.post(f"{BATCH}/{batch_id}/requests", json={"requests": items(2)}))
    whole = [one["id"] for one in await requests(client, batch_id)]

    first = await ok(client.get(f"{BATCH}/{batch_id}/requests?limit=3"))
    second = await ok(client.get(f"{BATCH}/{batch_id}/requests?offset=3&limit=3"))

    rows = await execute(database, "SELECT id, position FROM batch_requests ORDER BY position")
    assert [(str(row.id), row.position) for row in rows] == list(
        zip(whole, range(1, 6), strict=True)
    )
    assert [one["id"] for one in first.pop("requests")] == whole[:3]
    assert [one["id"] for one in second.pop("requests")] == whole[3:]
    assert first == {"total": 5, "offset": 0, "limit": 3, "hasMore": True}
    assert second == {"total": 5, "offset": 3, "limit": 3, "hasMore": False}


async def test_a_request_can_be_taken_out_of_a_draft(client, database):
    batch_id = await make(client, 3)
    first, second, third = [one["id"] for one in await requests(client, batch_id)]

    batch = await ok(client.delete(f"{BATCH}/{batch_id}/requests/{second.upper()}"))
    again = await client.delete(f"{BATCH}/{batch_id}/requests/{second}")

    assert (batch["requestTotal"], again.status_code) == (2, 404)
    await ok(client.post(f"{BATCH}/{batch_id}/finalize"))
    jobs = await execute(database, "SELECT id FROM jobs ORDER BY id")
    assert [str(job.id) for job in jobs] == [first, third]


async def test_a_request_of_another_batch_cannot_be_taken_out(client):
    mine, other = await make(client, 1), await make(client, 1)
    [request] = await requests(client, other)

    refused = await client.delete(f"{BATCH}/{mine}/requests/{request['id']}")

    assert refused.status_code == 404
    assert await counts(client, other) == ("DRAFT", 1, 0, 0, 0)


async def test_a_batch_has_a_name_once_it_is_given_one(client):
    batch_id = await make(client, finalized=True)

    named = await ok(client.put(f"{BATCH}/{batch_id}", json={"name": "foxes"}))

    assert named["name"] == "foxes"
    await ok(client.put(f"{BATCH}/{batch_id}", json={"colour": "red"}))
    assert (await ok(client.get(f"{BATCH}/{batch_id}")))["name"] == "foxes"
    unnamed = await ok(client.put(f"{BATCH}/{batch_id}", json={"name": None}))
    assert "name" not in unnamed


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "x" * 256, 7, ["a"]])
async def test_what_is_no_name_is_refused(client, name):
    batch_id = await make(client)

    refused = await client.put(f"{BATCH}/{batch_id}", json={"name": name})

    assert (refused.status_code, refused.json()["status"]) == (400, "FAILED")


async def test_batches_are_listed_newest_first(client):
    made = [await make(client) for _ in range(3)]

    listed = (await ok(client.get(BATCH)))["batches"]
    middle = (await ok(client.get(BATCH, params={"offset": 1, "limit": 1})))["batches"]

    assert [one["id"] for one in listed] == made[::-1]
    assert [one["id"] for one in middle] == [made[1]]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"input": {"prompt": "a", "width": 3}}, "requests[1].width"),
        ({"input": {}}, "requests[1].prompt"),
        ({"input": {"prompt": "a", "colour": "red"}}, "requests[1].colour"),
        ({"input": {"prompt": "a\x00b"}}, "NUL"),
        ({"input": "a fox"}, "requests[1].input: a text came"),
        ({"prompt": "a fox"}, "requests[1].input: nothing came"),
        ("a fox", "requests[1].input: nothing came"),
        (None, "requests[1].input: nothing came"),
        ({"input": {"prompt": "a"}, "webhook": "https://example.com"}, "requests[1].webhook"),
        ({"input": {"prompt": "a"}, "policy": {"ttl": 10_000}}, "requests[1].policy"),
    ],
)
async def test_of_requests_of_which_one_is_wrong_none_is_added(client, database, wrong, said):
    batch_id = await make(client)
    [good] = items(1)

    created = await client.post(BATCH, json=[good, wrong])
    added = await client.post(f"{BATCH}/{batch_id}/requests", json={"requests": [good, wrong]})

    for refused in (created, added):
        assert refused.status_code == 400
        assert refused.json()["status"] == "FAILED"
        assert said in refused.json()["error"]
    assert await count(database, "batches") == 1
    assert await count(database, "batch_requests") == 0


async def test_of_many_problems_the_first_are_said_and_the_rest_counted(client):
    refused = await client.post(BATCH, json=[{"input": {}}] * 25)

    assert "requests[19].prompt" in refused.json()["error"]
    assert "requests[20]" not in refused.json()["error"]
    assert refused.json()["error"].endswith("and 5 problems more")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"nonsense", 400),
        (b"null", 400),
        (b"[", 400),
        (b'[], "requests": []', 400),
        (b'[]}, {"a": [', 400),
        (b'{"requests": {}}', 400),
        (b'[{"input": {"prompt": "a", "seed": 1' + b"0" * 30 + b"}}]", 400),
        (b"[" * 10_000 + b"]" * 10_000, 400),
        (b'[{"input": {"prompt": "\xff"}}]', 400),
        (b'[{"input": {"prompt": "\\ud800"}}]', 400),
        (b"[" + b" " * (10 * 1024 * 1024 - 1) + b"]", 413),
    ],
)
async def test_a_body_that_is_no_batch_is_refused(client, database, body, status):
    refused = await client.post(BATCH, content=body, headers={"Content-Type": "application/json"})

    assert (refused.status_code, refused.json()["status"]) == (status, "FAILED")
    assert await count(database, "batches") == 0


async def test_a_body_as_large_as_may_be_is_taken(client):
    body = b"[" + b" " * (10 * 1024 * 1024 - 2) + b"]"

    await ok(client.post(BATCH, content=body))


async def test_an_array_must_be_sent_to_be_added(client):
    batch_id = await make(client)

    refused = await client.post(f"{BATCH}/{batch_id}/requests", json={})

    assert refused.status_code == 400
    assert "requests: an array" in refused.json()["error"]


async def test_a_batch_takes_so_many_requests_and_no_more(client, monkeypatch):
    monkeypatch.setattr("gateway.upstream_api.batch.REQUESTS_MOST", 3)
    batch_id = await make(client, 2)

    too_many = await client.post(f"{BATCH}/{batch_id}/requests", json={"requests": items(2)})
    created = await client.post(BATCH, json=items(4))
    await ok(client.post(f"{BATCH}/{batch_id}/requests", json={"requests": items(1)}))

    assert too_many.status_code == created.status_code == 400
    assert "2 requests came, the batch has 2; it takes 3 in all" in too_many.json()["error"]
    assert await counts(client, batch_id) == ("DRAFT", 3, 0, 0, 0)


async def test_five_thousand_requests_become_as_many_jobs(client, database):
    batch_id = await make(client, 5_000, finalized=True)

    assert await counts(client, batch_id) == ("FINALIZED", 5_000, 0, 0, 0)
    assert await count(database, "jobs") == 5_000


async def test_a_key_has_ten_active_batches_at_an_endpoint(
    client, gateway_app, issue, database, monkeypatch
):
    monkeypatch.setattr("gateway.upstream_api.batch.ACTIVE_MOST", 2)
    answers = await asyncio.gather(*(client.post(BATCH, json=items(1)) for _ in range(5)))
    made = [answer.json()["id"] for answer in answers if answer.status_code == 200]

    refused = await client.post(BATCH, json=[])

    assert len(made) == 2
    assert refused.status_code == 429
    assert "there may be 2" in refused.json()["error"]
    key, _ = await issue("another", Scope.RUN)
    async with client_of(gateway_app, key) as another:
        await make(another)
    await ok(client.post("/v2/another-endpoint/batch", json=[]))
    await ok(client.post(f"{BATCH}/{made[0]}/finalize"))
    assert (await client.post(BATCH, json=[])).status_code == 429
    await execute(database, "UPDATE jobs SET state = 'failed', finished_at = now(), next_at = NULL")
    await make(client)  # one has ended: there is room again


async def test_a_finalized_batch_is_locked(client, database):
    batch_id = await make(client, 1, finalized=True)
    [request] = await requests(client, batch_id)

    added = await client.post(f"{BATCH}/{batch_id}/requests", json={"requests": items(1)})
    removed = await client.delete(f"{BATCH}/{batch_id}/requests/{request['id']}")

    assert added.status_code == removed.status_code == 400
    assert added.json()["error"] == "the batch is FINALIZED; DRAFT was wanted"
    assert await count(database, "batch_requests") == 1


async def test_whoever_finalizes_at_once_or_again_makes_no_job_twice(client, database, monkeypatch):
    monkeypatch.setattr(tasks.batch, "STEP", 2)
    batch_id = await make(client, 9)

    await asyncio.gather(*(ok(client.post(f"{BATCH}/{batch_id}/finalize")) for _ in range(4)))
    await ok(client.post(f"{BATCH}/{batch_id}/finalize"))

    assert await count(database, "jobs") == 9
    assert await counts(client, batch_id) == ("FINALIZED", 9, 0, 0, 0)


async def test_equal_requests_with_a_seed_are_jobs_of_their_own(client, database):
    same = {"input": {"prompt": "a fox", "seed": 1}}
    batch_id = (await ok(client.post(BATCH, json=[same, same])))["id"]
    await ok(client.post(f"/v2/{FLUX}/run", json=same))

    await ok(client.post(f"{BATCH}/{batch_id}/finalize"))

    assert await count(database, "jobs") == 3


@pytest.mark.parametrize("by", ["finalize", "sweep"])
@pytest.mark.usefixtures("cut_off")
async def test_a_batch_that_was_left_half_way_is_completed(client, runtime, database, by):
    batch_id = await make(client, 9)
    cut = await client.post(f"{BATCH}/{batch_id}/finalize")
    half = await count(database, "jobs")

    if by == "finalize":
        await ok(client.post(f"{BATCH}/{batch_id}/finalize"))
    else:
        await sweep_lanes(runtime)

    jobs = await execute(database, "SELECT id, input FROM jobs ORDER BY id")
    assert (cut.status_code, half) == (503, 4)
    assert [(str(job.id), job.input["prompt"]) for job in jobs] == [
        (request["id"], f"fox {number}")
        for number, request in enumerate(await requests(client, batch_id))
    ]
    unfinished = "batches WHERE finalized_at IS NULL"
    assert await count(database, unfinished) == 0


async def test_large_requests_are_enqueued_one_by_one(client, database, monkeypatch):
    monkeypatch.setattr(tasks.batch, "STEP_BYTES", 1)

    await make(client, 3, finalized=True)

    assert await count(database, "jobs") == 3


async def test_requests_are_counted_by_the_states_of_their_jobs(client, database):
    batch_id = await make(client, 6, finalized=True)
    ids = [one["id"] for one in await requests(client, batch_id)]
    for job_id, state in zip(ids, ("completed", "failed", "timed_out", "cancelled"), strict=False):
        await end(database, job_id, state)
    await begin(database, ids[4])

    assert await counts(client, batch_id) == ("FINALIZED", 6, 1, 1, 3)
    listed = await requests(client, batch_id)
    words = ["COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED", "IN_PROGRESS", "IN_QUEUE"]
    assert [one["status"] for one in listed] == words
    assert ["completedAt" in one for one in listed] == [True] * 4 + [False] * 2
    assert ["error" in one for one in listed] == [False, *[True] * 3, False, False]


async def test_a_cancel_drops_what_waits_and_lets_run_what_runs(client, database):
    batch_id = await make(client, 3, finalized=True)
    ended, running, _ = [one["id"] for one in await requests(client, batch_id)]
    await end(database, ended)
    await begin(database, running)

    cancelled = await ok(client.post(f"{BATCH}/{batch_id}/cancel"))
    before = await counts(client, batch_id)
    await end(database, running)

    assert cancelled["status"] == "FINALIZED"  # until all has ended
    assert before == ("FINALIZED", 3, 1, 1, 1)
    assert await counts(client, batch_id) == ("CANCELLED", 3, 0, 2, 1)
    again = await ok(client.post(f"{BATCH}/{batch_id}/cancel"))
    assert again["status"] == "CANCELLED"


async def test_a_cancelled_draft_never_runs(client, database, runtime):
    batch_id = await make(client, 2)

    await ok(client.post(f"{BATCH}/{batch_id}/cancel"))
    refused = await client.post(f"{BATCH}/{batch_id}/finalize")
    await sweep_lanes(runtime)

    assert refused.status_code == 400
    assert refused.json()["error"] == "the batch is CANCELLED; DRAFT or FINALIZED was wanted"
    assert await counts(client, batch_id) == ("CANCELLED", 2, 0, 0, 2)
    assert {one["error"] for one in await requests(client, batch_id)} == {"the batch was cancelled"}
    assert await count(database, "jobs") == 0


@pytest.mark.usefixtures("cut_off")
async def test_a_batch_cancelled_half_way_is_enqueued_no_further(client, database, runtime):
    batch_id = await make(client, 9)
    cut = await client.post(f"{BATCH}/{batch_id}/finalize")

    await ok(client.post(f"{BATCH}/{batch_id}/cancel"))
    await sweep_lanes(runtime)

    assert cut.status_code == 503
    assert await count(database, "jobs") == 4
    assert await counts(client, batch_id) == ("CANCELLED", 9, 0, 0, 9)
    assert {one["status"] for one in await requests(client, batch_id)} == {"CANCELLED"}


async def test_a_cancel_in_the_midst_of_enqueuing_leaves_nothing_queued(
    client, database, monkeypatch
):
    batch_id = await make(client, 2)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(session, incoming):
        begun.set()
        await go_on.wait()
        return await accept(session, incoming)

    monkeypatch.setattr(tasks.batch, "accept", slowly)
    async with asyncio.timeout(20), asyncio.TaskGroup() as at_once:
        at_once.create_task(ok(client.post(f"{BATCH}/{batch_id}/finalize")))
        await begun.wait()
        cancelling = at_once.create_task(ok(client.post(f"{BATCH}/{batch_id}/cancel")))
        waits = "pg_locks WHERE NOT granted"
        while not cancelling.done() and not await count(database, waits):  # noqa: ASYNC110 -- Postgres knows
            await asyncio.sleep(0.01)
        go_on.set()

    assert await counts(client, batch_id) == ("CANCELLED", 2, 0, 0, 2)
    assert await count(database, "jobs WHERE state = 'cancelled'") == 2


async def test_a_batch_whose_requests_are_no_longer_taken_fails(client, database, monkeypatch):
    batch_id = await make(client, 2)

    def refuse(_catalogue, asked, **_options):
        raise InvalidRequest(asked.endpoint, ["it was withdrawn"])

    monkeypatch.setattr(tasks.batch, "check_request", refuse)
    failed = await ok(client.post(f"{BATCH}/{batch_id}/finalize"))

    assert (failed["status"], failed["error"]) == ("FAILED", f"{FLUX}: it was withdrawn")
    assert await counts(client, batch_id) == ("FAILED", 2, 0, 0, 2)
    assert {one["error"] for one in await requests(client, batch_id)} == {failed["error"]}
    assert (await client.post(f"{BATCH}/{batch_id}/cancel")).status_code == 400
    assert await count(database, "jobs") == 0


@pytest.mark.usefixtures("emulator")
async def test_a_key_that_takes_stored_results_is_given_them(gateway_app, issue, runtime):
    key, _ = await issue("saver", Scope.RUN, result_cache=True)
    same = {"input": {"prompt": "a fox", "seed": 1}}
    async with client_of(gateway_app, key) as client:
        first = await ok(client.post(f"/v2/{FLUX}/run", json=same))
        await complete(runtime, first["id"])
        batch_id = (await ok(client.post(BATCH, json=[same])))["id"]

        await ok(client.post(f"{BATCH}/{batch_id}/finalize"))

        assert await counts(client, batch_id) == ("FINALIZED", 1, 0, 1, 0)


ROUTES = [
    ("GET", "/{batch}"),
    ("PUT", "/{batch}"),
    ("POST", "/{batch}/requests"),
    ("GET", "/{batch}/requests"),
    ("DELETE", "/{batch}/requests/{request}"),
    ("POST", "/{batch}/finalize"),
    ("POST", "/{batch}/cancel"),
]
BODIES = {"PUT": {"name": "x"}, "POST": {"requests": items(1)}}


async def act(client, method, path, *, endpoint=FLUX, batch=NOBODY, request=NOBODY):
    path = f"/v2/{endpoint}/batch" + path.format(batch=batch, request=request)
    return await client.request(method, path, json=BODIES.get(method))


async def test_a_batch_is_its_key_s_own(client, gateway_app, issue):
    batch_id = await make(client, 1)
    [request] = await requests(client, batch_id)
    before = await ok(client.get(f"{BATCH}/{batch_id}"))
    key, _ = await issue("other", Scope.RUN)

    async with client_of(gateway_app, key) as other:
        refused = {
            path: (
                await act(other, method, path, batch=batch_id, request=request["id"])
            ).status_code
            for method, path in ROUTES
        }
        listed = await ok(other.get(BATCH))

    assert set(refused.values()) == {404}, refused
    assert listed == {"batches": []}
    assert await ok(client.get(f"{BATCH}/{batch_id}")) == before


async def test_a_key_that_operates_sees_and_runs_everybody_s(client, gateway_app, issue):
    batch_id = await make(client, 1)
    key, _ = await issue("operator", Scope.OPERATE)

    async with client_of(gateway_app, key) as operator:
        [listed] = (await ok(operator.get(BATCH)))["batches"]
        await ok(operator.post(f"{BATCH}/{batch_id}/finalize"))

    assert listed["id"] == batch_id
    [job] = await requests(client, batch_id)
    await ok(client.get(f"/v2/{FLUX}/status/{job['id']}"))  # it is its maker's still


@pytest.mark.parametrize(
    ("endpoint", "batch"), [(FLUX, NOBODY), (FLUX, "no-id"), (FLUX, "%00"), ("another", None)]
)
async def test_a_batch_that_is_not_there_is_not_found(client, endpoint, batch):
    batch = batch or await make(client)

    answers = [
        await act(client, method, path, endpoint=endpoint, batch=batch) for method, path in ROUTES
    ]

    said = {(answer.status_code, answer.json()["status"]) for answer in answers}
    assert said == {(404, "FAILED")}


async def test_who_may_do_what(gateway, gateway_app, issue):
    key, _ = await issue("reader", Scope.READ)
    routes = [("POST", ""), ("GET", ""), *ROUTES]

    strangers = {(await act(gateway, *route)).status_code for route in routes}
    async with client_of(gateway_app, key) as reader:
        refused = [route for route in routes if (await act(reader, *route)).status_code == 403]

    assert strangers == {401}
    assert refused == [route for route in routes if route[0] != "GET"]


@pytest.mark.parametrize(
    "page", ["offset=-1", "limit=0", "limit=501", "offset=x", f"offset=1{'0' * 30}"]
)
async def test_a_page_out_of_bounds_is_refused(client, page):
    batch_id = await make(client)

    refused = await client.get(f"{BATCH}/{batch_id}/requests?{page}")

    assert (refused.status_code, refused.json()["status"]) == (422, "FAILED")


async def test_a_withdrawn_endpoint_takes_no_batch(client):
    refused = await client.post("/v2/whisper-v3-large/batch", json=[])

    assert refused.status_code == 404
    assert "withdrawn" in refused.json()["error"]
