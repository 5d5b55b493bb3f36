"""The playground's page."""

from nicegui import ui

from gateway.web.page import page
from gateway.web.parts.heads import page_head
from gateway.web.visit import Visit


@page("/", title="Playground")
async def playground(visit: Visit) -> None:
    with page_head("Playground", "Choose a model, say what you want, see it."):
        pass
    ui.label(visit.caller.name)
