"""One budget: its wall, whom it holds, and every movement of it."""

from typing import Any
from uuid import UUID

from nicegui import ui

from gateway.web.console.money_budget_forms import API, AT_CAP, change_budget, remove_budget
from gateway.web.console.money_budgets import READ_SECONDS, say_held, say_period, say_whose
from gateway.web.page import page
from gateway.web.parts.data_table import Column, DataTable
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.moment import Moment
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.parts.wall import Wall
from gateway.web.visit import Visit
from gateway.words import say_usd

MOVEMENTS = 100  # that are shown; the API lists up to 10,000
MORE = "There are more than 10,000 of them: the cheapest are counted here."
KINDS = {
    "reserved": ("reserved", "busy"),
    "spent": ("spent", "good"),
    "presumed": ("presumed spent", "warn"),
    "released": ("released", "plain"),
    "limit": ("limit set", "plain"),
}

Found = tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]


@page("/money/budgets/{budget_id}", title="Budget")
async def budget_page(visit: Visit, budget_id: UUID) -> None:
    with page_head("Budget"):
        ui.link("All budgets", "/money")
    _BudgetPage(visit, budget_id).draw()


class _BudgetPage:
    def __init__(self, visit: Visit, budget_id: UUID) -> None:
        self._visit = visit
        self._url = f"{API}/{budget_id}"
        self._budget: dict[str, Any] = {}
        self._live: Live[Found] | None = None

    def draw(self) -> None:
        self._live = Live(self._read, self._draw, change=self._show, seconds=READ_SECONDS)

    async def _read(self) -> Found:
        return (
            await self._visit.api.get(self._url),
            await self._visit.api.get(f"{self._url}/held"),
            (await self._visit.api.get(f"{self._url}/ledger", limit=MOVEMENTS))["movements"],
        )

    def _draw(self, found: Found) -> None:
        budget = found[0]
        with section(budget["name"]) as inside:
            inside.classes("pr-stack")
            with box(classes="pr-row"):
                text("p", f"Of {say_whose(budget)}, {say_period(budget)}.", "pr-about")
                if budget["ends_at"]:
                    text("span", "Begins anew", "pr-small")
                    Moment(budget["ends_at"])
            self._wall = Wall(budget)
            self._terms = text("p", "", "pr-small")
            if self._visit.may_operate:
                with box(classes="pr-row"):
                    ui.button("Change", on_click=self._change).props("outline no-caps")
                    ui.button("Remove", on_click=self._remove).props(
                        "outline no-caps color=negative"
                    )
        with section("Held by it now"):
            self._held = DataTable(_held_columns(), caption="Whose jobs it holds")
            with box() as self._free:
                empty("It holds nothing", "Every job under it fits.", icon="lock_open")
            self._more = text("p", MORE, "pr-small pr-pad")
        with section("Ledger", f"The latest {MOVEMENTS} movements."):
            self._ledger = DataTable(_ledger_columns(), caption="Movements")
        self._show(found)

    def _change(self) -> None:
        change_budget(self._visit, self._budget, self._again)

    async def _remove(self) -> None:
        if await remove_budget(self._visit, self._budget):
            ui.navigate.to("/money")

    async def _again(self) -> None:
        if self._live:
            await self._live.again()

    def _show(self, found: Found) -> None:
        budget, held, movements = found
        self._budget = budget
        self._wall.set(budget)
        self._terms.set_text(_say_terms(budget))
        self._held.set_rows([_held_row(number, one) for number, one in enumerate(held["held"])])
        self._held.set_visibility(bool(held["held"]))
        self._free.set_visibility(not held["held"])
        self._more.set_visibility(held["more"])
        self._ledger.set_rows([_movement_row(one) for one in movements])


def _say_terms(budget: dict[str, Any]) -> str:
    terms = f"A job that does not fit: {AT_CAP[budget['at_cap']].lower()}. "
    terms += f"Word is sent at {budget['warn_at']:.0%}"
    terms += f", to {budget['webhook']}." if budget["webhook"] else "."
    return terms + (f" {say_held(budget['jobs_held'])} now." if budget["jobs_held"] else "")


def _held_columns() -> list[Column]:
    return [
        Column("campaign", "Campaign", "link"),
        Column("key", "Key", "long"),
        Column("jobs", "Jobs", align="right"),
        Column("usd", "At their price", align="right"),
    ]


def _held_row(number: int, held: dict[str, Any]) -> dict[str, Any]:
    campaign = held["campaign_id"]
    return {
        "id": f"{held['key_id']} {campaign} {number}",
        "campaign": campaign and {"text": held["campaign"], "href": f"/campaigns/{campaign}"},
        "key": held["key"],
        "jobs": f"{held['jobs']:,}",
        "usd": say_usd(held["estimate_usd"]),
    }


def _ledger_columns() -> list[Column]:
    return [
        Column("at", "When", "time"),
        Column("kind", "What", "badge"),
        Column("usd", "USD", align="right"),
        Column("job", "Job", "link"),
    ]


def _movement_row(movement: dict[str, Any]) -> dict[str, Any]:
    kind, job = movement["kind"], movement["job_id"]
    words, tone = KINDS[kind]
    if kind == "limit" and movement["usd"] is None:
        words = "removed"
    return {
        "id": f"{movement['at']} {kind} {job}",
        "at": movement["at"],
        "kind": {"text": words, "tone": tone},
        "usd": None if movement["usd"] is None else say_usd(movement["usd"]),
        "job": job and {"text": job, "href": f"/jobs/{job}"},
    }
