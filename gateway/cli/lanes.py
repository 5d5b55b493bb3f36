"""`pressroom lanes`: what waits in each and why, and pausing."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway.cli.console import make_table, note_unlisted, notes, out, print_json, run
from gateway.lane_facts import describe_lane
from models.lane import StageName, list_lane_states, set_paused
from workers.operator_settings import UNLIMITED
from workers.runtime import Runtime

lanes_app = typer.Typer(help="List, pause and resume lanes.", no_args_is_help=True)


@lanes_app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
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
        elif not lanes:
            notes.print("nothing waits in a lane, and none is held up")
        else:
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
