"""`pressroom maintenance`: nothing new is submitted upstream for a while; all else goes on."""

from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli.actor import cli_actor
from gateway.cli.console import notes, out, print_json, run
from gateway.maintenance_acts import describe_maintenance, switch_off, switch_on
from models.lane_detail import count_submitting
from workers.maintenance import find_maintenance
from workers.operator_settings import READ_AGAIN_SECONDS
from workers.runtime import Runtime

maintenance_app = typer.Typer(help="Submit nothing new for a while.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
WITHIN = f"every worker knows within {READ_AGAIN_SECONDS:.0f} s"


@maintenance_app.command()
def on(
    reason: Annotated[str, typer.Option(help="Why: whoever looks, or is refused, reads it.")] = "",
    refuse: Annotated[
        bool,
        typer.Option("--refuse", help="Refuse requests (HTTP 503), instead of keeping them."),
    ] = False,
) -> None:
    """Submit nothing new. What was sent is asked for, stored and told of, as ever.

    Requests are taken and wait, unless --refuse. Said again, it takes another reason.

    Examples:

        pressroom maintenance on --reason "the upstream moves to another region"

        pressroom maintenance on --refuse
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            now = await switch_on(session, cli_actor(), reason=reason, refuse=refuse)
        notes.print(escape(f"{now}: nothing is submitted any more; {WITHIN}"), soft_wrap=True)

    run(body)


@maintenance_app.command()
def off() -> None:
    """Submit again what waits.

    Example:

        pressroom maintenance off
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            before = await switch_off(session, cli_actor())
        said = f"what waits is submitted; {WITHIN}" if before else "there was no maintenance"
        notes.print(said)

    run(body)


@maintenance_app.command()
def status(as_json: Json = False) -> None:
    """Show whether anything is submitted, and if not, why and since when.

    Example:

        pressroom maintenance status --json | jq .on
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            now = await find_maintenance(session)
            sending = await count_submitting(session)
        if as_json:
            print_json({**describe_maintenance(now), "submitting": sending})
            return
        if now is None:
            out.print("off: what waits is submitted")
            return
        since = f" since {now.since:%Y-%m-%d %H:%M:%S} UTC" if now.since else ""
        kept = "requests are refused" if now.refuse else "requests are taken, and wait"
        out.print(escape(f"{now}{since}; {kept}; {sending:,} jobs are on their way"))

    run(body)
