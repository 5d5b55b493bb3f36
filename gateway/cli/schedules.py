"""`pressroom schedules`: campaigns that are run again and again."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gateway.audit_facts import action_on_schedule, terms_of_schedule
from gateway.cli.actor import cli_actor
from gateway.cli.console import confirm, make_table, notes, out, print_json, run, say_id
from gateway.cli.ids import resolve_schedule
from gateway.cli.inputs import BadInput
from gateway.cli.plan_view import say_plan
from gateway.cli.schedule_runs import Given, Json, Yes, backfill, start_run
from gateway.cli.specs import Planned, SpecPath, keep_rows, plan_spec, show_plan
from gateway.schedule_facts import describe_fires, describe_runs, describe_schedule
from gateway.words import say_usd
from models.audit import Action, note_act
from models.schedule import (
    Overlap,
    Schedule,
    get_schedule,
    list_schedules,
    read_clock,
    remove_schedule,
)
from models.schedule_run import list_runs
from tasks.schedules import (
    NEXT,
    Contents,
    change_schedule,
    create_schedule,
    list_next,
)
from workers.runtime import Runtime

schedules_app = typer.Typer(help="Run campaigns again and again, by a cron.", no_args_is_help=True)

RUNS_SHOWN = 10


@schedules_app.command()
def add(
    path: SpecPath,
    name: Annotated[str | None, typer.Option(help="In place of the specification's.")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Until it is resumed.")] = False,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and price a run; keep nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a schedule: a specification with a `schedule`, planned as `campaign start` plans it.

    Its file of rows is kept as it is now. Each run is a campaign of its own.

    Examples:

        pressroom schedules add nightly.yaml --dry-run

        pressroom schedules add nightly.yaml --yes
    """

    async def body(runtime: Runtime) -> None:
        async with plan_spec(runtime, path) as planned:
            timetable = planned.spec.schedule
            if timetable is None:
                wanted = 'schedule: {cron: "0 2 * * *", zone: Europe/Berlin}'
                raise BadInput(f"{path}: no schedule; {wanted} was wanted in it")
            if not as_json:
                await show_plan(runtime, planned)
            if dry_run:
                notes.print(f"each run: {say_plan(planned.plan)}; nothing was kept")
                if as_json:
                    print_json(planned.plan.describe())
                return
            confirm(f"Run {say_plan(planned.plan)} at each {timetable.cron!r}?", yes=yes)
            contents = await _keep(runtime, planned)
        async with runtime.database.begin() as session:
            schedule = await create_schedule(
                session,
                name=name or planned.spec.name,
                timetable=timetable,
                contents=contents,
                paused=paused,
            )
            after = terms_of_schedule(schedule)
            await note_act(session, cli_actor(), Action.SCHEDULE_CREATE, schedule.name, after=after)
        _say_changed(schedule, "added", as_json=as_json)

    run(body)


@schedules_app.command("list")
def list_(as_json: Json = False) -> None:
    """List schedules, with when each runs next.

    Example:

        pressroom schedules list
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            told = [describe_schedule(one) for one in await list_schedules(session)]
        if as_json:
            print_json(told)
        elif not told:
            hint = "[bold]pressroom schedules add FILE[/bold]"
            notes.print(f"no schedules yet; {hint} makes one of a specification")
        else:
            table = make_table("id", "next", "cron", "zone", ">jobs", ">a run", "name")
            for one in told:
                table.add_row(
                    say_id(one["id"]),
                    "[yellow]paused[/yellow]" if one["paused"] else one["next_at"],
                    one["cron"],
                    one["zone"],
                    f"{one['jobs']:,}",
                    say_usd(one["estimate_usd"]),
                    escape(one["name"]),
                )
            out.print(table, highlight=False)

    run(body)


@schedules_app.command()
def show(given: Given, as_json: Json = False) -> None:
    """Show a schedule, and what came of its last fires.

    Example:

        pressroom schedules show nightly
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            schedule = await get_schedule(session, await resolve_schedule(session, given))
            runs = await list_runs(session, schedule.id, limit=RUNS_SHOWN)
        told = describe_schedule(schedule)
        told |= {"specification": schedule.spec, "runs": describe_runs(schedule, runs)}
        if as_json:
            print_json(told)
            return
        out.print(_draw(told), highlight=False)
        if not runs:
            notes.print("no fire of it was due yet")
            return
        table = make_table("due", "came to", "campaign", "note")
        for one in told["runs"]:
            table.add_row(
                one["due_at"],
                f"{one['outcome']}{', over' if one['over'] else ''}",
                say_id(one["campaign_id"]) if one["campaign_id"] else "-",
                escape(one["note"] or ""),
            )
        out.print(table, highlight=False)

    run(body)


