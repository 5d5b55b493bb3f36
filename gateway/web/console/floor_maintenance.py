"""Maintenance on the floor: a banner while it lasts, and the button that begins and ends it."""

from typing import Any

from nicegui import ui

from gateway.web.parts.acts import attempt
from gateway.web.parts.ask import ask
from gateway.web.parts.moment import Moment
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit

PATH = "/api/v1/maintenance"


class MaintenanceBar:
    """Drawn where the page's acts are; `draw_banner` draws the rest."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._on = False
        self._button: ui.button | None = None
        if visit.may_operate:
            self._button = ui.button("Begin maintenance", icon="construction", on_click=self._turn)
            self._button.props("outline no-caps")

    def draw_banner(self) -> None:
        with box(classes="pr-banner", role="status") as self._banner:
            ui.icon("construction")
            with box():
                self._words = text("p", "", "pr-strong")
                with text("p", "", "pr-small"):
                    text("span", "Nothing new is sent upstream; all else goes on. Since ")
                    self._since = Moment(None)
        self._banner.set_visibility(False)

    def show(self, now: dict[str, Any]) -> None:
        self._on = now["on"]
        self._banner.set_visibility(self._on)
        if self._on:
            refuse = "; what is handed in is refused" if now["refuse"] else ""
            reason = f": {now['reason']}" if now["reason"] else ""
            self._words.set_text(f"Maintenance{reason}{refuse}")
            self._since.set(now["since"])
        if self._button:
            self._button.set_text("End maintenance" if self._on else "Begin maintenance")

    async def _turn(self) -> None:
        body: dict[str, Any] | None = {"on": False} if self._on else await self._ask()
        if body is None:
            return

        async def do() -> str:
            self.show(await self._visit.api.put(PATH, body))
            return "Maintenance began." if body["on"] else "Maintenance is over."

        await attempt(do)

    async def _ask(self) -> dict[str, Any] | None:
        fields: list[Any] = []

        def draw() -> None:
            fields.append(ui.input("Reason", placeholder="people read it").props("outlined"))
            fields.append(ui.checkbox("Refuse what is handed in, instead of keeping it"))

        words = "Nothing new is sent upstream. What was sent goes on, and what is handed in waits."
        if not await ask("Begin maintenance?", words, do="Begin maintenance", draw=draw):
            return None
        reason, refuse = (field.value for field in fields)
        return {"on": True, "reason": (reason or "").strip(), "refuse": bool(refuse)}
