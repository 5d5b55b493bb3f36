"""The head of a page, and of a part of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui

from gateway.web.parts.tags import box, text


@contextmanager
def page_head(title: str, about: str = "") -> Iterator[None]:
    """What is drawn within it stands at the right: what one can do with the page."""
    with box("header", "pr-head"):
        with box():
            text("h1", title)
            if about:
                text("p", about, "pr-about")
        with box(classes="pr-head-acts"):
            yield


@contextmanager
def section(title: str, about: str = "", *, bare: bool = False) -> Iterator[ui.element]:
    """A part of a page, on a sheet unless it is `bare`."""
    with box("section", "pr-section", aria_label=title):
        text("h2", title)
        if about:
            text("p", about, "pr-about")
        with box(classes="" if bare else "pr-sheet") as inside:
            yield inside
