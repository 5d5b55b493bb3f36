"""What stands around each page: the rooms, who is signed in, the theme."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nicegui import ui

from gateway.web.addresses import WEB
from gateway.web.parts.tags import box
from gateway.web.theme import choose_theme
from gateway.web.visit import Visit

NARROW = 960  # px: below it the rooms are behind a button


@dataclass(frozen=True)
class Room:
    path: str
    name: str
    icon: str
    operate: bool = False


PLAYGROUND = (
    Room("/", "Playground", "auto_awesome"),
    Room("/history", "History", "history"),
)
CONSOLE = (
    Room("/floor", "Floor", "speed"),
    Room("/jobs", "Jobs", "list_alt"),
    Room("/campaigns", "Campaigns", "collections"),
    Room("/schedules", "Schedules", "event_repeat"),
    Room("/money", "Money", "payments"),
    Room("/keys", "Keys", "key", operate=True),
    Room("/audit", "Audit", "fact_check", operate=True),
)
NEXT_THEME = {None: "light", "light": "dark", "dark": None}
THEME_ICONS = {None: "brightness_auto", "light": "light_mode", "dark": "dark_mode"}
THEME_NAMES = {None: "as the system", "light": "light", "dark": "dark"}


@contextmanager
def draw_frame(visit: Visit, title: str) -> Iterator[None]:
    """What is drawn within it is the page."""
    dark = ui.dark_mode({"light": False, "dark": True, None: None}[visit.theme])
    with ui.left_drawer(value=False, bordered=False).props(
        f"width=232 breakpoint={NARROW} show-if-above role=presentation"
    ) as drawer:
        drawer.classes("pr-side")
        _draw_brand()
        with ui.element("nav").props('aria-label="Rooms"').classes("pr-rooms"):
            _draw_rooms(visit, PLAYGROUND)
            ui.label("Console").classes("pr-rooms-head")
            _draw_rooms(visit, CONSOLE)
        ui.space()
        _draw_foot(visit, dark)
    with ui.header(elevated=False).classes("pr-top"):
        ui.button(icon="menu", on_click=drawer.toggle).props(
            'flat round dense aria-label="Rooms"'
        ).classes("pr-menu")
        ui.label(title).classes("pr-top-title")
    with box(classes="pr-main") as main:
        yield
    ui.skip_link("Skip to the page", target=main)


def _draw_brand() -> None:
    with ui.link(target="/").classes("pr-brand"):
        ui.html(
            f'<img src="{WEB}/static/favicon.svg" alt="" width="28" height="28">', sanitize=False
        )
        ui.label("Pressroom")


def _draw_rooms(visit: Visit, rooms: tuple[Room, ...]) -> None:
    for room in rooms:
        if room.operate and not visit.may_operate:
            continue
        here = visit.path == room.path or (
            room.path != "/" and visit.path.startswith(f"{room.path}/")
        )
        with ui.link(target=room.path).classes("pr-room") as link:
            if here or (room.path == "/" and visit.path.startswith("/playground")):
                link.classes("pr-room-here").props("aria-current=page")
            ui.icon(room.icon)
            ui.label(room.name)


def _draw_foot(visit: Visit, dark: ui.dark_mode) -> None:
    theme = visit.theme

    def turn() -> None:
        nonlocal theme
        theme = NEXT_THEME[theme]
        dark.set_value({"light": False, "dark": True, None: None}[theme])
        choose_theme(theme)
        show()

    def show() -> None:
        button.props(f"icon={THEME_ICONS[theme]}")
        button.props(f'aria-label="Theme: {THEME_NAMES[theme]}"')
        tip.set_text(f"Theme: {THEME_NAMES[theme]}")

    with ui.element("div").classes("pr-foot"):
        if visit.flower_url:
            with ui.link(target=visit.flower_url, new_tab=True).classes("pr-room"):
                ui.icon("local_florist")
                ui.label("Flower")
                ui.icon("open_in_new").classes("pr-away")
        with ui.element("div").classes("pr-who"):
            with ui.element("div").classes("pr-who-name"):
                ui.label(visit.caller.name).classes("pr-strong")
                ui.label(" · ".join(sorted(visit.caller.scopes))).classes("pr-small")
            with ui.button(on_click=turn).props("flat round dense") as button:
                tip = ui.tooltip("")
            leave = 'flat round dense type=submit aria-label="Sign out"'
            with (
                ui.element("form").props(f'method=post action="{WEB}/logout"'),
                ui.button(icon="logout").props(leave),
            ):
                ui.tooltip("Sign out")
    show()
