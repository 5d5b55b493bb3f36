"""The one sight of a key's secret: until its dialog is closed, and then nowhere on the page."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from gateway.web.parts.tags import box, text

WARNING = (
    "This is the only time that it is shown: only its hash is kept. Copy it now to where secrets "
    "are kept, and send it to nobody in plain text."
)

# In the browser, so that it is not sent once more; the old way where a page came by plain HTTP.
COPY = """(event) => {
    const input = event.target.closest(".pr-secret").querySelector("input");
    input.select();
    if (navigator.clipboard) navigator.clipboard.writeText(input.value).catch(() => {});
    else document.execCommand("copy");
    emit();
}"""


def show_secret(key: Mapping[str, Any], happened: str) -> None:
    """Args:
    key: as the API answers one that is issued.
    happened: "is made".
    """
    client = ui.context.client
    title = f"{key['name']} {happened}"
    with (
        client.layout,
        ui.dialog().props("persistent role=alertdialog") as dialog,
        box(classes="pr-dialog"),
    ):
        dialog.props["aria-label"] = title
        text("h2", title)
        text("p", WARNING, "pr-stale")
        for name, secret in (
            ("API key", key["key"]),
            ("Secret that signs its webhooks", key["webhook_secret"]),
        ):
            _draw_secret(name, secret)
        with box(classes="pr-dialog-acts"):
            ui.button("I have it", on_click=dialog.close).props("unelevated no-caps autofocus")

    def forget() -> None:
        dialog.delete()
        # What was sent is kept to be sent again should the line drop; a page that needs some of it
        # after this is loaded anew.
        client.outbox.message_history.clear()

    dialog.on("hide", forget)
    dialog.open()


def _draw_secret(name: str, secret: str) -> None:
    with box(classes="pr-secret"):
        field = ui.input(name, value=secret).props("outlined dense readonly stack-label")
        field.props["input-class"] = "pr-secret-words"
        copied = ui.label("").classes("pr-small").props("role=status")

        button = ui.button("Copy", icon="content_copy").props("outline no-caps")
        button.on("click", lambda: copied.set_text("Copied"), js_handler=COPY)
        button.props["aria-label"] = f"Copy: {name}"
