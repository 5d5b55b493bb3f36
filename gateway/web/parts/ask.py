"""A dialog before what costs or cannot be undone."""

from collections.abc import Callable

from nicegui import ui

from gateway.web.parts.tags import box, text


async def ask(
    title: str,
    words: str,
    *,
    do: str,
    danger: bool = False,
    draw: Callable[[], object] | None = None,
) -> bool:
    """Whether the visitor means it.

    Args:
        words: what will happen, and what it costs.
        do: on the button that does it: "Cancel 12 jobs".
        draw: what stands between: a preview, fields to fill in.
    """
    with ui.dialog().props("role=alertdialog") as dialog, box(classes="pr-dialog"):
        dialog.props["aria-label"] = title
        text("h2", title)
        text("p", words)
        if draw:
            draw()
        with box(classes="pr-dialog-acts"):
            ui.button("Leave it", on_click=lambda: dialog.submit(result=False)).props(
                "flat no-caps"
            )
            meant = ui.button(do, on_click=lambda: dialog.submit(result=True)).props(
                "unelevated no-caps"
            )
            meant.props(f"color={'negative' if danger else 'primary'} autofocus")
    answer = await dialog
    dialog.delete()
    return bool(answer)
