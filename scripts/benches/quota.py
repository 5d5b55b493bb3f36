"""The quota of one endpoint: is it used to the brim, and is it ever exceeded?

steady   jobs wait, and the emulator holds to the documented limits of `/run`: 1,000 in any ten
         seconds and 200 at once; with one, two, four and eight worker processes
drop     the same, and in the middle the limit falls to half: how many refusals does that cost,
         and how much of the new limit is used from then on?
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from endpoints.catalogue import Operation, load_catalogue
from gateway.cli.console import open_cli_runtime
from models.base import new_id
from models.transitions import NewJob
from scripts.benches.own_stack import run_own_stack, say, set_workers
from scripts.benches.report import Chart, Report
from scripts.faults.emulator import Emulator
from tasks.intake import enqueue
from workers.runtime import Runtime
from workers.settings import Settings

ENDPOINT = "bench"
CALL_SECONDS = 0.02
JOB_SECONDS = 5.0
LOOK_SECONDS = 1.0
BATCH = 500
SUBMITS_SHARE = 0.95  # of the limit, at least
REFUSALS = 5  # for a limit that falls to half, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    workers: Sequence[int]
    seconds: float
    warm_seconds: float  # until a limit that fell is found


WHOLE = Size(workers=(1, 2, 4, 8), seconds=60.0, warm_seconds=12.0)
QUICK = Size(workers=(1,), seconds=6.0, warm_seconds=3.0)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the emulator had seen, so many seconds after the first job was handed in."""

    seconds: float
    taken: int
    refused: int
    peak_window: int
    peak_at_once: int


def measure(quick: bool) -> Report:  # noqa: FBT001 -- one shape for every benchmark
    """One endpoint at its documented limits, by several workers, and when its limit falls.

    Raises:
        StackError: the stack, or a part of it, did not come up.
    """
    report = Report("quota", beside="the limit")
    size = QUICK if quick else WHOLE
    variables = {"PRESSROOM_WORKERS": str(max(size.workers)), "PRESSROOM_EMULATOR_CLOCK": "1"}
    with run_own_stack(variables) as settings:
        asyncio.run(Bench(settings, size).run(report))
    return report


