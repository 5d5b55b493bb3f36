"""`pressroom budget`: what may be spent, by whom, and how much of it is left."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.audit_facts import terms_of_budget
from gateway.budget_facts import (
    BadBudget,
    describe_budget,
    describe_movement,
    read_usd,
    read_zone,
    say_holder,
    say_period,
)
from gateway.cli.actor import cli_actor
from gateway.cli.console import confirm, make_table, notes, out, print_json, run, say_id
from gateway.cli.ids import resolve_id
from gateway.words import say_usd
from models.audit import Action, note_act
from models.budget import (
    AtCap,
    BudgetState,
    Period,
    change_budget,
    find_budget,
    list_budgets,
    remove_budget,
)
from models.errors import NotFound
from models.movement import list_movements
from tasks.budgets import set_budget
from tasks.limits import release
from workers.runtime import Runtime

budgets_app = typer.Typer(help="Set, show and remove budgets.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Name = Annotated[str, typer.Argument(help="Its name.")]


@budgets_app.command("set")
def set_(
    name: Annotated[
        str, typer.Argument(help="Its name: a new one, or that of a budget to change.")
    ],
    usd: Annotated[str | None, typer.Option(help="The limit, in USD.")] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="Of this API key.")] = None,
    campaign: Annotated[str | None, typer.Option(metavar="ID", help="Of this campaign.")] = None,
    tag: Annotated[str | None, typer.Option(help="Of campaigns that have this tag.")] = None,
    per: Annotated[
        Period | None, typer.Option(help="Begin anew each day, week (Monday) or month.")
    ] = None,
    zone: Annotated[
        str | None, typer.Option(help="Where the day begins: Europe/Berlin; UTC if unset.")
    ] = None,
    warn_at: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1, help="Share of the limit at which a warning is sent; 0.8 if unset."
        ),
    ] = None,
    at_cap: Annotated[
        AtCap | None,
        typer.Option(
            help="pause: what does not fit waits. finish_in_flight: it is rejected. "
            "stop: what was sent is cancelled, too."
        ),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Is told when it is nearly, or is, used up.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Set a budget: a new one, or another limit of one that is there.

    Without --key, --campaign or --tag it is everybody's. It is a wall: a job whose price does not
    fit is not sent.

    Examples:

        pressroom budget set studio --usd 50 --per month --key 7c1e0a9b42d3 --zone Europe/Berlin

        pressroom budget set nightly --usd 5 --per day --tag nightly --at-cap finish_in_flight

        pressroom budget set studio --usd 80
    """

    async def body(runtime: Runtime) -> None:
        limit = None if usd is None else read_usd(usd)
        if webhook is not None and not webhook.startswith(("http://", "https://")):
            raise BadBudget(f"--webhook {webhook}: http:// or https:// was wanted")
        async with runtime.database.begin() as session:
            before = None
            try:
                budget_id = await find_budget(session, name)
            except NotFound:
                budget_id = await _add(
                    session,
                    name,
                    limit,
                    holders=(key, campaign, tag),
                    period=per or Period.TOTAL,
                    zone=read_zone(zone or "UTC").key,
                    warn_at=warn_at,
                    at_cap=at_cap,
                    webhook=webhook,
                )
            else:
                [state] = await list_budgets(session, ids=[budget_id])
                before = terms_of_budget(state)
                fixed = {
                    "key": (key and await resolve_id(session, "api_keys", key), state.key_id),
                    "campaign": (
                        campaign and await resolve_id(session, "campaigns", campaign),
                        state.campaign_id,
                    ),
                    "tag": (tag, state.tag),
                    "per": (per, state.period),
                    "zone": (zone, state.zone),
                }
                for field, (asked, is_now) in fixed.items():
                    if asked is not None and asked != is_now:
                        raise BadBudget(
                            f"{name}: its {field} is {is_now}, and cannot be changed to {asked}; "
                            "remove it first, or take another name"
                        )
                await change_budget(
                    session,
                    budget_id,
                    limit_usd=limit,
                    warn_at=warn_at,
                    at_cap=at_cap,
                    webhook=webhook,
                )
            [state] = await list_budgets(session, ids=[budget_id])
            after = terms_of_budget(state)
            await note_act(
                session, cli_actor(), Action.BUDGET_SET, budget_id, before=before, after=after
            )
        await release(runtime, [budget_id])
        async with runtime.database.begin() as session:
            [state] = await list_budgets(session, ids=[budget_id])
        _show([state], as_json=as_json, whole=True)

    run(body)


