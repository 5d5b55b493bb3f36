"""One schedule, made or changed: when, what, what came of it, and what was not run."""

import datetime as dt
import json
from typing import Any
from uuid import UUID

import yaml
from nicegui import ui

from gateway.web.api import Refused
from gateway.web.console.schedule_timetable import Timetable
from gateway.web.console.schedules import OUTCOMES, PATH, act_on, say_jobs
from gateway.web.page import page
from gateway.web.parts.acts import act_button, tell
from gateway.web.parts.ask import ask
from gateway.web.parts.data_table import Column, DataTable
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit
from gateway.words import say_usd
from models.schedule import Overlap

SECONDS = 5.0
OVERLAPS = [one.value for one in Overlap]
EXAMPLE = """name: nightly
endpoint: black-forest-labs-flux-1-schnell
prompts: [a fox in the snow, an owl at dusk]
input: {width: 512, height: 512}
"""


@page("/schedules/new", title="Make a schedule")
async def new(visit: Visit) -> None:
    with page_head("Make a schedule", "A campaign, and when it is run."):
        ui.link("All schedules", "/schedules")
    if not _may(visit):
        return
    with section("When"):
        timetable = Timetable(visit, {}, OVERLAPS)
    with section("What"):
        spec = _Specification(EXAMPLE)

    async def make() -> str | None:
        given = spec.read()
        plan = await spec.plan(visit, given)
        if plan is None:
            return None
        words = f"{say_jobs(plan)} each time, about {say_usd(plan['estimate_usd'])} a run."
        if not await ask("Make the schedule?", words, do="Make it"):
            return None
        body = {"specification": {**given, "schedule": timetable.terms}}
        made = await visit.api.post(PATH, body)
        ui.navigate.to(f"/schedules/{made['id']}")
        return None

    with box(classes="pr-row"):
        act_button("Make the schedule", make, icon="event_repeat", kind="filled")


@page("/schedules/{schedule_id:uuid}", title="Schedule")
async def schedule(visit: Visit, schedule_id: UUID) -> None:
    path = f"{PATH}/{schedule_id}"
    with page_head("Schedule"):
        ui.link("All schedules", "/schedules")
    if not _may(visit):
        return
    try:
        one = await visit.api.get(path)
    except Refused as error:
        empty("There is no such schedule", str(error))
        return
    text("h2", one["name"])
    if one["problem"]:
        text("p", f"It paused by itself: {one['problem']}", "pr-note")
    _draw_acts(visit, one)
    with section("When"):
        timetable = Timetable(visit, one, OVERLAPS)

        async def keep() -> str:
            await visit.api.patch(path, timetable.terms)
            return "Kept: it holds from the next fire on."

        act_button("Keep the times", keep, icon="save")
    with section("What"):
        spec = _Specification(_write(one["specification"]))

        async def keep_spec() -> str | None:
            given = spec.read()
            if await spec.plan(visit, given) is None:
                return None
            told = await visit.api.patch(path, {"specification": given})
            return f"Kept: {say_jobs(told)} a run, about {say_usd(told['estimate_usd'])}."

        if isinstance(one["specification"].get("prompts"), dict):
            hint = "Its prompts stand in a file: pressroom schedules replaces that."
            text("p", hint, "pr-small")
        else:
            act_button("Keep the specification", keep_spec, icon="save")
    with section("Last runs"):
        Live(lambda: _read_runs(visit, path), _draw_runs, seconds=SECONDS)
    with section("Backfill", "Runs of a past time that were not run."):
        _draw_backfill(visit, path)


def _may(visit: Visit) -> bool:
    if not visit.may_operate:
        empty("Your key does not operate", "Schedules are for keys that do.", icon="lock")
    return visit.may_operate


def _write(spec: dict[str, Any]) -> str:
    plain = json.loads(json.dumps(spec))
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


