"""The playground's page."""

import asyncio
import json
import secrets
from typing import Any
from urllib.parse import quote

from nicegui import ui

from gateway.web.api import Refused
from gateway.web.page import page
from gateway.web.parts.acts import attempt
from gateway.web.parts.heads import page_head
from gateway.web.parts.live import Live
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.playground.chooser import Chooser, fastest_image
from gateway.web.playground.code_panel import open_code
from gateway.web.playground.form import Form
from gateway.web.playground.price import say_price, say_price_note
from gateway.web.playground.run_card import RunCard
from gateway.web.visit import Visit
from gateway.words import say_usd

PRICE_SECONDS = 0.25  # after the last change
DOUBLE_SECONDS = 0.6  # within which a second click is the first one's other half
SEEDS = 2**31
AT_ONCE = 4
EXAMPLES = (
    "A lighthouse at dusk, waves on the rocks, long exposure",
    "A red enamel teapot on a linen cloth, window light",
    "An isometric printing press in paper cut-out style",
    "A fox asleep in the first snow, seen from above",
)
LAST_ENDPOINT = "JSON.parse(sessionStorage.getItem('pressroom.playground.draft') || '{}').endpoint"


@page("/", title="Playground")
async def playground(visit: Visit, endpoint: str | None = None, job: str | None = None) -> None:
    with (
        page_head("Playground", "Choose a model, say what you want, see it."),
        ui.link(target="/compare").classes("pr-link-button"),
    ):
        ui.icon("compare")
        text("span", "Compare two models")

    async def read() -> dict[str, Any]:
        listed = await visit.api.get("/api/v1/endpoints")
        opened = None
        if job:
            opened = await visit.api.get(f"/api/v1/jobs/{quote(job, safe='')}")
        last = None if endpoint or opened else await _last_endpoint()
        named = (
            opened["endpoint"] if opened else endpoint or (last if isinstance(last, str) else None)
        )
        chosen = named or fastest_image(listed["endpoints"]) or ""
        return {
            "listed": listed,
            "job": opened,
            "chosen": chosen,
            "detail": await _detail(visit, chosen),
        }

    Live(read, lambda found: Bench(visit, found), lines=6)


async def _last_endpoint() -> Any:
    """What this tab was left with; None if it was left with nothing, or does not say."""
    try:
        return await ui.run_javascript(LAST_ENDPOINT, timeout=5)
    except TimeoutError:
        return None


async def _detail(visit: Visit, endpoint: str) -> dict[str, Any]:
    """Of an endpoint that is not in the catalogue, its id alone."""
    try:
        found: dict[str, Any] = await visit.api.get(f"/api/v1/endpoints/{quote(endpoint, safe='')}")
    except Refused as error:
        if error.status != 404:  # noqa: PLR2004 -- HTTP
            raise
        return {"id": endpoint}
    return found