@schedules_app.command("next")
def next_(
    given: Given,
    count: Annotated[int, typer.Option(min=1, max=1_000, help="So many.")] = NEXT,
    as_json: Json = False,
) -> None:
    """Show the coming fires of a schedule, as if it were not paused.

    Example:

        pressroom schedules next nightly
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            schedule = await get_schedule(session, await resolve_schedule(session, given))
            now = await read_clock(session)
        fires = describe_fires(schedule, list_next(schedule, now=now, count=count))
        if as_json:
            print_json(fires)
            return
        if schedule.paused_at is not None:
            notes.print("it is paused; `schedules resume` lets it go on")
        for fire in fires:
            later = fire["starts_at"] != fire["due_at"]
            out.print(
                fire["due_at"] + (f", starts {fire['starts_at']}" if later else ""),
                highlight=False,
            )

    run(body)


@schedules_app.command()
def edit(
    given: Given,
    cron: Annotated[str | None, typer.Option(help="Minute, hour, day, month, weekday.")] = None,
    zone: Annotated[str | None, typer.Option(help="Whose clock it goes by.")] = None,
    overlap: Annotated[Overlap | None, typer.Option(help="If a run is not over.")] = None,
    catch_up: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How late a fire may start.")
    ] = None,
    jitter: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Start up to so much later.")
    ] = None,
    pause_on_failure: Annotated[
        bool | None, typer.Option(help="Pause once a run ended with failed jobs.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A specification, in place of the one it has.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Change when a schedule runs, or what. It holds from the next fire on.

    A `schedule` in FILE counts, too; options go before it.

    Examples:

        pressroom schedules edit nightly --cron "30 3 * * MON-FRI" --zone America/New_York

        pressroom schedules edit nightly --file nightly.yaml --yes
    """
    asked = {
        "cron": cron,
        "zone": zone,
        "overlap": overlap,
        "catch_up": catch_up,
        "jitter": jitter,
        "pause_on_failure": pause_on_failure,
    }
    changes = {field: value for field, value in asked.items() if value is not None}

    async def body(runtime: Runtime) -> None:
        if not changes and file is None:
            raise BadInput("nothing to change; one of --cron, --zone, --overlap ... was wanted")
        async with runtime.database.begin() as session:
            schedule_id = await resolve_schedule(session, given)
        contents, timetable = None, {}
        if file is not None:
            async with plan_spec(runtime, file) as planned:
                if not as_json:
                    await show_plan(runtime, planned)
                confirm(f"Run {say_plan(planned.plan)} each time from now on?", yes=yes)
                contents = await _keep(runtime, planned)
            if planned.spec.schedule is not None:
                timetable = planned.spec.schedule.model_dump()
        async with runtime.database.begin() as session:
            before = terms_of_schedule(await get_schedule(session, schedule_id, hold=True))
            schedule = await change_schedule(
                session, schedule_id, changes={**timetable, **changes}, contents=contents
            )
            await note_act(
                session,
                cli_actor(),
                Action.SCHEDULE_EDIT,
                schedule.name,
                before=before,
                after=terms_of_schedule(schedule),
            )
        _say_changed(schedule, "changed", as_json=as_json)

    run(body)


@schedules_app.command()
def pause(given: Given) -> None:
    """Let a schedule start nothing more. What runs, runs on.

    Example:

        pressroom schedules pause nightly
    """
    _set_paused(given, paused=True)


@schedules_app.command()
def resume(given: Given) -> None:
    """Let a paused schedule go on, from its next fire. `backfill` runs what was left out.

    Example:

        pressroom schedules resume nightly
    """
    _set_paused(given, paused=False)


@schedules_app.command()
def remove(given: Given, yes: Yes = False) -> None:
    """Remove a schedule, and what is known of its fires. Its campaigns stay, and run on.

    Example:

        pressroom schedules remove nightly --yes
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            schedule = await get_schedule(session, await resolve_schedule(session, given))
        confirm(f"Remove {schedule.name!r}?", yes=yes)
        async with runtime.database.begin() as session:
            await remove_schedule(session, schedule.id)
            before = terms_of_schedule(schedule)
            await note_act(
                session, cli_actor(), Action.SCHEDULE_REMOVE, schedule.name, before=before
            )
        notes.print(escape(f"removed {schedule.name}"))

    run(body)


schedules_app.command("run")(start_run)
schedules_app.command()(backfill)


def _set_paused(given: str, *, paused: bool) -> None:
    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            schedule_id = await resolve_schedule(session, given)
            before = terms_of_schedule(await get_schedule(session, schedule_id, hold=True))
            schedule = await change_schedule(session, schedule_id, paused=paused)
            await note_act(
                session,
                cli_actor(),
                action_on_schedule(changed=False, paused=paused),
                schedule.name,
                before=before,
                after=terms_of_schedule(schedule),
            )
        _say_changed(schedule, "changed", as_json=False)

    run(body)


async def _keep(runtime: Runtime, planned: Planned) -> Contents:
    spec = planned.spec.model_dump(mode="json", exclude_unset=True, exclude={"schedule"})
    return Contents(
        spec=spec,
        rows_key=await keep_rows(runtime, planned),
        jobs=planned.plan.jobs,
        usd=planned.plan.usd,
        unpriced=planned.plan.unpriced,
    )


def _say_changed(schedule: Schedule, said: str, *, as_json: bool) -> None:
    told = describe_schedule(schedule)
    if as_json:
        print_json(told)
        return
    when = "it is paused" if told["paused"] else f"next at {told['next_at']}"
    notes.print(escape(f"{said} {schedule.name}: {when}"), soft_wrap=True)


def _draw(told: dict[str, Any]) -> Table:
    facts = Table.grid(padding=(0, 3))
    facts.add_column(style="dim")
    facts.add_row("schedule", f"{told['id']} [bold]{escape(told['name'])}[/bold]")
    facts.add_row("cron", f"{told['cron']} in {told['zone']}")
    facts.add_row("next", "[yellow]paused[/yellow]" if told["paused"] else told["next_at"])
    if told["problem"]:
        facts.add_row("[red]because[/red]", escape(told["problem"]))
    unpriced = f", and {told['unpriced']:,} without a known price" if told["unpriced"] else ""
    facts.add_row(
        "a run", f"{told['jobs']:,} jobs, about {say_usd(told['estimate_usd'])}{unpriced}"
    )
    facts.add_row("overlap", told["overlap"])
    facts.add_row("catch-up", f"{told['catch_up_seconds']:g} s")
    facts.add_row("jitter", f"{told['jitter_seconds']:g} s")
    facts.add_row("on failure", "it pauses" if told["pause_on_failure"] else "it goes on")
    return facts
