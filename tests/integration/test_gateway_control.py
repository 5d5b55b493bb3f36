"""`/v2`: what is asked of jobs that are there: cancel, retry, purge-queue, health."""

import asyncio

import pytest

from models.base import new_id
from models.job import JobState, Reason
from models.job_queries import list_attempts
from models.key import Scope
from models.setting import put_setting
from models.transitions import claim_submissions, follow_hints
from tasks.cancel import CANCEL
from tasks.poll import POLL
from tasks.submit import SUBMIT
from tests.integration.conftest import FLUX, client_of, complete, find_job, run_until

FOX = {"input": {"prompt": "a fox"}}
VIDEO = "vidu-q3-t2v"  # takes seconds here


async def submit(client, *, endpoint=FLUX, body=FOX):
    response = await client.post(f"/v2/{endpoint}/run", json=body)
    assert response.status_code == 200, response.text
    return response.json()["id"]


async def fail_one(client, runtime, emulator):
    """The id of a job that failed upstream."""
    await emulator.post("/admin/faults", json={"kind": "fail_job", "count": 1})
    job_id = await submit(client)
    job = await run_until(runtime, job_id)
    assert job.state is JobState.FAILED
    return job_id


async def read_counts(client, *, endpoint=FLUX):
    return (await client.get(f"/v2/{endpoint}/health")).json()["jobs"]


async def test_a_queued_job_is_cancelled_at_once_and_may_be_so_twice(client, runtime):
    job_id = await submit(client)

    replies = [await client.post(f"/v2/{FLUX}/cancel/{job_id}") for _ in range(2)]

    assert [reply.json() for reply in replies] == [{"id": job_id, "status": "CANCELLED"}] * 2
    job = await find_job(runtime, job_id)
    assert (job.state, job.reason) == (JobState.CANCELLED, Reason.CANCELLED)


@pytest.mark.usefixtures("emulator")
async def test_a_job_in_flight_is_cancelled_upstream_before_it_is_answered(client, runtime):
    job_id = await submit(client, endpoint=VIDEO)
    await run_until(runtime, job_id, {JobState.IN_QUEUE}, endpoint=VIDEO, stages=[SUBMIT])

    cancelling = asyncio.create_task(client.post(f"/v2/{VIDEO}/cancel/{job_id}"))
    await run_until(runtime, job_id, endpoint=VIDEO, stages=[CANCEL, POLL])

    assert (await cancelling).json() == {"id": job_id, "status": "CANCELLED"}


@pytest.mark.usefixtures("emulator")
async def test_a_cancel_of_a_finished_job_is_answered_with_how_it_ended(client, runtime):
    job_id = await submit(client)
    await complete(runtime, job_id)

    response = await client.post(f"/v2/{FLUX}/cancel/{job_id}")

    assert (response.status_code, response.json()) == (200, {"id": job_id, "status": "COMPLETED"})
    assert (await find_job(runtime, job_id)).state is JobState.COMPLETED


async def test_a_retried_job_runs_again_under_its_id_without_what_it_was(client, runtime, emulator):
    job_id = await fail_one(client, runtime, emulator)

    retried = await client.post(f"/v2/{FLUX}/retry/{job_id}")
    status = await client.get(f"/v2/{FLUX}/status/{job_id}")
    job = await complete(runtime, job_id)

    assert retried.json() == status.json() == {"id": job_id, "status": "IN_QUEUE"}
    assert (job.state, job.error, job.attempt, job.retries) == (JobState.COMPLETED, None, 2, 1)


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("end", ["completed", "cancelled", "queued"])
async def test_only_what_failed_or_timed_out_is_retried(client, runtime, end):
    job_id = await submit(client)
    if end == "completed":
        await complete(runtime, job_id)
    elif end == "cancelled":
        await client.post(f"/v2/{FLUX}/cancel/{job_id}")
    before = await client.get(f"/v2/{FLUX}/status/{job_id}")

    response = await client.post(f"/v2/{FLUX}/retry/{job_id}")

    assert response.status_code == 400
    assert response.json()["id"] == job_id
    assert before.json()["status"] in response.json()["error"]
    assert (await client.get(f"/v2/{FLUX}/status/{job_id}")).json() == before.json()


async def test_a_hint_of_the_attempt_before_a_retry_changes_nothing(client, runtime, emulator):
    job_id = await fail_one(client, runtime, emulator)
    job = await find_job(runtime, job_id)
    async with runtime.database.begin() as session:
        [old] = await list_attempts(session, job.id)
    await client.post(f"/v2/{FLUX}/retry/{job_id}")

    async with runtime.database.begin() as session:
        while_queued = await follow_hints(session, [(job.id, old.lease, str(old.upstream_id))])
        [claimed] = await claim_submissions(
            session, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
        )
        while_sent = await follow_hints(session, [(job.id, old.lease, str(old.upstream_id))])

    assert [list(while_queued), list(while_sent)] == [[], []]
    job = await find_job(runtime, job_id)
    assert (job.state, job.lease, job.upstream_id) == (JobState.SUBMITTING, claimed.lease, None)


