"""A time, in the visitor's own zone, and how long ago or how soon."""

from nicegui.element import Element


class Moment(Element, component="moment.js"):
    """Args:
    at: ISO 8601, with its zone, as the API gives it; None: a dash.
    absolute: as date and time; else "3 min ago", "in 12 s", kept true each second.
    """

    def __init__(self, at: str | None, *, absolute: bool = False) -> None:
        super().__init__()
        self.props["absolute"] = absolute
        self.set(at)

    def set(self, at: str | None) -> None:
        self.props["at"] = at or ""
