"""Keys: who may come in, for what, and how much of the line is theirs."""

from typing import Any

from nicegui import ui

from gateway.web.console.keys_forms import change_key, make_key, revoke_key, rotate_key
from gateway.web.page import page
from gateway.web.parts.address import set_query
from gateway.web.parts.data_table import Column, DataTable
from gateway.web.parts.heads import page_head
from gateway.web.parts.live import Live
from gateway.web.parts.no_entry import no_entry
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit

API = "/api/v1/keys"
READ_SECONDS = 3.0
MOST = 200  # rows that are drawn: of more, one names those that one looks for


@page("/keys", title="Keys")
async def keys(visit: Visit, *, named: str = "", revoked: bool = False) -> None:
    if not visit.may_operate:
        with page_head("Keys"):
            pass
        no_entry("Keys", "operate", has=" and ".join(sorted(visit.caller.scopes)))
        return
    _Keys(visit, named=named, revoked=revoked).draw()


class _Keys:
    """Args:
    named: shows those whose name has it.
    revoked: shows those that were, too.
    """

    def __init__(self, visit: Visit, *, named: str, revoked: bool) -> None:
        self._visit = visit
        self.named, self.revoked = named, revoked
        self._found: list[dict[str, Any]] = []
        self._live: Live[list[dict[str, Any]]] | None = None
        self._table: DataTable | None = None

    def draw(self) -> None:
        with page_head("Keys", "Who may come in, for what, and how much of the line is theirs."):
            ui.button(
                "Make a key", icon="add", on_click=lambda: make_key(self._visit, self._again)
            ).props("unelevated no-caps")
        with box("section", "pr-section", aria_label="All keys"):
            with box(classes="pr-row"):
                ui.input("Named", value=self.named, on_change=self._choose).props(
                    "outlined dense clearable debounce=200"
                ).bind_value_to(self, "named", forward=lambda value: value or "")
                ui.switch(
                    "Revoked ones, too", value=self.revoked, on_change=self._choose
                ).bind_value_to(self, "revoked")
            with box(classes="pr-sheet"):
                self._live = Live(self._read, self._draw, change=self._show, seconds=READ_SECONDS)

    async def _again(self) -> None:
        if self._live:
            await self._live.again()

    async def _read(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._visit.api.get(API))["keys"]
        return found

    def _draw(self, found: list[dict[str, Any]]) -> None:
        self._table = DataTable(_columns(), caption="Keys", on_act=self._act)
        with box() as self._nothing:
            empty("No key is of this name", "Take the name away, or show revoked ones, too.")
        self._more = text("p", "", "pr-small pr-pad")
        self._show(found)

    def _show(self, found: list[dict[str, Any]]) -> None:
        if self._table is None:
            return
        self._found = found
        wanted = [
            one
            for one in found
            if (self.revoked or not one["revoked_at"])
            and self.named.casefold() in one["name"].casefold()
        ]
        own = str(self._visit.caller.key_id)
        self._table.set_rows([_row(one, own=one["id"] == own) for one in wanted[:MOST]])
        self._table.set_visibility(bool(wanted))
        self._nothing.set_visibility(not wanted)
        self._more.set_text(f"The newest {MOST} of {len(wanted):,}: name those you look for.")
        self._more.set_visibility(len(wanted) > MOST)

    def _choose(self) -> None:
        set_query(named=self.named, revoked="true" if self.revoked else None)
        self._show(self._found)

    async def _act(self, name: str, key_id: str) -> None:
        key = next(one for one in self._found if one["id"] == key_id)
        if name == "revoke":
            await revoke_key(self._visit, key, self._again)
        elif name == "rotate":
            rotate_key(self._visit, key, self._again)
        else:
            change_key(self._visit, key, self._again)


def _columns() -> list[Column]:
    return [
        Column("name", "Name", "long"),
        Column("shown", "Begins", "code"),
        Column("scopes", "May"),
        Column("weight", "Weight", align="right"),
        Column("rate", "Requests a second", align="right"),
        Column("created", "Made", "time"),
        Column("state", "State", "badge"),
        Column("previous", "Old secret ends", "time"),
        Column("acts", "Acts", "acts", quiet=True),
    ]


def _row(key: dict[str, Any], *, own: bool) -> dict[str, Any]:
    name = key["name"]
    state = {"text": "yours", "tone": "busy"} if own else {"text": "good", "tone": "good"}
    if key["revoked_at"]:
        state = {"text": "revoked", "tone": "plain"}
    acts = [
        {"act": "change", "text": "Change", "label": f"Change the key {name}"},
        {"act": "rotate", "text": "Rotate", "label": f"Give the key {name} a new secret"},
        {"act": "revoke", "text": "Revoke", "label": f"Revoke the key {name}"},
    ]
    return {
        "id": key["id"],
        "name": name,
        "shown": key["shown"],
        "scopes": ", ".join(key["scopes"]),
        "weight": f"{key['weight']:g}",
        "rate": "as all" if key["requests_per_second"] is None else key["requests_per_second"],
        "created": key["created_at"],
        "state": state,
        "previous": None if key["revoked_at"] else key["previous_until"],
        "acts": None if key["revoked_at"] else acts,
    }