@pytest.mark.usefixtures("without_waits")
async def test_attempts_are_counted_anew_after_a_retry(client, runtime, emulator):
    async with runtime.database.begin() as session:
        await put_setting(session, name="max_attempts", value=3)
    await emulator.post("/admin/faults", json={"kind": "error", "status": 500, "operation": "run"})
    job_id = await submit(client)
    first = await run_until(runtime, job_id)
    await client.post(f"/v2/{FLUX}/retry/{job_id}")

    second = await run_until(runtime, job_id)

    assert (first.attempt, second.attempt) == (3, 6)
    assert second.state is JobState.FAILED
    assert "3 attempts" in str(second.error)


async def test_a_purge_of_nothing_removes_nothing(client):
    response = await client.post(f"/v2/{FLUX}/purge-queue")

    assert (response.status_code, response.json()) == (200, {"removed": 0, "status": "completed"})


@pytest.mark.usefixtures("emulator")
async def test_a_purge_takes_the_keys_own_waiting_jobs_and_lets_what_runs_go_on(
    gateway_app, client, issue, runtime
):
    running = await submit(client, endpoint=VIDEO)
    await run_until(runtime, running, {JobState.IN_PROGRESS}, endpoint=VIDEO)
    queued = [await submit(client, endpoint=VIDEO) for _ in range(3)]
    elsewhere = await submit(client)
    stranger, _ = await issue("stranger", Scope.RUN)
    async with client_of(gateway_app, stranger) as other:
        theirs = await submit(other, endpoint=VIDEO)

    response = await client.post(f"/v2/{VIDEO}/purge-queue")

    assert response.json() == {"removed": 3, "status": "completed"}
    states = {job_id: (await find_job(runtime, job_id)).state for job_id in queued}
    assert set(states.values()) == {JobState.CANCELLED}
    assert (await find_job(runtime, running)).state is JobState.IN_PROGRESS
    for job_id in (elsewhere, theirs):
        assert (await find_job(runtime, job_id)).state is JobState.QUEUED


@pytest.mark.usefixtures("emulator")
async def test_a_purge_removes_what_waits_in_the_upstreams_queue(client, runtime):
    job_id = await submit(client, endpoint=VIDEO)
    await run_until(runtime, job_id, {JobState.IN_QUEUE}, endpoint=VIDEO, stages=[SUBMIT])

    purging = asyncio.create_task(client.post(f"/v2/{VIDEO}/purge-queue"))
    await run_until(runtime, job_id, endpoint=VIDEO, stages=[CANCEL, POLL])

    assert (await purging).json()["removed"] == 1
    assert (await find_job(runtime, job_id)).state is JobState.CANCELLED


async def test_a_purge_of_many_is_answered_when_all_have_ended(client, runtime, monkeypatch):
    """Not one look after the other: they are waited for together."""
    monkeypatch.setattr("gateway.end_watch.LOOK_SECONDS", 0.5)
    job_ids = [await submit(client) for _ in range(30)]

    async with asyncio.timeout(4):  # a look for each would take 15 s, and a purge gives up after 2
        response = await client.post(f"/v2/{FLUX}/purge-queue")

    assert response.json()["removed"] == 30
    assert (await find_job(runtime, job_ids[-1])).state is JobState.CANCELLED


async def test_health_counts_the_keys_own_jobs_and_the_upstreams_workers(
    gateway_app, client, issue, runtime, emulator
):
    failed = await fail_one(client, runtime, emulator)
    done = await submit(client)
    await complete(runtime, done)
    await submit(client)
    await submit(client, endpoint=VIDEO)
    stranger, _ = await issue("stranger", Scope.RUN)

    async with client_of(gateway_app, stranger) as other:
        theirs = await read_counts(other)
    health = (await client.get(f"/v2/{FLUX}/health")).json()

    assert health["jobs"] == {
        "completed": 1,
        "failed": 1,
        "inProgress": 0,
        "inQueue": 1,
        "retried": 0,
    }
    assert theirs == dict.fromkeys(health["jobs"], 0)
    assert health["workers"].keys() == {"idle", "initializing", "ready", "running", "throttled"}
    assert all(type(count) is int for count in health["workers"].values())
    await client.post(f"/v2/{FLUX}/retry/{failed}")
    await complete(runtime, failed)
    assert (await read_counts(client))["retried"] == 1


async def test_health_answers_while_the_upstream_does_not(client):
    response = await client.get(f"/v2/{FLUX}/health")

    assert response.status_code == 200
    assert set(response.json()["workers"].values()) == {0}


async def test_requests_lists_the_keys_own_newest_first(gateway_app, client, issue):
    first, second = [await submit(client) for _ in range(2)]
    await submit(client, endpoint=VIDEO)
    stranger, _ = await issue("stranger", Scope.RUN)
    async with client_of(gateway_app, stranger) as other:
        await submit(other)

    listed = (await client.get(f"/v2/{FLUX}/requests")).json()

    assert listed == {
        "requests": [{"id": job_id, "status": "IN_QUEUE"} for job_id in (second, first)]
    }


@pytest.mark.parametrize("path", ["health", "requests", "purge-queue"])
@pytest.mark.parametrize("name", ["seedance-1-0-pro", "-x", "a" * 129, "%00"])
async def test_a_name_of_no_endpoint_is_not_found(client, path, name):
    method = client.post if path == "purge-queue" else client.get

    response = await method(f"/v2/{name}/{path}")

    assert response.status_code == 404
    assert response.json()["status"] == "FAILED"