async def _add(
    session: AsyncSession,
    name: str,
    limit: Decimal | None,
    *,
    holders: tuple[str | None, str | None, str | None],
    warn_at: float | None,
    **options: object,
) -> UUID:
    key, campaign, tag = holders
    if limit is None:
        raise BadBudget(f"--usd: there is no budget {name!r} yet, so that its limit was wanted")
    if sum(one is not None for one in holders) > 1:
        raise BadBudget("one of --key, --campaign and --tag was wanted, several came")
    given = {one: value for one, value in options.items() if value is not None}
    if warn_at is not None:
        given["warn_at"] = warn_at
    return await set_budget(
        session,
        name=name,
        limit_usd=limit,
        key_id=await resolve_id(session, "api_keys", key) if key else None,
        campaign_id=await resolve_id(session, "campaigns", campaign) if campaign else None,
        tag=tag,
        **given,
    )


@budgets_app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="Of this one alone.")] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Those of campaigns that are complete, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show budgets: what is spent, what is reserved for jobs that run, and what is left.

    Examples:

        pressroom budget show

        pressroom budget show studio --json | jq .left_usd
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            ids = None if name is None else [await find_budget(session, name)]
            states = await list_budgets(session, ids=ids, ended=all_ or name is not None)
        if not states and not all_ and not as_json:
            notes.print(
                "no budgets in force; [bold]budget show --all[/bold] has those of campaigns that "
                "are complete, [bold]budget set NAME --usd 50[/bold] sets one",
                soft_wrap=True,
            )
            return
        _show(states, as_json=as_json, whole=name is not None)

    run(body)


def _show(states: Sequence[BudgetState], *, as_json: bool, whole: bool) -> None:
    if as_json:
        told = [describe_budget(state) for state in states]
        print_json(told[0] if whole else told)
        return
    if not states:
        notes.print("no budgets yet; [bold]pressroom budget set NAME --usd 50[/bold] sets one")
        return
    table = make_table("name", ">limit", ">spent", ">reserved", ">left", ">held", "of", "for")
    for state in states:
        style = "red" if state.capped else "yellow" if state.warned else "green"
        table.add_row(
            escape(state.name),
            say_usd(state.limit_usd),
            say_usd(state.spent_usd),
            say_usd(state.reserved_usd),
            f"[{style}]{say_usd(state.left_usd)}[/{style}]",
            f"{state.held:,}" if state.held else "",
            escape(say_holder(state)),
            say_period(state),
        )
    out.print(table, highlight=False)


@budgets_app.command()
def ledger(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, help="The latest so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List each movement of a budget, the latest first; also of one that was removed.

    reserved: a job's price, before it was sent. spent: what the upstream says that it cost.
    presumed: it does not say, and may have billed it. released: it was not billed.

    Example:

        pressroom budget ledger studio --limit 10
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            budget_id = await find_budget(session, name, removed=True)
            movements = await list_movements(session, budget_id, limit=limit)
        if as_json:
            print_json([describe_movement(one) for one in movements])
            return
        table = make_table("at", "what", ">USD", "job")
        for one in movements:
            table.add_row(
                f"{one.at:%Y-%m-%d %H:%M:%S}",
                "limit set" if one.kind == "limit" else one.kind,
                "removed" if one.usd is None else say_usd(one.usd),
                say_id(one.job_id) if one.job_id else "",
            )
        out.print(table, highlight=False)

    run(body)


@budgets_app.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a budget. What waits for room in it is sent; its ledger is kept.

    Example:

        pressroom budget remove studio
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            budget_id = await find_budget(session, name)
            [state] = await list_budgets(session, ids=[budget_id])
        waits = f" {state.held:,} jobs that wait for it are sent." if state.held else ""
        confirm(f"Remove the budget {name!r}, of {say_holder(state)}?{waits}", yes=yes)
        async with runtime.database.begin() as session:
            await remove_budget(session, budget_id)
            before = terms_of_budget(state)
            await note_act(session, cli_actor(), Action.BUDGET_REMOVE, budget_id, before=before)
        await release(runtime, [budget_id])
        notes.print(escape(f"the budget {name!r} holds nothing up any more"))

    run(body)