class Bench:
    def __init__(self, settings: Settings, size: Size) -> None:
        self._settings = settings
        self._size = size
        limit = load_catalogue().limit(ENDPOINT, Operation.RUN)
        assert limit is not None  # noqa: S101 -- it is documented
        self._limit = limit
        self._emulator = Emulator(f"http://127.0.0.1:{settings.emulator_port}")

    async def run(self, report: Report) -> None:
        await self._emulator.serve(ENDPOINT, execution_seconds=JOB_SECONDS)
        lines = {}
        try:
            for count in self._size.workers:
                say(f"{count} workers, {self._size.seconds:g} s at the limit")
                set_workers(self._settings, count)
                sights = await self._use()
                self._report_steady(report, count, sights)
                lines[_name(count)] = rates(sights)
            say("the limit falls to half")
            set_workers(self._settings, min(2, max(self._size.workers)))
            sights = await self._use(drop=True)
            self._report_drop(report, sights)
            lines["the limit falls"] = rates(sights)
        finally:
            await self._emulator.close()
        report.charts.append(
            Chart(
                title=f"One endpoint, {self._per_second:g} submits a second allowed",
                x="seconds",
                y="taken by the upstream in the last 10 s, a second",
                lines=lines,
                marks={"limit": self._per_second, "half of it": self._per_second / 2},
            )
        )

    @property
    def _per_second(self) -> float:
        return self._limit.per_window / self._limit.window_seconds

    async def _use(self, *, drop: bool = False) -> list[Sight]:
        """Let more wait than may go, and look on."""
        await self._emulator.reset()
        await self._emulator.arm("slow", seconds=CALL_SECONDS)
        async with open_cli_runtime(self._settings) as runtime:
            await _wait_for_a_free_window(runtime)
            began = time.monotonic()
            await _enqueue(runtime, round(self._per_second * (self._size.seconds + 20)))
            sights: list[Sight] = []
            while (passed := time.monotonic() - began) < self._size.seconds:
                if drop and passed > self._size.seconds / 2:
                    half = self._limit.per_window // 2
                    await self._emulator.limit("run", per_window=half, concurrent=None)
                    drop = False
                sights.append(await self._look(began))
                await asyncio.sleep(LOOK_SECONDS)
            sights.append(await self._look(began))
            await _empty(runtime)
        return sights

    async def _look(self, began: float) -> Sight:
        seen = (await self._emulator.read_stats())["endpoints"].get(ENDPOINT, {}).get("run", {})
        return Sight(
            time.monotonic() - began,
            seen.get("answered", {}).get("200", 0),
            seen.get("rejected_429", 0),
            seen.get("peak_window", 0),
            seen.get("peak_concurrent", 0),
        )

    def _report_steady(self, report: Report, workers: int, sights: Sequence[Sight]) -> None:
        last = sights[-1]
        part = _name(workers)
        per_second = last.taken / last.seconds
        report.add(part, "submits taken", per_second, "a second", self._per_second)
        report.add(part, "refused (429)", last.refused)
        report.add(part, "most in a window", last.peak_window, "", self._limit.per_window)
        report.add(part, "most at once", last.peak_at_once, "", self._limit.concurrent)
        report.demand(
            f"{part}: share of the limit over {last.seconds:.0f} s",
            per_second / self._per_second,
            at_least=SUBMITS_SHARE,
        )
        report.hold(f"{part}: refused", last.refused, at_most=0)

    def _report_drop(self, report: Report, sights: Sequence[Sight]) -> None:
        last = sights[-1]
        settled = self._size.seconds / 2 + self._size.warm_seconds
        after = [sight for sight in sights[:-1] if sight.seconds <= settled][-1]
        per_second = (last.taken - after.taken) / (last.seconds - after.seconds)
        part = "the limit falls to half"
        report.add(
            part, "submits taken, from then on", per_second, "a second", self._per_second / 2
        )
        report.add(part, "refused (429)", last.refused)
        report.hold(f"{part}: refused", last.refused, at_most=REFUSALS)


async def _wait_for_a_free_window(runtime: Runtime) -> None:
    """What the run before has taken is no longer counted, and what it learned is forgotten."""
    keys = [key async for key in runtime.redis.scan_iter(f"*quota:*{{{ENDPOINT}}}:*")]
    if keys:
        await asyncio.sleep(10.0)
        await runtime.redis.delete(*(key for key in keys if not key.endswith(b":known")))


async def _enqueue(runtime: Runtime, jobs: int) -> None:
    numbers = iter(range(jobs))
    while batch := list(itertools.islice(numbers, BATCH)):
        await enqueue(
            runtime,
            [
                NewJob(id=new_id(), endpoint=ENDPOINT, input={"prompt": f"job {number}"})
                for number in batch
            ],
        )


async def _empty(runtime: Runtime) -> None:
    """Leave nothing to the next run."""
    async with runtime.database.begin() as session:
        await session.execute(text("TRUNCATE jobs, attempts, lanes CASCADE"))


def rates(sights: Sequence[Sight]) -> list[tuple[float, float]]:
    """Taken in the last ten seconds, a second, at each moment."""
    points = []
    for sight in sights:
        before = max(
            (one for one in sights if one.seconds <= sight.seconds - 10),
            key=lambda one: one.seconds,
            default=None,
        )
        taken = sight.taken - (before.taken if before else 0)
        seconds = sight.seconds - (before.seconds if before else 0)
        points.append((sight.seconds, taken / max(seconds, 10.0)))
    return points


def _name(workers: int) -> str:
    return f"{workers} workers" if workers > 1 else "1 worker"
