"""`pressroom lanes`: what is held up, and pausing."""

from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli.console import make_table, note_unlisted, notes, out, print_json, run
from models.lane import StageName, find_lanes, set_paused
from workers.runtime import Runtime

lanes_app = typer.Typer(help="List, pause and resume lanes.", no_args_is_help=True)


@lanes_app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the lanes that have due work or are held up.

    Example:

        pressroom lanes list
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            lanes = await find_lanes(session)
        if as_json:
            print_json(
                [
                    {
                        "stage": lane.stage,
                        "endpoint": lane.endpoint,
                        "due": lane.due,
                        "paused": lane.paused,
                        "closed_seconds": lane.closed_seconds,
                        "closed_reason": lane.closed_reason,
                    }
                    for lane in lanes
                ]
            )
        elif not lanes:
            notes.print("no lane has due work, and none is held up")
        else:
            table = make_table("stage", "endpoint", "work", "held up by")
            for lane in lanes:
                closed = f"closed for {lane.closed_seconds or 0:.0f} s: {lane.closed_reason}"
                held = "paused" if lane.paused else closed if lane.closed_seconds else ""
                table.add_row(lane.stage, lane.endpoint, "due" if lane.due else "", escape(held))
            out.print(table, highlight=False)

    run(body)


@lanes_app.command()
def pause(stage: StageName, endpoint: str) -> None:
    """Let a lane start nothing more. What is under way goes on.

    Example:

        pressroom lanes pause submit black-forest-labs-flux-1-dev
    """
    _set(stage, endpoint, paused=True)


@lanes_app.command()
def resume(stage: StageName, endpoint: str) -> None:
    """Let a paused lane go on.

    Example:

        pressroom lanes resume submit black-forest-labs-flux-1-dev
    """
    _set(stage, endpoint, paused=False)


def _set(stage: StageName, endpoint: str, *, paused: bool) -> None:
    async def body(runtime: Runtime) -> None:
        listed = runtime.catalogue.find(endpoint)
        if listed is None:
            note_unlisted(runtime.catalogue, endpoint)
        name = listed.id if listed else endpoint
        async with runtime.database.begin() as session:
            await set_paused(session, stage, name, paused=paused)
        if not paused:
            await runtime.bells.ring(stage, name)
        notes.print(escape(f"the {stage} lane of {name} is {'paused' if paused else 'open'}"))

    run(body)
