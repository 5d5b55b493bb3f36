"""A budget's wall: what is spent, what is reserved for jobs that run, where a warning is sent."""

from typing import Any

from nicegui.elements.mixins.text_element import TextElement

from gateway.web.parts.tags import box, text
from gateway.words import say_usd


class Wall:
    """Args:
    budget: as the API describes one.
    """

    def __init__(self, budget: dict[str, Any]) -> None:
        with box(classes="pr-wall"):
            with box(classes="pr-wall-track", role="meter", aria_label="Used") as self._track:
                self._spent = box(classes="pr-wall-spent")
                self._reserved = box(classes="pr-wall-reserved")
                self._mark = box(classes="pr-wall-mark")
            with box("dl", "pr-wall-words"):
                self._words = [_word(name, tone) for name, tone in WORDS]
        self.set(budget)

    def set(self, budget: dict[str, Any]) -> None:
        limit = budget["limit_usd"]
        spent, reserved = budget["spent_usd"], budget["reserved_usd"]
        used = min((spent + reserved) / limit, 1.0)
        percent = round(used * 100, 1)
        self._track.props["aria-valuemin"], self._track.props["aria-valuemax"] = 0, 100
        self._track.props["aria-valuenow"] = percent
        self._track.props["aria-valuetext"] = f"{percent:g} % of {say_usd(limit)}"
        self._spent.style(replace=f"width: {min(spent / limit, 1) * 100:.2f}%")
        self._reserved.style(replace=f"width: {min(reserved / limit, 1) * 100:.2f}%")
        self._mark.style(replace=f"left: {budget['warn_at'] * 100:.2f}%")
        self._spent.classes(replace=f"pr-wall-spent pr-fill-{tone_of_wall(budget)}")
        figures = (spent, reserved, budget["left_usd"], limit)
        for word, figure in zip(self._words, figures, strict=True):
            word.set_text(say_usd(figure))


WORDS = (("Spent", "spent"), ("Reserved", "reserved"), ("Left", "left"), ("Limit", "limit"))


def tone_of_wall(budget: dict[str, Any]) -> str:
    """Of what is used of it: busy, warn or bad."""
    used = budget["spent_usd"] + budget["reserved_usd"]
    if budget["jobs_held"] or used >= budget["limit_usd"]:
        return "bad"
    return "warn" if used >= budget["limit_usd"] * budget["warn_at"] else "busy"


def _word(name: str, tone: str) -> TextElement:
    with box(classes=f"pr-wall-word pr-wall-word-{tone}"):
        text("dt", name)
        return text("dd", "")
