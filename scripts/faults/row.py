"""Rows of the table: one for each fault, shown, and written as JSON and as Markdown."""

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

MOVING_SECONDS = 10.0
BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
HEADINGS = (
    "fault",
    "jobs",
    "completed",
    "lost",
    "billed",
    "billed twice",
    "unknown",
    "moving again, s",
    "all done, s",
    "bar",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    Attributes:
        lost: accepted jobs that did not come to the end that they should.
        billed: generations that ran upstream.
        billed_twice: jobs for which more than one ran.
        unknown: jobs of which Pressroom reports that they may have been billed twice.
        moving_again_s: from the fault's end to the next step ahead of any job; 0: nothing was
            left to do; None: there was none.
        done_s: from the fault's end until all had ended and every file was stored; None: never.
        met: whether every bar was.
    """

    fault: str
    jobs: int
    completed: int
    lost: int
    billed: int
    billed_twice: int
    unknown: int
    moving_again_s: float | None
    done_s: float | None
    met: bool

    def cells(self) -> list[str]:
        """What the table shows of it."""
        figures = (self.jobs, self.completed, self.lost, self.billed, self.billed_twice)
        seconds = (self.moving_again_s, self.done_s)
        return [
            self.fault,
            *(f"{figure:,}" for figure in (*figures, self.unknown)),
            *("never" if value is None else f"{value:.1f}" for value in seconds),
            "met" if self.met else "missed",
        ]


def make_table(rows: Sequence[Row]) -> Table:
    table = Table(title="chaos (the upstream is emulated)", title_justify="left")
    for heading in HEADINGS:
        text = heading in {"fault", "bar"}
        table.add_column(heading, justify="left" if text else "right", no_wrap=heading == "fault")
    for row in rows:
        table.add_row(*row.cells(), style=None if row.met else "red")
    return table


def write_json(path: Path, rows: Sequence[Row]) -> None:
    path.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=2) + "\n")


def write_markdown(path: Path, rows: Sequence[Row], *, head: str) -> None:
    """Put the table between the two marks of a page, in place of what stands there.

    Raises:
        ValueError: the page has no such marks.
    """
    page = path.read_text()
    if BEGIN not in page or END not in page:
        raise ValueError(f"{path}: the marks {BEGIN} and {END} were wanted, for what lies between")
    lines = [
        f"| {' | '.join(HEADINGS)} |",
        f"|---|{'---:|' * (len(HEADINGS) - 2)}---|",
        *(f"| {' | '.join(row.cells())} |" for row in rows),
    ]
    block = "\n".join([BEGIN, head, "", *lines, END])
    between = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    path.write_text(between.sub(lambda _: block, page))