class _Specification:
    def __init__(self, words: str) -> None:
        self._words = ui.textarea("Specification, YAML or JSON", value=words)
        self._words.props("outlined autogrow input-class=pr-code").classes("pr-whole")
        self._place = box(classes="pr-stack", aria_live="polite")

    def read(self) -> dict[str, Any]:
        """
        Raises:
            Refused: it is no object of YAML.
        """
        try:
            given = yaml.safe_load(self._words.value or "")
        except yaml.YAMLError as error:
            raise Refused(422, f"The specification is no YAML: {error}") from error
        if not isinstance(given, dict):
            raise Refused(422, "The specification is empty: name, endpoint and prompts are wanted.")
        return {name: value for name, value in given.items() if name != "schedule"}

    async def plan(self, visit: Visit, given: dict[str, Any]) -> dict[str, Any] | None:
        """What a run comes to; None: what is wrong is said."""
        self._place.clear()
        try:
            told: dict[str, Any] = await visit.api.post("/api/v1/campaigns", {"spec": given})
        except Refused as error:
            with self._place, box("ul", "pr-problems", role="alert"):
                for one in error.problems:
                    text("li", one)
            return None
        return told


def _draw_acts(visit: Visit, one: dict[str, Any]) -> None:
    async def act(what: str) -> str | None:
        said = await act_on(visit, what, one)
        if said and what == "remove":
            ui.navigate.to("/schedules")
        elif said and what in {"pause", "resume"}:
            one["paused"] = what == "pause"
            show()
        return said

    def show() -> None:
        pause.set_visibility(not one["paused"])
        resume.set_visibility(one["paused"])

    with box(classes="pr-row"):
        pause = act_button("Pause", lambda: act("pause"), icon="pause")
        resume = act_button("Resume", lambda: act("resume"), icon="play_arrow")
        act_button("Run now", lambda: act("run"), icon="bolt")
        act_button("Remove", lambda: act("remove"), icon="delete")
    show()


async def _read_runs(visit: Visit, path: str) -> Any:
    return (await visit.api.get(path))["runs"]


def _draw_runs(runs: list[dict[str, Any]]) -> None:
    if not runs:
        empty("No runs yet")
        return
    DataTable(
        [
            Column("id", "Due", "time"),
            Column("outcome", "Outcome", "badge"),
            Column("note", "Why", "long"),
            Column("campaign", "Campaign", "link"),
        ],
        [
            {
                "id": run["due_at"],
                "outcome": {
                    "text": run["outcome"] + (", over" if run["over"] else ""),
                    "tone": OUTCOMES.get(run["outcome"], "bad"),
                },
                "note": run["note"],
                "campaign": run["campaign_id"]
                and {"text": "Open", "href": f"/campaigns/{run['campaign_id']}"},
            }
            for run in runs
        ],
        caption="Last runs",
    )


def _draw_backfill(visit: Visit, path: str) -> None:
    today = dt.datetime.now(dt.UTC)
    with box(classes="pr-fields"):
        start = ui.input("From, in UTC", value=f"{today - dt.timedelta(days=7):%Y-%m-%dT%H:%M}")
        end = ui.input("To, in UTC", value=f"{today:%Y-%m-%dT%H:%M}")
        for field in (start, end):
            field.props("outlined dense type=datetime-local stack-label")
        at_once = ui.checkbox("All at once, not one after the other")

    async def backfill() -> str | None:
        body = {
            "start_at": f"{start.value}:00Z",
            "end_at": f"{end.value}:00Z",
            "at_once": at_once.value,
        }
        dry = await visit.api.post(f"{path}/backfill", {**body, "dry_run": True})
        if not dry["fires"]:
            tell("Nothing is missing in that time.", tone="info")
            return None

        def draw() -> None:
            with box("ol", "pr-fires"):
                for fire in dry["fires"][:10]:
                    text("li", fire)
                if len(dry["fires"]) > 10:  # noqa: PLR2004 -- as many as are listed
                    text("li", f"and {len(dry['fires']) - 10:,} more")

        runs = f"{len(dry['fires']):,} run{'' if len(dry['fires']) == 1 else 's'}"
        words = f"{say_jobs(dry)}, about {say_usd(dry['estimate_usd'])}."
        if not await ask(f"Run {runs} of the past?", words, do=f"Run {runs}", draw=draw):
            return None
        told = await visit.api.post(f"{path}/backfill", {**body, "dry_run": False})
        return f"{told['waiting']:,} wait to be run."

    act_button("See what is missing", backfill, icon="history")
