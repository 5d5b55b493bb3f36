"""The floor: lanes as they live."""

from typing import Any

from gateway.web.page import page
from gateway.web.parts.data_table import Column, DataTable
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.states import empty
from gateway.web.visit import Visit


@page("/floor", title="Floor")
async def floor(visit: Visit) -> None:
    with page_head("Floor", "What runs, what waits, and why."):
        pass

    async def read() -> Any:
        return await visit.api.get("/api/v1/lanes")

    def draw(found: Any) -> None:
        if not found["lanes"]:
            empty("Nothing waits", "Every lane is free.")
            return
        DataTable(
            [Column("id", "Lane")], [{"id": str(one)} for one in found["lanes"]], caption="Lanes"
        )

    with section("Lanes"):
        Live(read, draw, seconds=1)
