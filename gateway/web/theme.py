"""The look of every page: static/tokens.css names the colours, static/theme.css lays them on.

What Quasar colours by itself (its buttons, spinners, switches) is told the same ones here.
"""

import hashlib
from pathlib import Path

from fastapi import Request
from nicegui import App, ui

from gateway.web.addresses import WEB

COOKIE = "pressroom_theme"
THEMES = ("light", "dark")
SHEETS = (
    "tokens.css",
    "theme.css",
    "playground.css",
    "code.css",
    "history.css",
    "floor.css",
    "jobs.css",
    "campaigns.css",
    "money.css",
)
# As --accent and its like: theme.css gives Quasar the dark ones.
QUASAR = {
    "primary": "#2f45c5",
    "secondary": "#5b554c",
    "accent": "#2f45c5",
    "positive": "#1b6b40",
    "negative": "#ab241c",
    "warning": "#7d5000",
    "info": "#0a6485",
    "dark": "#1e1c1a",
    "dark_page": "#141312",
}

_folder = Path(__file__).parent / "static"


def apply(app: App) -> None:
    """To every page of NiceGUI's."""
    app.colors(**QUASAR)
    for sheet in SHEETS:
        version = hashlib.sha256((_folder / sheet).read_bytes()).hexdigest()[:8]
        link = f'<link rel="stylesheet" href="{WEB}/static/{sheet}?{version}">'
        ui.add_head_html(link, shared=True)


def find_theme(request: Request) -> str | None:
    """What the visitor chose; None: as the system is."""
    chosen = request.cookies.get(COOKIE)
    return chosen if chosen in THEMES else None


def choose_theme(theme: str | None) -> None:
    """On the page that is open, and on those to come from this browser."""
    seconds = 31_536_000 if theme else 0
    ui.run_javascript(
        f"document.cookie = '{COOKIE}={theme or ''}; path={WEB}; max-age={seconds}; samesite=lax'"
    )
