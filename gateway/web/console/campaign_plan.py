"""What a campaign would come to, or what is wrong with it."""

from typing import Any

from gateway.web.parts.data_table import Column, DataTable
from gateway.web.parts.snippet import json_snippet
from gateway.web.parts.states import loading
from gateway.web.parts.tags import box, text
from gateway.web.parts.tiles import Tile, tiles
from gateway.words import say_seconds, say_usd


class PlanView:
    """The place of a plan; what is said there is heard."""

    def __init__(self) -> None:
        self._place = box(classes="pr-stack pr-plan", aria_live="polite")
        with self._place:
            text("p", "Nothing is sent while it is planned.", "pr-small")

    def clear(self) -> None:
        self._place.clear()

    def show_waiting(self) -> None:
        self._place.clear()
        with self._place:
            text("p", "Every item is checked and priced…", "pr-small")
            loading()

    def show_problems(self, problems: list[str]) -> None:
        self._place.clear()
        with self._place, box(classes="pr-problems", role="alert"):
            text("p", "It cannot be started like this:", "pr-strong")
            with box("ul"):
                for one in problems:
                    text("li", one)

    def show(self, plan: dict[str, Any]) -> None:
        self._place.clear()
        with self._place:
            with tiles():
                Tile("Jobs", f"{plan['jobs']:,}")
                Tile("Cost", say_usd(plan["estimate_usd"]), _say_sure(plan))
                Tile("Sending takes", _say_least(plan["least_seconds"]), "by limits and pace")
                if plan["repeated"]:
                    note = "ask for the same as one before them"
                    Tile("Repeated", f"{plan['repeated']:,}", note, tone="warn")
            if plan["unused_columns"]:
                words = f"Columns that nothing uses: {', '.join(plan['unused_columns'])}"
                text("p", words, "pr-note")
            DataTable(
                [Column("id", "Endpoint"), Column("jobs", "Jobs", align="right")],
                [{"id": name, "jobs": f"{jobs:,}"} for name, jobs in plan["per_endpoint"].items()],
                caption="Jobs by endpoint",
            )
            for which in ("first", "last"):
                if item := plan[which]:
                    text("h3", f"The {which} item: {item['place']}")
                    json_snippet(item["input"], name=f"Input of the {which} item")


def _say_least(seconds: float) -> str:
    return "< 1 s" if seconds < 1 else f"≥ {say_seconds(seconds)}"


def _say_sure(plan: dict[str, Any]) -> str:
    rest = f"; {plan['unpriced']:,} without a price" if plan["unpriced"] else ""
    if plan["estimate_usd"] is None:
        return "no price is known"
    sure = "exactly" if plan["exact"] else "at most" if plan["bound"] else "an estimate"
    return f"{sure}{rest}"