class Bench:
    """The form at the left, what came of it at the right."""

    def __init__(self, visit: Visit, found: dict[str, Any]) -> None:
        self._visit = visit
        self._endpoint = found["detail"]["id"]
        self._pricing: ui.timer | None = None
        self._refused = ""  # why the server would not take the input, beyond its schema
        self._usd: float | None = None
        self._last: RunCard | None = None
        opened = found["job"]
        with box(classes="pr-bench"):
            with box("section", "pr-bench-form", aria_label="Input"):
                Chooser(visit, found["listed"]["endpoints"], self._endpoint, self._choose)
                self._form_place = box()
                with box(classes="pr-run-row"):
                    self._price = text("p", "", "pr-price").props("role=status")
                    self._why = text("p", "", "pr-problem").props("role=status")
                    self._draw_buttons()
            with box("section", "pr-bench-result", aria_label="Result"):
                self._results = box(classes="pr-results")
                with self._results, box(classes="pr-stage") as self._empty:
                    empty(
                        "Nothing has run yet",
                        "Type a prompt and press Run, or Ctrl-Enter; or begin with one of these:",
                        icon="auto_awesome",
                    )
                    self._draw_examples()
        self._draw_form(found["detail"], opened["input"] if opened else None, draft=not opened)
        if opened:
            self._new_cards(1)[0].follow_soon(opened["id"])

    def _draw_examples(self) -> None:
        with box(classes="pr-examples"):
            for words in EXAMPLES:
                button = text("button", words).props("type=button")
                button.on("click", lambda _, words=words: self._form.set_value("prompt", words))

    def _draw_buttons(self) -> None:
        with box(classes="pr-row"):
            if not self._visit.may_run:
                text("p", "Your key reads; to run, sign in with one that may run.", "pr-small")
            self._buttons = []
            if self._visit.may_run:
                for words, icon, count, kind in (
                    ("Run", "play_arrow", 1, "unelevated"),
                    (f"{AT_ONCE} at once", "grid_view", AT_ONCE, "outline"),
                ):
                    button = ui.button(words, icon=icon).props(f"no-caps {kind}")
                    button.on(
                        "click",
                        lambda _, count=count: self._run(count),
                        throttle=DOUBLE_SECONDS,
                        trailing_events=False,
                        args=[],
                    )
                    self._buttons.append(button)
            ui.button("Code", icon="code", on_click=self._show_code).props("no-caps flat")

    async def _show_code(self) -> None:
        await attempt(lambda: open_code(self._visit, self._endpoint, self._form.values))

    def _draw_form(
        self, detail: dict[str, Any], values: dict[str, Any] | None, *, draft: bool = False
    ) -> None:
        self._form_place.clear()
        with self._form_place:
            self._form = Form(
                detail, values, self._changed, on_run=lambda: self._run(1), draft=draft
            )
        self._changed()

    async def _choose(self, endpoint: str) -> None:
        values = self._form.values
        detail = await _detail(self._visit, endpoint)
        known = detail.get("input_schema", {}).get("properties", {})
        kept = {name: one for name, one in values.items() if name in known or not known}
        self._endpoint = endpoint
        address = f"/?endpoint={quote(endpoint, safe='')}"
        ui.run_javascript(
            f"history.replaceState(null, '', window.path_prefix + {json.dumps(address)})"
        )
        self._draw_form(detail, kept)

    def _changed(self) -> None:
        self._refused = ""
        self._show_why()
        if self._pricing:
            self._pricing.cancel()
        with self._form_place:
            self._pricing = ui.timer(PRICE_SECONDS, self._estimate, once=True)

    def _show_why(self) -> None:
        why = self._form.problems[0] if self._form.problems else self._refused
        lacks = self._form.lacks
        self._why.set_text(f"{lacks}: to be filled in before it can run." if lacks else why)
        self._why.classes(replace="pr-small" if lacks else "pr-problem")
        for button in self._buttons:
            button.set_enabled(not why)

    async def _estimate(self) -> None:
        if self._form.problems:
            self._price.set_text("")
            return
        form, values = self._form, self._form.values
        path = f"/api/v1/endpoints/{quote(self._endpoint, safe='')}/estimate"
        try:
            found = await self._visit.api.post(path, {"input": values})
        except Refused as error:
            if form is self._form and values is form.values:
                self._refused = error.problems[0]
                self._price.set_text("")
                self._show_why()
            return
        if form is not self._form or values is not form.values:
            return  # it was changed meanwhile, and another estimate is on its way
        note = say_price_note(found["basis"])
        four = f" · {AT_ONCE} at once {say_usd(found['usd'] * AT_ONCE)}" if found["usd"] else ""
        words = f"{say_price(found['usd'], found['basis'])}{four}{f' ({note})' if note else ''}"
        self._price.set_text(words)

    async def _run(self, count: int, *, seed: int | None = None) -> None:
        if not self._visit.may_run or self._form.problems:
            return
        inputs = [self._form.values]
        if seed is not None:
            inputs = [self._form.with_seed(seed)]
        elif count > 1 or not self._has_seed():
            # One that we pick can be had again; of one that the upstream picks nothing is told.
            inputs = [self._form.with_seed(secrets.randbelow(SEEDS)) for _ in range(count)]
        cards = self._new_cards(count)
        await asyncio.gather(
            *(card.start(self._endpoint, one) for card, one in zip(cards, inputs, strict=True))
        )

    def _has_seed(self) -> bool:
        field = self._form.seed_field
        outer, _, name = (field or "").rpartition(".")
        place = self._form.values.get(outer, {}) if outer else self._form.values
        return field is None or place.get(name, -1) != -1

    def _new_cards(self, count: int) -> list["VaryCard"]:
        self._empty.set_visibility(False)
        with self._results:
            grid = box(classes="pr-run-grid" if count > 1 else "pr-run-single")
            grid.move(target_index=0)
            with grid:
                return [VaryCard(self._visit, self._vary) for _ in range(count)]

    async def _vary(self, seed: int | None) -> None:
        """Run what the form holds with this seed; None: with a new one."""
        if seed is not None and self._form.seed_field:
            self._form.set_value(self._form.seed_field, seed)
        await self._run(1, seed=secrets.randbelow(SEEDS) if seed is None else seed)


class VaryCard(RunCard):
    """A run with buttons to vary it once it has ended."""

    def __init__(self, visit: Visit, vary: Any) -> None:
        self._vary = vary
        super().__init__(visit, self._offer)

    def follow_soon(self, job_id: str) -> None:
        with self.place:
            ui.timer(0, lambda: self.follow(job_id), once=True)

    def _offer(self, job: dict[str, Any]) -> None:
        if not self._visit.may_run or job["state"] != "completed":
            return
        with self.place, box(classes="pr-row", aria_label="Vary", role="group"):
            if self.seed is not None:
                ui.button("Same seed", icon="lock", on_click=lambda: self._vary(self.seed)).props(
                    "flat no-caps"
                )
            ui.button("New seed", icon="casino", on_click=lambda: self._vary(None)).props(
                "flat no-caps"
            )
