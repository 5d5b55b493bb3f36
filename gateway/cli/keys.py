"""`pressroom keys`: who may call the gateway."""

from typing import Annotated

import typer
from rich.markup import escape

from gateway.audit_facts import terms_of_key
from gateway.cli.actor import cli_actor
from gateway.cli.console import confirm, make_table, notes, out, print_json, run, say_id
from gateway.cli.ids import resolve_id
from gateway.key_facts import describe_issued, describe_key
from models.audit import Action, note_act
from models.fairness import WEIGHTS
from models.key import (
    IssuedKey,
    Scope,
    get_key,
    issue_key,
    list_keys,
    revoke_key,
    rotate_key,
    weigh_key,
)
from workers.runtime import Runtime

keys_app = typer.Typer(help="Make, list, rotate and revoke API keys.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
LEAST, MOST = WEIGHTS
WEIGHT_ARGUMENT = typer.Argument(min=LEAST, max=MOST, help="1 is usual.")
Weight = Annotated[
    float,
    typer.Option(min=LEAST, max=MOST, help="Its share where several keys have jobs in line."),
]
Given = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")]


@keys_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, or what for.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="run: its own jobs. read: only look at them. operate: everything of everybody. "
            "May be given more than once; run if it is not."
        ),
    ] = None,
    requests_per_second: Annotated[
        int | None, typer.Option(min=1, help="How often it may call; as for all if unset.")
    ] = None,
    result_cache: Annotated[
        bool | None,
        typer.Option(help="Answer equal requests with a fixed seed from stored results."),
    ] = None,
    weight: Weight = 1.0,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown once.

    Examples:

        pressroom keys create shop

        pressroom keys create studio --weight 3

        pressroom keys create dashboard --scope read --json | jq -r .key
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            issued = await issue_key(
                session,
                name=name,
                scopes=scope or [Scope.RUN],
                requests_per_second=requests_per_second,
                result_cache=result_cache,
                weight=weight,
            )
            await note_act(
                session,
                cli_actor(),
                Action.KEY_CREATE,
                issued.row.id,
                after=terms_of_key(issued.row),
            )
        show_issued(runtime, issued, as_json=as_json)

    run(body)


@keys_app.command("list")
def list_(as_json: Json = False) -> None:
    """List keys, revoked ones among them.

    Example:

        pressroom keys list
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            rows = await list_keys(session)
        if as_json:
            print_json([describe_key(row) for row in rows])
        elif not rows:
            notes.print("no keys yet; [bold]pressroom keys create NAME[/bold] makes one")
        else:
            table = make_table("id", "name", "may", "weight", "begins", "made", "state")
            for row in rows:
                table.add_row(
                    say_id(row.id),
                    escape(row.name),
                    ", ".join(row.scopes),
                    f"{row.weight:g}",
                    f"{row.shown}...",
                    f"{row.created_at:%Y-%m-%d %H:%M}",
                    "[red]revoked[/red]" if row.revoked_at else "[green]good[/green]",
                )
            out.print(table, highlight=False)

    run(body)


@keys_app.command("weigh")
def weigh_(given: Given, weight: Annotated[float, WEIGHT_ARGUMENT], as_json: Json = False) -> None:
    """Give a key another share, for the jobs that it hands in from now on.

    Where several keys have jobs in line, one of weight 3 is served three times as often.

    Example:

        pressroom keys weigh 249d250cf543 3
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            key_id = await resolve_id(session, "api_keys", given)
            before = terms_of_key(await get_key(session, key_id))
            row = await weigh_key(session, key_id, weight=weight)
            after = terms_of_key(row)
            await note_act(
                session, cli_actor(), Action.KEY_WEIGH, key_id, before=before, after=after
            )
        if as_json:
            print_json(describe_key(row))
        else:
            notes.print(escape(f"the key {row.name!r} weighs {row.weight:g}"))

    run(body)


@keys_app.command()
def rotate(
    given: Given,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that the key before stays good beside it.")
    ] = 0.0,
    webhook_secret: Annotated[
        bool, typer.Option("--webhook-secret", help="Renew what signs its webhooks, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Give a key a new secret; its jobs stay its own.

    Example:

        pressroom keys rotate 249d250cf543 --grace 3600
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            key_id = await resolve_id(session, "api_keys", given)
            told = {"grace_seconds": grace, "webhook_secret": webhook_secret}
            issued = await rotate_key(
                session, key_id, grace_seconds=grace, webhook_secret=webhook_secret
            )
            await note_act(session, cli_actor(), Action.KEY_ROTATE, key_id, after=told)
        show_issued(runtime, issued, as_json=as_json)

    run(body)


@keys_app.command("announcement-secret")
def announcement_secret() -> None:
    """Show what signs word of campaigns and budgets (Standard Webhooks). It is the stack's own.

    Example:

        pressroom keys announcement-secret
    """

    async def body(runtime: Runtime) -> None:
        out.print(runtime.secret.announcement_secret(), highlight=False, soft_wrap=True)

    run(body)


@keys_app.command()
def revoke(
    given: Given,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Let a key open nothing more. What it handed in goes on.

    Example:

        pressroom keys revoke 249d250cf543
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            row = await get_key(session, await resolve_id(session, "api_keys", given))
        confirm(f"Revoke the key {row.name!r} for good?", yes=yes)
        async with runtime.database.begin() as session:
            before = terms_of_key(await get_key(session, row.id))
            row = await revoke_key(session, row.id)
            after = terms_of_key(row)
            await note_act(
                session, cli_actor(), Action.KEY_REVOKE, row.id, before=before, after=after
            )
        if as_json:
            print_json(describe_key(row))
        else:
            notes.print(escape(f"the key {row.name!r} opens nothing more"))

    run(body)


def show_issued(runtime: Runtime, issued: IssuedKey, *, as_json: bool) -> None:
    described = describe_issued(issued, runtime.secret)
    if as_json:
        print_json(described)
        return
    out.print(f"key             {described['key']}", highlight=False, soft_wrap=True)
    out.print(f"webhook secret  {described['webhook_secret']}", highlight=False, soft_wrap=True)
    out.print(f"id              {described['id']}", highlight=False)
    notes.print("shown once: keep them where your program finds them", style="dim")
