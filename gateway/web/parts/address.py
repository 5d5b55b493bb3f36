"""What a page shows stands in its address, so that it can be sent, kept and opened again."""

from urllib.parse import urlencode

from nicegui import ui


def set_query(**given: str | None) -> None:
    """These are the page's parameters now; what is None or empty is left out."""
    ui.navigate.history.replace(
        f"?{urlencode({name: value for name, value in given.items() if value})}"
    )
