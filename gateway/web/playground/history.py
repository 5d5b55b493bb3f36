"""The visitor's own runs, the newest first."""

from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from gateway.web.addresses import WEB
from gateway.web.api import Refused, local
from gateway.web.page import page
from gateway.web.parts.acts import attempt
from gateway.web.parts.badge import badge, say_state, tone_of
from gateway.web.parts.heads import page_head
from gateway.web.parts.live import Live
from gateway.web.parts.moment import Moment
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.playground.run_words import STATES, say_cost
from gateway.web.visit import Visit

PAGE = 24
LOOK_SECONDS = 3.0  # between two looks at runs that have not ended
LOOKS = 5  # at one that has: its picture may be on its way
ICONS = {"image": "image", "video": "movie", "speech": "graphic_eq", "text": "notes"}
WORDS = {"running": "Running", "done": "Done", "failed": "Failed", "cancelled": "Cancelled"}


@page("/history", title="History")
async def history(visit: Visit, endpoint: str = "", state: str = "") -> None:
    with (
        page_head(
            "History", "Every run of your key. Open one to see it whole or to go on from it."
        ),
        ui.link(target="/compare").classes("pr-link-button"),
    ):
        ui.icon("compare")
        text("span", "Compare two models")
    listed = (await visit.api.get("/api/v1/endpoints"))["endpoints"]
    runs = Runs(visit, listed, endpoint, state if state in STATES else "")
    runs.draw()


class Runs:
    def __init__(
        self, visit: Visit, listed: list[dict[str, Any]], endpoint: str, state: str
    ) -> None:
        self._visit, self._endpoint, self._state = visit, endpoint, state
        self._names = {one["id"]: one["name"] for one in listed}
        self._kinds = {one["id"]: one["kind"] for one in listed}
        if endpoint:
            self._names.setdefault(endpoint, endpoint)
        self._cards: dict[str, Card] = {}
        self._next: str | None = None

    def draw(self) -> None:
        with box("section", "pr-history-filters", aria_label="Which runs"):
            ui.select(
                {"": "All models"} | dict(sorted(self._names.items(), key=lambda one: one[1])),
                value=self._endpoint,
                label="Model",
                with_input=True,
                on_change=self._choose_endpoint,
            ).props("outlined dense")
            ui.select(
                {"": "Any state"} | WORDS,
                value=self._state,
                label="State",
                on_change=self._choose_state,
            ).props("outlined dense")
        self._live: Live[dict[str, Any]] = Live(self._read, self._draw_all, lines=6)
        ui.timer(LOOK_SECONDS, self._look)

    async def _choose_endpoint(self, event: Any) -> None:
        self._endpoint = event.value or ""
        await self._choose()

    async def _choose_state(self, event: Any) -> None:
        self._state = event.value
        await self._choose()

    async def _choose(self) -> None:
        chosen = {"endpoint": self._endpoint, "state": self._state}
        query = urlencode({name: value for name, value in chosen.items() if value})
        ui.navigate.history.replace(f"{WEB}/history?{query}" if query else f"{WEB}/history")
        await self._live.again()

    async def _read(self, cursor: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = await self._visit.api.get(
            "/api/v1/jobs",
            mine=True,
            endpoint=self._endpoint or None,
            state=list(STATES[self._state]) if self._state else None,
            limit=PAGE,
            cursor=cursor,
        )
        return found

    def _draw_all(self, found: dict[str, Any]) -> None:
        self._cards.clear()
        if not found["jobs"]:
            self._draw_none()
            return
        self._grid = box("ul", "pr-pasts", aria_label="Runs")
        with box(classes="pr-history-more") as self._foot:
            ui.button("Load more", on_click=lambda: attempt(self._load_more)).props(
                "outline no-caps"
            )
        self._add(found)

    def _draw_none(self) -> None:
        if self._endpoint or self._state:
            empty("No such runs", "Choose another model or state.", icon="filter_alt_off")
            return
        empty("Nothing yet", "What you run in the playground is kept here.", icon="history")
        with box(classes="pr-history-more"):
            ui.link("Open the playground", "/")

    async def _load_more(self) -> str | None:
        found = await self._read(self._next)
        self._add(found)
        return f"{len(found['jobs'])} more."

    def _add(self, found: dict[str, Any]) -> None:
        self._next = found["next"]
        with self._grid:
            for job in found["jobs"]:
                name = self._names.get(job["endpoint"], job["endpoint"])
                icon = ICONS.get(self._kinds.get(job["endpoint"], ""), "deployed_code")
                self._cards[job["id"]] = Card(job, name, icon, may_run=self._visit.may_run)
        self._foot.set_visibility(self._next is not None)

    async def _look(self) -> None:
        """Runs that have not ended are changed where they stand."""
        if all(card.ended for card in self._cards.values()):
            return
        try:
            found = await self._read()
        except Refused:
            return  # the next look may be luckier
        for job in found["jobs"]:
            if job["id"] in self._cards:
                self._cards[job["id"]].set(job)


class Card:
    """Args:
    icon: for what has no picture.
    """

    def __init__(self, job: dict[str, Any], name: str, icon: str, *, may_run: bool) -> None:
        self._icon, self._looks, self.ended = icon, LOOKS, False
        self._shown_state = ""
        self._shown_picture: str | None = None
        prompt = job["prompt"] or "No prompt"
        with box("li", "pr-past"):
            with ui.link(target=f"/runs/{job['id']}").classes("pr-past-open"):
                with box(classes="pr-past-picture", aria_hidden="true") as self._picture:
                    self._draw_picture(None)
                text("span", prompt, "pr-past-prompt").props["title"] = prompt
            with box(classes="pr-past-facts"):
                text("span", name, "pr-strong")
                self._state = box("span")
            with box(classes="pr-past-facts pr-small"):
                self._cost = text("span", "")
                Moment(job["created_at"])
            if may_run:
                with ui.link(target=f"/?job={job['id']}").classes("pr-past-again") as again:
                    again.props["aria-label"] = f"Open in the playground: {prompt[:80]}"
                    ui.icon("tune")
                    ui.tooltip("Open in the playground")
        self.set(job)

    def set(self, job: dict[str, Any]) -> None:
        """This is how it stands now."""
        picture = local(job["thumbnail_url"])
        if job["finished_at"]:
            self._looks -= 1
            self.ended = picture is not None or job["state"] != "completed" or self._looks == 0
        self._cost.set_text(say_cost(job))
        if job["state"] != self._shown_state:
            self._shown_state = job["state"]
            self._state.clear()
            with self._state:
                badge(say_state(job["state"]), tone_of(job["state"]))
        if picture != self._shown_picture:
            self._shown_picture = picture
            self._picture.clear()
            with self._picture:
                self._draw_picture(picture)

    def _draw_picture(self, picture: str | None) -> None:
        if picture:
            box("img", src=picture, alt="", loading="lazy", decoding="async")
        else:
            ui.icon(self._icon)
