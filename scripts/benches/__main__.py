"""`scripts/bench NAME`: measure, show, and say by the exit code whether every bar is met."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from scripts.benches import (
    fairness,
    gateway,
    inflight,
    latency,
    pages,
    polling,
    quota,
    rows,
    scaleout,
    throughput,
)
from scripts.benches.page import write_page
from scripts.benches.report import Report
from workers.stack.supervisor import StackError

MISSED = 1
USAGE = 2

# Each takes whether small numbers will do.
BENCHES: dict[str, Callable[[bool], Report]] = {
    "fairness": fairness.measure,
    "gateway": gateway.measure,
    "inflight": inflight.measure,
    "latency": latency.measure,
    "pages": pages.measure,
    "polling": polling.measure,
    "quota": quota.measure,
    "rows": rows.measure,
    "scaleout": scaleout.measure,
    "throughput": throughput.measure,
}


def main() -> int:
    options = _parser().parse_args()
    console = Console(highlight=False, emoji=False)
    if options.name is None:
        for name, measure in BENCHES.items():
            said = (measure.__doc__ or "").partition(".")[0]
            console.print(f"{name:<12}{said}", soft_wrap=True)
        return 0
    try:
        report = BENCHES[options.name](options.quick)
    except StackError as error:
        Console(stderr=True).print(f"[red]error:[/red] {error}")
        return MISSED
    report.show(console)
    if options.json:
        report.write(options.json)
    if options.page:
        write_page(report, options.page)
    return 0 if report.met else MISSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    add = parser.add_argument
    add("name", nargs="?", choices=BENCHES, help="what to measure; without it, they are listed")
    add("--quick", action="store_true", help="small numbers: that it works, not how fast")
    add("--json", type=Path, metavar="FILE", help="the figures and bars go there as well")
    add("--page", type=Path, metavar="FOLDER", help="as NAME.md, and as a picture, NAME.png")
    return parser


if __name__ == "__main__":
    sys.exit(main())
