"""What hangs (Redis, an upstream, Postgres) holds up nothing but itself."""

import asyncio
import dataclasses
import signal
import subprocess
import time

import pytest
from redis.exceptions import RedisError
from sqlalchemy import text

from endpoints.outcomes import Accepted
from models.base import new_id
from models.errors import DatabaseUnavailable
from models.job import JobState
from models.lane import Lane, StageName
from models.transitions import NewJob, enqueue_jobs, find_orphaned_endpoints
from tasks.submit import SUBMIT, Submitted
from tests.integration.conftest import FLUX
from workers.app import make_app
from workers.lane import LaneRun
from workers.runtime import open_runtime
from workers.stack import valkey

HUNG = "hung"
BEAT = 0.1  # seconds, in place of five


class Upstream:
    """In the upstream's place: it answers a `/run` when it is told to."""

    def __init__(self):
        self.sent = []
        self.answers = {}

    async def act(self, _runtime, row):
        self.answers[row.id] = asyncio.Event()
        self.sent.append(row.id)
        await self.answers[row.id].wait()
        return Submitted(row, Accepted(f"up-{row.id}", 200))

    def answer(self, count=1):
        """The next ones are answered; their ids."""
        waiting = [job_id for job_id in self.sent if not self.answers[job_id].is_set()]
        for job_id in waiting[:count]:
            self.answers[job_id].set()
        return waiting[:count]

    async def wait_for(self, count):
        async with asyncio.timeout(10):
            while len(self.sent) < count:  # noqa: ASYNC110 -- several stages tell it
                await asyncio.sleep(0.01)


@pytest.fixture
async def upstream():
    return Upstream()


@pytest.fixture
def stage(upstream):
    return dataclasses.replace(SUBMIT, act=upstream.act, flush_seconds=0.01)


@pytest.fixture
def fast_beats(monkeypatch):
    monkeypatch.setattr("workers.lane.HEARTBEAT_SECONDS", BEAT)


@pytest.fixture
def own_redis(tmp_path, settings):
    """A Valkey of this test's, to be frozen; settings that reach it."""
    own = settings.model_copy(update={"redis_url": None})
    own.socket_dir.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        valkey.command(tmp_path / "valkey", own.socket_dir),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield own, process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait(10)


@pytest.fixture
async def on_own_redis(own_redis):
    """A worker on it, which waits for it as long as any; what freezes it, and what thaws it."""
    settings, process = own_redis
    async with open_runtime(settings, make_app(settings), name="tests") as runtime:
        async with asyncio.timeout(10):
            while True:
                try:
                    await runtime.redis.ping()
                    break
                except (RedisError, OSError):
                    await asyncio.sleep(0.05)
        await runtime.redis.set(f"{settings.redis_prefix}quota:since", 0)
        try:
            yield (
                runtime,
                lambda: process.send_signal(signal.SIGSTOP),
                lambda: process.send_signal(signal.SIGCONT),
            )
        finally:
            process.send_signal(signal.SIGCONT)


async def add_jobs(runtime, count, *, endpoint=FLUX):
    jobs = [NewJob(id=new_id(), endpoint=endpoint, input={"prompt": "a fox"}) for _ in range(count)]
    async with runtime.database.begin() as session:
        await enqueue_jobs(session, jobs)


async def count_in(runtime, state):
    async with runtime.database.begin() as session:
        statement = text("SELECT count(*) FROM jobs WHERE state = :state")
        return await session.scalar(statement, {"state": state})


async def wait_for_state(runtime, state, count, *, seconds):
    async with asyncio.timeout(seconds):
        while await count_in(runtime, state) < count:  # noqa: ASYNC110 -- the database's news
            await asyncio.sleep(0.01)


async def find_lane(runtime, endpoint=FLUX):
    async with runtime.database.begin() as session:
        return await session.get(Lane, (StageName.SUBMIT, endpoint))


async def wait_until_closed(runtime, endpoint=FLUX):
    async with asyncio.timeout(10):
        while True:
            lane = await find_lane(runtime, endpoint)
            if lane is not None and lane.closures:
                return lane
            await asyncio.sleep(0.01)


