"""Polling: how many polls a job costs, and how late its end is seen.

    simulated  the forecast, cold and warm, on durations that are drawn, beside fixed loops and
               exponential backoff: exact, for a poll takes no time
    live       jobs of 20 s on two endpoints of a stack: of one the upstream sends webhooks

How late an end is seen is the time from the moment when the emulator ended the job, by the wall's
clock, to the one at which our row says that it was finished. Beside each stands the same of a loop
of two seconds, on the same durations.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.cli.console import open_cli_runtime
from scripts.benches.arrivals import Live, look, send_steadily, wait_for_ends
from scripts.benches.own_stack import run_own_stack, say
from scripts.benches.pollers import (
    Forecast,
    Seen,
    back_off,
    draw_durations,
    watch,
    watch_loop,
    watch_warm,
)
from scripts.benches.report import Chart, Report
from scripts.faults.emulator import Emulator
from workers.settings import Settings

LOOP_SECONDS = 2.0  # of the loop that all is compared with
OTHER_LOOPS = (1.0, 5.0)
DRAWN_LOOPS = (0.5, 1.0, 2.0, 5.0, 10.0)
SIMULATED_SECONDS = (2.0, 20.0, 200.0)
CLOSE = 0.15  # the emulator's spread at which 99 of 100 times are within 10 % of their median
SPREADS = {"± 10 %": CLOSE, "widely spread": 1.0}
LEARNED = 200  # jobs that a forecast is warm after
OFF = 2.0  # a catalogue may say so many times as much, or as little
CHARTED_SECONDS = 20.0

SILENT, HINTED = "bench-silent", "bench-hinted"  # endpoints of our own
WORDS = {SILENT: "without webhooks", HINTED: "with webhooks"}
CURVE_POINTS = 100

MOST_POLLS = 2.5
MOST_LAG_SECONDS = 1.0
MOST_HINTED_LAG_SECONDS = 0.3
MOST_IDLE_POLLS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of each.

    Attributes:
        rate: jobs a second that arrive at each endpoint.
        warm, jobs: that arrive before it counts, and then.
    """

    simulated: int
    seconds: float
    rate: float
    warm: int
    jobs: int
    end_seconds: float  # within which those that arrived last must have ended


WHOLE = Size(simulated=1000, seconds=20, rate=5, warm=250, jobs=400, end_seconds=150)
QUICK = Size(simulated=100, seconds=2, rate=10, warm=30, jobs=20, end_seconds=40)


def measure(quick: bool) -> Report:  # noqa: FBT001 -- one shape for every benchmark
    """Polls that a job costs, and how late its end is seen.

    Raises:
        StackError: the stack, or a part of it, did not come up, or jobs did not end.
    """
    size = QUICK if quick else WHOLE
    report = Report("polling", beside=f"every {LOOP_SECONDS:g} s")
    say(f"{size.simulated} jobs simulated, each in some ways")
    chart = simulate(report, size.simulated)
    # Its seconds are real ones.
    with run_own_stack({"PRESSROOM_EMULATOR_CLOCK": "1"}) as settings:
        lives = asyncio.run(run_live(settings, size))
    for endpoint, live in lives.items():
        add_live(report, endpoint, live, size)
    report.charts += [chart, chart_lags(lives, size)]
    return report


def simulate(report: Report, jobs: int) -> Chart:
    """Add what each way of asking came to; returns the picture of one duration."""
    lines: dict[str, Sequence[tuple[float, float]]] = {}
    for seconds in SIMULATED_SECONDS:
        for shape, spread in SPREADS.items():
            draws = draw_durations(seconds, spread=spread, jobs=LEARNED + jobs)
            learned, took = draws[:LEARNED], draws[LEARNED:]
            ways = try_ways(learned, took, seconds)
            add_simulated(report, f"simulated, {seconds:g} s {shape}", ways, took)
            if seconds == CHARTED_SECONDS:
                loops = [watch_loop(took, every) for every in DRAWN_LOOPS]
                lines["fixed loops"] = [_point(seen) for seen in loops]  # whatever the shape
                for way in ("warm", "cold", "backoff"):
                    lines[f"{way}, {shape}"] = [_point(ways[way])]
    return Chart(
        title=f"Jobs of {CHARTED_SECONDS:g} s, simulated",
        x="polls a job",
        y="95 of 100 ends are seen within, s",
        lines=lines,
        logarithmic="xy",
    )


