"""What was spent: in all, day by day, and by what it was spent on."""

import asyncio
import datetime as dt
from typing import Any
from zoneinfo import available_timezones

from nicegui import ui

from gateway.web.console.money_window import SPANS, USUAL, BadWindow, Window, read_window
from gateway.web.parts.address import set_query
from gateway.web.parts.day_bars import DayBar, DayBars
from gateway.web.parts.heads import section
from gateway.web.parts.live import Live
from gateway.web.parts.rank_bars import RankBar, RankBars
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.parts.tiles import Tile, tiles
from gateway.web.visit import Visit
from gateway.words import say_usd

READ_SECONDS = 30.0  # sums over every attempt in the window: not for each blink
KINDS = {"endpoint": "Endpoint", "key": "Key", "campaign": "Campaign", "tag": "Tag"}
OF_NONE = {"key": "no key", "campaign": "no campaign", "tag": "no tag"}
OWN_ZONE = "Intl.DateTimeFormat().resolvedOptions().timeZone"

Found = tuple[Window, list[dict[str, Any]], list[dict[str, Any]]]


class _Spend:
    """Args:
    as the page's address has them.
    """

    def __init__(
        self, visit: Visit, *, span: str, zone: str, first: str, last: str, by: str
    ) -> None:
        self._visit = visit
        self.kinds = {
            kind: name for kind, name in KINDS.items() if kind != "key" or visit.may_operate
        }
        self.span = span if span in SPANS else USUAL
        self.zone, self.first, self.last = zone, first, last
        self.by = by if by in self.kinds else "endpoint"
        self._window: Window | None = None

    def draw(self) -> None:
        with section("Spend", bare=True), box(classes="pr-stack"):
            self._draw_choices()
            self._problem = text("p", "", "pr-stale").props("role=status")
            self._read_choices()
            self._live = Live(self._read, self._draw_found, change=self._show, seconds=READ_SECONDS)

    def _draw_choices(self) -> None:
        with box(classes="pr-row pr-money-choices"):
            ui.toggle(dict(SPANS), value=self.span, on_change=self._choose_span).props(
                'no-caps unelevated aria-label="Which days"'
            ).classes("pr-toggle").bind_value_to(self, "span")
            with box(classes="pr-row") as self._own:
                for name, words in (("first", "First day"), ("last", "Last day")):
                    ui.input(words, value=getattr(self, name), on_change=self._choose).props(
                        "type=date outlined dense stack-label debounce=400"
                    ).bind_value_to(self, name)
            zone = ui.input(
                "Time zone", value=self.zone, autocomplete=sorted(available_timezones())
            ).props("outlined dense debounce=600")
            zone.bind_value_to(self, "zone").on_value_change(self._choose)

            async def take_own() -> None:
                zone.set_value(await ui.run_javascript(OWN_ZONE))

            own = ui.button("Mine", on_click=take_own).props("flat no-caps dense")
            own.props["aria-label"] = "Use the time zone of this browser"

    async def _choose_span(self) -> None:
        if self.span == "own" and not self.first and self._window:
            self.first = self._window.first.isoformat()
            self.last = self._window.last.isoformat()
        await self._choose()

    async def _choose(self) -> None:
        if self._read_choices():
            await self._live.again()

    def _read_choices(self) -> bool:
        """Whether they make a window."""
        self._own.set_visibility(self.span == "own")
        try:
            self._window = read_window(self.span, self.zone, self.first, self.last)
        except BadWindow as error:
            self._problem.set_text(str(error))
            self._problem.set_visibility(True)
            return False
        self._problem.set_visibility(False)
        return True

    async def _choose_kind(self) -> None:
        await self._live.again()

    def _keep_address(self) -> None:
        own = self.span == "own"
        set_query(
            span=self.span,
            zone=self.zone,
            first=self.first if own else None,
            last=self.last if own else None,
            by=self.by,
        )

    async def _read(self) -> Found:
        # Of days that are over by now, what is today was not when the page was opened.
        if self._window is None:
            self._window = read_window(USUAL, "UTC")
        elif self.span != "own":
            self._window = read_window(self.span, self._window.zone.key)
        window = self._window
        asked = {
            "since": window.since.isoformat(),
            "until": window.until.isoformat(),
            "zone": window.zone.key,
        }
        days, kinds = await asyncio.gather(
            self._visit.api.get("/api/v1/spend", by="day", **asked),
            self._visit.api.get("/api/v1/spend", by=self.by, **asked),
        )
        return window, days["spend"], kinds["spend"]

    def _draw_found(self, found: Found) -> None:
        with tiles():
            self._tiles = [Tile(name) for name in ("Spent", "A day", "Dearest day", "Unknown")]
        with box(classes="pr-sheet pr-stack") as self._days_sheet:
            with box(classes="pr-row"):
                text("h3", "By day")
                with box("p", "pr-key pr-small"):
                    text("span", "Spent")
                    text("span", "May be billed: the outcome is not known", "pr-key-unsure")
            self._days = DayBars(caption="Spend by day")
        with box(classes="pr-sheet pr-stack"):
            with box(classes="pr-row"):
                text("h3", "By")
                ui.toggle(self.kinds, value=self.by, on_change=self._choose_kind).props(
                    'no-caps unelevated aria-label="What spend is summed up by"'
                ).classes("pr-toggle").bind_value_to(self, "by")
            self._ranks = RankBars()
            with box() as self._nothing:
                empty("Nothing was spent in these days", "What jobs cost is named as they end.")
        self._show(found)

    def _show(self, found: Found) -> None:
        window, days, kinds = found
        self._keep_address()
        by_day = {one["name"]: one for one in days}
        bars = [
            DayBar(
                day,
                one["usd"] if one else 0.0,
                one["may_be_billed_usd"] if one else 0.0,
                one["jobs"] if one else 0,
            )
            for day in window.days
            for one in (by_day.get(day.isoformat()),)
        ]
        self._days.set(bars)
        self._days_sheet.set_visibility(len(bars) > 1)
        self._ranks.set(
            KINDS[self.by],
            [
                RankBar(
                    OF_NONE.get(self.by, "-") if one["name"] is None else one["name"],
                    one["usd"],
                    one["may_be_billed_usd"],
                    one["jobs"],
                )
                for one in kinds
            ],
        )
        self._ranks.set_visibility(bool(kinds))
        self._nothing.set_visibility(not kinds)
        self._show_tiles(window, bars)

    def _show_tiles(self, window: Window, bars: list[DayBar]) -> None:
        spent, unsure = sum(bar.sure for bar in bars), sum(bar.unsure for bar in bars)
        dearest = max(bars, key=lambda bar: bar.sure)
        days = f"{len(bars)} days" if len(bars) > 1 else say_day(window.first)
        in_all, a_day, most, unknown = self._tiles
        in_all.set(say_usd(spent), days)
        a_day.set(say_usd(round(spent / len(bars), 4)), "on average")
        most.set(say_usd(dearest.sure), say_day(dearest.day) if dearest.sure else "")
        tone = "warn" if unsure else ""
        unknown.set(say_usd(unsure), "may be billed", tone=tone)


def say_day(day: dt.date) -> str:
    return f"{day:%A}, {day.day} {day:%B}"


def draw_spend(visit: Visit, *, span: str, zone: str, first: str, last: str, by: str) -> None:
    _Spend(visit, span=span, zone=zone, first=first, last=last, by=by).draw()
