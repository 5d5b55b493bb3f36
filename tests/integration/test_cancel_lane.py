"""Cancels of jobs in flight: at the upstream's pace, and what came of the job is what it says."""

import asyncio
import dataclasses
from typing import Any
from uuid import UUID

import httpx
import pytest
from aiohttp import web
from sqlalchemy import text

from endpoints.emulator.app import create_app
from endpoints.emulator.config import EmulatorConfig
from models.base import new_id
from models.interventions import cancel_jobs
from models.job import TERMINAL, JobState, Reason
from models.job_queries import get_job
from models.lane import Lane, StageName
from models.transitions import NewJob, enqueue_jobs
from tasks import retry_policy
from tasks.cancel import CANCEL
from tasks.poll import POLL
from tasks.submit import SUBMIT
from workers.lane import LaneRun, Stage

SLOW = "slow"
LAST = UUID("ffffffff-ffff-4fff-bfff-ffffffffffff")  # of those that are due together
STAGES: tuple[Stage[Any, Any], ...] = (CANCEL, POLL)
TAKES = 9_000.0  # emulated seconds: minutes here


@pytest.fixture
async def slow(runtime, settings):
    """The emulator with an endpoint whose jobs take `TAKES`; quotas that were never forgotten."""
    await runtime.redis.set(f"{settings.redis_prefix}quota:since", 0)
    config = EmulatorConfig(
        port=settings.emulator_port, clock_factor=settings.emulator_clock, spread=0.0
    )
    runner = web.AppRunner(create_app(config), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", settings.emulator_port).start()
    base = f"http://127.0.0.1:{settings.emulator_port}"
    async with httpx.AsyncClient(base_url=base, timeout=10) as client:
        await client.post("/admin/custom", json={"endpoint": SLOW, "execution_seconds": TAKES})
        yield client
    await runner.cleanup()


@pytest.fixture
def cancels_again_at_once(monkeypatch):
    policy = dataclasses.replace(retry_policy.CANCEL, first_seconds=0.0)
    monkeypatch.setattr(retry_policy, "CANCEL", policy)
    monkeypatch.setattr("models.lane.BREAK_AFTER", 1000)  # test_breaker.py


async def fly(runtime, *job_ids):
    """Hand jobs in, and have the upstream take them."""
    jobs = [
        NewJob(
            id=job_id,
            endpoint=SLOW,
            input={"prompt": "a fox"},
            policy={"executionTimeout": 3_600_000},
        )
        for job_id in job_ids
    ]
    async with runtime.database.begin() as session:
        await enqueue_jobs(session, jobs)
    while await LaneRun(runtime, SUBMIT, SLOW).run():
        pass


async def cancel(runtime, *job_ids):
    async with runtime.database.begin() as session:
        await cancel_jobs(session, job_ids=job_ids)


async def find_job(runtime, job_id):
    async with runtime.database.begin() as session:
        return await get_job(session, job_id)


async def count_open(runtime):
    async with runtime.database.begin() as session:
        return await session.scalar(text("SELECT count(*) FROM jobs WHERE finished_at IS NULL"))


async def fault(emulator, kind, **options):
    response = await emulator.post("/admin/faults", json={"kind": kind, **options})
    assert response.is_success, response.text


async def asked(emulator, operation):
    """What the emulator was asked of an operation, and how it answered."""
    stats = (await emulator.get("/admin/stats")).json()["endpoints"][SLOW]
    return stats.get(operation, {"requests": 0, "answered": {}, "rejected_429": 0})


async def work_until_ended(runtime, *, seconds=10.0, workers=1):
    """Workers that never rest run the cancel and the poll stage until every job has ended."""

    async def work():
        while await count_open(runtime):
            for stage in STAGES:
                await LaneRun(runtime, stage, SLOW).run()
            await asyncio.sleep(0.05)

    async with asyncio.timeout(seconds):
        await asyncio.gather(*(work() for _ in range(workers)))


async def test_three_hundred_cancels_keep_to_the_quota_and_a_result_that_came_first_is_kept(
    runtime, slow
):
    await fly(runtime, LAST)
    await slow.post("/admin/clock", json={"skip_seconds": TAKES - 60})  # 3 s here
    others = [new_id() for _ in range(299)]
    await fly(runtime, *others)

    await cancel(runtime, *others, LAST)
    await work_until_ended(runtime, seconds=60, workers=3)

    cancels = await asked(slow, "cancel")
    assert cancels["requests"] == 300
    assert cancels["rejected_429"] == 0
    assert cancels["peak_window"] <= 100
    assert cancels["peak_concurrent"] <= 20
    kept = await find_job(runtime, LAST)
    assert (kept.state, kept.reason, kept.output is not None) == (JobState.COMPLETED, None, True)
    assert {(await find_job(runtime, job_id)).state for job_id in others} == {JobState.CANCELLED}
    assert (await slow.get("/admin/stats")).json()["jobs"]["cancelled"] == 299


async def test_a_job_is_not_asked_for_before_its_cancel_was_answered(runtime, slow):
    job_id = new_id()
    await fly(runtime, job_id)
    await cancel(runtime, job_id)

    before = await LaneRun(runtime, POLL, SLOW).run()
    cancelled = await LaneRun(runtime, CANCEL, SLOW).run()
    after = await LaneRun(runtime, POLL, SLOW).run()

    assert (before, cancelled, after) == (0, 1, 1)
    assert (await asked(slow, "status"))["requests"] == 1
    job = await find_job(runtime, job_id)
    assert (job.state, job.reason) == (JobState.CANCELLED, Reason.CANCELLED)


@pytest.mark.usefixtures("cancels_again_at_once")
@pytest.mark.parametrize("kind", ["error", "html", "reset_before"])
async def test_a_cancel_that_is_not_answered_is_sent_again(runtime, slow, kind):
    job_id = new_id()
    await fly(runtime, job_id)
    await fault(slow, kind, operation="cancel", count=2)

    await cancel(runtime, job_id)
    await work_until_ended(runtime)

    job = await find_job(runtime, job_id)
    assert (job.state, job.cancel_tries) == (JobState.CANCELLED, 3)


@pytest.mark.usefixtures("cancels_again_at_once")
async def test_a_cancel_that_is_never_answered_is_given_up_and_the_job_followed(runtime, slow):
    job_id = new_id()
    await fly(runtime, job_id)
    await fault(slow, "error", status=500, operation="cancel")
    await cancel(runtime, job_id)

    for _ in range(retry_policy.CANCEL.sends + 3):
        await LaneRun(runtime, CANCEL, SLOW).run()
    given_up = await find_job(runtime, job_id)
    await slow.post("/admin/clock", json={"skip_seconds": TAKES + 60})
    await work_until_ended(runtime)

    assert given_up.cancel_tries == retry_policy.CANCEL.sends
    assert given_up.cancel_sent_at is not None
    assert (await asked(slow, "cancel"))["requests"] == retry_policy.CANCEL.sends
    job = await find_job(runtime, job_id)
    assert (job.state, job.output is not None) == (JobState.COMPLETED, True)


async def test_a_cancel_that_is_told_to_wait_holds_the_lane_and_is_no_try(runtime, slow):
    job_id = new_id()
    await fly(runtime, job_id)
    await fault(slow, "busy", operation="cancel", count=1, retry_after=30)
    await cancel(runtime, job_id)

    await LaneRun(runtime, CANCEL, SLOW).run()

    job = await find_job(runtime, job_id)
    assert (job.state in TERMINAL, job.cancel_tries, job.cancel_sent_at) == (False, 0, None)
    assert await LaneRun(runtime, CANCEL, SLOW).run() == 0
    async with runtime.database.begin() as session:
        lane = await session.get(Lane, (StageName.CANCEL, SLOW))
        assert "429" in str(lane.closed_reason)
        await session.execute(text("UPDATE lanes SET closed_until = now()"))
    await work_until_ended(runtime)
    assert (await find_job(runtime, job_id)).state is JobState.CANCELLED


async def test_a_job_that_the_upstream_no_longer_knows_is_cancelled_after_a_second_look(
    runtime, slow
):
    job_id = new_id()
    await fault(slow, "lose_job", count=1)
    await fly(runtime, job_id)

    await cancel(runtime, job_id)
    await work_until_ended(runtime)

    job = await find_job(runtime, job_id)
    assert (job.state, job.reason) == (JobState.CANCELLED, Reason.CANCELLED)
    assert (await asked(slow, "status"))["requests"] == 2


@pytest.mark.parametrize("reason", [Reason.NOT_STARTED, Reason.TTL_PASSED, Reason.RAN_TOO_LONG])
async def test_one_that_was_given_up_is_cancelled_by_the_same_lane_and_ends_timed_out(
    runtime, slow, reason
):
    job_id = new_id()
    await fly(runtime, job_id)
    async with runtime.database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET cancel_requested_at = now(), cancel_reason = :reason"),
            {"reason": reason},
        )
        await session.execute(text("UPDATE jobs SET next_at = now()"))

    await work_until_ended(runtime)

    job = await find_job(runtime, job_id)
    assert (job.state, job.reason) == (JobState.TIMED_OUT, reason)
    assert (await slow.get("/admin/stats")).json()["jobs"]["cancelled"] == 1
