"""`pressroom lanes`: what waits in each and why; pausing, draining and limiting."""

import asyncio
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from endpoints.catalogue import Operation
from gateway.cli.actor import cli_actor
from gateway.cli.console import (
    confirm,
    make_table,
    note_unlisted,
    notes,
    out,
    print_json,
    run,
)
from gateway.cli.inputs import BadInput
from gateway.cli.lane_view import draw_lane
from gateway.lane_acts import has_limit, limit_lane, pause_lane, resume_lane
from gateway.lane_facts import OPERATIONS, describe_lane, inspect_lane
from models.lane import StageName, list_lane_states
from models.lane_detail import count_in_flight
from tasks.campaigns.span import parse_span
from workers.operator_settings import UNLIMITED, LimitOverride, find_beyond
from workers.runtime import Runtime

LOOK_SECONDS = 0.5

lanes_app = typer.Typer(
    help="List lanes, and pause, limit, drain and resume them.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
StageOption = Annotated[StageName, typer.Option(help="Which of its lanes.")]
Reason = Annotated[str | None, typer.Option(help="Why: whoever looks at the lane reads it.")]


@lanes_app.command("list")
def list_(as_json: Json = False) -> None:
    """List the lanes in which something waits, or that something holds up.

    Example:

        pressroom lanes list
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            states = await list_lane_states(session)
        lanes = [await describe_lane(runtime, state) for state in states]
        if as_json:
            print_json(lanes)
            return
        if maintenance := (await runtime.operator_settings()).maintenance:
            notes.print(f"[yellow]{escape(str(maintenance))}[/yellow]: nothing is submitted")
        if not lanes:
            notes.print("nothing waits in a lane, and none is held up")
            return
        table = make_table("stage", "endpoint", "waiting", "of its limit", "why")
        for lane in lanes:
            more = "+" if lane["waiting_is_more"] else ""
            table.add_row(
                lane["stage"],
                lane["endpoint"],
                f"{lane['waiting']:,}{more}",
                _say_used(lane["quota"]),
                escape(lane["why"]),
            )
        out.print(table, highlight=False)

    run(body)


def _say_used(quota: dict[str, Any]) -> str:
    most = quota["learned_per_window"] or quota["per_window"]
    if quota["used_in_window"] is None or most >= UNLIMITED:
        return ""
    return f"{quota['used_in_window']:,} of {most:,}"


@lanes_app.command()
def show(endpoint: str, stage: StageOption = StageName.SUBMIT, as_json: Json = False) -> None:
    """Show all of a lane: what is where, its limits and their use, what holds it up, who shares it.

    Examples:

        pressroom lanes show black-forest-labs-flux-1-dev

        pressroom lanes show black-forest-labs-flux-1-dev --stage poll --json | jq .quota
    """

    async def body(runtime: Runtime) -> None:
        lane = await inspect_lane(runtime, stage, _resolve(runtime, endpoint))
        if as_json:
            print_json(lane)
        else:
            draw_lane(lane)

    run(body)


@lanes_app.command()
def pause(
    stage: StageName,
    endpoint: str,
    reason: Reason = None,
    span: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="Go on after it: 90s, 30m, 2h.")
    ] = None,
) -> None:
    """Let a lane start nothing more. What is under way goes on.

    Examples:

        pressroom lanes pause submit black-forest-labs-flux-1-dev

        pressroom lanes pause submit black-forest-labs-flux-1-dev --for 30m --reason "new prices"
    """
    try:
        seconds = None if span is None else parse_span(span)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from error

    async def body(runtime: Runtime) -> None:
        name = _resolve(runtime, endpoint)
        async with runtime.database.begin() as session:
            ends = await pause_lane(
                session, cli_actor(), stage, name, reason=reason, seconds=seconds
            )
        until = f" for {span}" if ends else ""
        if span is not None and not ends:
            until = ", as before, until somebody resumes it"
        notes.print(escape(f"the {stage} lane of {name} is paused{until}"))

    run(body)


@lanes_app.command()
def resume(stage: StageName, endpoint: str) -> None:
    """Let a paused lane go on. It is open then, whatever had closed it.

    Example:

        pressroom lanes resume submit black-forest-labs-flux-1-dev
    """

    async def body(runtime: Runtime) -> None:
        await _resume(runtime, stage, _resolve(runtime, endpoint))

    run(body)


@lanes_app.command()
def limit(
    endpoint: str,
    per_10_seconds: Annotated[
        int | None, typer.Option(min=1, help="Calls in ten seconds at most.")
    ] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="Calls at once at most.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to what is documented.")] = False,
    stage: StageOption = StageName.SUBMIT,
    beyond: Annotated[
        bool, typer.Option("--beyond", help="More than the upstream documents is meant.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put a limit in place of the documented one, for all workers, within seconds.

    What is not given stays. A limit that refusals taught holds beside it: the lower of the two.

    Examples:

        pressroom lanes limit black-forest-labs-flux-1-dev --per-10-seconds 200 --concurrent 40

        pressroom lanes limit black-forest-labs-flux-1-dev --reset
    """

    async def body(runtime: Runtime) -> None:
        override = LimitOverride(per_10_seconds=per_10_seconds, concurrent=concurrent)
        if reset == (override != LimitOverride()):
            raise BadInput("--per-10-seconds or --concurrent was wanted, or --reset alone")
        if not has_limit(stage):
            raise BadInput(f"--stage {stage}: it calls no operation of the upstream")
        name = _resolve(runtime, endpoint)
        if said := find_beyond(name, Operation(OPERATIONS[stage]), override):
            if not beyond and not sys.stdin.isatty():
                raise BadInput(f"more than the upstream documents ({said}): --beyond was wanted")
            confirm(f"It is more than the upstream documents: {said}. Is it meant?", yes=beyond)
        async with runtime.database.begin() as session:
            await limit_lane(session, cli_actor(), stage, name, None if reset else override)
        await runtime.operator.get(fresh=True)
        await runtime.bells.ring(stage, name)
        lane = await inspect_lane(runtime, stage, name)
        if as_json:
            print_json(lane)
        else:
            draw_lane(lane)

    run(body)


@lanes_app.command()
def drain(
    endpoint: str,
    reason: Reason = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let it go on.")] = False,
    wait: Annotated[bool, typer.Option(help="Stay until nothing of it is in flight.")] = True,
) -> None:
    """Submit nothing more of an endpoint, and wait until what is in flight has ended.

    It stays paused. Interrupted, too: --undo or `lanes resume submit` lets it go on.

    Examples:

        pressroom lanes drain black-forest-labs-flux-1-dev --reason "the model is replaced"

        pressroom lanes drain black-forest-labs-flux-1-dev --undo
    """

    async def body(runtime: Runtime) -> None:
        name = _resolve(runtime, endpoint)
        if undo:
            await _resume(runtime, StageName.SUBMIT, name)
            return
        async with runtime.database.begin() as session:
            await pause_lane(
                session, cli_actor(), StageName.SUBMIT, name, reason=reason, drain=True
            )
        left = await _await_empty(runtime, name, wait=wait)
        said = "nothing of it is in flight" if left == 0 else f"{left:,} jobs are in flight"
        notes.print(escape(f"the submit lane of {name} is paused, and {said}"), soft_wrap=True)

    run(body)


async def _await_empty(runtime: Runtime, endpoint: str, *, wait: bool) -> int:
    """Jobs in flight: when none is left, or (not `wait`) now."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True) as progress:
        shown = progress.add_task("looking")
        while True:
            async with runtime.database.begin() as session:
                left = await count_in_flight(session, endpoint)
            if left == 0 or not wait:
                return left
            progress.update(shown, description=f"{left:,} in flight")
            await asyncio.sleep(LOOK_SECONDS)


async def _resume(runtime: Runtime, stage: StageName, endpoint: str) -> None:
    async with runtime.database.begin() as session:
        await resume_lane(session, cli_actor(), stage, endpoint)
    await runtime.bells.ring(stage, endpoint)
    notes.print(escape(f"the {stage} lane of {endpoint} is open"))


def _resolve(runtime: Runtime, endpoint: str) -> str:
    listed = runtime.catalogue.find(endpoint)
    if listed is None:
        note_unlisted(runtime.catalogue, endpoint)
    return listed.id if listed else endpoint
