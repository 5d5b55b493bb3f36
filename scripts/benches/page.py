"""What was measured as a page of the documentation: bars, picture, tables, when and on what."""

import datetime as dt
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from scripts.benches.plot import draw
from scripts.benches.report import Bar, Report, Row, say_figure

GIB = 2**30


def write_page(report: Report, folder: Path) -> None:
    """Write `NAME.md` and, of its charts, `NAME.png`; both replace those of the last time."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(report.charts, folder / f"{report.name}.png")
    lines = "\n".join(_page(report))
    (folder / f"{report.name}.md").write_text(f"{lines}\n")


def _page(report: Report) -> Iterator[str]:
    yield f"# {report.name}"
    yield ""
    yield (
        f"`scripts/bench {report.name}`, {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}, "
        f"{_describe_machine()}. The upstream is emulated, on the same machine."
    )
    yield ""
    if report.bars:
        yield from _bars(report.bars)
        yield ""
    if report.charts:
        yield f"![{report.name}]({report.name}.png)"
        yield ""
    yield from _rows(report.rows, report.beside)


def _bars(bars: Iterable[Bar]) -> Iterator[str]:
    yield "| bar | measured | wanted | |"
    yield "|---|--:|--:|---|"
    for bar in bars:
        met = "met" if bar.met else "**missed**"
        yield (
            f"| {bar.what} | {say_figure(bar.value)} | {bar.sense} {say_figure(bar.bar)} | {met} |"
        )


def _rows(rows: Iterable[Row], beside: str) -> Iterator[str]:
    yield f"| | figure | measured | {beside} | ratio |"
    yield "|---|---|--:|--:|--:|"
    before = ""
    for row in rows:
        part = row.part if row.part != before else ""
        what = f"{row.what}, {row.unit}" if row.unit else row.what
        figures = (say_figure(one) for one in (row.value, row.beside, row.ratio))
        yield f"| {part} | {what} | {' | '.join(figures)} |"
        before = row.part


def _describe_machine() -> str:
    memory = psutil.virtual_memory().total / GIB
    return (
        f"{psutil.cpu_count()} cores ({_name_cpu()}), {memory:.0f} GiB, "
        f"Python {platform.python_version()}"
    )


def _name_cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
