"""Showing a run to others: its page for those with a key, its files for anybody."""

from typing import Any

from nicegui import ui

from gateway.web.addresses import WEB
from gateway.web.parts.acts import act_button
from gateway.web.parts.snippet import Snippet
from gateway.web.parts.tags import box, text
from gateway.web.playground.code_panel import find_base
from gateway.web.visit import Visit

DAY = 86_400
TIMES = {3600: "1 hour", DAY: "1 day", 7 * DAY: "7 days", 30 * DAY: "30 days", 0: "for good"}


async def open_share(visit: Visit, job: dict[str, Any]) -> None:
    """A dialog with both kinds of links to `job`."""
    with ui.dialog(value=True) as dialog, box(classes="pr-dialog pr-share"):
        dialog.props["aria-label"] = "Share"
        with box(classes="pr-code-head"):
            text("h2", "Share")
            ui.button(icon="close", on_click=dialog.close).props(
                'flat round dense aria-label="Close"'
            )
        _draw_page_link(job)
        stored = [one for one in job["artifacts"] if one["url"]]
        if stored:
            _draw_file_links(visit, stored)
    await dialog
    dialog.delete()


def _draw_page_link(job: dict[str, Any]) -> None:
    text("h3", "This page")
    whose = f"the key {job['key']!r}" if job["key"] else "the key that ran it"
    text("p", f"Opens for who signs in with {whose}, or with a key that operates. No one else.")
    Snippet(f"{find_base()}{WEB}/runs/{job['id']}", name="Link to this page")


def _draw_file_links(visit: Visit, stored: list[dict[str, Any]]) -> None:
    text("h3", "The file" if len(stored) == 1 else "A file")
    text(
        "p",
        "A link of its own opens the file without a key, for anybody who has the link. "
        "It shows no prompt and nothing else of the run, and cannot be taken back before its time.",
    )
    with box(classes="pr-row"):
        which = stored[0]["id"]
        if len(stored) > 1:
            names = {one["id"]: f"File {number}" for number, one in enumerate(stored, 1)}
            chosen = ui.select(names, value=which, label="File").props("outlined dense")
        else:
            chosen = None
        time = ui.select(TIMES, value=DAY, label="Opens for").props("outlined dense")

        async def make() -> str | None:
            made = await visit.api.post(
                f"/api/v1/artifacts/{chosen.value if chosen else which}/link",
                {"expires_seconds": time.value},
            )
            place.clear()
            with place:
                until = "for good" if time.value == 0 else f"for {TIMES[time.value]} from now"
                text("p", f"Opens {until}:", "pr-small")
                Snippet(made["url"], name="Link to the file")
            return None

        act_button("Make a link", make, kind="outline", icon="link")
    place = box(aria_live="polite")
