"""`pressroom audit`: who did what, when, and how it was before and after."""

import datetime as dt
from typing import Annotated, Any
from uuid import UUID

import orjson
import typer
from rich.markup import escape

from gateway.audit_facts import describe_act
from gateway.cli.console import make_table, notes, out, print_json, run, say_id, shorten
from gateway.cli.ids import resolve_id
from gateway.cli.times import read_time
from models.audit import AuditFilter, AuditLine, get_act, list_acts
from workers.runtime import Runtime

audit_app = typer.Typer(help="List who did what, and when.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
SHOWN_CHARACTERS = 80
UNSHOWN = {"first", "since"}  # in a list: `show` has all


@audit_app.command("list")
def list_(
    action: Annotated[
        str | None, typer.Option(help="What was done, or how it begins: lane.pause, lane, jobs.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Who did it, or a part of the name.")] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="By this API key.")] = None,
    target: Annotated[
        str | None, typer.Option(help="What it was done to, or how that ends: an endpoint, an id.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="A time, or how long ago: 2h, 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Not within.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The latest so many.")] = 30,
    as_json: Json = False,
) -> None:
    """List acts, the latest first.

    Examples:

        pressroom audit list --action lane --since 1d

        pressroom audit list --actor studio --json | jq -r '.[] | [.at, .action, .target] | @tsv'
    """

    async def body(runtime: Runtime) -> None:
        now = dt.datetime.now(dt.UTC)
        async with runtime.database.begin() as session:
            wanted = AuditFilter(
                action=action,
                actor=actor,
                key_id=await resolve_id(session, "api_keys", key) if key else None,
                target=target,
                since=read_time("--since", since, now=now),
                until=read_time("--until", until, now=now),
            )
            lines = await list_acts(session, wanted, limit=limit)
        if as_json:
            print_json([describe_act(line) for line in lines])
        elif not lines:
            given = wanted != AuditFilter()
            notes.print("nothing that was done fits" if given else "nothing was done yet")
        else:
            table = make_table("id", "at", "who", "did", "to", "how it is now")
            for line in lines:
                table.add_row(
                    say_id(line.id),
                    f"{line.at:%Y-%m-%d %H:%M:%S}",
                    escape(line.actor),
                    line.action,
                    escape(_say_target(line.target)),
                    escape(_say(line)),
                )
            out.print(table, highlight=False)

    run(body)


@audit_app.command()
def show(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    as_json: Json = False,
) -> None:
    """Show one act: who, from where, and how it was before and after.

    Example:

        pressroom audit show 249d250cf543
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            line = await get_act(session, await resolve_id(session, "audit", given))
        told = describe_act(line)
        if as_json:
            print_json(told)
            return
        facts = make_table("", "")
        facts.show_header = False
        for name, value in told.items():
            if value is not None:
                said = value if isinstance(value, str) else orjson.dumps(value).decode()
                facts.add_row(f"[dim]{name.replace('_', ' ')}[/dim]", escape(said))
        out.print(facts, highlight=False)

    run(body)


def _say(line: AuditLine) -> str:
    """What changed, on one line."""
    before, after = line.before or {}, line.after or {}
    changed = {
        name: value
        for name, value in after.items()
        if before.get(name) != value and value is not None and name not in UNSHOWN
    }
    if not changed and before:
        return shorten(f"was {_say_terms(before)}", SHOWN_CHARACTERS)
    return shorten(_say_terms(changed), SHOWN_CHARACTERS)


def _say_terms(terms: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value if isinstance(value, str) else orjson.dumps(value).decode()}"
        for name, value in terms.items()
        if value is not None
    )


def _say_target(target: str) -> str:
    """Ids by their ends, as elsewhere."""
    try:
        return say_id(UUID(target))
    except ValueError:
        return target
