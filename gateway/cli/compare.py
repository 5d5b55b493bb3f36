"""`pressroom campaign compare`: two campaigns, or two endpoints of one, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.console import notes, print_json, run
from gateway.cli.ids import resolve_id
from gateway.cli.pages import write_page
from gateway.reports.collect import MOST_RESULTS
from gateway.reports.compare import compare_campaigns, render_comparison
from workers.runtime import Runtime


def compare(
    first: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", help="The other campaign; if unset, the two endpoints of the first."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="An HTML file; named by both if unset.")
    ] = None,
    results: Annotated[
        int, typer.Option(min=0, max=10_000, help="How many pairs it shows, the first ones.")
    ] = MOST_RESULTS,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON; no file is written.")] = False,
) -> None:
    """Put results of the same prompts side by side, with what they cost and took.

    Items belong together by their ids, or by their prompts and seeds. One HTML file that needs
    nothing beside it.

    Examples:

        pressroom campaign compare 4d49bec0e98d 9e02d4b71c58 -o schnell-and-dev.html

        pressroom campaign compare 4d49bec0e98d --json --results 0 | jq .sides
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            one = await resolve_id(session, "campaigns", first)
            other = await resolve_id(session, "campaigns", second) if second else None
        with notes.status("reading the results"):
            told = await compare_campaigns(runtime, one, other, results=results)
        if as_json:
            print_json(told.describe())
            return
        name = "-and-".join(side.name for side in told.sides)
        write_page(render_comparison(told), output, name=name, other=str(one))

    run(body)
