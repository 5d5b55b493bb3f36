"""A new campaign: a file of prompts or a specification, then its plan, then its start."""

import json
from pathlib import PurePath
from typing import Any

import yaml
from nicegui import ui
from nicegui.elements.upload_files import FileUpload

from gateway.web.api import Refused
from gateway.web.console.campaign_plan import PlanView
from gateway.web.page import page
from gateway.web.parts.acts import act_button, tell
from gateway.web.parts.ask import ask
from gateway.web.parts.file_drop import FileDrop
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit
from gateway.words import say_usd

MOST_BYTES = 100_000_000
SPEC_ENDINGS = {".yaml", ".yml", ".json"}
ACCEPT = ".tsv,.csv,.jsonl,.ndjson,.txt,.gz,.yaml,.yml,.json"
PASTED = {"Text, a prompt a line": "txt", "TSV": "tsv", "CSV": "csv", "JSONL": "jsonl"}


@page("/campaigns/new", title="Start a campaign")
async def new(visit: Visit) -> None:
    with page_head("Start a campaign", "From a file. You see what it comes to before it runs."):
        ui.link("All campaigns", "/campaigns")
    if not visit.may_run:
        empty("Your key may only read", "Starting a campaign takes a key that may run.")
        return
    try:
        listed = (await visit.api.get("/api/v1/endpoints"))["endpoints"]
    except Refused as error:
        tell(str(error), tone="negative")
        listed = []
    Draft(visit, {one["id"]: f"{one['name']} ({one['id']})" for one in listed}).draw()


