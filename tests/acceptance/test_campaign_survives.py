"""A campaign on real processes: every job once, whatever dies on the way."""

import asyncio
import hashlib
import os
import signal
from decimal import Decimal

import httpx
import pytest
import redis
from sqlalchemy import text

from models.artifact import ArtifactState, list_artifacts
from models.campaign import add_campaign, close_campaign
from models.campaign_figures import count_jobs
from models.job import OnUnknown
from tasks.intake import Request, check_request, enqueue
from workers.app import make_app
from workers.runtime import open_runtime
from workers.stack.supervisor import Supervisor
from workers.store import read

FLUX = "black-forest-labs-flux-1-schnell"


async def start_campaign(runtime, jobs):
    """Enqueue `jobs` requests that differ by their prompts."""
    requests = [
        {"prompt": f"picture {number}", "width": 256, "height": 256} for number in range(jobs)
    ]
    async with runtime.database.begin() as session:
        campaign_id = await add_campaign(session, name="test", endpoint=FLUX)
    await enqueue(
        runtime,
        [
            check_request(
                runtime.catalogue,
                Request(endpoint=FLUX, input=values, campaign_id=campaign_id, position=line),
                on_unknown=OnUnknown.RESUBMIT,
            ).job
            for line, values in enumerate(requests)
        ],
    )
    async with runtime.database.begin() as session:
        await close_campaign(session, campaign_id)
    return campaign_id


async def wait_until(runtime, campaign_id, reached, *, seconds=200):
    async with asyncio.timeout(seconds):
        while True:
            async with runtime.database.begin() as session:
                progress = await count_jobs(session, campaign_id)
            if reached(progress):
                return progress
            await asyncio.sleep(0.1)


async def admin(settings, path):
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.emulator_port}") as client:
        return (await client.get(f"/admin/{path}")).json()


async def check_everything(runtime, campaign_id, *, jobs):
    """All completed, each billed once, each file what its hash says, no limit ever exceeded."""
    progress = await wait_until(runtime, campaign_id, lambda progress: progress.settled)
    assert (progress.completed, progress.failed, progress.files_stored) == (jobs, 0, jobs)

    async with runtime.database.begin() as session:
        artifacts = await list_artifacts(session, campaign_id=campaign_id)
        spent = await session.scalar(text("SELECT sum(cost_usd) FROM attempts"))
        costs = await session.scalar(text("SELECT sum(cost_usd) FROM jobs"))
    ledger = await admin(runtime.settings, "ledger")
    assert spent == costs == Decimal(ledger["total_usd"])
    stats = await admin(runtime.settings, "stats")
    refused = [operation["rejected_429"] for operation in stats["endpoints"][FLUX].values()]
    assert sum(refused) == 0
    for artifact in artifacts:
        assert artifact.state is ArtifactState.STORED
        assert artifact.store_key is not None
        stored = await read(runtime.store, artifact.store_key)
        assert hashlib.sha256(stored).hexdigest() == artifact.sha256
    return stats


@pytest.fixture
async def stack_runtime(stack):
    async with open_runtime(stack, make_app(stack), name="tests") as runtime:
        yield runtime


async def test_a_campaign_completes_and_needs_far_fewer_messages_than_jobs(stack, stack_runtime):
    connection = redis.Redis.from_url(stack.redis_dsn)
    before = connection.info("commandstats")["cmdstat_lpush"]["calls"]

    campaign_id = await start_campaign(stack_runtime, 400)
    await check_everything(stack_runtime, campaign_id, jobs=400)

    pushed = connection.info("commandstats")["cmdstat_lpush"]["calls"] - before
    connection.close()
    assert pushed < 200  # with a sweep every two seconds among them


async def test_a_killed_worker_and_a_flushed_redis_lose_nothing_and_pay_nothing_twice(
    stack, stack_runtime
):
    campaign_id = await start_campaign(stack_runtime, 600)
    await wait_until(stack_runtime, campaign_id, lambda progress: progress.running > 0)

    victim = next(one for one in Supervisor(stack).states() if one.name == "worker-1")
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    await wait_until(stack_runtime, campaign_id, lambda progress: progress.completed > 200)
    connection = redis.Redis.from_url(stack.redis_dsn)
    connection.flushall()
    connection.close()

    progress = await wait_until(stack_runtime, campaign_id, lambda progress: progress.settled)
    async with stack_runtime.database.begin() as session:
        spent = await session.scalar(text("SELECT sum(cost_usd) FROM attempts"))
    assert (progress.completed, progress.failed, progress.files_stored) == (600, 0, 600)
    assert spent == Decimal((await admin(stack, "ledger"))["total_usd"])


async def test_a_celery_producer_gets_the_final_result_under_its_task_id(stack):
    app = make_app(stack)
    sent = await asyncio.to_thread(
        app.send_task,
        "pressroom.generate",
        kwargs={"endpoint": FLUX, "input": {"prompt": "a heron", "width": 256, "height": 256}},
        ignore_result=False,
    )

    result = await asyncio.to_thread(sent.get, timeout=30)

    assert (result["id"], result["status"]) == (sent.id, "COMPLETED")
    assert result["artifacts"][0]["sha256"]
    app.close()


async def test_a_celery_producer_of_a_bad_request_is_told_what_is_wrong(stack):
    app = make_app(stack)
    sent = await asyncio.to_thread(
        app.send_task,
        "pressroom.generate",
        kwargs={"endpoint": FLUX, "input": {"width": 256}},
        ignore_result=False,
    )

    with pytest.raises(Exception, match="prompt"):
        await asyncio.to_thread(sent.get, timeout=30)
    app.close()
