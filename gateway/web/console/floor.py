"""The floor: what runs, what waits and why, as it lives; and the levers for who operates."""

from typing import Any

from nicegui import ui

from gateway.web.console.floor_lanes import LANES, act_on_lane, describe_row, place_of
from gateway.web.console.floor_maintenance import MaintenanceBar
from gateway.web.console.floor_sides import draw_alarms, draw_budgets, draw_waits, draw_workers
from gateway.web.page import page
from gateway.web.parts.data_table import DataTable
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.piece import Piece
from gateway.web.parts.snippet import Snippet
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.parts.tiles import Tile, tiles
from gateway.web.visit import Visit
from gateway.words import say_usd

SECONDS = 1.0
FIRST_JOB = (
    'pressroom generate black-forest-labs-flux-1-schnell --prompt "a lighthouse at dusk" --wait'
)


@page("/floor", title="Floor")
async def floor(visit: Visit) -> None:
    with page_head("Floor", "What runs, what waits, and why."):
        every = ui.switch("Show all lanes")
        maintenance = MaintenanceBar(visit)
    maintenance.draw_banner()
    view: View | None = None

    async def read() -> Any:
        return await visit.api.get("/api/v1/floor", all=every.value or None)

    def draw(found: Any) -> None:
        nonlocal view
        view = View(visit, live)
        change(found)

    def change(found: Any) -> None:
        maintenance.show(found["maintenance"])
        if view:
            view.show(found)

    live: Live[Any] = Live(read, draw, change=change, seconds=SECONDS, lines=6)
    every.on_value_change(live.again)


class View:
    """All that is drawn once, and changed where it stands."""

    def __init__(self, visit: Visit, live: Live[Any]) -> None:
        async def acted(act: str, lane: str) -> None:
            await act_on_lane(visit, act, lane)
            await live.again()

        self._may_operate = visit.may_operate
        self._alarms = Piece(draw_alarms)
        with tiles():
            self._waiting = Tile("Waiting")
            self._flying = Tile("In flight")
            self._workers = Tile("Workers")
            self._hour = Tile("Spent this hour")
            self._late = Tile("Last 60 minutes")
        with section("Lanes", bare=True):
            with box(classes="pr-sheet pr-lanes") as self._sheet:
                self._table = DataTable(LANES, caption="Lanes", on_act=acted)
            self._none = box(classes="pr-sheet")
            with self._none:
                _draw_empty(visit)
        with box(classes="pr-floor-sides"):
            with section("Longest waits"):
                self._waits = Piece(draw_waits)
            with section("Workers"):
                self._signs = Piece(
                    draw_workers,
                    same_by=lambda signs: signs and [{**one, "seen_seconds": 0} for one in signs],
                )
            with section("Budgets"):
                self._budgets = Piece(draw_budgets)

    def show(self, found: Any) -> None:
        lanes, money = found["lanes"], found["money"]
        self._alarms.show(found["alarms"])
        submits = [lane for lane in lanes if lane["stage"] == "submit"]
        more = "+" if any(lane["waiting_is_more"] for lane in submits) else ""
        self._waiting.set(f"{sum(lane['waiting'] for lane in submits):,}{more}", "to be sent")
        self._flying.set(f"{sum(lane['in_flight'] for lane in submits):,}", _name_upstream(found))
        self._show_workers(found["workers"])
        self._hour.set(_say_sum(money["hour_usd"]), "since it began")
        doubted = money["may_be_billed_usd"]
        note = f"and {say_usd(doubted)} that may be billed" if doubted else "by when it was sent"
        self._late.set(_say_sum(money["last_60_minutes_usd"]), note)
        rows = [
            describe_row(lane, may_operate=self._may_operate)
            for lane in sorted(lanes, key=place_of)
        ]
        self._table.set_rows(rows)
        self._sheet.set_visibility(bool(rows))
        self._none.set_visibility(not rows)
        self._waits.show(found["waits"])
        self._signs.show(found["workers"])
        self._budgets.show(money["budgets"])

    def _show_workers(self, workers: list[dict[str, Any]] | None) -> None:
        if workers is None:
            self._workers.set("?", "Redis does not answer", tone="bad")
            return
        well = sum(one["state"] == "well" for one in workers)
        ill = len(workers) - well
        note = f"{ill} not well" if ill else "all well" if well else "none runs"
        self._workers.set(f"{well}", note, tone="" if well and not ill else "bad")


def _say_sum(usd: float) -> str:
    return say_usd(round(usd, 4))


def _name_upstream(found: Any) -> str:
    return "at the emulator" if found["emulated"] else "upstream"


def _draw_empty(visit: Visit) -> None:
    empty(
        "Nothing runs, and nothing waits",
        "Run a model in the playground, or hand in a first job from a shell:"
        if visit.may_run
        else "What is handed in is seen here as it moves.",
        icon="nights_stay",
    )
    if visit.may_run:
        with box(classes="pr-floor-first"):
            Snippet(FIRST_JOB, name="A first job")
            with ui.link(target="/"):
                text("span", "Open the playground")
