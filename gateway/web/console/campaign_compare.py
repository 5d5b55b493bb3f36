"""Two campaigns, or two endpoints of one, item by item side by side."""

from typing import Any
from uuid import UUID

from nicegui import ui

from gateway.web.page import page
from gateway.web.parts.badge import say_state
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.media import show_file
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.parts.tiles import Tile, tiles
from gateway.web.visit import Visit
from gateway.words import say_usd

A_PAGE = 12
CHOSEN_FROM = 50  # campaigns, the newest


@page("/campaigns/compare", title="Compare")
async def compare(
    visit: Visit, a: UUID | None = None, b: UUID | None = None, start: int = 0
) -> None:
    about = "The same prompts twice: two campaigns, or the two endpoints of one."
    with page_head("Compare", about):
        ui.link("All campaigns", "/campaigns")

    async def read_names() -> Any:
        found = await visit.api.get("/api/v1/campaigns/names", limit=CHOSEN_FROM)
        return {one["campaign_id"]: one["name"] for one in found["campaigns"]}

    with section("Which"):
        Live(read_names, lambda names: _draw_choice(names, a, b), lines=1)
    if a is None:
        return

    async def read() -> Any:
        return await visit.api.get(
            "/api/v1/campaigns/compare",
            a=str(a),
            b=str(b) if b else None,
            start=max(start, 0),
            limit=A_PAGE,
        )

    query = f"a={a}" + (f"&b={b}" if b else "")
    with section("Side by side"):
        Live(read, lambda found: _draw_found(found, query))


def _draw_choice(names: dict[str, str], a: UUID | None, b: UUID | None) -> None:
    for one in (a, b):
        if one is not None:
            names.setdefault(str(one), str(one))
    with box(classes="pr-fields"):
        left = ui.select(names, label="One", value=str(a) if a else None, with_input=True)
        right = ui.select(
            names, label="The other; none: its endpoints", value=str(b) if b else None
        ).props("clearable")
        for field in (left, right):
            field.props("outlined dense")

        def go() -> None:
            query = f"a={left.value}" + (f"&b={right.value}" if right.value else "")
            if left.value:
                ui.navigate.to(f"/campaigns/compare?{query}")

        ui.button("Compare", icon="compare", on_click=go).props("unelevated no-caps")


def _draw_found(found: dict[str, Any], query: str) -> None:
    _draw_sides(found)
    first, last = found["start"] + 1, found["start"] + len(found["shown"])
    words = f"{first:,} to {last:,} of {found['pairs']:,} pairs, matched by "
    text("p", words + found["matched_by"], "pr-small pr-matched")
    if not found["shown"]:
        empty("No pairs here")
    with box(classes="pr-pairs"):
        for pair in found["shown"]:
            _draw_pair(pair)
    with box("nav", "pr-row", aria_label="Pages"):
        if found["start"]:
            before = max(found["start"] - A_PAGE, 0)
            ui.link("Earlier pairs", f"/campaigns/compare?{query}&start={before}")
        if last < found["pairs"]:
            ui.link("Later pairs", f"/campaigns/compare?{query}&start={last}")


def _draw_sides(found: dict[str, Any]) -> None:
    with box(classes="pr-split"):
        for side in found["sides"]:
            with box(classes="pr-stack"):
                text("h3", side["name"])
                with tiles():
                    alone = f"{side['alone']:,} without a match" if side["alone"] else ""
                    Tile("Done", f"{side['completed']:,} of {side['jobs']:,}", alone)
                    tone = "bad" if side["failed"] else ""
                    Tile("Failed", f"{side['failed']:,}", tone=tone)
                    each = say_usd(side["usd_per_result"])
                    Tile("Spent", say_usd(side["cost_usd"]), f"{each} a result")


def _draw_pair(pair: list[dict[str, Any]]) -> None:
    with box(classes="pr-pair"):
        seed = pair[0]["seed"]
        prompt = pair[0]["prompt"] or "No prompt"
        text("p", prompt if seed is None else f"{prompt} (seed {seed})", "pr-strong")
        for one in pair:
            with box(classes="pr-side-of"):
                if one["artifact"]:
                    show_file(one["artifact"], alt=one["prompt"] or "A result", small=True)
                else:
                    text("p", say_state(one["state"].upper()), "pr-small")
                with box(classes="pr-row"):
                    text("span", f"{one['endpoint']}, {say_usd(one['cost_usd'])}", "pr-small")
                    ui.link("Its job", f"/jobs/{one['job_id']}")
