"""The program that does what a form says, in each language, to copy."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from nicegui import ui

from gateway.web.api import Refused
from gateway.web.parts.acts import tell
from gateway.web.parts.code_block import CodeBlock
from gateway.web.parts.tags import box, text
from gateway.web.playground.code.languages import LANGUAGES, RUNSYNC_SECONDS, Inexpressible
from gateway.web.playground.code.request import Mode, Wanted
from gateway.web.visit import Visit

MODES: dict[Mode, str] = {"runsync": "runsync", "run": "run"}


async def open_code(visit: Visit, endpoint: str, values: Mapping[str, Any]) -> None:
    """A dialog with programs that run `endpoint` with exactly `values` as its input."""
    panel = CodePanel(await read_endpoint(visit, endpoint), values)
    await panel.dialog
    panel.dialog.delete()


async def read_endpoint(visit: Visit, name: str) -> dict[str, Any]:
    """Its entry in the API; of one that is not listed its name alone.

    Raises:
        Refused
    """
    try:
        found: dict[str, Any] = await visit.api.get(f"/api/v1/endpoints/{quote(name, safe='')}")
    except Refused as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return {"id": name}
    return found


def find_base() -> str:
    """The gateway's address, as the visitor's browser has it."""
    url = ui.context.client.request.url
    return f"{url.scheme}://{url.netloc}"


class CodePanel:
    """Drawn once; what is chosen changes the program where it stands."""

    def __init__(self, endpoint: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self._endpoint, self._values, self._base = endpoint, dict(values), find_base()
        self._language = LANGUAGES[0]
        slow = float(endpoint.get("typical_seconds") or 0) >= RUNSYNC_SECONDS
        self._mode: Mode = "run" if slow else "runsync"
        self._program = ""
        wide = "pr-dialog pr-code-dialog"
        with ui.dialog(value=True) as self.dialog, box(classes=wide):
            self.dialog.props["aria-label"] = "Code"
            self._draw()
        self._show()

    def _draw(self) -> None:
        with box(classes="pr-code-head"):
            text("h2", "Code")
            ui.button(icon="close", on_click=self.dialog.close).props(
                'flat round dense aria-label="Close"'
            )
        text("p", "Does what the form says now. Your key is read from PRESSROOM_KEY.", "pr-about")
        with box(classes="pr-code-choose"):
            names = {one.id: one.name for one in LANGUAGES}
            ui.toggle(names, value=self._language.id, on_change=self._choose_language).props(
                'no-caps unelevated role=group aria-label="Language"'
            ).classes("pr-code-modes")
            ui.toggle(MODES, value=self._mode, on_change=self._choose_mode).props(
                'no-caps unelevated role=group aria-label="How it is called"'
            ).classes("pr-code-modes")
        self._about = text("p", "", "pr-about").props("aria-live=polite")
        with box(classes="pr-code-place") as self._place:
            self._block = CodeBlock("", lexer="bash", name="")
            with ui.button("Copy", icon="content_copy", on_click=self._copy).props(
                "unelevated dense no-caps"
            ) as copy:
                copy.props["aria-label"] = "Copy the code"

    def _choose_language(self, event: Any) -> None:
        self._language = next(one for one in LANGUAGES if one.id == event.value)
        self._show()

    def _choose_mode(self, event: Any) -> None:
        self._mode = event.value
        self._show()

    def _show(self) -> None:
        language = self._language
        wanted = Wanted(
            endpoint=self._endpoint, input=self._values, mode=self._mode, base=self._base
        )
        try:
            self._program = language.write(wanted)
        except Inexpressible as error:
            self._about.set_text(f"No code: {error}")
            self._place.set_visibility(False)
            return
        self._about.set_text(language.about(wanted))
        self._place.set_visibility(True)
        name = f"Code in {language.name}, {self._mode}"
        self._block.set(self._program, lexer=language.lexer, name=name)

    def _copy(self) -> None:
        ui.clipboard.write(self._program)
        tell("Copied.")
