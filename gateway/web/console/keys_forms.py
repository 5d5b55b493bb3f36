"""What is asked before a key is made, changed, rotated or revoked."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from gateway.web.console.keys_secret import show_secret
from gateway.web.parts.acts import attempt
from gateway.web.parts.ask import ask
from gateway.web.parts.form_dialog import open_form
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit

API = "/api/v1/keys"
FIELD = "outlined dense"
SCOPES = {
    "run": "Run: hand in, cancel and retry its own jobs, and read them",
    "read": "Read: look at its own jobs, and touch nothing",
    "operate": "Operate: everything, of everybody",
}
GRACES = {0: "at once", 3_600: "in an hour", 86_400: "in a day", 604_800: "in a week"}

Again = Callable[[], Awaitable[None]]


def make_key(visit: Visit, again: Again) -> None:
    given: dict[str, Any] = {"weight": 1.0, "rate": None}
    boxes: dict[str, ui.checkbox] = {}

    def draw() -> None:
        name = ui.input("Name").props(f"{FIELD} autofocus maxlength=200")
        name.bind_value_to(given, "name")
        with box("fieldset", "pr-fieldset"):
            text("legend", "What it may do")
            for scope, words in SCOPES.items():
                boxes[scope] = ui.checkbox(words, value=scope == "run")
        _draw_terms(given)

    async def send() -> None:
        body = {
            "name": given.get("name", ""),
            "scopes": [scope for scope, drawn in boxes.items() if drawn.value],
            "weight": given["weight"],
            "requests_per_second": _whole(given["rate"]),
        }
        made = await visit.api.post(API, body)
        await again()
        show_secret(made, "is made")

    open_form("Make a key", draw, send, do="Make the key")


def change_key(visit: Visit, key: Mapping[str, Any], again: Again) -> None:
    given = {"weight": key["weight"], "rate": key["requests_per_second"]}

    async def send() -> str:
        body = {"weight": given["weight"], "requests_per_second": _whole(given["rate"])}
        await visit.api.patch(f"{API}/{key['id']}", body)
        await again()
        return f"The key {key['name']} is changed."

    about = "The weight is of jobs that it hands in from then on."
    open_form(
        f"Change {key['name']}", lambda: _draw_terms(given), send, do="Change the key", about=about
    )


def rotate_key(visit: Visit, key: Mapping[str, Any], again: Again) -> None:
    given: dict[str, Any] = {"grace": 86_400, "webhook": False}

    def draw() -> None:
        grace = ui.select(dict(GRACES), label="The old secret ends", value=given["grace"])
        grace.props(FIELD).bind_value_to(given, "grace")
        ui.checkbox("What signs its webhooks, too, at once").bind_value_to(given, "webhook")

    async def send() -> None:
        body = {"grace_seconds": given["grace"], "webhook_secret": given["webhook"]}
        made = await visit.api.post(f"{API}/{key['id']}/rotate", body)
        await again()
        show_secret(made, "has a new secret")

    about = "It gets a new secret; its jobs and files stay its own."
    open_form(f"Rotate {key['name']}", draw, send, do="Make a new secret", about=about)


async def revoke_key(visit: Visit, key: Mapping[str, Any], again: Again) -> None:
    own = key["id"] == str(visit.caller.key_id)
    words = (
        f"The secret that begins with {key['shown']} opens nothing any more, within a second, and "
        "cannot be given back. Jobs that it handed in go on."
    )
    if own:
        words += " It is the key that you are signed in with: you will be signed out."
    if not await ask(f"Revoke {key['name']}?", words, do="Revoke the key", danger=True):
        return

    async def revoke() -> str:
        await visit.api.delete(f"{API}/{key['id']}")
        return f"The key {key['name']} is revoked."

    await attempt(revoke)
    await again()


def _draw_terms(given: dict[str, Any]) -> None:
    weight = ui.number("Weight in line, 1 is usual", value=given["weight"], min=0.1, max=100)
    weight.props(f"{FIELD} step=any").bind_value_to(given, "weight")
    rate = ui.number("Requests a second", value=given["rate"], min=1, precision=0)
    rate.props(f'{FIELD} hint="Empty: as operators set it for all keys"')
    rate.bind_value_to(given, "rate")


def _whole(figure: float | None) -> int | None:
    return None if figure is None else int(figure)
