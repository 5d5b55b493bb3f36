"""The gallery of a campaign: as many thumbnails as it has items, and each picture large."""

import json
from typing import Any
from uuid import UUID

from nicegui import ui
from nicegui.element import Element
from nicegui.events import GenericEventArguments

from gateway.web.api import Refused, local
from gateway.web.page import page
from gateway.web.parts.badge import say_state
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.states import empty
from gateway.web.parts.tags import text
from gateway.web.visit import Visit
from gateway.words import say_usd
from models.job import TERMINAL

A_PAGE = 100  # as in gallery.js
SECONDS = 3.0
ENDED = {state.value for state in TERMINAL}
ALL, DONE = "All items", "Only those that are done"


class Gallery(Element, component="gallery.js"):
    """Args:
    states: of the items; any, if there are none.
    """

    def __init__(self, visit: Visit, campaign_id: str, *, label: str) -> None:
        super().__init__()
        self.states: list[str] = []
        self._visit, self._path = visit, f"/api/v1/campaigns/{campaign_id}/items"
        self.props["label"] = label
        self.props["total"] = 0
        self.on("want", self._give)
        self.on("look", self._tell)

    def set_total(self, total: int) -> None:
        self.props["total"] = total

    def show_states(self, states: list[str]) -> None:
        """From the beginning."""
        self.states = states
        self.run_method("forget")

    def renew(self) -> None:
        """What is in sight and was not over is looked at again."""
        self.run_method("renew")

    async def _give(self, event: GenericEventArguments) -> None:
        start = int(event.args)
        states = self.states
        try:
            found = await self._visit.api.get(
                self._path, start=start, limit=A_PAGE, state=states or None
            )
        except Refused:
            self.run_method("missed", start)
            return
        if states == self.states:
            self.run_method("fill", start, [_show(one) for one in found["items"]])

    async def _tell(self, event: GenericEventArguments) -> None:
        job_id = UUID(str(event.args))
        try:
            job = await self._visit.api.get(f"/api/v1/jobs/{job_id}")
        except Refused:
            return
        said = json.dumps(job["input"], indent=2, ensure_ascii=False)
        self.run_method("tell", str(job_id), said)


def _show(one: dict[str, Any]) -> dict[str, Any]:
    file = one["artifact"] or {}
    kind = (file.get("media_type") or "").partition("/")[0]
    size = f"{file['width']} x {file['height']}" if file.get("width") else None
    stored = file.get("state") in {None, "stored", "expired", "failed"}
    return {
        "id": one["job_id"],
        "custom_id": one["custom_id"],
        "endpoint": one["endpoint"],
        "prompt": one["prompt"],
        "seed": one["seed"],
        "words": say_state(one["state"].upper()),
        "over": one["state"] in ENDED and stored,
        "thumb": local(file.get("thumbnail_url")),
        "url": local(file.get("url")),
        "kind": kind if file.get("url") else None,
        "size": size,
        "cost": None if one["cost_usd"] is None else say_usd(one["cost_usd"]),
    }


@page("/campaigns/{campaign_id:uuid}/gallery", title="Gallery")
async def gallery(visit: Visit, campaign_id: UUID) -> None:
    path = f"/api/v1/campaigns/{campaign_id}"
    with page_head("Gallery"):
        ui.link("The campaign", f"/campaigns/{campaign_id}")
    name = text("p", "", "pr-about")
    shown: Gallery | None = None
    chosen = ALL

    async def read() -> Any:
        found = await visit.api.get(path)
        return {key: found[key] for key in ("name", "queued", "running", *_ENDS, "artifacts")}

    def count(found: dict[str, Any]) -> int:
        if chosen == DONE:
            return int(found["completed"])
        return int(sum(found[key] for key in ("queued", "running", *_ENDS)))

    def draw(found: dict[str, Any]) -> None:
        nonlocal shown
        name.set_text(found["name"])
        if not count(found) and chosen == ALL:
            shown = None
            empty("No items yet", "They are here as soon as they are enqueued.")
            return
        which = ui.radio([ALL, DONE], value=chosen).props("inline dense")
        which.props["aria-label"] = "Which items"
        shown = Gallery(visit, str(campaign_id), label="Items of the campaign")
        shown.set_total(count(found))

        async def choose() -> None:
            nonlocal chosen
            chosen = which.value
            if shown is not None:
                shown.show_states(["completed"] if chosen == DONE else [])
                shown.set_total(count(await read()))

        which.on_value_change(choose)

    def change(found: dict[str, Any]) -> None:
        if shown is None:
            ui.navigate.reload()
            return
        shown.set_total(count(found))
        shown.renew()

    with section("Items", bare=True):
        Live(read, draw, change=change, seconds=SECONDS)


_ENDS = ("completed", "failed", "cancelled")
