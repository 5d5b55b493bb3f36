"""`pressroom spend`: what was paid, by day, key, campaign, endpoint or tag."""

import csv
import datetime as dt
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import typer
from rich.markup import escape

from gateway.budget_facts import BadBudget, describe_spend, read_moment, read_zone
from gateway.cli.console import make_table, notes, out, print_json, run
from gateway.words import say_usd
from models.base import say_plainly
from models.spend import Spend, SpendBy, sum_spend
from workers.runtime import Runtime


def spend(
    by: Annotated[SpendBy, typer.Option(help="A line for each.")] = SpendBy.DAY,
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="A day, a time, or how long ago: 30d, 12h.")
    ] = "30d",
    until: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Up to, not including, this day or time; now if unset."),
    ] = None,
    zone: Annotated[str, typer.Option(help="Where days begin: Europe/Berlin.")] = "UTC",
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what was spent: what the upstream named, when it was sent.

    What may have been billed besides is shown at its price: the upstream did not say what became of
    it.

    Examples:

        pressroom spend

        pressroom spend --by campaign --since 2026-11-01 --until 2026-12-01 --csv > november.csv
    """

    async def body(runtime: Runtime) -> None:
        now = dt.datetime.now(read_zone(zone))
        begin = read_moment("--since", since, now=now)
        end = now if until is None else read_moment("--until", until, now=now)
        if begin >= end:
            raise BadBudget(f"--since {since}: it is not before --until {until or 'now'}")
        async with runtime.database.begin() as session:
            rows = await sum_spend(session, by, since=begin, until=end, zone=zone)
        if as_json:
            print_json([describe_spend(row) for row in rows])
        elif as_csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow([by.value, "jobs", "usd", "may_be_billed_usd"])
            for row in rows:
                writer.writerow(
                    [
                        row.name or "",
                        row.jobs,
                        say_plainly(row.usd),
                        say_plainly(row.risk_usd),
                    ]
                )
        elif not rows:
            notes.print(f"nothing was spent since {begin:%Y-%m-%d %H:%M}")
        else:
            _show(rows, by)

    run(body)


def _show(rows: Sequence[Spend], by: SpendBy) -> None:
    table = make_table(by.value, ">jobs", ">spent", ">may be billed")
    nobody = {SpendBy.KEY: "no key", SpendBy.CAMPAIGN: "no campaign", SpendBy.TAG: "no tag"}
    for row in rows:
        table.add_row(
            escape(row.name) if row.name else f"[dim]{nobody.get(by, '-')}[/dim]",
            f"{row.jobs:,}",
            say_usd(row.usd),
            say_usd(row.risk_usd) if row.risk_usd else "",
        )
    if len(rows) > 1 and by is not SpendBy.TAG:  # tags overlap
        table.add_section()
        table.add_row(
            "in all",
            f"{sum(row.jobs for row in rows):,}" if by is not SpendBy.DAY else "",
            say_usd(sum((row.usd for row in rows), Decimal())),
            say_usd(sum((row.risk_usd for row in rows), Decimal())),
        )
    out.print(table, highlight=False)
