"""One campaign: how far it is, what it costs, what failed, and what can be done about it."""

import asyncio
from typing import Any
from uuid import UUID

from nicegui import ui

from gateway.web.console.campaign_acts import CampaignActs
from gateway.web.console.campaign_words import say_campaign, say_left, say_money
from gateway.web.page import page
from gateway.web.parts.badge import badge, say_state
from gateway.web.parts.data_table import Column, DataTable
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.snippet import Snippet
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.parts.tiles import Tile, tiles
from gateway.web.visit import Visit
from gateway.words import say_bytes, say_seconds, say_usd

SECONDS = 2.0
SHARES_SECONDS = 10.0
PARTS = (
    ("completed", "done", "good"),
    ("failed", "failed", "bad"),
    ("cancelled", "cancelled", "plain"),
    ("running", "running", "busy"),
    ("queued", "queued", ""),
)


@page("/campaigns/{campaign_id:uuid}", title="Campaign")
async def campaign(visit: Visit, campaign_id: UUID) -> None:
    path = f"/api/v1/campaigns/{campaign_id}"
    with page_head("Campaign"):
        acts = CampaignActs(visit, path)
    view = _View(acts, str(campaign_id))
    looked = asyncio.Event()

    async def read() -> Any:
        try:
            return await visit.api.get(path)
        finally:
            looked.set()

    live = Live(read, view.draw, change=view.change, seconds=SECONDS)
    acts.on_done = live.again

    async def read_shares() -> Any:
        await looked.wait()  # of 100,000 jobs both at once would be late
        return (await visit.api.get(f"{path}/endpoints"))["endpoints"]

    with section("Endpoints"):
        Live(read_shares, _draw_shares, seconds=SHARES_SECONDS)
    with section("Take it along"):
        text("p", "A report is one HTML file; an export is every file, and a line for each item.")
        Snippet(
            f"pressroom campaign report {campaign_id} -o report.html\n"
            f"pressroom campaign export {campaign_id} --help",
            name="Commands",
        )


