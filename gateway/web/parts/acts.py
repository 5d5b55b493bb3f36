"""Buttons that do something, and say what came of it."""

from collections.abc import Awaitable, Callable

from nicegui import ui

from gateway.web.api import Refused, SignedOut

Act = Callable[[], Awaitable[str | None]]


def act_button(
    words: str,
    act: Act,
    *,
    icon: str | None = None,
    kind: str = "outline",
    label: str | None = None,
) -> ui.button:
    """A button that is off while what it began is under way.

    Args:
        act: does it; what it returns is said: "Paused.".
        kind: filled, outline or flat.
        label: for who hears the page, where the words alone do not tell.
    """

    async def clicked() -> None:
        button.disable()
        try:
            await attempt(act)
        finally:
            button.enable()

    button = ui.button(words, icon=icon, on_click=clicked).props("no-caps")
    button.props("unelevated" if kind == "filled" else kind)
    if label:
        button.props["aria-label"] = label
    return button


async def attempt(act: Act) -> bool:
    """Do it, and say what came of it: also why it was refused. Whether it was done."""
    try:
        said = await act()
    except SignedOut:
        ui.navigate.to("/login")
        return False
    except Refused as error:
        tell(str(error), tone="negative")
        return False
    if said:
        tell(said)
    return True


def tell(words: str, *, tone: str = "positive") -> None:
    """At the page's foot, for some seconds; heard by who cannot see it.

    Args:
        tone: positive, negative, warning or info.
    """
    ui.notify(words, type=tone, position="bottom", close_button="Close", timeout=6000)  # type: ignore[arg-type]
