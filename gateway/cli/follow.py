"""Follow a campaign: a live bar on a terminal, a line now and then elsewhere; and its summary."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gateway.campaign_facts import count_whole, summarize
from gateway.cli.console import FAILED, notes, out, print_json
from gateway.words import say_bytes, say_seconds, say_usd
from models.budget import list_budgets
from models.campaign_figures import Progress, count_jobs
from models.lane import LaneView, find_lanes
from workers.runtime import Runtime

REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0  # between lines where there is no terminal
BAR_WIDTH = 44
STILL_ENQUEUED = (
    "its file is still being read in; if that was cut off, `campaign run FILE --resume ID` goes on"
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast it goes: of jobs until the last has ended, then of the files still to be stored."""

    seconds: float  # of following
    rate: float  # a second
    unit: str
    seconds_left: float | None


class Pacer:
    """Takes the pace from the counts as they come."""

    def __init__(self, progress: Progress) -> None:
        self._began = time.monotonic()
        self._ended_before = progress.ended
        self._files: tuple[float, int] | None = None  # when the last job had ended, and files then

    def take(self, progress: Progress) -> Pace:
        now = time.monotonic()
        seconds = now - self._began
        left = count_whole(progress) - progress.ended
        if left > 0 or progress.total is None:
            rate = (progress.ended - self._ended_before) / seconds if seconds else 0.0
            return Pace(seconds, rate, "jobs", left / rate if rate else None)
        if self._files is None:
            self._files = (now, progress.files_stored)
        since, stored = self._files
        rate = (progress.files_stored - stored) / (now - since) if now > since else 0.0
        return Pace(seconds, rate, "files", progress.files_pending / rate if rate else None)


async def follow_campaign(runtime: Runtime, campaign_id: UUID) -> Progress:
    """Show progress until every job has ended and every file is stored or given up."""
    pacer = Pacer(await _count(runtime, campaign_id))
    said_at = -LINE_SECONDS
    with Live(console=notes, refresh_per_second=4, transient=True) as live:
        while True:
            progress = await _count(runtime, campaign_id)
            held = [say_lane(lane) for lane in await _find_held_lanes(runtime)]
            held += await _find_waits(runtime, campaign_id)
            pace = pacer.take(progress)
            if notes.is_terminal:
                live.update(draw(progress, pace, held))
            elif pace.seconds - said_at >= LINE_SECONDS or progress.settled:
                notes.print(say_line(progress, pace), soft_wrap=True)
                for line in held:
                    notes.print(f"held: {line}", markup=False, soft_wrap=True)
                said_at = pace.seconds
            if progress.settled:
                return progress
            await asyncio.sleep(REFRESH_SECONDS)


async def follow_to_its_end(runtime: Runtime, campaign_id: UUID, *, as_json: bool) -> None:
    """Follow it, show its summary, and exit with 1 if a job of it failed. Ctrl-C detaches."""
    try:
        await follow_campaign(runtime, campaign_id)
    except asyncio.CancelledError:
        notes.print(
            f"detached; it runs on: [bold]pressroom campaign watch {campaign_id}[/bold] follows it",
            soft_wrap=True,
        )
        raise
    summary = await summarize(runtime, campaign_id)
    if as_json:
        print_json(summary)
    else:
        show_summary(summary)
    if summary["failed"] or summary["problem"]:
        raise typer.Exit(FAILED)


def draw(progress: Progress, pace: Pace, held: Sequence[str]) -> Group:
    """The live display: a bar, the counts below it, and what holds a lane up."""
    total = count_whole(progress) or 1
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=total, completed=progress.ended, width=BAR_WIDTH),
        Text(f"{progress.ended:,}/{total:,}", style="bold"),
        Text(f"{progress.ended / total:.0%}"),
        Text(f"{pace.rate:.1f} {pace.unit}/s", style="cyan"),
        Text(f"ETA {say_seconds(pace.seconds_left)}"),
        Text(f"{say_seconds(pace.seconds)} so far", style="dim"),
    )
    counts = Text.assemble(
        ("queued ", "dim"),
        f"{progress.queued:,}  ",
        ("running ", "dim"),
        f"{progress.running:,}  ",
        ("done ", "dim"),
        (f"{progress.completed:,}  ", "green"),
        ("failed ", "dim"),
        (f"{progress.failed:,}  ", "red" if progress.failed else ""),
        (f"cancelled {progress.cancelled:,}  " if progress.cancelled else "", "dim"),
        ("files ", "dim"),
        f"{progress.files_stored:,}",
        (f" (+{progress.files_pending:,} to store)" if progress.files_pending else "", "dim"),
        ("  spent ", "dim"),
        say_usd(progress.spent_usd),
    )
    lines = [Text(f"held: {line}", style="yellow") for line in held]
    if note := say_state(progress):
        lines.append(Text(note, style="yellow"))
    return Group(bar, counts, *lines)


