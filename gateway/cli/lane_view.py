"""A lane as people read it."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from gateway.cli.console import make_table, out, say_id
from workers.operator_settings import UNLIMITED

STYLES = {"open": "green", "paused": "yellow", "closed": "red", "maintenance": "yellow"}


def draw_lane(lane: dict[str, Any]) -> None:
    """As `gateway.lane_facts.inspect_lane` describes it."""
    facts = Table.grid(padding=(0, 3))
    facts.add_column(style="dim")
    style = STYLES[lane["state"]]
    facts.add_row("lane", f"{lane['stage']} of {lane['endpoint']}")
    facts.add_row("state", f"[{style}]{lane['state']}[/{style}]: {escape(lane['why'])}")
    if lane["paused_at"]:
        facts.add_row("since", lane["paused_at"])
    places, more = lane["places"], "+" if lane["waiting_is_more"] else ""
    facts.add_row("waiting", f"{lane['waiting']:,}{more}, {_say_due(lane['due_seconds'])}")
    facts.add_row(
        "of the endpoint",
        f"{places['queued']:,} queued, {places['held']:,} held, {places['in_flight']:,} in "
        f"flight, {places['to_store']:,} files to store, {places['to_send']:,} words to send",
    )
    quota = lane["quota"]
    if quota["per_window"] < UNLIMITED:
        facts.add_row("used", _say_used(quota))
    facts.add_row("at once", _say_of(quota["used_at_once"], quota["concurrent"]))
    if lane["limits"]["documented"]:
        facts.add_row("limits", _say_limits(lane["limits"]))
    facts.add_row("breaker", _say_breaker(lane["breaker"], lane["closures"]))
    out.print(facts, highlight=False)
    if lane["shares"]:
        out.print()
        _draw_shares(lane["shares"])


def _draw_shares(shares: list[dict[str, Any]]) -> None:
    table = make_table("in line", ">first", ">jobs", ">priority", ">weight", "key or campaign")
    for share in shares:
        kind = "key" if share["key_id"] else "campaign" if share["campaign_id"] else "-"
        table.add_row(
            escape(share["name"] or "no key"),
            f"{share['first']:,}",
            f"{share['jobs']:,}",
            str(share["priority"]),
            f"{share['weight']:g}",
            f"{kind} {say_id(share['key_id'] or share['campaign_id'] or '')}",
        )
    out.print(table, highlight=False)


def _say_due(seconds: float | None) -> str:
    if seconds is None:
        return "none due"
    return "the first is due" if seconds <= 0 else f"the first is due in {seconds:,.1f} s"


def _say_used(quota: dict[str, Any]) -> str:
    most = quota["learned_per_window"] or quota["per_window"]
    return f"{_say_of(quota['used_in_window'], most)} in {quota['window_seconds']:g} s"


def _say_of(used: int | None, most: int | None) -> str:
    said = "not known: Redis does not answer" if used is None else f"{used:,}"
    return f"{said} of {most:,}" if most else said


def _say_limits(limits: dict[str, Any]) -> str:
    said = [f"{_say_bound(limits['documented'])} documented"]
    if any(limits["operator"].values()):
        said.append(f"{_say_bound(limits['operator'])} by an operator")
    if limits["learned"]:
        said.append(f"{limits['learned']:,} a window learned from refusals, {limits['learned_at']}")
    return "; ".join(said)


def _say_bound(bound: dict[str, int | None]) -> str:
    per, at_once = bound["per_10_seconds"], bound["concurrent"]
    return " and ".join(
        [
            *([f"{per:,} in 10 s"] if per else []),
            *([f"{at_once:,} at once"] if at_once else []),
        ]
    )


def _say_breaker(breaker: dict[str, Any], closures: int) -> str:
    if breaker["half_open"]:
        probe = "one call was let through" if breaker["probing"] else "the next call is a probe"
        return f"half open after {closures} closures in a row: {probe}"
    return f"{breaker['failed_in_a_row']} of {breaker['breaks_after']} calls failed in a row"
