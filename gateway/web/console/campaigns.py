"""Campaigns: all of them, as far as they are."""

from typing import Any

from nicegui import ui

from gateway.web.console.campaign_words import say_campaign, say_money, say_progress, share_of
from gateway.web.page import page
from gateway.web.parts.data_table import Column, DataTable, Row
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box
from gateway.web.visit import Visit

A_PAGE = 20
SECONDS = 4.0

COLUMNS = (
    Column("name", "Name", "link"),
    Column("state", "State", "badge"),
    Column("progress", "Progress", "gauge"),
    Column("flight", "Running", align="right"),
    Column("queued", "Queued", align="right"),
    Column("money", "Spent"),
    Column("endpoint", "Endpoint", "long"),
    Column("at", "Started", "time"),
)


@page("/campaigns", title="Campaigns")
async def campaigns(visit: Visit, cursor: str | None = None) -> None:
    with page_head("Campaigns", "Many jobs, planned, priced and followed as one."):
        ui.button(
            "Compare", icon="compare", on_click=lambda: ui.navigate.to("/campaigns/compare")
        ).props("outline no-caps")
        if visit.may_run:
            ui.button(
                "Start a campaign", icon="add", on_click=lambda: ui.navigate.to("/campaigns/new")
            ).props("unelevated no-caps")

    table: DataTable | None = None

    async def read() -> Any:
        return await visit.api.get("/api/v1/campaigns", limit=A_PAGE, cursor=cursor)

    def draw(found: Any) -> None:
        nonlocal table
        table = None
        if not found["campaigns"]:
            hint = "Start one from a file of prompts." if visit.may_run else ""
            empty("No campaigns yet", hint, icon="collections")
            return
        table = DataTable(COLUMNS, [_row(one) for one in found["campaigns"]], caption="Campaigns")

    def show(found: Any) -> None:
        draw(found)
        turn(found)

    def turn(found: Any) -> None:
        older.set_visibility(bool(found["next"]))
        older.props["href"] = f"/campaigns?cursor={found['next']}"

    def renew(found: Any) -> None:
        if table is None or not found["campaigns"]:
            ui.navigate.reload()  # from none to the first, or back
            return
        table.set_rows([_row(one) for one in found["campaigns"]])
        turn(found)

    with section("All campaigns"):
        Live(read, show, change=renew, seconds=SECONDS)
    with box("nav", "pr-row", aria_label="Pages"):
        if cursor:
            ui.link("Newest", "/campaigns")
        older = ui.link("Older campaigns", "/campaigns")
        older.set_visibility(False)


def _row(one: dict[str, Any]) -> Row:
    words, tone = say_campaign(one)
    return {
        "id": one["campaign_id"],
        "name": {"text": one["name"], "href": f"/campaigns/{one['campaign_id']}"},
        "state": {"text": words, "tone": tone},
        "progress": {
            "share": share_of(one),
            "text": say_progress(one),
            "tone": "warn" if one["failed"] else tone if tone != "bad" else "busy",
        },
        "flight": f"{one['running']:,}",
        "queued": f"{one['queued']:,}",
        "money": say_money(one),
        "endpoint": one["endpoint"] or "several",
        "at": one["created_at"],
    }
