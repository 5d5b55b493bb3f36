"""More worker processes on the same cores: does what they share cost any throughput?

The same jobs, by 1, 2 and 4 of them in turns: what one loses to the others (locks, claims that find
nothing, bells that wake two) shows as jobs a second, or as CPU a job.
"""

import asyncio
from dataclasses import dataclass

from scripts.benches.own_jobs import run_jobs
from scripts.benches.own_stack import run_own_stack, say, set_workers
from scripts.benches.report import Chart, Report
from scripts.benches.run import Run, find_median
from scripts.benches.upstream import run_upstream

WORKERS = (1, 2, 4)
LEAST_SHARE = 0.95  # of one worker's throughput


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    jobs: int
    rounds: int
    seconds: float  # that a run may take


WHOLE = Size(jobs=6_000, rounds=3, seconds=60)
QUICK = Size(jobs=80, rounds=1, seconds=60)


def measure(quick: bool) -> Report:  # noqa: FBT001 -- one shape for every benchmark
    """Throughput with 1, 2 and 4 worker processes on the same cores.

    Raises:
        StackError: a stack, or a part of it, did not come up.
    """
    report = Report("scaleout", beside="1 worker")
    runs = _run_all(QUICK if quick else WHOLE)
    alone = runs[WORKERS[0]]
    for workers, run in runs.items():
        part = "1 worker" if workers == 1 else f"{workers} workers"
        report.add(part, "of the middle", run.per_second, "jobs/s", alone.per_second)
        for kind in ("worker", "postgres", "valkey"):
            each = run.cpu_ms_each[kind]
            report.add(part, f"CPU a job, {kind}", each, "ms", alone.cpu_ms_each[kind])
        report.add(part, "polls a job", run.polls_each, "", alone.polls_each)
        report.add(part, "not completed", run.unfinished)
    for workers in WORKERS[1:]:
        share = runs[workers].per_second / alone.per_second
        report.demand(f"jobs/s of {workers} workers, times one's", share, at_least=LEAST_SHARE)
    unfinished = sum(run.unfinished for run in runs.values())
    report.hold("jobs not completed", unfinished, at_most=0)
    report.charts.append(
        Chart(
            title="The same two cores, more workers",
            x="worker processes",
            y="jobs/s",
            lines={"completed": [(workers, run.per_second) for workers, run in runs.items()]},
        )
    )
    return report


def _run_all(size: Size) -> dict[int, Run]:
    """The median run of each number of workers; they take turns."""
    runs: dict[int, list[Run]] = {workers: [] for workers in WORKERS}
    with run_upstream() as upstream:
        variables = {**upstream.variables, "PRESSROOM_WORKERS": str(max(WORKERS))}
        with run_own_stack(variables) as settings:
            for _ in range(size.rounds):
                for workers, kept in runs.items():
                    say(f"{size.jobs:,} jobs, {workers} worker{'' if workers == 1 else 's'}")
                    set_workers(settings, workers)
                    running = run_jobs(settings, upstream, jobs=size.jobs, seconds=size.seconds)
                    kept.append(asyncio.run(running))
    return {workers: find_median(kept) for workers, kept in runs.items()}
