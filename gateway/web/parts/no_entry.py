"""What a page shows to whose key may not see it."""

from nicegui import ui

from gateway.web.parts.tags import box, text


def no_entry(what: str, scope: str, *, has: str) -> ui.element:
    """Args:
    what: what the page would show: "The audit log".
    scope: which it takes; has: those that the key has.
    """
    with box(classes="pr-sheet"), box(classes="pr-state") as drawn:
        ui.icon("lock")
        text("p", f"{what} takes the scope {scope}", "pr-strong")
        text("p", f"Your key may {has}. Who operates this floor can make one that may.")
    return drawn
