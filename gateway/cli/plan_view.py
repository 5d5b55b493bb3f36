"""How a plan reads."""

import json
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from endpoints.catalogue import Basis
from gateway.cli.console import make_table, shorten
from gateway.words import say_seconds, say_usd
from models.budget import AtCap
from tasks.campaigns.items import Item
from tasks.campaigns.plan import Plan
from tasks.campaigns.spec import BudgetPart, CampaignSpec

SHOWN_CHARACTERS = 300  # of an item's input


def say_plan(plan: Plan) -> str:
    """In a line: how many jobs, and what they cost."""
    jobs = f"{plan.jobs:,} job{'' if plan.jobs == 1 else 's'}"
    if plan.unpriced == plan.jobs:
        return f"{jobs}, no price is known"
    rest = f", and {plan.unpriced:,} without a known price" if plan.unpriced else ""
    if plan.bases == {Basis.EXACT}:
        return f"{jobs}, {say_usd(plan.usd)} (exact){rest}"
    most = "at most" if plan.bases <= {Basis.EXACT, Basis.CEILING} else "about"
    return f"{jobs}, {most} {say_usd(plan.usd)}{rest}"


def draw_plan(
    plan: Plan,
    *,
    per_second: Mapping[str, float],
    unused: Sequence[str],
    stored: int | None,
    spec: CampaignSpec,
) -> RenderableType:
    """
    Args:
        per_second: submits that each endpoint takes.
        unused: columns of the file that nothing names.
        stored: jobs whose result is there already; None: it is not known.
    """
    endpoints = make_table(">jobs", ">at least", "endpoint")
    for name, jobs in plan.per_endpoint.items():
        endpoints.add_row(f"{jobs:,}", say_seconds(jobs / per_second[name]), escape(name))
    facts = Table.grid(padding=(0, 3))
    facts.add_column(style="dim")
    facts.add_row("cost", say_plan(plan))
    if spec.budget is not None:
        facts.add_row("budget", _say_budget(plan, spec.budget))
    least = max(plan.least_seconds(per_second), spec.pace.over or 0.0)
    facts.add_row("time", f"at least {say_seconds(least)} to send, by the limits and the pace")
    if plan.repeated:
        facts.add_row("repeated", f"{plan.repeated:,} ask for the same as one before them")
    facts.add_row("stored", "PostgreSQL does not say" if stored is None else f"{stored:,} results")
    if unused:
        facts.add_row("not used", ", ".join(map(escape, unused)))
    for name, item in (("first", plan.first), ("last", plan.last)):
        if item is not None:
            facts.add_row(name, _say_item(item))
    return Group(endpoints, "", facts)


def _say_budget(plan: Plan, budget: BudgetPart) -> str:
    limit = f"{say_usd(budget.usd)} at most"
    if plan.usd <= budget.usd:
        return limit
    rest = {
        AtCap.PAUSE: "waits for more",
        AtCap.FINISH_IN_FLIGHT: "is rejected",
        AtCap.STOP: "is rejected, and what runs then is cancelled",
    }
    share = float(budget.usd / plan.usd)
    said = f"{limit}: enough for about {share:.0%} of it; the rest {rest[budget.at_cap]}"
    return f"[yellow]{said}[/yellow]"


def _say_item(item: Item) -> str:
    name = f" [bold]{escape(item.custom_id)}[/bold]" if item.custom_id else ""
    said = shorten(json.dumps(item.input, ensure_ascii=False), SHOWN_CHARACTERS)
    return f"{escape(item.place)}{name} [dim]{escape(item.endpoint)}[/dim]\n{escape(said)}"