# Redis


async def test_while_redis_hangs_the_answers_that_come_are_written_down(
    on_own_redis, upstream, stage
):
    runtime, freeze, thaw = on_own_redis
    await add_jobs(runtime, 6)
    working = asyncio.create_task(LaneRun(runtime, stage, FLUX).run())
    await upstream.wait_for(6)

    freeze()
    began = time.monotonic()
    for answered in range(1, 7):
        upstream.answer()
        await wait_for_state(runtime, "in_queue", answered, seconds=4)
    took = time.monotonic() - began

    assert took < 4  # one socket timeout is five
    thaw()
    assert await working == 6


@pytest.mark.usefixtures("fast_beats")
async def test_a_redis_that_hangs_once_rows_were_claimed_costs_them_no_lease_and_no_lane(
    on_own_redis, upstream, stage, monkeypatch
):
    runtime, freeze, thaw = on_own_redis
    monkeypatch.setattr("workers.lane.LEASE_SECONDS", 1.0)
    await add_jobs(runtime, 3)

    async def claim(*args):
        rows = await SUBMIT.claim(*args)
        freeze()
        return rows

    stage = dataclasses.replace(stage, claim=claim)
    working = asyncio.create_task(LaneRun(runtime, stage, FLUX).run())
    await wait_for_state(runtime, "submitting", 3, seconds=10)
    for _ in range(30):  # three leases long
        async with runtime.database.begin() as session:
            assert await find_orphaned_endpoints(session) == []
        await asyncio.sleep(BEAT)

    assert not upstream.sent  # it still waits for Redis
    assert await find_lane(runtime) is None
    thaw()
    await upstream.wait_for(3)
    upstream.answer(3)
    assert await working == 3
    assert await count_in(runtime, "in_queue") == 3


@pytest.mark.usefixtures("fast_beats")
async def test_after_a_flush_the_calls_under_way_count_again(runtime, upstream, stage):
    await add_jobs(runtime, 5)
    working = asyncio.create_task(LaneRun(runtime, stage, FLUX).run())
    await upstream.wait_for(5)

    await runtime.redis.flushall()
    async with asyncio.timeout(5):
        while (await runtime.quota.usage("run", FLUX)).at_once < 5:  # noqa: ASYNC110 -- Redis's
            await asyncio.sleep(0.01)
    upstream.answer(2)
    async with asyncio.timeout(5):
        while (await runtime.quota.usage("run", FLUX)).at_once != 3:  # noqa: ASYNC110 -- Redis's
            await asyncio.sleep(0.01)
    upstream.answer(3)
    await working

    usage = await runtime.quota.usage("run", FLUX)
    assert (usage.at_once, usage.in_window) == (0, 5)


# The upstream


async def test_an_endpoint_that_hangs_takes_its_share_of_threads_and_others_work_on(
    runtime, emulator, upstream, stage
):
    share = runtime.settings.worker_threads // 8
    await add_jobs(runtime, share + 4, endpoint=HUNG)
    one_by_one = dataclasses.replace(stage, batch=1)
    working = [
        asyncio.create_task(LaneRun(runtime, one_by_one, HUNG).run()) for _ in range(share + 4)
    ]
    async with asyncio.timeout(20):
        while sum(task.done() for task in working) < 4:  # noqa: ASYNC110 -- tasks of their own
            await asyncio.sleep(0.01)
    await upstream.wait_for(share)

    await add_jobs(runtime, 3)
    await LaneRun(runtime, SUBMIT, FLUX).run()

    assert await count_in(runtime, "in_queue") == 3
    assert len(upstream.sent) == share
    assert sorted(task.result() for task in working if task.done()) == [0] * 4
    upstream.answer(share)
    assert sum(await asyncio.gather(*working)) == share
    assert not runtime.lane_runs  # its share is free again
    assert (await emulator.get("/admin/stats")).json()["jobs"]["accepted"] == 3


