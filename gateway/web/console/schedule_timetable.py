"""When a schedule fires, as it is typed: in words, with the coming runs, or why not."""

import datetime as dt
from typing import Any
from zoneinfo import available_timezones

from nicegui import ui

from gateway.web.api import Refused
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit

OVERLAPS = {
    "skip": "Skip it",
    "buffer_one": "Let one wait",
    "cancel_other": "Cancel the run before",
    "allow": "Run both",
}
PAUSE_SECONDS = 0.3  # after the last key


class Timetable:
    """Args:
    given: cron, zone, overlap and the like, as the API has them; what is left out is as usual.
    """

    def __init__(self, visit: Visit, given: dict[str, Any], overlaps: list[str]) -> None:
        self._visit = visit
        self._asked: tuple[str, str] | None = None
        with box(classes="pr-fields"):
            self._cron = ui.input("Cron", value=given.get("cron", "0 2 * * *"))
            self._zone = ui.select(
                sorted(available_timezones()),
                value=given.get("zone", "UTC"),
                label="Time zone",
                with_input=True,
            )
            self._overlap = ui.select(
                {one: OVERLAPS.get(one, one.replace("_", " ")) for one in overlaps},
                value=given.get("overlap", "skip"),
                label="If the run before is not over",
            )
            self._catch_up = ui.input(
                "How late it may start", value=_say_span(given.get("catch_up_seconds", 3600))
            )
            self._jitter = ui.input(
                "Start up to so much later", value=_say_span(given.get("jitter_seconds", 0))
            )
            for field in (self._cron, self._zone, self._overlap, self._catch_up, self._jitter):
                field.props("outlined dense")
            self._careful = ui.checkbox(
                "Pause once a run had failures", value=given.get("pause_on_failure", False)
            )
        text("p", "A cron is minute, hour, day of month, month, day of week.", "pr-small")
        with box(classes="pr-stack", aria_live="polite"):
            self._words = text("p", "", "pr-strong")
            self._problem = text("p", "", "pr-note")
            self._problem.set_visibility(False)
            text("h3", "The coming runs")
            self._fires = box("ol", "pr-fires")
        for field in (self._cron, self._zone):
            field.props(f"debounce={int(PAUSE_SECONDS * 1000)}")
            field.on_value_change(self._preview)
        ui.timer(0, self._preview, once=True)

    @property
    def terms(self) -> dict[str, Any]:
        """As a specification's `schedule`, and as a change of one."""
        return {
            "cron": self._cron.value or "",
            "zone": self._zone.value or "",
            "overlap": self._overlap.value,
            "catch_up": self._catch_up.value or 0,
            "jitter": self._jitter.value or 0,
            "pause_on_failure": self._careful.value,
        }

    async def _preview(self) -> None:
        asked = (self._cron.value or "", self._zone.value or "")
        self._asked = asked
        body = {"cron": asked[0], "zone": asked[1]}
        try:
            told = await self._visit.api.post("/api/v1/schedules/preview", body)
        except Refused as error:
            if asked == self._asked:
                self._show(str(error), "", [])
            return
        if asked == self._asked:  # what is typed by now may be other
            self._show("", f"{told['words']}, {asked[1]}", told["fires"])

    def _show(self, problem: str, words: str, fires: list[str]) -> None:
        self._problem.set_text(problem)
        self._problem.set_visibility(bool(problem))
        self._words.set_text(words)
        self._fires.clear()
        with self._fires:
            for fire in fires:
                at = dt.datetime.fromisoformat(fire)
                text("li", f"{at:%a %d %b %Y, %H:%M} ({at:%z})")


def _say_span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"
