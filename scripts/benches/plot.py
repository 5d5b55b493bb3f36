"""Charts as one PNG, for the documentation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from scripts.benches.report import Chart

WIDTH_INCHES, HEIGHT_INCHES = 6.4, 4.0  # of one chart
DOTS_PER_INCH = 110
MARKS = ("--", ":", "-.")  # how they are drawn, in order
TICKS = 12  # named on a logarithmic axis, at most
MOST_NAMED_RATIO = 500  # of its ends, for 2 and 5 to be named besides the powers
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
}


def draw(charts: Sequence[Chart], path: Path) -> None:
    """Draw them side by side; nothing if there are none."""
    if not charts:
        return
    with mpl.rc_context(STYLE):
        size = (WIDTH_INCHES * len(charts), HEIGHT_INCHES)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(charts), squeeze=False)[0]
        for one, chart in zip(axes, charts, strict=True):
            _draw(one, chart)
        figure.savefig(path, dpi=DOTS_PER_INCH)


def _draw(axes: Axes, chart: Chart) -> None:
    for name, points in chart.lines.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
    for (name, value), style in zip(chart.marks.items(), MARKS, strict=False):
        axes.axhline(value, color="black", linestyle=style, linewidth=1, label=name)
    if "x" in chart.logarithmic:
        axes.set_xscale("log")
        _name_ticks(axes.xaxis)
    elif all(x == round(x) for points in chart.lines.values() for x, _ in points):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if "y" in chart.logarithmic:
        axes.set_yscale("log")
        _name_ticks(axes.yaxis)
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(chart.title)
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    axes.legend()


def _name_ticks(axis: Axis) -> None:
    """In figures, not in powers; those between them too, where there is room for them."""
    low, high = axis.get_view_interval()
    between = (1.0, 2.0, 5.0) if high < low * MOST_NAMED_RATIO else (1.0,)
    axis.set_major_locator(LogLocator(subs=between, numticks=TICKS))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.12g}"))
    axis.set_minor_formatter(NullFormatter())