async def test_a_crowded_lane_rings_for_later(runtime, upstream, stage):
    one_by_one = dataclasses.replace(stage, batch=1)
    share = runtime.settings.worker_threads // 8
    runtime.lane_runs[(StageName.SUBMIT, FLUX)] = share
    await add_jobs(runtime, 1)

    assert await LaneRun(runtime, one_by_one, FLUX).run() == 0

    assert await runtime.redis.exists(f"{runtime.settings.redis_prefix}bell:submit:{FLUX}")
    assert runtime.lane_runs == {(StageName.SUBMIT, FLUX): share}
    assert upstream.sent == []


@pytest.mark.usefixtures("fast_beats")
async def test_calls_none_of_which_is_answered_between_two_beats_break_their_lane_once(
    runtime, upstream, stage
):
    await add_jobs(runtime, 6)
    working = asyncio.create_task(LaneRun(runtime, stage, FLUX).run())

    lane = await wait_until_closed(runtime)
    async with runtime.database.begin() as session:  # what was tried then was answered
        await session.execute(
            text("UPDATE lanes SET closures = 0, faults = 0, closed_until = NULL")
        )
    await asyncio.sleep(BEAT * 10)

    assert "6 calls have had no answer" in lane.closed_reason
    assert (await find_lane(runtime)).closures == 0  # those that hang on close it no more
    upstream.answer(6)
    assert await working == 6
    assert await count_in(runtime, "in_queue") == 6


@pytest.mark.usefixtures("fast_beats")
async def test_a_stage_whose_calls_may_take_long_breaks_no_lane(runtime, upstream, stage):
    await add_jobs(runtime, 6)
    patient = dataclasses.replace(stage, stalls=False)
    working = asyncio.create_task(LaneRun(runtime, patient, FLUX).run())
    await upstream.wait_for(6)
    await asyncio.sleep(BEAT * 5)

    assert await find_lane(runtime) is None
    upstream.answer(6)
    await working


async def fault(emulator, kind, **options):
    response = await emulator.post("/admin/faults", json={"kind": kind, **options})
    assert response.is_success, response.text


@pytest.mark.usefixtures("fast_beats", "without_waits")
@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "error", "status": 500},
        {"kind": "error", "status": 503},
        {"kind": "busy"},
        {"kind": "html", "status": 503},
        {"kind": "reset_before"},
    ],
    ids=lambda trouble: "-".join(map(str, trouble.values())),
)
async def test_a_broken_lane_opens_by_itself_once_the_upstream_is_well(
    runtime, emulator, monkeypatch, trouble
):
    monkeypatch.setattr("models.lane.BREAK_AFTER", 5)
    await fault(emulator, operation="run", **trouble)
    await add_jobs(runtime, 12)
    async with asyncio.timeout(20):
        while not (lane := await find_lane(runtime)) or not lane.closures:
            await LaneRun(runtime, SUBMIT, FLUX).run()

    await emulator.delete("/admin/faults")
    await add_jobs(runtime, 3)
    async with asyncio.timeout(30):
        while await count_in(runtime, "queued"):
            await LaneRun(runtime, SUBMIT, FLUX).run()
            await asyncio.sleep(0.02)

    lane = await find_lane(runtime)
    assert (lane.closures, lane.faults, lane.closed_until) == (0, 0, None)
    assert await count_in(runtime, "in_queue") == 15 - await count_in(runtime, "unknown") >= 3


# Postgres


async def test_an_answer_is_held_while_postgres_is_away_and_then_written(runtime, upstream, stage):
    await add_jobs(runtime, 1)
    failures = iter(range(3))

    async def record(*args):
        if next(failures, None) is not None:
            raise DatabaseUnavailable("PostgreSQL is away")
        return await SUBMIT.record(*args)

    working = asyncio.create_task(
        LaneRun(runtime, dataclasses.replace(stage, record=record), FLUX).run()
    )
    await upstream.wait_for(1)
    upstream.answer()
    await working

    assert await count_in(runtime, JobState.IN_QUEUE) == 1
    assert SUBMIT.record_seconds >= 3600  # it is paid for


async def test_no_thread_is_let_go_before_what_it_holds_may_be_written():
    assert SUBMIT.total_seconds > SUBMIT.act_seconds + SUBMIT.record_seconds
