"""Charts as one PNG, for the documentation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.benches.report import Chart

WIDTH_INCHES, HEIGHT_INCHES = 6.4, 4.0  # of one chart
DOTS_PER_INCH = 110
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
    for name, value in chart.marks.items():
        axes.axhline(value, color="black", linestyle="--", linewidth=1, label=name)
    if "x" in chart.logarithmic:
        axes.set_xscale("log")
    if "y" in chart.logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(chart.title)
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    axes.legend()
