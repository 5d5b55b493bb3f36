"""Throughput: many jobs on eight endpoints, beside what else one would run them with.

    pressroom   with its usual worker for each core; everything recorded
    celery      one task a call, on each of its pools; results recorded, in the same Postgres.
                Of each pool some sizes are tried first, and the fastest takes part
    runpod      the official SDK in threads; nothing recorded
    bare loop   asyncio and aiohttp; nothing recorded: the floor of what a job can cost

They take turns, and share what they do not count as theirs: the upstream, whose quota is lifted,
and the machine. A slow one is given fewer jobs: it is the middle of its run that counts.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.benches.own_jobs import run_jobs
from scripts.benches.own_stack import rest, run_own_stack, say, wake
from scripts.benches.report import Chart, Report
from scripts.benches.rivals.plan import Plan
from scripts.benches.rivals_run import CountPolls, Pool, run_alone, run_celery
from scripts.benches.run import Run, find_median
from scripts.benches.upstream import ENDPOINTS, Upstream, run_upstream
from workers.settings import EMULATOR_KEY, Settings

OWN = "pressroom"
FLOOR = "bare loop"
SDK = "runpod SDK, threads"
POLL_SECONDS = 2.0  # of who asks by the clock
# For two cores: a process of threads or greenlets keeps one busy; a child of prefork mostly waits.
POOLS = {
    "celery, prefork": [Pool(name="prefork", processes=1, at_once=n) for n in (32, 16, 64)],
    "celery, threads": [Pool(name="threads", processes=2, at_once=n) for n in (32, 16, 64)],
    "celery, gevent": [Pool(name="gevent", processes=2, at_once=n) for n in (100, 50, 200)],
}
ALONE = {SDK: ("runpod_threads", 512), FLOOR: ("bare_loop", 200)}  # module, calls at once
LEAST_TIMES_CELERY = 6.0
LEAST_SHARE_OF_FLOOR = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """
    Attributes:
        tried: sizes of each pool.
        tried_jobs: that each of them is tried with.
        seconds: that a run may take.
    """

    jobs: Mapping[str, int]
    rounds: int
    tried: int
    tried_jobs: int
    seconds: float


RIVALS = (*POOLS, SDK, FLOOR)
WHOLE = Size(
    jobs={OWN: 10_000, **dict.fromkeys(RIVALS, 2_000), FLOOR: 10_000},
    rounds=3,
    tried=3,
    tried_jobs=1_000,
    seconds=60,
)
QUICK = Size(jobs=dict.fromkeys((OWN, *RIVALS), 40), rounds=1, tried=1, tried_jobs=20, seconds=60)


def measure(quick: bool) -> Report:  # noqa: FBT001 -- one shape for every benchmark
    """Throughput of 10,000 jobs, beside one task a call on Celery, the SDK and a bare loop.

    Raises:
        StackError: the stack, or a rival, did not come up.
    """
    report = Report("throughput", beside=FLOOR)
    pools, runs = _run_all(QUICK if quick else WHOLE)
    floor = runs[FLOOR]
    for name, run in runs.items():
        _add(report, name, run, floor)
        if name in pools:
            report.add(name, "processes", pools[name].processes)
            report.add(name, "at once in each", pools[name].at_once)
    own = runs[OWN].per_second
    celery = max(runs[name].per_second for name in POOLS)
    report.demand("jobs/s, times Celery's best", own / celery, at_least=LEAST_TIMES_CELERY)
    share = own / floor.per_second
    report.demand("jobs/s, times the bare loop's", share, at_least=LEAST_SHARE_OF_FLOOR)
    report.hold("jobs not completed", runs[OWN].unfinished, at_most=0)
    report.charts.append(
        Chart(
            title="Jobs of 3 s on eight endpoints, two cores",
            x="seconds",
            y="completed",
            lines={name: run.curve for name, run in runs.items()},
        )
    )
    return report


def _add(report: Report, name: str, run: Run, floor: Run) -> None:
    report.add(name, "of the middle", run.per_second, "jobs/s", floor.per_second)
    over_all, least = run.per_second_over_all, floor.per_second_over_all
    report.add(name, "from first to last", over_all, "jobs/s", least)
    each = run.cpu_ms_each
    report.add(name, "CPU a job", sum(each.values()), "ms", sum(floor.cpu_ms_each.values()))
    if len(each) > 1:
        for kind, milliseconds in sorted(each.items(), key=lambda one: -one[1]):
            report.add(name, f"of it {kind}", milliseconds, "ms")
    for what, value in run.postgres.items():
        report.add(name, f"{what} a job", value / len(run.done))
    report.add(name, "polls a job", run.polls_each, "", floor.polls_each)
    if run.lag_seconds is not None:
        report.add(name, "seen after its end, p50", run.lag_seconds, "s", floor.lag_seconds)
    report.add(name, "jobs", run.jobs)
    report.add(name, "not completed", run.unfinished)


def _run_all(size: Size) -> tuple[Mapping[str, Pool], Mapping[str, Run]]:
    """The pools that took part, and the median run of each contender; they take turns."""
    runs: dict[str, list[Run]] = {name: [] for name in size.jobs}
    with run_upstream() as upstream, run_own_stack(upstream.variables) as settings:
        rest(settings)  # what it keeps busy while idle is no cost of its rivals
        pools = {name: _find_fastest(settings, upstream, name, size) for name in POOLS}
        for _ in range(size.rounds):
            wake(settings)
            runs[OWN].append(_run_own(settings, upstream, size))
            rest(settings)
            for name, pool in pools.items():
                run = _run_celery(settings, upstream, pool, size.jobs[name], size.seconds)
                runs[name].append(run)
            runs[SDK].append(_run_alone(upstream, SDK, size))
            runs[FLOOR].append(_run_alone(upstream, FLOOR, size))
    return pools, {name: find_median(kept) for name, kept in runs.items()}


def _find_fastest(settings: Settings, upstream: Upstream, name: str, size: Size) -> Pool:
    tried = POOLS[name][: size.tried]
    if len(tried) == 1:
        return tried[0]
    speeds = [
        _run_celery(settings, upstream, pool, size.tried_jobs, size.seconds).per_second
        for pool in tried
    ]
    return tried[speeds.index(max(speeds))]


def _run_own(settings: Settings, upstream: Upstream, size: Size) -> Run:
    jobs = size.jobs[OWN]
    say(f"{OWN}: {jobs:,} jobs")
    return asyncio.run(run_jobs(settings, upstream, jobs=jobs, seconds=size.seconds))


def _run_celery(
    settings: Settings, upstream: Upstream, pool: Pool, jobs: int, seconds: float
) -> Run:
    say(f"celery, {pool.name}, {pool.processes} x {pool.at_once}: {jobs:,} jobs")
    plan = _plan(upstream, jobs=jobs, seconds=seconds, at_once=pool.at_once)
    return run_celery(settings, pool, plan, _counter(upstream))


def _run_alone(upstream: Upstream, name: str, size: Size) -> Run:
    jobs = size.jobs[name]
    say(f"{name}: {jobs:,} jobs")
    module, at_once = ALONE[name]
    plan = _plan(upstream, jobs=jobs, seconds=size.seconds, at_once=at_once)
    return run_alone(module, plan, _counter(upstream))


def _plan(upstream: Upstream, *, jobs: int, seconds: float, at_once: int) -> Plan:
    """What a rival is to do with an upstream that has forgotten who was before it."""
    asyncio.run(upstream.clear())
    return Plan(
        base=upstream.base,
        key=EMULATOR_KEY,
        endpoints=ENDPOINTS,
        jobs=jobs,
        poll_seconds=POLL_SECONDS,
        seconds=seconds,
        at_once=at_once,
    )


def _counter(upstream: Upstream) -> CountPolls:
    return lambda: asyncio.run(upstream.count_polls())
