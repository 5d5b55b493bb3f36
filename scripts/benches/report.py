"""What was measured: rows, each beside what it is compared with, and the bars it is held to."""

import dataclasses
import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; `beside` is the same of what was run beside it, and `ratio` how many times."""

    part: str
    what: str
    value: float
    unit: str
    beside: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.beside if self.beside else None


class Sense(enum.StrEnum):
    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure, and the most or the least that it may be."""

    what: str
    value: float
    bar: float
    sense: Sense

    @property
    def met(self) -> bool:
        if self.sense is Sense.AT_MOST:
            return self.value <= self.bar
        return self.value >= self.bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture of some rows: one line of points (x, y) for each name.

    Attributes:
        marks: values of y that are drawn across, by what they are: bars, limits.
        logarithmic: which axes are: "x", "y", "xy".
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    marks: Mapping[str, float] = field(default_factory=dict)
    logarithmic: str = ""


@dataclass
class Report:
    """
    Args:
        beside: what it was compared with.
    """

    name: str
    beside: str
    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)

    def add(
        self, part: str, what: str, value: float, unit: str = "", beside: float | None = None
    ) -> None:
        self.rows.append(Row(part, what, value, unit, beside))

    def hold(self, what: str, value: float, *, at_most: float) -> None:
        self.bars.append(Bar(what, value, at_most, Sense.AT_MOST))

    def demand(self, what: str, value: float, *, at_least: float) -> None:
        self.bars.append(Bar(what, value, at_least, Sense.AT_LEAST))

    @property
    def met(self) -> bool:
        return all(bar.met for bar in self.bars)

    def show(self, console: Console) -> None:
        table = Table(title=self.name, title_justify="left")
        for heading in ("", "figure"):
            table.add_column(heading)
        for heading in (self.name, self.beside, "ratio"):
            table.add_column(heading, justify="right")
        before = ""
        for row in self.rows:
            if before and row.part != before:
                table.add_section()
            table.add_row(
                row.part if row.part != before else "",
                f"{row.what}, {row.unit}" if row.unit else row.what,
                say_figure(row.value),
                say_figure(row.beside),
                say_figure(row.ratio),
            )
            before = row.part
        console.print(table)
        for bar in self.bars:
            word = "[green]met[/green]   " if bar.met else "[red]missed[/red]"
            console.print(
                f"{word} {bar.what}: {say_figure(bar.value)}, {bar.sense} {say_figure(bar.bar)}"
            )

    def write(self, path: Path) -> None:
        """As JSON."""
        rows = [{**dataclasses.asdict(row), "ratio": row.ratio} for row in self.rows]
        bars = [{**dataclasses.asdict(bar), "met": bar.met} for bar in self.bars]
        written = {"name": self.name, "beside": self.beside, "rows": rows, "bars": bars}
        path.write_text(json.dumps(written, indent=2) + "\n")


def find_percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed; 0.5: the median."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def say_figure(value: float | None) -> str:
    """As people read it: nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"
