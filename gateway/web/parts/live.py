"""What is read again and again while its page is open, and pushed to it when it is other."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from nicegui import ui

from gateway.web.api import Refused, SignedOut
from gateway.web.parts.states import failed, loading
from gateway.web.parts.tags import box, text

T = TypeVar("T")
_NOTHING = object()


class Live(Generic[T]):
    """A place that shows what `read` gives: at first that it loads, in the end what it is.

    Args:
        read: asks the API.
        draw: draws what was read, in the emptied place. What it draws is gone at the next change:
            of what one clicks or types in, draw it once, and `change` it.
        change: is told of what was read after that, instead of `draw`.
        seconds: between two reads; None: it is read once, and when `again` is called.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        draw: Callable[[T], object],
        *,
        change: Callable[[T], object] | None = None,
        seconds: float | None = None,
        lines: int = 3,
    ) -> None:
        self._read, self._draw, self._change = read, draw, change
        self._shown: object = _NOTHING
        self._reading = asyncio.Lock()
        self.place = box(classes="pr-live")
        with self.place:
            self._word = text("p", "", "pr-stale").props("role=status")
            self._word.set_visibility(False)
            self._inside = box(classes="pr-live-inside")
            with self._inside:
                loading(lines)
            if seconds is None:
                self._timer = ui.timer(0, self.again, once=True)
            else:
                self._timer = ui.timer(seconds, self._look)

    def slow_down(self, seconds: float) -> None:
        """From now on it is read so much later each time."""
        self._timer.interval = seconds

    async def _look(self) -> None:
        # A page whose browser has gone is kept for a while, in case it comes back.
        if self.place.client.has_socket_connection:
            await self.again()

    async def again(self) -> None:
        """Read it now. What is shown stays while it cannot be read, with a word of that."""
        async with self._reading:
            try:
                found = await self._read()
            except SignedOut:
                ui.navigate.to("/login")
                return
            except Refused as error:
                self._tell(error)
                return
        self._word.set_visibility(False)
        if found == self._shown:
            return
        first, self._shown = self._shown is _NOTHING, found
        if self._change and not first:
            self._change(found)
            return
        self._inside.clear()
        with self._inside:
            self._draw(found)

    def _tell(self, error: Refused) -> None:
        if self._shown is not _NOTHING:
            self._word.set_text(f"Not up to date: {error}")
            self._word.set_visibility(True)
            return
        self._inside.clear()
        with self._inside:
            failed(str(error), self.again)
