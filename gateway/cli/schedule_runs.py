"""`pressroom schedules run|backfill`: runs that no clock asked for."""

import datetime as dt
import re
from decimal import Decimal
from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli.actor import cli_actor
from gateway.cli.console import FAILED, confirm, notes, out, print_json, run
from gateway.cli.ids import resolve_schedule
from gateway.cli.inputs import BadInput
from gateway.schedule_facts import describe_runs, say_time
from gateway.words import say_usd
from models.audit import Action, note_act
from models.schedule import Schedule, get_schedule, read_clock
from models.schedule_run import RunOutcome, get_run
from tasks.campaigns.cron import Cron
from tasks.schedules import backfill_schedule, list_missing, run_schedule
from tasks.tick import tick_schedule
from workers.runtime import Runtime

DAY = re.compile(r"\d{4}-?\d{2}-?\d{2}")

Given = Annotated[str, typer.Argument(metavar="NAME", help="Its name, its id or the end of that.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def start_run(given: Given, yes: Yes = False, as_json: Json = False) -> None:
    """Start a run of a schedule now, whatever else of it runs.

    Example:

        pressroom schedules run nightly --yes
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            schedule = await get_schedule(session, await resolve_schedule(session, given))
        confirm(f"Run {_say_cost(schedule, 1)}?", yes=yes)
        async with runtime.database.begin() as session:
            due = await run_schedule(session, schedule.id)
            after = {"due_at": due.isoformat()}
            await note_act(session, cli_actor(), Action.SCHEDULE_RUN, schedule.name, after=after)
            now = await read_clock(session)
        await tick_schedule(runtime, schedule.id, now)
        async with runtime.database.begin() as session:
            [told] = describe_runs(schedule, [await get_run(session, schedule.id, due)])
        if as_json:
            print_json(told)
        elif told["outcome"] == RunOutcome.STARTED:
            notes.print(f"campaign [bold]{told['campaign_id']}[/bold]")
        elif told["outcome"] == RunOutcome.BUFFERED:
            notes.print("it starts with the next tick; `schedules show` follows it")
        else:
            notes.print(escape(f"{told['outcome']}: {told['note']}"))
        if told["outcome"] == RunOutcome.FAILED:
            raise typer.Exit(FAILED)

    run(body)


def backfill(
    given: Given,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="TIME",
            help="First day or time, by the schedule's clock: 2026-11-01, 2026-11-01T02:00.",
        ),
    ],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Last day (all of it) or time.")],
    at_once: Annotated[
        bool, typer.Option("--at-once", help="All of them, not one after the other.")
    ] = False,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List them; run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run the fires of a past time that were not run. Times are those of its zone.

    Examples:

        pressroom schedules backfill nightly --from 2026-11-01 --to 2026-11-07 --dry-run

        pressroom schedules backfill nightly --from 2026-11-01T00:00 --to 2026-11-01T12:00
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            schedule = await get_schedule(session, await resolve_schedule(session, given))
            cron = Cron(schedule.cron, schedule.zone)
            now = await read_clock(session)
            spell = {
                "start": _read_time("--from", start, cron),
                "end": _read_end(end, cron, now),
            }
            dues = await list_missing(session, schedule, **spell, now=now)
        said = f"{len(dues):,} fires: {_say_cost(schedule, len(dues))}"
        waiting = 0
        if not dues or dry_run:
            notes.print(
                f"{said}; nothing is run" if dues else "no fire of that time is left to be run"
            )
        else:
            confirm(f"Run {said}?", yes=yes)
            async with runtime.database.begin() as session:
                waiting = await backfill_schedule(session, schedule.id, **spell, at_once=at_once)
                after = {
                    **{name: moment.isoformat() for name, moment in spell.items()},
                    "at_once": at_once,
                    "fires": waiting,
                }
                await note_act(
                    session, cli_actor(), Action.SCHEDULE_BACKFILL, schedule.name, after=after
                )
            await tick_schedule(runtime, schedule.id, now)
            how = "at once" if at_once else "one after the other"
            held = "" if at_once or schedule.paused_at is None else ", once it is resumed"
            notes.print(f"{waiting:,} run {how}{held}; `schedules show` follows them")
        if as_json:
            fires = [say_time(schedule, due) for due in dues]
            print_json({"fires": fires, "jobs": len(dues) * schedule.planned, "waiting": waiting})
        elif dry_run:
            for due in dues:
                out.print(say_time(schedule, due), highlight=False)

    run(body)


def _read_time(option: str, said: str, cron: Cron) -> dt.datetime:
    """A time by the clock of the schedule, if it names no other; of a day, its begin."""
    try:
        moment = dt.datetime.fromisoformat(said)
    except ValueError as error:
        raise BadInput(f"{option} {said}: a time such as 2026-11-01T02:00 was wanted") from error
    return moment.replace(tzinfo=moment.tzinfo or cron.zone)


def _read_end(said: str, cron: Cron, now: dt.datetime) -> dt.datetime:
    """The same; of a day, its end, or now if it is today."""
    begin = _read_time("--to", said, cron)
    if not DAY.fullmatch(said) or begin > now:
        return begin
    return min(begin + dt.timedelta(days=1, microseconds=-1), now)


def _say_cost(schedule: Schedule, runs: int) -> str:
    jobs = runs * schedule.planned
    unpriced = runs * schedule.unpriced
    rest = f", and {unpriced:,} without a known price" if unpriced else ""
    return f"{jobs:,} jobs, about {say_usd(schedule.estimate_usd * Decimal(runs))}{rest}"
