"""Redis and Postgres die under a running stack; it goes on by itself."""

import asyncio
import os
import signal

import redis
from sqlalchemy import text

from models.errors import DatabaseUnavailable
from models.job import JobState, OnUnknown
from models.job_queries import get_job
from models.lane import StageName
from tasks.intake import Request, check_request, enqueue
from workers.app import make_app
from workers.runtime import open_runtime
from workers.stack.supervisor import Supervisor

FLUX = "black-forest-labs-flux-1-schnell"


def pid_of(stack, name):
    return next(state.pid for state in Supervisor(stack).states() if state.name == name)


async def run_job(runtime):
    """A job from its start to its end; what is away for a moment is waited for."""
    request = Request(endpoint=FLUX, input={"prompt": "a jay", "width": 256, "height": 256})
    job = check_request(runtime.catalogue, request, on_unknown=OnUnknown.RESUBMIT).job
    async with asyncio.timeout(60):
        while True:
            try:
                await enqueue(runtime, [job])
                async with runtime.database.begin() as session:
                    found = await get_job(session, job.id)
            except DatabaseUnavailable:
                found = None
            if found is not None and found.state is JobState.COMPLETED:
                return
            await asyncio.sleep(0.2)


def held_countdowns(stack):
    """How many messages workers hold unacknowledged: bells that wait for their time."""
    connection = redis.Redis.from_url(stack.redis_dsn)
    try:
        return connection.hlen(f"{stack.redis_prefix}unacked")
    finally:
        connection.close()


async def test_workers_that_hold_a_countdown_outlive_their_redis(stack):
    workers = [pid_of(stack, "worker-1"), pid_of(stack, "worker-2")]
    async with open_runtime(stack, make_app(stack), name="tests") as runtime:
        await run_job(runtime)
        for number in range(4):
            await runtime.bells.ring(StageName.POLL, f"nobody-{number}", in_seconds=50)
        async with asyncio.timeout(10):
            while held_countdowns(stack) < 4:  # noqa: ASYNC110 -- other processes hold them
                await asyncio.sleep(0.05)

        os.kill(pid_of(stack, "valkey"), signal.SIGKILL)
        await run_job(runtime)

    assert [pid_of(stack, "worker-1"), pid_of(stack, "worker-2")] == workers


async def test_jobs_go_on_after_postgres_was_restarted(stack):
    async with open_runtime(stack, make_app(stack), name="tests") as runtime:
        async with runtime.database.begin() as session:
            await session.execute(text("SELECT 1"))

        os.kill(pid_of(stack, "postgres"), signal.SIGINT)

        await run_job(runtime)
