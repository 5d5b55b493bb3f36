"""One producer's job behind another's backlog: how long until it is sent?

single     a second key hands in one job at a time while the first has a backlog on the same
           endpoint, whose documented limit is in full use
weights    two keys with a backlog each, of weights 3 and 1
priority   a job of the first key itself, but of the highest priority
"""

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from endpoints.catalogue import Operation, load_catalogue
from gateway.cli.console import open_cli_runtime
from models.base import new_id
from models.fairness import HIGHEST
from models.key import Scope, issue_key
from models.lane import StageName, set_paused
from models.transitions import NewJob
from scripts.benches.own_stack import run_own_stack, say
from scripts.benches.report import Chart, Report, find_percentile
from scripts.faults.emulator import Emulator
from tasks.intake import enqueue
from workers.runtime import Runtime
from workers.settings import Settings

ENDPOINT = "bench"
CALL_SECONDS = 0.05
JOB_SECONDS = 5.0
BATCH = 1_000
WAIT_SECONDS = 60.0  # for a job to be sent, at most
SINGLE_P95_SECONDS = 1.0
WEIGHT = 3.0
WEIGHT_SHARE = 0.1  # that the ratio may be off by


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    backlog: int
    singles: int
    weighed: int  # submits that are looked at


WHOLE = Size(backlog=100_000, singles=100, weighed=2_000)
QUICK = Size(backlog=1_500, singles=5, weighed=400)


def measure(quick: bool) -> Report:  # noqa: FBT001 -- one shape for every benchmark
    """A job behind the backlog of another key, of another weight, of another priority.

    Raises:
        StackError: the stack, or a part of it, did not come up.
    """
    report = Report("fairness", beside="one queue")
    with run_own_stack({"PRESSROOM_EMULATOR_CLOCK": "1"}) as settings:
        asyncio.run(_measure(report, settings, QUICK if quick else WHOLE))
    return report


async def _measure(report: Report, settings: Settings, size: Size) -> None:
    emulator = Emulator(f"http://127.0.0.1:{settings.emulator_port}")
    try:
        await emulator.serve(ENDPOINT, execution_seconds=JOB_SECONDS)
        await emulator.arm("slow", seconds=CALL_SECONDS)
        async with open_cli_runtime(settings) as runtime:
            await _measure_singles(report, runtime, size)
            await _measure_weights(report, runtime, size)
    finally:
        await emulator.close()


async def _measure_singles(report: Report, runtime: Runtime, size: Size) -> None:
    limit = load_catalogue().limit(ENDPOINT, Operation.RUN)
    assert limit is not None  # noqa: S101 -- it is documented
    first, second = await _make_key(runtime), await _make_key(runtime)
    say(f"{size.backlog:,} jobs of a key; one at a time of another")
    await _enqueue(runtime, size.backlog, key_id=first)
    await asyncio.sleep(limit.window_seconds)  # until the limit is in use
    # In one queue it waits for all that came before, at the limit's pace.
    in_one_queue = await _count_queued(runtime) * limit.window_seconds / limit.per_window
    for part, waits in (
        ("single", await _send_singles(runtime, size.singles, key_id=second)),
        ("priority", await _send_singles(runtime, size.singles, key_id=first, priority=HIGHEST)),
    ):
        for what, share in (("p50", 0.5), ("p95", 0.95)):
            report.add(
                part,
                f"handed in to taken upstream, {what}",
                find_percentile(waits, share),
                "s",
                in_one_queue,
            )
        report.add(part, "longest", max(waits), "s", in_one_queue)
        report.hold(
            f"{part}: p95 s behind {size.backlog:,} jobs",
            find_percentile(waits, 0.95),
            at_most=SINGLE_P95_SECONDS,
        )
        if part == "single":
            report.charts.append(_draw(waits, in_one_queue, size))
    await _empty(runtime)


