"""Rows that live: what is other is changed where it stands, so that focus and selection stay."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nicegui.element import Element
from nicegui.events import GenericEventArguments

Kind = Literal[
    "text", "long", "code", "badge", "link", "lines", "time", "until", "gauge", "thumb", "acts"
]
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """What a cell holds, by its kind; None in any: a dash.

    text, code  a string or a number
    long        a string of which one line is shown
    badge       {"text", "tone"}: badge.py
    link        {"text", "href"}: a page of ours begins with / and not with /web
    lines       {"text", "sub", "href"}: two lines, the first a link if there is a `href`
    time        ISO 8601; said as "3m ago", kept true each second
    until       {"text", "until", "word"}: a text, and how long it is until then: "opens in 0:07"
    gauge       {"share": 0 to 1, "text", "tone"}
    thumb       {"src", "alt"}
    acts        [{"act", "text", "label", "off"}]: buttons; `on_act` is told which

    Args:
        quiet: the column's name is not shown, only heard.
    """

    key: str
    label: str
    kind: Kind = "text"
    align: Literal["left", "right"] = "left"
    quiet: bool = False


class DataTable(Element, component="data_table.js"):
    """Args:
    caption: what the rows are, for who hears the page.
    rows: each with an `id` of its own, a value for each column, and perhaps a `tone`.
    on_act: is told the act and the row's id.
    on_pick: is told the ids that are selected; with it rows can be.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        rows: Sequence[Row] = (),
        *,
        caption: str,
        on_act: Callable[[str, str], Awaitable[None]] | None = None,
        on_pick: Callable[[list[str]], object] | None = None,
    ) -> None:
        super().__init__()
        self.props["columns"] = [
            {
                "key": one.key,
                "label": one.label,
                "kind": one.kind,
                "align": one.align,
                "quiet": one.quiet,
            }
            for one in columns
        ]
        self.props["caption"] = caption
        self.props["rows"] = list(rows)
        self.props["selectable"] = on_pick is not None
        if on_act:

            async def acted(event: GenericEventArguments) -> None:
                await on_act(event.args["act"], event.args["id"])

            self.on("act", acted)
        if on_pick:
            self.on("picked", lambda event: on_pick(event.args))

    def set_rows(self, rows: Sequence[Row]) -> None:
        """These are the rows now. Nothing is sent if they are as they were."""
        if self.props["rows"] != list(rows):
            self.props["rows"] = list(rows)

    def unpick(self) -> None:
        """Nothing is selected any more."""
        self.run_method("unpick")
