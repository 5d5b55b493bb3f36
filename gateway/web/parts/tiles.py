"""Figures in a row."""

from collections.abc import Iterator
from contextlib import contextmanager

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from gateway.web.parts.tags import box, text


@contextmanager
def tiles() -> Iterator[ui.element]:
    with box("dl", "pr-tiles") as drawn:
        yield drawn


class Tile:
    """A figure and what it is of; `set` changes it where it stands."""

    def __init__(self, name: str, figure: str = "", note: str = "", *, tone: str = "") -> None:
        with box(classes="pr-tile") as self._place:
            text("dt", name)
            self._figure: TextElement = text("dd", figure, "pr-figure")
            self._note: TextElement = text("dd", note, "pr-small")
        self._tone = ""
        self.set(figure, note, tone=tone)

    def set(self, figure: str, note: str = "", *, tone: str = "") -> None:
        """Args:
        tone: good, busy, warn, bad, or none.
        """
        self._figure.set_text(figure)
        self._note.set_text(note)
        self._note.set_visibility(bool(note))
        if tone != self._tone:
            self._place.classes(remove=f"pr-tile-{self._tone}" if self._tone else None)
            self._place.classes(f"pr-tile-{tone}" if tone else "")
            self._tone = tone
