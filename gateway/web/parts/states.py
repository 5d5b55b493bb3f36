"""Nothing there, not there yet, cannot be had."""

from collections.abc import Awaitable, Callable

from nicegui import ui

from gateway.web.parts.tags import box, text


def empty(title: str, hint: str = "", *, icon: str = "inbox") -> ui.element:
    """Nothing is there; the hint says how something comes to be."""
    with box(classes="pr-state") as drawn:
        ui.icon(icon)
        text("p", title, "pr-strong")
        if hint:
            text("p", hint)
    return drawn


def loading(lines: int = 3) -> ui.element:
    """Not there yet."""
    with box(classes="pr-loading", role="status", aria_label="Loading") as drawn:
        for _ in range(lines):
            box(classes="pr-shimmer", aria_hidden="true")
    return drawn


def failed(why: str, again: Callable[[], Awaitable[None]] | None = None) -> ui.element:
    """It cannot be had; `again` asks once more."""
    with box(classes="pr-state pr-state-bad", role="alert") as drawn:
        ui.icon("error_outline")
        text("p", why)
        if again:
            ui.button("Try again", icon="refresh", on_click=again).props("outline no-caps")
    return drawn