class Draft:
    """What is filled in so far, and the plan of it.

    Args:
        endpoints: what each is called.
    """

    def __init__(self, visit: Visit, endpoints: dict[str, str]) -> None:
        self._visit, self._endpoints = visit, endpoints
        self._rows: dict[str, Any] | None = None
        self._planned: dict[str, Any] | None = None

    def draw(self) -> None:
        with section("1. What to run"):
            with ui.tabs().props("no-caps align=left inline-label") as tabs:
                file, pasted, spec = (ui.tab(name) for name in ("A file", "Paste", "Specification"))
            with ui.tab_panels(tabs, value=file, animated=False).classes("pr-panels"):
                with ui.tab_panel(file):
                    self._draw_drop()
                with ui.tab_panel(pasted):
                    self._draw_paste()
                with ui.tab_panel(spec):
                    self._draw_spec()
            self._file = text("p", "", "pr-strong pr-file").props("role=status")
            self._file.set_visibility(False)
        self._tabs, self._by_spec = tabs, spec
        with section("2. How to run it") as self._settings:
            self._draw_settings()
        assert self._settings.parent_slot is not None  # noqa: S101 -- it is in its section
        whole = self._settings.parent_slot.parent
        tabs.on_value_change(lambda event: whole.set_visibility(event.value != "Specification"))
        with section("3. The plan"):
            with box(classes="pr-row"):
                act_button("Plan it", self._plan, icon="fact_check")
                self._start = act_button(
                    "Start", self._ask_to_start, icon="play_arrow", kind="filled"
                )
                self._start.set_visibility(False)
            self._plan_view = PlanView()

    def _draw_drop(self) -> None:
        FileDrop(
            "Choose a file of prompts, or a specification, or drop it here",
            self._take,
            hint="TSV, CSV, JSONL or text, also gzipped; or YAML. At most 100 MB and 100,000 items;"
            " the command line takes more.",
            accept=ACCEPT,
            most_bytes=MOST_BYTES,
        )

    def _draw_paste(self) -> None:
        kind = ui.select(list(PASTED), value=next(iter(PASTED)), label="What it is")
        kind.props("outlined dense").classes("pr-field")
        words = ui.textarea("Prompts").props("outlined input-class=pr-code rows=8")
        words.classes("pr-whole")

        async def keep() -> str | None:
            name = f"pasted.{PASTED[kind.value]}"
            await self._keep(name, (words.value or "").encode())
            return None

        act_button("Use these prompts", keep)

    def _draw_spec(self) -> None:
        self._spec = ui.textarea(
            "Specification, YAML or JSON",
            placeholder="name: foxes\nendpoint: black-forest-labs-flux-1-schnell\n"
            "prompts: [a fox in the snow]\nmatrix: {seed: [1, 2]}",
        )
        self._spec.props("outlined autogrow input-class=pr-code rows=10 stack-label")
        self._spec.classes("pr-whole")
        hint = "If it says prompts: {file: NAME}, hand that file in under A file."
        text("p", hint, "pr-small")

    def _draw_settings(self) -> None:
        with box(classes="pr-fields"):
            self._name = ui.input("Name").props("outlined dense")
            self._chosen = (
                ui.select(self._endpoints, multiple=True, with_input=True, label="Endpoints")
                .props("outlined dense use-chips")
                .classes("pr-two")
            )
            self._budget = ui.number("Budget in USD, if any", min=0).props(
                "outlined dense step=any"
            )
            self._over = ui.input("Spread over, such as 2h").props("outlined dense")
            self._flight = ui.number("Jobs at once, at most", min=1, precision=0)
            self._flight.props("outlined dense")
        self._input = ui.textarea("Input of every item", placeholder="width: 768")
        self._input.props("outlined autogrow stack-label input-class=pr-code rows=2").classes(
            "pr-whole"
        )
        hint = "A line for each value. With several endpoints each prompt is run on each."
        text("p", hint, "pr-small")

    async def _take(self, file: FileUpload) -> None:
        name = PurePath(file.name).name
        if PurePath(name).suffix.lower() in SPEC_ENDINGS:
            try:
                self._spec.set_value(await file.text())
            except UnicodeDecodeError:
                tell(f"{name} is not UTF-8 text.", tone="negative")
                return
            self._tabs.set_value(self._by_spec)
            tell(f"{name} is a specification: look it over, then plan it.", tone="info")
            return
        try:
            await self._keep(name, file.iterate())
        except Refused as error:
            self._plan_view.show_problems(error.problems)

    async def _keep(self, name: str, content: Any) -> None:
        self._forget()
        self._file.set_visibility(False)
        try:
            self._rows = await self._visit.api.send("/api/v1/campaigns/rows", content, name=name)
        except Refused as error:
            self._rows = None
            self._plan_view.show_problems(error.problems)
            return
        size = self._rows["bytes"]
        columns = ", ".join(self._rows["columns"])
        self._file.set_text(f"{name}: {size:,} bytes. Columns: {columns}")
        self._file.set_visibility(True)
        if not self._name.value:
            self._name.set_value(name.partition(".")[0])

    def _forget(self) -> None:
        self._planned = None
        self._start.set_visibility(False)
        self._plan_view.clear()

    def _body(self) -> dict[str, Any]:
        """
        Raises:
            ValueError: something is wanted; its text says what.
        """
        rows = self._rows["rows"] if self._rows else None
        if self._tabs.value == "Specification":
            if not (self._spec.value or "").strip():
                raise ValueError("Write a specification first, or choose one as a file.")
            spec = self._spec.value
            return {"spec": spec, "rows": rows if _names_a_file(spec) else None}
        if self._rows is None:
            raise ValueError("Choose or paste prompts first.")
        if not self._chosen.value:
            raise ValueError("Choose an endpoint.")
        spec = {
            "name": self._name.value or "",
            "endpoints": self._chosen.value,
            "prompts": {"file": self._rows["name"]},
            "input": _read_input(self._input.value or ""),
            "pace": {},
        }
        if self._over.value:
            spec["pace"]["over"] = self._over.value
        if self._flight.value:
            spec["pace"]["max_in_flight"] = int(self._flight.value)
        if self._budget.value:
            spec["budget"] = self._budget.value
        return {"spec": spec, "rows": rows}

    async def _plan(self) -> str | None:
        self._forget()
        try:
            body = self._body()
        except ValueError as error:
            self._plan_view.show_problems([str(error)])
            return None
        self._plan_view.show_waiting()
        try:
            told = await self._visit.api.post("/api/v1/campaigns", {**body, "dry_run": True})
        except Refused as error:
            self._plan_view.show_problems(error.problems)
            return None
        self._plan_view.show(told)
        self._planned = {"body": body, "plan": told}
        self._start.set_visibility(True)
        return None

    async def _ask_to_start(self) -> str | None:
        if self._planned is None:
            return None
        plan, body = self._planned["plan"], self._planned["body"]
        try:
            changed = self._body() != body
        except ValueError:
            changed = True
        if changed:
            self._forget()
            return "It was changed since it was planned: plan it again."
        jobs = f"{plan['jobs']:,} job{'' if plan['jobs'] == 1 else 's'}"
        price = "no price is known" if plan["estimate_usd"] is None else say_price(plan)
        meant = await ask(f"Start {jobs}?", f"They cost {price}.", do=f"Start {jobs}")
        if not meant:
            return None
        told = await self._visit.api.post("/api/v1/campaigns", {**body, "dry_run": False})
        ui.navigate.to(f"/campaigns/{told['campaign_id']}")
        return None


def say_price(plan: dict[str, Any]) -> str:
    sure = "exactly" if plan["exact"] else "at most" if plan["bound"] else "about"
    rest = f", and {plan['unpriced']:,} have no known price" if plan["unpriced"] else ""
    return f"{sure} {say_usd(plan['estimate_usd'])}{rest}"


def _names_a_file(spec: str) -> bool:
    try:
        found = yaml.safe_load(spec)
    except yaml.YAMLError:
        return False
    return isinstance(found, dict) and isinstance(found.get("prompts"), dict)


def _read_input(lines: str) -> dict[str, Any]:
    """
    Raises:
        ValueError: with the line that is none.
    """
    values: dict[str, Any] = {}
    for number, line in enumerate(lines.splitlines(), start=1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"Input, line {number}: name: value was wanted, {line:.60} came.")
        try:
            values[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            values[name.strip()] = value.strip()
    return values