class _View:
    def __init__(self, acts: CampaignActs, campaign_id: str) -> None:
        self._acts, self._id = acts, campaign_id

    def draw(self, one: dict[str, Any]) -> None:
        with box(classes="pr-row"):
            text("h2", one["name"])
            self._state = box("span", aria_live="polite")
        with box("nav", "pr-row", aria_label="Of this campaign"):
            ui.link("Gallery", f"/campaigns/{self._id}/gallery")
            ui.link("Jobs", f"/jobs?campaign={self._id}")
            ui.link("Compare", f"/campaigns/compare?a={self._id}")
        self._problem = text("p", "", "pr-note")
        with box(classes="pr-sheet"):
            self._bar = box(classes="pr-parts", role="img")
            with self._bar:
                self._parts = {key: box(classes=f"pr-fill-{tone}") for key, _, tone in PARTS}
            with box(classes="pr-legend"):
                self._counts = {}
                for key, words, tone in PARTS:
                    with badge(words, tone or "plain"):
                        self._counts[key] = text("span", "")
        with tiles():
            self._jobs, self._left = Tile("Jobs"), Tile("Time left")
            self._rate, self._money = Tile("Rate"), Tile("Spent")
            self._files = Tile("Files")
        with section("Budget"):
            self._budgets = box(classes="pr-stack")
        with section("Failures by cause"):
            self._failures = DataTable(_FAILURES, caption="Failures by cause")
            self._none = empty("Nothing failed", icon="check_circle")
        self.change(one)

    def change(self, one: dict[str, Any]) -> None:
        self._acts.show(one)
        words, tone = say_campaign(one)
        self._state.clear()
        with self._state:
            badge(words, tone)
        self._problem.set_text(_say_problem(one))
        self._problem.set_visibility(bool(_say_problem(one)))
        whole = max(one["jobs"], 1)
        said = []
        for key, name, tone in PARTS:
            percent = round(100 * one[key] / whole, 3)
            self._parts[key].style(replace=f"width: {percent if tone else 0}%")
            self._counts[key].set_text(f"{one[key]:,}")
            said.append(f"{one[key]:,} {name}")
        self._bar.props["aria-label"] = f"{', '.join(said)} of {one['jobs']:,}"
        self._jobs.set(f"{one['jobs']:,}", self._say_not_yet(one))
        known = one["seconds_left"] is not None
        self._left.set(say_left(one), "by limits, pace and forecast" if known else "")
        self._rate.set(f"{one['jobs_per_second']:g} / s", f"{say_seconds(one['seconds'])} so far")
        self._money.set(say_usd(one["cost_usd"]), say_money(one))
        pending = one["artifacts_pending"]
        note = f"{pending:,} being fetched" if pending else say_bytes(one["bytes"])
        self._files.set(f"{one['artifacts']:,}", note)
        self._show_budgets(one)
        self._failures.set_rows([_failure(self._id, end) for end in one["failures"]])
        self._failures.set_visibility(bool(one["failures"]))
        self._none.set_visibility(not one["failures"])

    def _say_not_yet(self, one: dict[str, Any]) -> str:
        there = sum(one[key] for key, _, _ in PARTS)
        return f"{there:,} enqueued so far" if there < one["jobs"] else ""

    def _show_budgets(self, one: dict[str, Any]) -> None:
        self._budgets.clear()
        with self._budgets:
            for budget in one["budgets"]:
                spent, limit = say_usd(budget["spent_usd"]), say_usd(budget["limit_usd"])
                words = f"{budget['name']}: {spent} of {limit} spent; at the wall: "
                text("p", words + str(budget["at_cap"]).replace("_", " "))
            for held in one["held_by"]:
                words = f"{held['jobs']:,} jobs wait for room in the budget {held['budget']}"
                text("p", f"{words}; {say_usd(held['left_usd'])} are left.", "pr-note")
            if not one["budgets"]:
                text("p", "It has no budget of its own.", "pr-small")


def _say_problem(one: dict[str, Any]) -> str:
    if one["problem"]:
        return f"The rest of its items is not enqueued: {one['problem']}"
    return ""


_FAILURES = (
    Column("reason", "Cause"),
    Column("state", "Ended as"),
    Column("jobs", "Jobs", align="right"),
    Column("error", "One of them was told", "long"),
    Column("look", "Look", "link"),
)


def _failure(campaign_id: str, end: dict[str, Any]) -> dict[str, Any]:
    reason = end["reason"]
    query = f"campaign={campaign_id}&state={end['state']}"
    return {
        "id": f"{end['state']} {reason}",
        "reason": (reason or "not said").replace("_", " "),
        "state": say_state(end["state"].upper()),
        "jobs": f"{end['jobs']:,}",
        "error": end["error"],
        "look": {
            "text": "These jobs",
            "href": f"/jobs?{query}&reason={reason}" if reason else f"/jobs?{query}",
        },
    }


def _draw_shares(shares: list[dict[str, Any]]) -> None:
    if not shares:
        empty("No jobs yet")
        return
    whole = max(sum(one["jobs"] for one in shares), 1)
    DataTable(
        [
            Column("id", "Endpoint"),
            Column("share", "Share", "gauge"),
            Column("done", "Done", align="right"),
            Column("failed", "Failed", align="right"),
            Column("money", "Spent", align="right"),
            Column("p50", "Half took less than", align="right"),
        ],
        [
            {
                "id": one["endpoint"],
                "share": {"share": one["jobs"] / whole, "text": f"{one['jobs']:,} jobs"},
                "done": f"{one['completed']:,}",
                "failed": f"{one['failed']:,}",
                "money": say_usd(one["cost_usd"]),
                "p50": say_seconds(one["p50_seconds"]),
            }
            for one in shares
        ],
        caption="Endpoints by share",
    )
