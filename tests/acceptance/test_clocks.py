"""Hosts whose clocks are an hour off: nothing is lost, stalled, hurried or done twice."""

import asyncio
import datetime as dt
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest
import redis.asyncio

from models.base import new_id
from models.job import JobState, OnUnknown
from models.job_queries import get_job, list_attempts
from models.lane import StageName
from tasks.intake import Request, check_request, enqueue
from workers.app import QUEUES
from workers.bell import OVERDUE_SECONDS
from workers.watch import own_queue

FLUX = "black-forest-labs-flux-1-schnell"
HOUR = 3600
JOBS = 20

SKEWED = """
import sys, time
import time_machine
time_machine.travel(time.time() + float(sys.argv[2]), tick=True).start()
from workers.settings import Settings
from workers.worker import run_worker
run_worker(Settings(), name=sys.argv[1])
"""


@pytest.fixture
async def connection(settings):
    connection = redis.asyncio.Redis.from_url(settings.redis_dsn, decode_responses=True)
    yield connection
    await connection.aclose()


@contextmanager
def start_workers(settings, **clocks):
    """A worker for each name, its clock so many seconds off; all of them take messages."""
    environment = {
        **os.environ,
        "PRESSROOM_DATA_DIR": str(settings.data_dir),
        "PRESSROOM_DATABASE_URL": settings.database_dsn.replace("+psycopg", ""),
        "PRESSROOM_REDIS_URL": settings.redis_dsn,
        "PRESSROOM_EMULATOR_PORT": str(settings.emulator_port),
        "PRESSROOM_GATEWAY_PORT": str(settings.gateway_port),
    }
    with ExitStack() as held:
        for name, seconds in clocks.items():
            log = held.enter_context((settings.data_dir / f"{name}.log").open("w"))
            command = [sys.executable, "-c", SKEWED, name, str(seconds)]
            worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            held.callback(worker.wait)
            held.callback(worker.kill)
        yield


async def send(runtime, name, token, *, eta=None):
    """A message that only this worker takes; it then adds its name to the set of the token."""
    queue = own_queue(f"{name}@{socket.gethostname()}")
    runtime.app.amqp.queues.add(queue)
    await asyncio.to_thread(
        runtime.app.send_task,
        "pressroom.canary",
        args=(name, token),
        queue=queue.name,
        eta=eta,
        ignore_result=True,
    )


async def wait_until_heard(connection, settings, token, name):
    async with asyncio.timeout(60):
        while not await connection.sismember(f"{settings.redis_prefix}canary:{token}", name):  # noqa: ASYNC110 -- another process adds it
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
async def test_a_countdown_ends_when_it_should(settings, runtime, connection, off):
    with start_workers(settings, skewed=off):
        ready = new_id().hex
        await send(runtime, "skewed", ready)
        await wait_until_heard(connection, settings, ready, "skewed")
        seconds, microseconds = await connection.time()
        began, token = seconds + microseconds / 1e6, new_id().hex

        await send(runtime, "skewed", token, eta=dt.datetime.fromtimestamp(began + 2, dt.UTC))
        await wait_until_heard(connection, settings, token, "skewed")

        seconds, microseconds = await connection.time()
        assert 1.9 <= seconds + microseconds / 1e6 - began < 2 + OVERDUE_SECONDS


async def test_jobs_are_done_once_by_workers_that_are_an_hour_ahead_and_behind(
    settings, emulator, runtime, connection
):
    jobs = [
        check_request(
            runtime.catalogue,
            Request(
                endpoint=FLUX, input={"prompt": f"a jay {number}", "width": 256, "height": 256}
            ),
            on_unknown=OnUnknown.RESUBMIT,
        ).job
        for number in range(JOBS)
    ]
    with start_workers(settings, ahead=HOUR, behind=-HOUR):
        for name in ("ahead", "behind"):
            token = new_id().hex
            await send(runtime, name, token)
            await wait_until_heard(connection, settings, token, name)
        for job in jobs:  # one by one, so that each worker gets bells with countdowns
            await enqueue(runtime, [job])
            await asyncio.sleep(0.1)
        async with asyncio.timeout(30):
            for job in jobs:
                await wait_until_completed(runtime, job.id)
        for stage in StageName:  # nothing is held for an hour
            await runtime.bells.ring(stage, "nobody", in_seconds=1)
        await wait_until_empty(connection, settings)

    async with runtime.database.begin() as session:
        attempts = [len(await list_attempts(session, job.id)) for job in jobs]
    assert attempts == [1] * JOBS
    assert (await emulator.get("/admin/ledger")).json()["jobs"] == JOBS


async def wait_until_completed(runtime, job_id):
    while True:
        async with runtime.database.begin() as session:
            found = await get_job(session, job_id)
        if found.state is JobState.COMPLETED:
            return
        assert found.state not in {JobState.FAILED, JobState.UNKNOWN}, found.error
        await asyncio.sleep(0.1)


async def wait_until_empty(connection, settings):
    """Until no message waits, in a queue or in a worker's hands."""
    prefix = settings.redis_prefix
    async with asyncio.timeout(20):
        while True:
            waiting = [await connection.llen(f"{prefix}{queue}") for queue in QUEUES]
            held = await connection.hlen(f"{prefix}unacked")
            if not held and not any(waiting):
                return
            await asyncio.sleep(0.1)
