"""What is asked before a budget is set, changed or removed."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from zoneinfo import available_timezones

from nicegui import ui

from gateway.web.parts.acts import attempt
from gateway.web.parts.ask import ask
from gateway.web.parts.form_dialog import open_form
from gateway.web.visit import Visit
from gateway.words import say_usd

API = "/api/v1/budgets"
NEWEST = 20  # campaigns to choose from, each summed up: of others the command line sets one
HOLDERS = {"all": "everybody", "key": "one key", "campaign": "one campaign", "tag": "a tag"}
PERIODS = {"total": "in all", "day": "a day", "week": "a week, from Monday", "month": "a month"}
AT_CAP = {
    "pause": "It waits until there is room",
    "finish_in_flight": "It is rejected; what was sent runs to its end",
    "stop": "It is rejected, and what was sent is cancelled",
}
FIELD = "outlined dense"

Again = Callable[[], Awaitable[None]]


async def set_budget(visit: Visit, again: Again) -> None:
    given: dict[str, Any] = {
        "holder": "all",
        "period": "total",
        "zone": "UTC",
        "at_cap": "pause",
        "warn": 80,
    }
    keys, campaigns = await _read_holders(visit)

    def draw() -> None:
        _input("Name", given, "name").props("autofocus maxlength=200")
        _usd("Limit", given)
        holder = _select("Whose spend it holds", HOLDERS, given, "holder")
        for kind, options in (("key", keys), ("campaign", campaigns)):
            chosen = _select(HOLDERS[kind].removeprefix("one ").title(), options, given, kind)
            chosen.bind_visibility_from(holder, "value", value=kind)
        _input("Tag of campaigns", given, "tag").bind_visibility_from(holder, "value", value="tag")
        period = _select("For how long", PERIODS, given, "period")
        zone = _input("Time zone in which it begins anew", given, "zone")
        zone.set_autocomplete(sorted(available_timezones()))
        zone.bind_visibility_from(period, "value", backward=lambda value: value != "total")
        _draw_terms(given)

    async def send() -> str:
        kind = given["holder"]
        body = {name: given[name] for name in ("name", "period", "zone", "at_cap")}
        body |= _read_terms(given)
        if kind != "all":
            field = {"key": "key_id", "campaign": "campaign_id", "tag": "tag"}[kind]
            body[field] = given.get(kind)
        made = await visit.api.post(API, body)
        await again()
        return f"The budget {made['name']} holds from now on."

    about = "From then on no job is sent whose price does not fit."
    open_form("Set a budget", draw, send, do="Set the budget", about=about)


def change_budget(visit: Visit, budget: Mapping[str, Any], again: Again) -> None:
    given = {
        "limit": budget["limit_usd"],
        "warn": round(budget["warn_at"] * 100),
        "at_cap": budget["at_cap"],
        "webhook": budget["webhook"] or "",
    }

    def draw() -> None:
        _usd("Limit", given).props("autofocus")
        _draw_terms(given)

    async def send() -> str:
        body = _read_terms(given) | {"at_cap": given["at_cap"]}
        await visit.api.patch(f"{API}/{budget['id']}", body)
        await again()
        return f"The budget {budget['name']} is changed."

    about = "A raised limit lets go on at once what waits for it."
    open_form(f"Change {budget['name']}", draw, send, do="Change the budget", about=about)


async def remove_budget(visit: Visit, budget: Mapping[str, Any]) -> bool:
    """Whether it was removed."""
    held = budget["jobs_held"]
    waits = f" {held:,} jobs that wait for it go on." if held else ""
    words = (
        f"Nothing holds {say_usd(budget['limit_usd'])} in any more.{waits} "
        "What was spent stays in the books."
    )
    if not await ask(f"Remove {budget['name']}?", words, do="Remove the budget", danger=True):
        return False

    async def remove() -> str:
        await visit.api.delete(f"{API}/{budget['id']}")
        return f"The budget {budget['name']} is removed."

    return await attempt(remove)


def _draw_terms(given: dict[str, Any]) -> None:
    _select("A job that does not fit", AT_CAP, given, "at_cap")
    ui.number("Warn at", value=given["warn"], min=1, max=100, suffix="%").props(
        FIELD
    ).bind_value_to(given, "warn")
    hook = _input("Webhook that is told (optional)", given, "webhook")
    hook.props("type=url placeholder=https://")


def _read_terms(given: Mapping[str, Any]) -> dict[str, Any]:
    terms = {
        "limit_usd": given.get("limit"),
        "warn_at": None if given["warn"] is None else given["warn"] / 100,
    }
    return terms | ({"webhook": given["webhook"]} if given.get("webhook") else {})


async def _read_holders(visit: Visit) -> tuple[dict[str, str], dict[str, str]]:
    keys = (await visit.api.get("/api/v1/keys"))["keys"]
    campaigns = (await visit.api.get("/api/v1/campaigns/names", limit=NEWEST))["campaigns"]
    return (
        {one["id"]: f"{one['name']} ({one['shown']})" for one in keys if not one["revoked_at"]},
        {one["campaign_id"]: one["name"] for one in campaigns if not one["completed_at"]},
    )


def _input(words: str, given: dict[str, Any], name: str) -> ui.input:
    field = ui.input(words, value=given.get(name, "")).props(FIELD)
    field.bind_value_to(given, name)
    return field


def _usd(words: str, given: dict[str, Any]) -> ui.number:
    field = ui.number(words, value=given.get("limit"), min=0, prefix="$", suffix="USD").props(
        f"{FIELD} step=any"
    )
    field.bind_value_to(given, "limit")
    return field


def _select(words: str, options: Mapping[str, str], given: dict[str, Any], name: str) -> ui.select:
    field = ui.select(dict(options), label=words, value=given.get(name)).props(FIELD)
    field.bind_value_to(given, name)
    return field
