"""The audit log: who did what, when, from where, and how it was before and after."""

from typing import Any

from nicegui import ui

from gateway.web.console.audit_acts import ActLog, describe_act
from gateway.web.page import page
from gateway.web.parts.address import set_query
from gateway.web.parts.heads import page_head
from gateway.web.parts.live import Live
from gateway.web.parts.no_entry import no_entry
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit
from models.audit import Action

API = "/api/v1/audit"
READ_SECONDS = 2.0
PAGE = 50


@page("/audit", title="Audit")
async def audit(
    visit: Visit,
    *,
    action: str = "",
    actor: str = "",
    target: str = "",
    since: str = "",
    until: str = "",
    cursor: str = "",
) -> None:
    if not visit.may_operate:
        with page_head("Audit"):
            pass
        no_entry("The audit log", "operate", has=" and ".join(sorted(visit.caller.scopes)))
        return
    given = {"action": action, "actor": actor, "target": target, "since": since, "until": until}
    _Audit(visit, given, cursor).draw()


class _Audit:
    """Args:
    given: the filter, by the names that the API has for it; times are UTC.
    cursor: of which page; "": the first, which lives.
    """

    def __init__(self, visit: Visit, given: dict[str, str], cursor: str) -> None:
        self._visit = visit
        self._given = given
        self._cursors = [cursor] if cursor else []  # of the pages up to this one
        self._next: str | None = None
        self._log: ActLog | None = None

    def draw(self) -> None:
        with page_head("Audit", "Who did what, when, from where, and how it was before and after."):
            pass
        with box("form", "pr-audit-filters", role="search", aria_label="Which acts") as form:
            self._draw_fields()
        form.on("submit.prevent", lambda: None)
        with box("section", "pr-section", aria_label="Acts"):
            with box(classes="pr-sheet"):
                self._live = Live(
                    self._read, self._draw, change=self._show, seconds=READ_SECONDS, lines=6
                )
            with box("nav", "pr-row", aria_label="Pages"):
                self._newer = ui.button("Latest", icon="first_page", on_click=self._to_first)
                self._older = ui.button("Older", icon="chevron_right", on_click=self._to_older)
                for button in (self._newer, self._older):
                    button.props("outline no-caps")
                    button.set_visibility(False)
                self._where = text("p", "", "pr-small").props("role=status")

    def _draw_fields(self) -> None:
        kinds = dict.fromkeys(one.value.partition(".")[0] for one in Action)
        actions = {"": "all", **{f"{kind}.": f"{kind}: all" for kind in kinds}}
        actions |= {one.value: one.value for one in Action}
        if self._given["action"] not in actions:
            actions[self._given["action"]] = self._given["action"]
        ui.select(actions, label="Did", value=self._given["action"], on_change=self._choose).props(
            "outlined dense"
        ).bind_value_to(self._given, "action")
        for name, words, kind in (
            ("actor", "Who", "text"),
            ("target", "To what (its end will do)", "text"),
            ("since", "From, UTC", "datetime-local"),
            ("until", "To, UTC", "datetime-local"),
        ):
            field = ui.input(words, value=self._given[name], on_change=self._choose)
            field.props(f"outlined dense debounce=300 type={kind}")
            field.props("stack-label" if kind != "text" else "clearable maxlength=200")
            field.bind_value_to(self._given, name, forward=lambda value: value or "")

    async def _read(self) -> dict[str, Any]:
        cursor = self._cursors[-1] if self._cursors else None
        asked = {name: value or None for name, value in self._given.items()}
        found: dict[str, Any] = await self._visit.api.get(API, limit=PAGE, cursor=cursor, **asked)
        return found

    def _draw(self, found: dict[str, Any]) -> None:
        self._log = ActLog()
        with box() as self._nothing:
            empty("Nobody did anything like it", "Acts of people and programs stand here.")
        self._show(found)

    def _show(self, found: dict[str, Any]) -> None:
        if self._log is None:
            return
        self._log.set([describe_act(act) for act in found["acts"]])
        self._log.set_visibility(bool(found["acts"]))
        self._nothing.set_visibility(not found["acts"])
        self._next = found["next"]
        self._older.set_visibility(self._next is not None)
        self._newer.set_visibility(bool(self._cursors))
        self._where.set_text("" if self._cursors else "The latest, as they come.")

    async def _choose(self) -> None:
        self._cursors = []
        await self._turn()

    async def _to_first(self) -> None:
        await self._choose()

    async def _to_older(self) -> None:
        if self._next:
            self._cursors.append(self._next)
            await self._turn()

    async def _turn(self) -> None:
        set_query(**self._given, cursor=self._cursors[-1] if self._cursors else None)
        await self._live.again()
