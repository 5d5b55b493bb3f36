"""In flight: what jobs that the upstream works on cost, however many they are.

    idle     jobs of some hours, handed in and sent as any others are; then their next polls are put
             far ahead: the workers' memory, messages and keys in Redis, its memory, and how busy
             all processes are
    cycling  beside them, jobs of some seconds that come and go: how late their ends are seen, by
             polls alone

Beside each level stands the first. What the emulator needs to remember its jobs is not counted.
"""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psutil
from sqlalchemy import text

from gateway.cli.console import open_cli_runtime
from models.lane import StageName, set_paused
from scripts.benches.arrivals import Live, hand_in, look, send_steadily, wait_for_ends
from scripts.benches.own_stack import read_cpu, run_own_stack, say
from scripts.benches.report import Chart, Report
from scripts.faults.emulator import Emulator
from tasks.intake import Request
from workers.runtime import Runtime
from workers.settings import Settings
from workers.stack.plan import WORKER
from workers.stack.supervisor import StackError, Supervisor

LONG = tuple(f"bench-long-{number}" for number in range(10))  # 100 submits a second each
LONG_SECONDS = 6 * 3600.0
CYCLING = "bench-cycling"
AHEAD_SECONDS = 2 * 3600.0  # the next polls of what idles
BATCH = 1000
LOOK_SECONDS = 0.5
SEND_SECONDS = 60.0  # without one more that is in flight, something is wrong
SAMPLE_SECONDS = 0.5
OFF_MOST = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of each.

    Attributes:
        levels: jobs in flight.
        settle_seconds: until it is looked at, and then it is for `idle_seconds`.
        cycling_seconds: that a cycling job takes.
        rate, warm, jobs: of those: that arrive in a second, first of all, and at each level.
    """

    levels: Sequence[int]
    settle_seconds: float
    idle_seconds: float
    cycling_seconds: float
    rate: float
    warm: int
    jobs: int
    end_seconds: float


WHOLE = Size(
    levels=(1_000, 10_000, 100_000),
    settle_seconds=65,  # countdowns of a minute that were overtaken are messages until they end
    idle_seconds=20,
    cycling_seconds=20,
    rate=20,
    warm=600,
    jobs=400,
    end_seconds=120,
)
QUICK = Size(
    levels=(50, 200, 500),
    settle_seconds=1,
    idle_seconds=2,
    cycling_seconds=1,
    rate=10,
    warm=20,
    jobs=10,
    end_seconds=40,
)


@dataclass(frozen=True, slots=True)
class Idle:
    """What a number of jobs in flight came to of which nothing is to be done.

    Attributes:
        messages: in queues, and taken from them and not answered for.
        keys: of ours, of whatever kind.
        busy_percents: of a core, by each kind of process.
        sent_rate: jobs a second on the way to this level.
    """

    worker_mb: float
    messages: float
    keys: float
    redis_mb: float
    busy_percents: Mapping[str, float]
    sent_rate: float

    @property
    def in_redis(self) -> float:
        return self.messages + self.keys


@dataclass(frozen=True, slots=True)
class Level:
    """What a number of jobs in flight came to, idle, and with others that cycle beside them."""

    idle: Idle
    live: Live


@dataclass
class _Samples:
    worker_mb: list[float] = field(default_factory=list)
    messages: list[float] = field(default_factory=list)
    keys: list[float] = field(default_factory=list)
    redis_mb: list[float] = field(default_factory=list)


def measure(quick: bool) -> Report:  # noqa: FBT001 -- one shape for every benchmark
    """What jobs in flight cost, by their number.

    Raises:
        StackError: the stack, or a part of it, did not come up, or jobs did not move.
    """
    size = QUICK if quick else WHOLE
    report = Report("inflight", beside=f"at {size.levels[0]:,}")
    with run_own_stack({"PRESSROOM_EMULATOR_CLOCK": "1"}) as settings:
        levels = asyncio.run(run_levels(settings, size))
    first = levels[size.levels[0]]
    for count, level in levels.items():
        add_level(report, count, level, first)
    for count in size.levels[1:]:
        for what, value, at_first in (
            ("workers' memory", levels[count].idle.worker_mb, first.idle.worker_mb),
            ("messages and keys in Redis", levels[count].idle.in_redis, first.idle.in_redis),
        ):
            off = abs(value / at_first - 1)
            report.hold(f"{count:,} in flight, {what}, off by a share of", off, at_most=OFF_MOST)
    unfinished = sum(level.live.unfinished for level in levels.values())
    report.hold("cycling jobs that did not complete", unfinished, at_most=0)
    idles = {count: level.idle for count, level in levels.items()}
    report.charts += [chart_ratios(idles), chart_busy(idles)]
    return report


def add_level(report: Report, count: int, level: Level, first: Level) -> None:
    part = f"{count:,} in flight"
    idle, beside = level.idle, first.idle
    for what, unit, value, at_first in (
        ("workers' memory", "MB", idle.worker_mb, beside.worker_mb),
        ("messages in Redis", "", idle.messages, beside.messages),
        ("keys in Redis", "", idle.keys, beside.keys),
        ("Redis's memory", "MB", idle.redis_mb, beside.redis_mb),
        ("sent on the way here", "a second", idle.sent_rate, beside.sent_rate),
        *(
            (f"{kind} busy", "% of a core", percent, beside.busy_percents[kind])
            for kind, percent in idle.busy_percents.items()
        ),
    ):
        report.add(part, what, value, unit, at_first)
    part = f"cycling beside {part}"
    seen, beside_seen = level.live.seen, first.live.seen
    report.add(part, "jobs", len(seen.polls))
    report.add(part, "polls a job", seen.polls_each, "", beside_seen.polls_each)
    for share in (0.5, 0.95, 0.99):
        report.add(part, f"lag p{100 * share:.0f}", seen.lag(share), "s", beside_seen.lag(share))


def chart_ratios(idles: Mapping[int, Idle]) -> Chart:
    """What may not grow, as a share of what it is at the first level."""
    first = next(iter(idles.values()))
    return Chart(
        title="What jobs in flight cost",
        x="jobs in flight",
        y=f"times what it is at {next(iter(idles)):,}",
        lines={
            "workers' memory": [(n, one.worker_mb / first.worker_mb) for n, one in idles.items()],
            "messages and keys in Redis": [
                (n, one.in_redis / first.in_redis) for n, one in idles.items()
            ],
            "Redis's memory": [(n, one.redis_mb / first.redis_mb) for n, one in idles.items()],
        },
        marks={"± 10 %": 1 + OFF_MOST, "": 1 - OFF_MOST},
        logarithmic="x",
    )


def chart_busy(idles: Mapping[int, Idle]) -> Chart:
    kinds = next(iter(idles.values())).busy_percents
    return Chart(
        title="Busy while nothing is to be done",
        x="jobs in flight",
        y="% of a core",
        lines={kind: [(n, one.busy_percents[kind]) for n, one in idles.items()] for kind in kinds},
        logarithmic="x",
    )


async def run_levels(settings: Settings, size: Size) -> Mapping[int, Level]:
    """Go up from level to level; what each came to."""
    emulator = Emulator(f"http://{settings.emulator_host}:{settings.emulator_port}")
    levels: dict[int, Level] = {}
    try:
        async with open_cli_runtime(settings) as runtime:
            for endpoint in LONG:
                await emulator.serve(endpoint, execution_seconds=LONG_SECONDS)
            await emulator.serve(CYCLING, execution_seconds=size.cycling_seconds)
            await emulator.arm("webhook_silent", endpoint=CYCLING)
            say("warming up")
            cycled = size.warm
            await cycle(runtime, range(cycled), size)
            for count in size.levels:
                say(f"{count:,} in flight")
                rate = await fill(runtime, count)
                idle = await watch_idle(runtime, size, sent_rate=rate)
                await cycle(runtime, range(cycled, cycled + size.jobs), size)
                live = await look(runtime, emulator, CYCLING, since=cycled)
                levels[count] = Level(idle, live)
                cycled += size.jobs
    finally:
        await emulator.close()
    return levels


async def cycle(runtime: Runtime, positions: range, size: Size) -> None:
    await send_steadily(runtime, [CYCLING], positions, rate=size.rate)
    await wait_for_ends(runtime, [CYCLING], seconds=size.end_seconds)


async def fill(runtime: Runtime, level: int) -> float:
    """Hand in as many as are missing, and wait until all are in flight; how many a second were."""
    await _pause(runtime, paused=True)
    there = before = await _count_in_flight(runtime)
    began = time.monotonic()
    for at in range(there, level, BATCH):
        numbers = range(at, min(at + BATCH, level))
        await hand_in(
            runtime,
            [Request(endpoint=LONG[one % len(LONG)], input={"n": one}) for one in numbers],
        )
    moved_at = began
    while there < level:
        await asyncio.sleep(LOOK_SECONDS)
        now, moved = time.monotonic(), await _count_in_flight(runtime)
        if moved == there and now - moved_at > SEND_SECONDS:
            raise StackError(f"{moved:,} jobs are in flight of {level:,}, and no more came")
        if moved > there:
            there, moved_at = moved, now
    rate = (level - before) / (time.monotonic() - began)
    async with runtime.database.begin() as session:
        await session.execute(
            text("""
                UPDATE jobs SET next_at = now() + make_interval(secs => :ahead)
                WHERE state IN ('in_queue', 'in_progress') AND endpoint = ANY(:endpoints)
            """),
            {"ahead": AHEAD_SECONDS, "endpoints": list(LONG)},
        )
    await _pause(runtime, paused=False)
    await runtime.bells.ring_each(StageName.POLL, LONG)  # each finds when it is to ring next
    return rate


async def watch_idle(runtime: Runtime, size: Size, *, sent_rate: float) -> Idle:
    await asyncio.sleep(size.settle_seconds)
    samples = _Samples()
    before, began = read_cpu(runtime.settings), time.monotonic()
    while time.monotonic() - began < size.idle_seconds:
        await _sample(runtime, samples)
        await asyncio.sleep(SAMPLE_SECONDS)
    seconds, after = time.monotonic() - began, read_cpu(runtime.settings)
    return Idle(
        worker_mb=statistics.median(samples.worker_mb),
        messages=statistics.fmean(samples.messages),
        keys=statistics.fmean(samples.keys),
        redis_mb=statistics.median(samples.redis_mb),
        busy_percents={
            kind: 100 * (used - before.get(kind, 0.0)) / seconds for kind, used in after.items()
        },
        sent_rate=sent_rate,
    )


async def _sample(runtime: Runtime, samples: _Samples) -> None:
    samples.worker_mb.append(await asyncio.to_thread(_read_worker_mb, runtime.settings))
    redis, prefix = runtime.redis, runtime.settings.redis_prefix
    keys = [key async for key in redis.scan_iter(match=f"{prefix}*", count=1000)]
    messages = int(await redis.hlen(f"{prefix}unacked"))
    for key in keys:
        if await redis.type(key) == b"list":
            messages += int(await redis.llen(key))
    samples.keys.append(len(keys))
    samples.messages.append(messages)
    samples.redis_mb.append((await redis.info("memory"))["used_memory"] / 1e6)


def _read_worker_mb(settings: Settings) -> float:
    workers = [
        psutil.Process(state.pid)
        for state in Supervisor(settings).states()
        if state.name.startswith(WORKER) and state.pid
    ]
    processes = [one for worker in workers for one in (worker, *worker.children(recursive=True))]
    return sum(one.memory_info().rss for one in processes) / 1e6


async def _pause(runtime: Runtime, *, paused: bool) -> None:
    """Nobody asks for them while they come."""
    async with runtime.database.begin() as session:
        for endpoint in LONG:
            await set_paused(session, StageName.POLL, endpoint, paused=paused)


async def _count_in_flight(runtime: Runtime) -> int:
    statement = text("""
        SELECT count(*) FROM jobs
        WHERE state IN ('in_queue', 'in_progress') AND endpoint = ANY(:endpoints)
    """)
    async with runtime.database.begin() as session:
        return int(await session.scalar(statement, {"endpoints": list(LONG)}) or 0)