async def _measure_weights(report: Report, runtime: Runtime, size: Size) -> None:
    say(f"two keys with a backlog each, of weights {WEIGHT:g} and 1")
    heavy, light = await _make_key(runtime, weight=WEIGHT), await _make_key(runtime)
    await _pause(runtime, paused=True)
    for key in (heavy, light):
        await _enqueue(runtime, size.weighed, key_id=key)
    await _pause(runtime, paused=False)
    sent: list[UUID] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while len(sent) < size.weighed:
            await asyncio.sleep(0.5)
            sent = await _list_sent(runtime, size.weighed)
    ratio = sent.count(heavy) / max(sent.count(light), 1)
    report.add("weights", f"served for each of the other's, weight {WEIGHT:g}", ratio)
    off = abs(ratio / WEIGHT - 1)
    report.hold("weights: share that the ratio is off by", off, at_most=WEIGHT_SHARE)
    await _empty(runtime)


async def _send_singles(
    runtime: Runtime, count: int, *, key_id: UUID, priority: int = 5
) -> list[float]:
    """Hand in one job after another; how long each took to be taken by the upstream."""
    waits = []
    for _ in range(count):
        await asyncio.sleep(random.uniform(0.0, 0.3))  # noqa: S311 -- at no moment in particular
        job = NewJob(
            id=new_id(),
            endpoint=ENDPOINT,
            input={"prompt": "one"},
            key_id=key_id,
            priority=priority,
        )
        await enqueue(runtime, [job])
        waits.append(await _wait(runtime, job.id))
    return waits


async def _wait(runtime: Runtime, job_id: UUID) -> float:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            await asyncio.sleep(0.05)
            async with runtime.database.begin() as session:
                seconds = await session.scalar(
                    text("""
                        SELECT extract(epoch FROM submitted_at - created_at) FROM jobs
                        WHERE id = :id AND upstream_id IS NOT NULL
                    """),
                    {"id": job_id},
                )
            if seconds is not None:
                return float(seconds)


async def _make_key(runtime: Runtime, *, weight: float = 1.0) -> UUID:
    async with runtime.database.begin() as session:
        issued = await issue_key(session, name="bench", scopes=[Scope.RUN], weight=weight)
    return issued.row.id


async def _enqueue(runtime: Runtime, jobs: int, *, key_id: UUID) -> None:
    numbers = iter(range(jobs))
    while batch := list(itertools.islice(numbers, BATCH)):
        await enqueue(
            runtime,
            [
                NewJob(id=new_id(), endpoint=ENDPOINT, input={"prompt": str(one)}, key_id=key_id)
                for one in batch
            ],
        )


async def _count_queued(runtime: Runtime) -> int:
    async with runtime.database.begin() as session:
        counted = await session.scalar(text("SELECT count(*) FROM jobs WHERE state = 'queued'"))
    return int(counted or 0)


async def _pause(runtime: Runtime, *, paused: bool) -> None:
    async with runtime.database.begin() as session:
        await set_paused(session, StageName.SUBMIT, ENDPOINT, paused=paused)


async def _list_sent(runtime: Runtime, most: int) -> list[UUID]:
    """Whose the first jobs were that were sent, in order."""
    async with runtime.database.begin() as session:
        keys = await session.scalars(
            text("""
                SELECT key_id FROM attempts JOIN jobs ON jobs.id = attempts.job_id
                ORDER BY sent_at LIMIT :most
            """),
            {"most": most},
        )
        return list(keys)


async def _empty(runtime: Runtime) -> None:
    async with runtime.database.begin() as session:
        await session.execute(text("TRUNCATE jobs, attempts CASCADE"))


def _draw(waits: Sequence[float], in_one_queue: float, size: Size) -> Chart:
    ordered = sorted(waits)
    return Chart(
        title=f"A job of another key, behind {size.backlog:,}",
        x="jobs, from the quickest to the slowest",
        y="seconds until the upstream has it",
        lines={"by virtual start": list(enumerate(ordered, 1))},
        marks={"in one queue (computed)": in_one_queue, "bar": SINGLE_P95_SECONDS},
        logarithmic="y",
    )
