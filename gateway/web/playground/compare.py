"""Two models on one prompt, side by side."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from nicegui import ui

from gateway.web.addresses import WEB
from gateway.web.api import Refused, SignedOut
from gateway.web.page import page
from gateway.web.parts.acts import act_button, attempt, tell
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.tags import box, text
from gateway.web.playground.chooser import Chooser, say_speed
from gateway.web.playground.code_panel import read_endpoint
from gateway.web.playground.compared import Side, make_input, takes_seed, tell_apart
from gateway.web.playground.price import say_price
from gateway.web.playground.run_card import RunCard
from gateway.web.visit import Visit
from gateway.words import say_usd

WRITES = ("text-to-image", "text-to-video", "text-to-speech", "text-generation")
SEEDS = 2**31  # what is drawn from; every endpoint takes that much


@page("/compare", title="Compare")
async def compare(visit: Visit, a: str = "", b: str = "", prompt: str = "") -> None:
    with page_head("Compare", "One prompt, two models: what each makes of it, costs and takes."):
        pass
    found = (await visit.api.get("/api/v1/endpoints"))["endpoints"]
    listed = [one for one in found if one["task"] in WRITES]
    first, second = [one["id"] for one in listed[:2]]
    comparison = Comparison(visit, listed, a or first, b or second, prompt)
    await comparison.draw()


class Comparison:
    """Drawn once; a change of model, prompt or seed changes what is said where it stands."""

    def __init__(
        self, visit: Visit, listed: list[dict[str, Any]], a: str, b: str, prompt: str
    ) -> None:
        self._visit, self._listed = visit, listed
        self._first = prompt
        self._sides = [Side(a), Side(b)]
        self._ended: list[dict[str, Any] | None] = [None, None]
        self._run = 0  # of how many: a late end of an earlier one is no end of this one

    async def draw(self) -> None:
        with section("What both are asked"), box(classes="pr-stack"):
            self._prompt = (
                ui.textarea("Prompt", value=self._first, on_change=self._tell)
                .props("outlined autogrow")
                .classes("pr-wide")
            )
            with box(classes="pr-row"):
                self._seed = ui.number("Seed", min=0, max=SEEDS - 1, precision=0, format="%d")
                self._seed.props("outlined dense clearable")
                self._seed_words = text("span", "", "pr-small").props("aria-live=polite")
            with box(classes="pr-row"):
                if self._visit.may_run:
                    self._button = act_button("Run both", self._start, kind="filled", icon="bolt")
                else:
                    text("p", "Your key may look, not run.", "pr-small")
                ui.button("Swap", icon="swap_horiz", on_click=self._swap).props("outline no-caps")
                self._total = text("span", "", "pr-total").props("role=status")
        with box(classes="pr-sides"):
            for place, side in enumerate(self._sides):
                self._draw_side(place, side)
        self._verdict = text("p", "", "pr-verdict").props("role=status")
        self._verdict.set_visibility(False)
        for side in self._sides:
            await self._learn(side)
        await self._price()

    def _draw_side(self, place: int, side: Side) -> None:
        async def choose(name: str) -> None:
            side.name = name
            self._remember()
            await self._learn(side)
            await self._price()

        label = ("Left", "Right")[place]
        with box("section", "pr-rival", aria_label=label):
            side.chooser = Chooser(self._visit, self._listed, side.name, choose)
            side.words = text("p", "", "pr-small").props("aria-live=polite")
            side.place = box(classes="pr-side-result")
            with side.place:
                text("p", "Its result will be here.", "pr-side-empty")

    async def _learn(self, side: Side) -> None:
        side.endpoint = await read_endpoint(self._visit, side.name)

    async def _swap(self) -> None:
        one, other = self._sides
        one.name, other.name = other.name, one.name
        one.endpoint, other.endpoint = other.endpoint, one.endpoint
        for side in self._sides:
            side.chooser.set(side.name)
        self._remember()
        await attempt(self._price)

    def _remember(self) -> None:
        """In the address, so that it may be kept and sent on."""
        query = urlencode({"a": self._sides[0].name, "b": self._sides[1].name})
        ui.navigate.history.replace(f"{WEB}/compare?{query}")

    def _inputs(self) -> list[dict[str, Any]]:
        both = all(takes_seed(side.endpoint) for side in self._sides)
        seed = int(self._seed.value) if both and self._seed.value is not None else None
        prompt = self._prompt.value or ""
        return [make_input(side.endpoint, prompt, seed) for side in self._sides]

    async def _price(self) -> str | None:
        """Say what each will cost and take, and what both will."""
        usd: list[float | None] = []
        for side in self._sides:
            estimate = await self._estimate(side.endpoint)
            usd.append(estimate["usd"])
            said = estimate.get("problem") or say_price(estimate["usd"], estimate["basis"])
            speed = f" · {say_speed(dict(side.endpoint))}" if "kind" in side.endpoint else ""
            side.words.set_text(f"{said}{speed}")
        known = [one for one in usd if one is not None]
        words = f"{say_usd(sum(known))} for both" if len(known) == len(usd) else "no price known"
        self._total.set_text(words)
        both = all(takes_seed(side.endpoint) for side in self._sides)
        self._seed.set_enabled(both)
        self._seed_words.set_text(
            "Both get this one; leave it empty and each picks its own."
            if both
            else "Not sent: not both of them take one."
        )
        self._tell()
        return None

    async def _estimate(self, endpoint: Mapping[str, Any]) -> dict[str, Any]:
        values = make_input(endpoint, "a prompt", None)
        path = f"/api/v1/endpoints/{quote(str(endpoint['id']), safe='')}/estimate"
        try:
            found: dict[str, Any] = await self._visit.api.post(path, {"input": values})
        except SignedOut:
            raise
        except Refused as error:
            said = f"It needs more than a prompt: {'; '.join(error.problems)}."
            return {"usd": None, "basis": "unlisted", "problem": said}
        return found

    def _tell(self) -> None:
        if self._visit.may_run:
            self._button.set_text(f"Run both for {self._total.text.removesuffix(' for both')}")
            if not self._total.text.endswith(" for both"):
                self._button.set_text("Run both")

    async def _start(self) -> str | None:
        if not (self._prompt.value or "").strip():
            tell("Write a prompt first.", tone="warning")
            return None
        self._run += 1
        self._ended = [None, None]
        self._verdict.set_visibility(False)
        for place, (side, values) in enumerate(zip(self._sides, self._inputs(), strict=True)):
            side.place.clear()
            with side.place:
                card = RunCard(self._visit, on_end=self._on_end(place, self._run))
            await card.start(side.name, values)
        return None

    def _on_end(self, place: int, run: int) -> Any:
        names = [str(side.endpoint.get("name", side.name)) for side in self._sides]

        def ended(job: dict[str, Any]) -> None:
            if run != self._run:
                return
            self._ended[place] = job
            one, other = self._ended
            if one is not None and other is not None:
                self._verdict.set_text(tell_apart(names, [one, other]))
                self._verdict.set_visibility(True)

        return ended
