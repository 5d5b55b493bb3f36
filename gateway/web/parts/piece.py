"""A part of what is read again and again, which is drawn anew when it is other, and else left."""

from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.web.parts.tags import box

T = TypeVar("T")
_NOTHING = object()


class Piece(Generic[T]):
    """Made where it stands; `show` draws into it.

    Args:
        draw: draws what is shown, in the emptied place.
        same_by: what tells whether it is other: of files not the links, which change each time.
    """

    def __init__(
        self,
        draw: Callable[[T], object],
        *,
        same_by: Callable[[T], object] = lambda shown: shown,
        classes: str = "pr-piece",
    ) -> None:
        self._draw = draw
        self._same_by = same_by
        self._shown: object = _NOTHING
        self.place = box(classes=classes)

    def show(self, value: T) -> None:
        known = self._same_by(value)
        if known == self._shown:
            return
        self._shown = known
        self.place.clear()
        with self.place:
            self._draw(value)
