"""`scripts/chaos`: break everything that can break, and say what came of the jobs."""

import argparse
import asyncio
import datetime as dt
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from gateway.cli.console import PIPED_WIDTH, notes, read_settings
from gateway.words import say_seconds
from scripts.faults.fault import Fault
from scripts.faults.hosts import run_hosts
from scripts.faults.network import is_private
from scripts.faults.row import Row, make_table, write_json, write_markdown
from scripts.faults.run import run_fault
from scripts.faults.stack import run_stack
from scripts.faults.table import FAULTS
from workers.stack.supervisor import StackError

JOBS = 1_000
MISSED = 1


def main() -> int:
    options = _parser().parse_args()
    out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False, emoji=False)
    if options.list:
        for fault in FAULTS.values():
            out.print(f"{fault.name:<36}{escape(fault.says)}")
        return 0
    faults = [FAULTS[name] for name in options.fault or FAULTS]
    began = time.monotonic()
    rows: list[Row] = []
    broken = False
    try:
        asyncio.run(run_faults(faults, rows, jobs=options.jobs, scale=options.scale))
    except StackError as error:
        notes.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        broken = True
    out.print(make_table(rows))
    notes.print(f"in {say_seconds(time.monotonic() - began)}")
    if options.json:
        write_json(options.json, rows)
    if options.markdown:
        head = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, `{_say_command(options)}`:"
        write_markdown(options.markdown, rows, head=head)
    return MISSED if broken or not all(row.met for row in rows) else 0


async def run_faults(faults: Sequence[Fault], rows: list[Row], *, jobs: int, scale: float) -> None:
    """One after the other, on one stack for as long as the last fault left it whole.

    Args:
        rows: to which each adds its own.

    Raises:
        StackError: a stack did not come up, or a part of it did not come back.
    """
    folder = read_settings().data_dir.absolute() / "chaos"
    left = [fault for fault in faults if is_private() or not fault.hosts]
    for fault in faults:
        if fault not in left:
            notes.print(f"{fault.name} is left out: it wants root, unshare and ip netns")
    while left:
        hosts = left[0].hosts
        async with run_hosts(folder) if hosts else run_stack(folder) as stack:
            whole = True
            while left and whole and left[0].hosts == hosts:
                fault = left.pop(0)
                notes.print(f"[dim]{fault.name}: {escape(fault.says)}[/dim]", soft_wrap=True)
                ran = await run_fault(stack, fault, jobs=jobs, scale=scale)
                rows.append(ran.row)
                notes.print(_say(ran.row), soft_wrap=True)
                for complaint in ran.complaints:
                    notes.print(f"    [red]{escape(complaint)}[/red]", soft_wrap=True)
                whole = ran.whole


def _say(row: Row) -> str:
    _, jobs, completed, lost, _, twice, unknown, moving, done, word = row.cells()
    colour = "green" if row.met else "red"
    return (
        f"  [{colour}]{word}[/{colour}] {completed} of {jobs} completed, {lost} lost, billed twice "
        f"{twice}, unknown {unknown}, moving again {moving} s, all done {done} s"
    )


def _say_command(options: argparse.Namespace) -> str:
    """What was asked for, without where it was written to."""
    words = ["scripts/chaos"]
    if options.jobs != JOBS:
        words.append(f"--jobs {options.jobs}")
    if options.scale != 1.0:
        words.append(f"--scale {options.scale:g}")
    if options.fault:
        words.append(f"--fault {' '.join(options.fault)}")
    return " ".join(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    add = parser.add_argument
    add("--jobs", type=int, default=JOBS, metavar="N", help=f"in flight; {JOBS:,} if not said")
    add(
        "--fault",
        action="extend",
        nargs="+",
        choices=FAULTS,
        metavar="NAME",
        help="this one alone, or these; all if not said",
    )
    add("--scale", type=float, default=1.0, metavar="X", help="faults last X times as long")
    add("--json", type=Path, metavar="FILE", help="the rows go there as well")
    add("--markdown", type=Path, metavar="FILE", help="and into this page, between its marks")
    add("--list", action="store_true", help="what can be broken")
    return parser


if __name__ == "__main__":
    sys.exit(main())