def say_line(progress: Progress, pace: Pace) -> str:
    return (
        f"{progress.ended:,}/{count_whole(progress):,}"
        f"  queued {progress.queued:,}  running {progress.running:,}"
        f"  done {progress.completed:,}  failed {progress.failed:,}"
        f"  files {progress.files_stored:,}  spent {say_usd(progress.spent_usd)}"
        f"  {pace.rate:.1f} {pace.unit}/s  ETA {say_seconds(pace.seconds_left)}"
    )


def say_state(progress: Progress) -> str | None:
    """Why its jobs are not all of what it is to be, if they are not."""
    if progress.paused:
        return "paused; `campaign resume` lets it go on"
    if progress.problem:
        return f"cut off after {progress.total or 0:,} jobs: {progress.problem}"
    if progress.total is not None:
        return None
    if progress.planned is None:
        return STILL_ENQUEUED
    return f"{progress.enqueued:,} of {progress.planned:,} jobs are enqueued so far"


def say_wait(budget: str, jobs: int, left_usd: Decimal | float) -> str:
    """What a budget holds up, and what to do about it."""
    return (
        f"{jobs:,} jobs wait for the budget {budget!r}: {say_usd(left_usd)} left; "
        f"`budget set {budget!r} --usd N` raises it"
    )


def say_lane(lane: LaneView) -> str:
    """Why a lane does not move."""
    name = f"{lane.stage} of {lane.endpoint}"
    if lane.paused:
        return f"{name} is paused; `pressroom lanes resume {lane.stage} {lane.endpoint}`"
    return f"{name} {lane.held_up}"


def show_summary(summary: dict[str, Any]) -> None:
    """The same for a person."""
    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim")
    table.add_row("completed", f"{summary['completed']:,} of {summary['jobs']:,}")
    if summary["queued"] or summary["running"]:
        table.add_row("still", f"{summary['queued']:,} queued, {summary['running']:,} running")
    if summary["paused"]:
        table.add_row("[yellow]paused[/yellow]", "`campaign resume` lets it go on")
    for one in summary["held_by"]:
        waits = say_wait(one["budget"], one["jobs"], one["left_usd"])
        table.add_row("[yellow]budget[/yellow]", escape(waits))
    if summary["seconds_left"] is not None:
        table.add_row("left", f"{say_seconds(summary['seconds_left'])}, by its limits and forecast")
    if summary["problem"]:
        table.add_row("[red]cut off[/red]", escape(summary["problem"]))
    for failure in summary["failures"]:
        example = f"\n[dim]{escape(failure['error'])}[/dim]" if failure["error"] else ""
        table.add_row(
            f"[red]{failure['state']}[/red]", f"{failure['jobs']:,} {failure['reason']}{example}"
        )
    table.add_row("files", f"{summary['artifacts']:,}, {say_bytes(summary['bytes'])}")
    if summary["artifacts_pending"] or summary["artifacts_expired"]:
        table.add_row(
            "not stored",
            f"{summary['artifacts_pending']:,} pending, {summary['artifacts_expired']:,} expired",
        )
    table.add_row(
        "spent",
        f"{say_usd(summary['cost_usd'])} of {say_usd(summary['estimate_usd'])} estimated",
    )
    table.add_row(
        "time", f"{say_seconds(summary['seconds'])}, {summary['jobs_per_second']:.1f} jobs/s"
    )
    table.add_row("polls", f"{summary['polls_per_job']:.2f} a job")
    out.print(table, highlight=False)


async def _count(runtime: Runtime, campaign_id: UUID) -> Progress:
    async with runtime.database.begin() as session:
        return await count_jobs(session, campaign_id)


async def _find_waits(runtime: Runtime, campaign_id: UUID) -> list[str]:
    async with runtime.database.begin() as session:
        budgets = await list_budgets(session, holding=campaign_id)
    return [say_wait(one.name, one.held, one.left_usd) for one in budgets]


async def _find_held_lanes(runtime: Runtime) -> list[LaneView]:
    async with runtime.database.begin() as session:
        return [lane for lane in await find_lanes(session) if lane.held_up is not None]
