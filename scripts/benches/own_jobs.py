"""Jobs that Pressroom is given in bulk, as a campaign is, and what their run came to."""

import asyncio
import itertools
import time
from collections.abc import Mapping

from sqlalchemy import text

from gateway.cli.console import open_cli_runtime
from models.base import new_id
from models.setting import put_setting
from models.transitions import NewJob
from scripts.benches.own_stack import read_cpu
from scripts.benches.run import Done, Run
from scripts.benches.upstream import ENDPOINTS, Upstream
from tasks.intake import enqueue
from workers.operator_settings import READ_AGAIN_SECONDS, UNLIMITED
from workers.runtime import Runtime
from workers.settings import Settings

BATCH = 500  # jobs a statement
LOOK_SECONDS = 0.5
NOT_OURS = "emulator"  # of a stack: it stands for the upstream


async def run_jobs(settings: Settings, upstream: Upstream, *, jobs: int, seconds: float) -> Run:
    """Enqueue them all, and wait until each has ended; at most so many seconds."""
    async with open_cli_runtime(settings) as runtime:
        await upstream.clear()
        await _lift_limits(runtime)
        before, written_before = read_cpu(settings), await _read_written(runtime)
        began = time.time()
        numbers = iter(range(jobs))
        while batch := list(itertools.islice(numbers, BATCH)):
            await enqueue(
                runtime,
                [
                    NewJob(
                        id=new_id(),
                        endpoint=ENDPOINTS[number % len(ENDPOINTS)],
                        input={"prompt": f"job {number}"},
                    )
                    for number in batch
                ],
            )
        while await _count_open(runtime) and time.time() - began < seconds:  # noqa: ASYNC110 -- Postgres tells nobody
            await asyncio.sleep(LOOK_SECONDS)
        after, written = read_cpu(settings), await _read_written(runtime)
        done = await _read_done(runtime, began)
    return Run(
        jobs=jobs,
        began=began,
        done=done,
        cpu={
            kind: used - before.get(kind, 0.0) for kind, used in after.items() if kind != NOT_OURS
        },
        polls=await upstream.count_polls(),
        postgres={what: value - written_before[what] for what, value in written.items()},
    )


async def _lift_limits(runtime: Runtime) -> None:
    """The quota is not what is measured; how many calls there are at once stays as it is."""
    limit = {"per_10_seconds": UNLIMITED}
    lifted = {"run": limit, "status": limit}
    async with runtime.database.begin() as session:
        await put_setting(session, name="limits", value=dict.fromkeys(ENDPOINTS, lifted))
    await asyncio.sleep(READ_AGAIN_SECONDS)


async def _count_open(runtime: Runtime) -> int:
    async with runtime.database.begin() as session:
        counted = await session.scalar(text("SELECT count(*) FROM jobs WHERE finished_at IS NULL"))
    return int(counted or 0)


async def _read_written(runtime: Runtime) -> Mapping[str, float]:
    async with runtime.database.begin() as session:
        rows = await session.execute(
            text("""
                SELECT pg_database_size(current_database()) AS "bytes kept",
                    pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS "bytes of WAL",
                    xact_commit AS transactions
                FROM pg_stat_database WHERE datname = current_database()
            """)
        )
        return {what: float(value) for what, value in rows.mappings().one().items()}


async def _read_done(runtime: Runtime, began: float) -> list[Done]:
    async with runtime.database.begin() as session:
        rows = await session.execute(
            text("""
                SELECT extract(epoch FROM submitted_at)::float8 AS sent,
                    (delay_ms + execution_ms) / 1000.0::float8 AS took,
                    extract(epoch FROM finished_at)::float8 AS finished
                FROM jobs WHERE state = 'completed' AND created_at >= to_timestamp(:began)
            """),
            {"began": began},
        )
        return [Done(row.sent, row.took, row.finished) for row in rows]