def try_ways(
    learned: Sequence[float], took: Sequence[float], typical_seconds: float
) -> Mapping[str, Seen]:
    """Warm: it has learned from other jobs; cold: of each job the catalogue alone tells."""
    return {
        "warm": watch_warm(learned, took, typical_seconds=typical_seconds),
        "cold": watch(took, Forecast(typical_seconds).wait),
        "cold, told twice as long": watch(took, Forecast(typical_seconds * OFF).wait),
        "cold, told half as long": watch(took, Forecast(typical_seconds / OFF).wait),
        **{f"every {every:g} s": watch_loop(took, every) for every in OTHER_LOOPS},
        "backoff": watch(took, back_off),
    }


def add_simulated(
    report: Report, part: str, ways: Mapping[str, Seen], took: Sequence[float]
) -> None:
    loop = watch_loop(took, LOOP_SECONDS)
    for way, seen in ways.items():
        report.add(part, f"{way}: polls", seen.polls_each, "", loop.polls_each)
        shares = (0.5, 0.95, 0.99) if way == "warm" else (0.95,)
        for share in shares:
            what = f"{way}: lag p{100 * share:.0f}"
            report.add(part, what, seen.lag(share), "s", loop.lag(share))


def add_live(report: Report, endpoint: str, live: Live, size: Size) -> None:
    part = f"live, {size.seconds:g} s ± 10 %, {WORDS[endpoint]}"
    loop = watch_loop(live.took, LOOP_SECONDS)
    report.add(part, "jobs", len(live.took))
    report.add(part, "unfinished", live.unfinished)
    report.add(part, "polls a job", live.seen.polls_each, "", loop.polls_each)
    report.add(part, "polls that found it not done", live.idle_polls_each, "", loop.polls_each - 1)
    report.add(part, "polls that no row counts", live.unrecorded)
    for share in (0.5, 0.95, 0.99):
        what = f"lag p{100 * share:.0f}"
        report.add(part, what, live.seen.lag(share), "s", loop.lag(share))
    report.hold(f"{part}, unfinished", live.unfinished, at_most=0)
    if endpoint == SILENT:
        report.hold(f"{part}, polls a job", live.seen.polls_each, at_most=MOST_POLLS)
        report.hold(f"{part}, lag p95 s", live.seen.lag(0.95), at_most=MOST_LAG_SECONDS)
        return
    what = f"{part}, polls a job beside the one that fetches the result"
    report.hold(what, live.idle_polls_each, at_most=MOST_IDLE_POLLS)
    report.hold(f"{part}, lag p95 s", live.seen.lag(0.95), at_most=MOST_HINTED_LAG_SECONDS)


def chart_lags(lives: Mapping[str, Live], size: Size) -> Chart:
    """How many ends were seen within which time."""
    lines = {WORDS[endpoint]: list(_curve(live.seen.lags)) for endpoint, live in lives.items()}
    took = next(iter(lives.values())).took
    lines[f"every {LOOP_SECONDS:g} s"] = list(_curve(watch_loop(took, LOOP_SECONDS).lags))
    return Chart(
        title=f"Jobs of {size.seconds:g} s, live",
        x="seconds after the end",
        y="ends seen, of 100",
        lines=lines,
        marks={"95 of 100": 95},
        logarithmic="x",
    )


async def run_live(settings: Settings, size: Size) -> Mapping[str, Live]:
    """Let jobs arrive at both endpoints, and see how each was followed."""
    emulator = Emulator(f"http://{settings.emulator_host}:{settings.emulator_port}")
    endpoints, count = list(WORDS), size.warm + size.jobs
    try:
        async with open_cli_runtime(settings) as runtime:
            for endpoint in endpoints:
                await emulator.serve(endpoint, execution_seconds=size.seconds, spread=CLOSE)
            await emulator.arm("webhook_silent", endpoint=SILENT)
            say(f"{size.rate:g} jobs a second at each endpoint for {count / size.rate:.0f} s")
            await send_steadily(runtime, endpoints, range(count), rate=size.rate)
            await wait_for_ends(runtime, endpoints, seconds=size.end_seconds)
            return {one: await look(runtime, emulator, one, since=size.warm) for one in endpoints}
    finally:
        await emulator.close()


def _point(seen: Seen) -> tuple[float, float]:
    return seen.polls_each, seen.lag(0.95)


def _curve(lags: Sequence[float]) -> Iterator[tuple[float, float]]:
    ordered = sorted(lags)
    for step in range(1, CURVE_POINTS + 1):
        place = max(round(step * len(ordered) / CURVE_POINTS), 1)
        yield max(ordered[place - 1], 0.001), 100 * place / len(ordered)
