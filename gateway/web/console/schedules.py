"""Schedules: campaigns that are run again and again."""

from typing import Any

from nicegui import ui

from gateway.web.page import page
from gateway.web.parts.acts import attempt
from gateway.web.parts.ask import ask
from gateway.web.parts.data_table import Column, DataTable, Row
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.states import empty
from gateway.web.visit import Visit
from gateway.words import say_usd

SECONDS = 5.0
PATH = "/api/v1/schedules"
OUTCOMES = {"started": "good", "buffered": "busy", "skipped": "warn", "missed": "warn"}

COLUMNS = (
    Column("name", "Name", "link"),
    Column("state", "State", "badge"),
    Column("cron", "Cron", "code"),
    Column("zone", "Time zone"),
    Column("next", "Next run", "time"),
    Column("last", "Last run", "badge"),
    Column("last_at", "When", "time"),
    Column("cost", "A run"),
    Column("acts", "Acts", "acts", quiet=True),
)


@page("/schedules", title="Schedules")
async def schedules(visit: Visit) -> None:
    with page_head("Schedules", "Campaigns that run again and again. Each run costs anew."):
        if visit.may_operate:
            ui.button(
                "Make a schedule", icon="add", on_click=lambda: ui.navigate.to("/schedules/new")
            ).props("unelevated no-caps")
    if not visit.may_operate:
        empty("Your key does not operate", "Schedules are for keys that do.", icon="lock")
        return
    table: DataTable | None = None
    shown: dict[str, dict[str, Any]] = {}

    async def read() -> Any:
        found = (await visit.api.get(PATH))["schedules"]
        shown.clear()
        shown.update({one["id"]: one for one in found})
        return found

    async def act(what: str, schedule_id: str) -> None:
        one = shown.get(schedule_id)
        if one is not None:
            await attempt(lambda: act_on(visit, what, one))
            await live.again()

    def draw(found: list[dict[str, Any]]) -> None:
        nonlocal table
        table = None
        if not found:
            hint = "Make one of a specification and a cron."
            empty("No schedules yet", hint, icon="event_repeat")
            return
        table = DataTable(COLUMNS, [_row(one) for one in found], caption="Schedules", on_act=act)

    def change(found: list[dict[str, Any]]) -> None:
        if table is None or not found:
            ui.navigate.reload()
            return
        table.set_rows([_row(one) for one in found])

    with section("All schedules"):
        live = Live(read, draw, change=change, seconds=SECONDS)


async def act_on(visit: Visit, what: str, one: dict[str, Any]) -> str | None:
    """Pause, resume, run or remove a schedule; what came of it."""
    path = f"{PATH}/{one['id']}"
    if what == "pause":
        await visit.api.patch(path, {"paused": True})
        return "Paused: no fire starts until it is resumed."
    if what == "resume":
        await visit.api.patch(path, {"paused": False})
        return "It goes on with its next fire."
    jobs = say_jobs(one)
    if what == "run":
        words = f"{jobs}, about {say_usd(one['estimate_usd'])}. Its times stay as they are."
        if not await ask(f"Run {one['name']} now?", words, do="Run it now"):
            return None
        await visit.api.post(f"{path}/run")
        return "It is run."
    words = "What is known of its fires is forgotten. Its campaigns stay, and run on."
    if not await ask(f"Remove {one['name']}?", words, do="Remove it", danger=True):
        return None
    await visit.api.delete(path)
    return "It is removed."


def say_jobs(one: dict[str, Any]) -> str:
    """Of each run of a schedule, or of a plan."""
    return f"{one['jobs']:,} job{'' if one['jobs'] == 1 else 's'}"


def acts_of(one: dict[str, Any]) -> list[dict[str, Any]]:
    turn = ("resume", "Resume") if one["paused"] else ("pause", "Pause")
    return [
        {"act": act, "text": words, "label": f"{words}: {one['name']}"}
        for act, words in (turn, ("run", "Run now"), ("remove", "Remove"))
    ]


def _row(one: dict[str, Any]) -> Row:
    last = next(iter(one["runs"]), None)
    state = {"text": "on", "tone": "good"}
    if one["paused"]:
        state = {"text": "paused", "tone": "warn"}
    return {
        "id": one["id"],
        "name": {"text": one["name"], "href": f"/schedules/{one['id']}"},
        "state": state,
        "cron": one["cron"],
        "zone": one["zone"],
        "next": one["next_at"],
        "last": last and {"text": last["outcome"], "tone": OUTCOMES.get(last["outcome"], "bad")},
        "last_at": last and last["due_at"],
        "cost": f"{say_jobs(one)}, about {say_usd(one['estimate_usd'])}",
        "acts": acts_of(one),
    }
