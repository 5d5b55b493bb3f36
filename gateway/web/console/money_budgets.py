"""Budgets: each with its wall; one is set from here, and leads to its own page."""

from typing import Any

from nicegui import ui

from gateway.web.console.money_budget_forms import (
    API,
    change_budget,
    remove_budget,
    set_budget,
)
from gateway.web.parts.data_table import Column, DataTable
from gateway.web.parts.live import Live
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.parts.wall import tone_of_wall
from gateway.web.visit import Visit
from gateway.words import say_usd

READ_SECONDS = 3.0


class _Budgets:
    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._found: list[dict[str, Any]] = []
        self._live: Live[list[dict[str, Any]]] | None = None

    def draw(self) -> None:
        with box("section", "pr-section", aria_label="Budgets"):
            with box(classes="pr-head"):
                text("h2", "Budgets")
                if self._visit.may_operate:
                    ui.button("Set a budget", icon="add", on_click=self._set).props(
                        "unelevated no-caps"
                    )
            with box(classes="pr-sheet"):
                self._live = Live(self._read, self._draw, change=self._show, seconds=READ_SECONDS)

    async def _read(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._visit.api.get(API))["budgets"]
        return found

    def _draw(self, found: list[dict[str, Any]]) -> None:
        self._table = DataTable(_columns(self._visit), caption="Budgets", on_act=self._act)
        with box() as self._nothing:
            whose = "holds anything" if self._visit.may_operate else "is of your key"
            empty(f"No budget {whose}", "A budget is a wall: no job is sent that does not fit.")
        self._show(found)

    def _show(self, found: list[dict[str, Any]]) -> None:
        self._found = found
        self._table.set_rows([_row(one, acts=self._visit.may_operate) for one in found])
        self._table.set_visibility(bool(found))
        self._nothing.set_visibility(not found)

    async def _set(self) -> None:
        await set_budget(self._visit, self._again)

    async def _act(self, name: str, budget_id: str) -> None:
        budget = next(one for one in self._found if one["id"] == budget_id)
        if name == "change":
            change_budget(self._visit, budget, self._again)
        else:
            await remove_budget(self._visit, budget)
            await self._again()

    async def _again(self) -> None:
        if self._live:
            await self._live.again()


def draw_budgets(visit: Visit) -> None:
    _Budgets(visit).draw()


def say_whose(budget: dict[str, Any]) -> str:
    for field, word in (("key_id", "key"), ("campaign_id", "campaign"), ("tag", "tag")):
        if budget[field]:
            return f"{word} {budget['of']}"
    return "everybody"


def say_period(budget: dict[str, Any]) -> str:
    if budget["period"] == "total":
        return "in all"
    return f"a {budget['period']}, {budget['zone']}"


def say_held(count: int) -> str:
    return f"{count:,} {'job waits' if count == 1 else 'jobs wait'}"


def _columns(visit: Visit) -> list[Column]:
    columns = [
        Column("name", "Budget", "link"),
        Column("of", "Of", "long"),
        Column("wall", "Used", "gauge"),
        Column("left", "Left", align="right"),
        Column("period", "For"),
        Column("anew", "Begins anew", "time"),
        Column("held", "Held", "badge"),
    ]
    return [*columns, Column("acts", "Acts", "acts", quiet=True)] if visit.may_operate else columns


def _row(budget: dict[str, Any], *, acts: bool) -> dict[str, Any]:
    used = budget["spent_usd"] + budget["reserved_usd"]
    held = budget["jobs_held"]
    row = {
        "id": budget["id"],
        "name": {"text": budget["name"], "href": f"/money/budgets/{budget['id']}"},
        "of": say_whose(budget),
        "wall": {
            "share": used / budget["limit_usd"],
            "text": f"{say_usd(used)} of {say_usd(budget['limit_usd'])}",
            "tone": tone_of_wall(budget),
        },
        "left": say_usd(budget["left_usd"]),
        "period": say_period(budget),
        "anew": budget["ends_at"],
        "held": {"text": say_held(held), "tone": "warn"} if held else None,
    }
    if acts:
        row["acts"] = [
            {"act": "change", "text": "Change", "label": f"Change the budget {budget['name']}"},
            {"act": "remove", "text": "Remove", "label": f"Remove the budget {budget['name']}"},
        ]
    return row
