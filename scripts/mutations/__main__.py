"""`scripts/mutants`: change the state machine in one place at a time; does a test notice?"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scripts.mutations.modules import SLOW, TESTS
from scripts.mutations.rig import ROOT, RigError, open_rig
from scripts.mutations.trial import (
    KILLED,
    SURVIVED,
    TIMED_OUT,
    Mutant,
    Trial,
    Tried,
    find_mutants,
    sample,
    tell_diff,
)

FAILED = 2


def main() -> int:
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))  # so that nothing is left running
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    modules = options.module or list(TESTS)
    with tempfile.TemporaryDirectory() as folder:
        mutants = find_mutants(ROOT, modules, folder=Path(folder))
    if options.again:
        mutants = _survivors_of(options.again, mutants)
    mutants = sample(mutants, options.sample or len(mutants), seed=options.seed)
    mutants = mutants[options.share - 1 :: options.shares]
    if options.list:
        return _list(console, modules, mutants)
    try:
        tried = _try(console, mutants, options)
    except RigError as error:
        Console(stderr=True).print(f"[red]error:[/red] {error}")
        return FAILED
    _show(console, modules, tried)
    return 1 if any(one.outcome == SURVIVED for one in tried) else 0


def _list(console: Console, modules: Sequence[str], mutants: Sequence[Mutant]) -> int:
    count = 0
    for mutant in sorted(mutants, key=lambda one: (modules.index(one.module), one.line)):
        if diff := tell_diff(ROOT, mutant):
            console.print(f"{mutant.module}:{mutant.line}\n{diff}", markup=False)
            count += 1
    console.print(f"{count} mutants")
    return 0


def _survivors_of(path: Path, mutants: Sequence[Mutant]) -> list[Mutant]:
    """Lines may have moved since: they are known by what they change."""
    survived = {
        (one["module"], one["function"], one["operator"], one["diff"])
        for one in json.loads(path.read_text())
        if one["outcome"] == SURVIVED
    }
    places = {known[:3] for known in survived}
    return [
        one
        for one in mutants
        if (place := (one.module, one.function, one.operator)) in places
        and (*place, tell_diff(ROOT, one)) in survived
    ]


def _try(console: Console, mutants: Sequence[Mutant], options: argparse.Namespace) -> list[Tried]:
    modules = list(dict.fromkeys(mutant.module for mutant in mutants))
    tests = {module: TESTS[module] for module in modules}
    slow = SLOW if options.thorough else {}
    tried: list[Tried] = []
    with open_rig(modules) as rig:
        trial = Trial(rig, tests=tests, slow=slow, most_seconds=options.most)
        seconds = trial.learn()
        console.print(f"{len(mutants)} mutants; unchanged, the tests take {seconds:.0f} s")
        for test in trial.failing:
            console.print(f"left out, for it fails as it is: {test}", markup=False)
        ends_at = time.monotonic() + options.minutes * 60
        for mutant in mutants:
            if time.monotonic() > ends_at:
                console.print(f"{options.minutes:g} minutes are over")
                break
            if (one := trial.try_mutant(mutant)) is None:
                continue
            tried.append(one)
            if one.outcome != KILLED:
                console.print(f"{len(tried)} {one.outcome} {mutant.module}:{mutant.line}")
                console.print(one.diff, markup=False)
            if options.json:
                options.json.write_text(json.dumps([_describe(each) for each in tried], indent=1))
    return tried


def _describe(tried: Tried) -> dict[str, object]:
    found = asdict(tried)
    return {**found.pop("mutant"), **found}


def _show(console: Console, modules: Sequence[str], tried: Sequence[Tried]) -> None:
    table = Table("module", *(("mutants", KILLED, SURVIVED, TIMED_OUT)))
    counts = {module: Counter[str]() for module in modules}
    for one in tried:
        counts[one.mutant.module][one.outcome] += 1
    counts["all"] = sum(counts.values(), Counter())
    for module, count in counts.items():
        figures = (count.total(), *(count[outcome] for outcome in (KILLED, SURVIVED, TIMED_OUT)))
        table.add_row(module, *(str(figure) for figure in figures))
    console.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__)
    add = parser.add_argument
    add("--module", action="append", choices=TESTS, help="these alone; else all of them")
    add("--sample", type=int, metavar="N", help="so many, evenly over all")
    add("--seed", type=int, default=0, help="of the sample: the same seed, the same mutants")
    add("--shares", type=int, default=1, metavar="N", help="of N runs beside one another")
    add("--share", type=int, default=1, metavar="I", help="this is the Ith: it tries every Nth")
    add("--minutes", type=float, default=float("inf"), help="try no more when they are over")
    add("--again", type=Path, metavar="FILE", help="those that survived, by the JSON of a run")
    add("--most", type=float, default=10.0, metavar="SECONDS", help="of tests for one mutant")
    add("--thorough", action="store_true", help="what survives meets the slow tests as well")
    add("--json", type=Path, metavar="FILE", help="each mutant and what came of it, as it comes")
    add("--list", action="store_true", help="say what would be changed, and change nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
