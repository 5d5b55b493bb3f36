"""A dialog with a form: it stays open, with what was typed, until what it asks for was done."""

from collections.abc import Awaitable, Callable

from nicegui import ui

from gateway.web.api import Refused, SignedOut
from gateway.web.parts.acts import tell
from gateway.web.parts.tags import box, text


def open_form(
    title: str,
    draw: Callable[[], object],
    send: Callable[[], Awaitable[str | None]],
    *,
    do: str,
    about: str = "",
) -> None:
    """Show it. What `send` is refused for stands in the dialog.

    Args:
        draw: draws the fields.
        send: does it; what it returns is said.
        do: on the button that does it.
    """

    async def submit() -> None:
        button.disable()
        try:
            said = await send()
        except SignedOut:
            ui.navigate.to("/login")
            return
        except Refused as error:
            problem.set_text("\n".join(error.problems))
            problem.set_visibility(True)
            return
        finally:
            button.enable()
        dialog.close()
        if said:
            tell(said)

    with ui.dialog() as dialog, box(classes="pr-dialog"):
        dialog.props["aria-label"] = title
        text("h2", title)
        if about:
            text("p", about)
        with box("form", "pr-dialog-form") as form:
            draw()
            problem = text("p", "", "pr-form-problem").props("role=alert")
            problem.set_visibility(False)
            with box(classes="pr-dialog-acts"):
                ui.button("Leave it", on_click=dialog.close).props("flat no-caps type=button")
                button = ui.button(do).props("unelevated no-caps type=submit")
        form.on("submit.prevent", submit)
    dialog.on("hide", dialog.delete)
    dialog.open()
