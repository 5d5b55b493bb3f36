"""The command line cancels many: queued ones at once, those upstream as fast as it lets us."""

import asyncio
import contextlib

import pytest

from gateway.cli.cancelling import cancel_jobs
from models.base import new_id
from models.job import JobState
from models.job_queries import JobFilter, list_jobs
from models.transitions import NewJob, enqueue_jobs
from tasks.cancel import CANCEL
from tasks.poll import POLL
from tasks.submit import SUBMIT
from tests.integration.conftest import run_until
from workers.lane import LaneRun

ENDPOINT = "my-own-endpoint"

pytestmark = pytest.mark.usefixtures("own_endpoint")


async def add_jobs(runtime, count):
    jobs = [NewJob(id=new_id(), endpoint=ENDPOINT, input={"n": n}) for n in range(count)]
    async with runtime.database.begin() as session:
        await enqueue_jobs(session, jobs)
    return [job.id for job in jobs]


async def work_until_done(runtime, task):
    """Work on the lanes until somebody else's task is done; gives its result."""
    async with asyncio.timeout(60):
        while not task.done():
            await LaneRun(runtime, CANCEL, ENDPOINT).run()
            await LaneRun(runtime, POLL, ENDPOINT).run()
            await asyncio.wait([task], timeout=0.02)
    return await task


async def states(runtime, job_ids):
    async with runtime.database.begin() as session:
        jobs = await list_jobs(session, JobFilter(job_ids=job_ids), limit=None)
    return {job.state for job in jobs}


@pytest.fixture
async def own_endpoint(emulator):
    """One whose jobs outlast the test."""
    pace = {"endpoint": ENDPOINT, "execution_seconds": 10_000}
    assert (await emulator.post("/admin/custom", json=pace)).status_code == 200


async def test_waiting_for_a_cancel_is_waiting_for_the_upstream(runtime):
    running = await add_jobs(runtime, 12)
    await LaneRun(runtime, SUBMIT, ENDPOINT).run()
    queued = await add_jobs(runtime, 3)
    changed = await work_until_done(
        runtime, asyncio.create_task(cancel_jobs(runtime, [*running, *queued], wait=True))
    )

    assert {changed[job_id] for job_id in queued} == {JobState.CANCELLED}
    assert await states(runtime, [*running, *queued]) == {JobState.CANCELLED}


async def test_without_waiting_those_upstream_are_left_to_the_workers(runtime):
    [job_id] = await add_jobs(runtime, 1)
    await LaneRun(runtime, SUBMIT, ENDPOINT).run()

    changed = await cancel_jobs(runtime, [job_id], wait=False)

    assert changed == {job_id: JobState.IN_QUEUE}


async def test_whoever_stops_waiting_has_asked_all_the_same(runtime):
    [job_id] = await add_jobs(runtime, 1)
    await LaneRun(runtime, SUBMIT, ENDPOINT).run()

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(cancel_jobs(runtime, [job_id], wait=True), 1)
    await run_until(
        runtime, job_id, (JobState.CANCELLED,), endpoint=ENDPOINT, stages=(CANCEL, POLL)
    )
