"""Code or JSON to read and to copy."""

import json
from typing import Any

from nicegui import ui

from gateway.web.parts.acts import tell
from gateway.web.parts.tags import box, text

LONGEST = 200_000  # characters that are shown; all are copied


class Snippet:
    """A block of text with a button that copies it.

    Args:
        name: what it is, for who hears the page: "Output as JSON".
    """

    def __init__(self, words: str, *, name: str) -> None:
        self._words = words
        with box(classes="pr-snippet"):
            with ui.button(icon="content_copy", on_click=self._copy).props(
                "flat dense round"
            ) as copy:
                copy.props["aria-label"] = f"Copy: {name}"
                ui.tooltip("Copy")
            self._code = text("pre", "").props("tabindex=0 role=region")
            self._code.props["aria-label"] = name
        self.set(words)

    def set(self, words: str) -> None:
        self._words = words
        shown = words if len(words) <= LONGEST else f"{words[:LONGEST]}\n… and more: copy it"
        self._code.set_text(shown)

    async def _copy(self) -> None:
        ui.clipboard.write(self._words)
        tell("Copied.")


def json_snippet(value: Any, *, name: str) -> Snippet:
    return Snippet(json.dumps(value, indent=2, ensure_ascii=False), name=name)
