"""Try mutants: make one, run the tests that it concerns, see whether any fails."""

import difflib
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cosmic_ray.plugins
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_code, use_mutation
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec

from scripts.mutations.operators import choose_operators
from scripts.mutations.rig import Rig, RigError, Run, read_trace
from scripts.mutations.trace import Traced
from scripts.mutations.users import find_users

BASELINE_SECONDS = 900.0
LEAST_SECONDS = 30.0
TIMES_SLOWER = 5.0  # than unchanged, until it counts as hanging

_FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)

KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timeout"


@dataclass(frozen=True, slots=True)
class Mutant:
    module: str
    line: int
    function: str | None  # that it is in; None: in none
    operator: str
    occurrence: int


@dataclass(frozen=True, slots=True)
class Tried:
    mutant: Mutant
    diff: str
    outcome: str
    tests: int  # that were chosen for it
    seconds: float


def find_mutants(root: Path, modules: Sequence[str], *, folder: Path) -> list[Mutant]:
    """In the order of modules and lines.

    Left out are those that say nothing: see `_is_idle`.
    """
    choose_operators()
    work = WorkDB(folder / "mutants.sqlite", WorkDB.Mode.create)
    try:
        init([root / module for module in modules], work, {})
        specs = [spec for item in work.work_items for spec in item.mutations]
    finally:
        work.close()
    mutants = [
        Mutant(
            module=str(Path(spec.module_path).relative_to(root)),
            line=spec.start_pos[0],
            function=spec.definition_name,
            operator=spec.operator_name.partition("/")[2],
            occurrence=spec.occurrence,
        )
        for spec in specs
        if not _is_idle(spec)
    ]
    return sorted(mutants, key=lambda mutant: (modules.index(mutant.module), mutant.line))


def _is_idle(spec: MutationSpec) -> bool:
    """No test can notice it, or none should have to.

    The SQL in a class is of indexes and constraints that a migration makes, not the class. Of
    numbers in no function those with a decimal point are seconds, which nobody counts on.
    """
    kind, function = spec.operator_name.partition("/")[2], spec.definition_name
    line: str = Path(spec.module_path).read_text().splitlines()[spec.start_pos[0] - 1]
    if kind == "ChangeSql":
        return bool(function and function[0].isupper())
    if kind == "NumberReplacer" and function is None:
        return "." in line[spec.start_pos[1] : spec.end_pos[1]]
    if kind == "ReplaceBinaryOperator_Mul_Div":
        return line[spec.end_pos[1] :].startswith(",")  # what comes is named
    return line.startswith("@")  # slots=True and the like


def tell_diff(root: Path, mutant: Mutant) -> str | None:
    """The lines that differ; None if it is no Python, or nothing differs."""
    source = (root / mutant.module).read_text()
    if (changed := _change(source, mutant)) is None:
        return None
    diff = difflib.unified_diff(source.splitlines(), changed.splitlines(), n=0)
    return "\n".join(line for line in diff if not line.startswith(("---", "+++", "@@")))


def _change(source: str, mutant: Mutant) -> str | None:
    changed: str | None = mutate_code(source, _operator(mutant), mutant.occurrence)
    if changed is None or changed == source or not _is_python(changed):
        return None
    return changed


def _operator(mutant: Mutant) -> object:
    return cosmic_ray.plugins.get_operator(f"pressroom/{mutant.operator}")()


def _is_python(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def sample(mutants: Sequence[Mutant], count: int, *, seed: int) -> list[Mutant]:
    """So many, evenly over all, in a mixed order; the same ones for the same seed."""
    count = min(count, len(mutants))
    return random.Random(seed).sample(list(mutants), count)  # noqa: S311 -- no secret


class Trial:
    """
    Args:
        tests: of each module.
        slow: the same, for when the others have noticed nothing.
        most_seconds: of unchanged tests for one mutant; what takes longer is left out.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        tests: Mapping[str, Sequence[str]],
        slow: Mapping[str, Sequence[str]],
        most_seconds: float = 10.0,
    ) -> None:
        self._rig = rig
        self._tests = tests
        self._slow = slow
        self._most_seconds = most_seconds
        self._files: dict[str, dict[str, Traced]] = {}
        self._noticed: dict[str, Counter[str]] = defaultdict(Counter)  # tests, of each function
        self._called: set[str] = set()  # functions, by any test
        self.failing: list[str] = []

    def learn(self) -> float:
        """Run the unchanged tests once, to see which calls what, and how long they take.

        Those that fail as it is (`failing`) are of no use, and are left out.
        """
        files = list(dict.fromkeys(file for files in self._tests.values() for file in files))
        began = time.monotonic()
        run = self._rig.run_tests(
            files,
            seconds=BASELINE_SECONDS,
            options=("--maxfail=1000", "-p", "scripts.mutations.trace"),
        )
        if run.code not in {0, 1}:
            raise RigError(f"the tests do not run although nothing was changed:\n{run.said}")
        for test, facts in read_trace(self._rig).items():
            if facts.passed:
                self._files.setdefault(test.partition("::")[0], {})[test] = facts
                self._called.update(facts.called)
            else:
                self.failing.append(test)
        self._rig.collect(files, list(self._tests))
        return time.monotonic() - began

    def choose_tests(self, mutant: Mutant) -> tuple[list[str], float]:
        """Those that call its function, and how long they take.

        First those that have noticed most of its other mutants, then the quickest; one that calls
        the same functions for the same test as others counts as slower by each of them. As many
        as `most_seconds` are enough for. If it is in no function, or in one that runs when the
        module is loaded: those that call a function that uses what is made there.
        """
        tests = {
            test: facts
            for file in self._tests[mutant.module]
            for test, facts in self._files.get(file, {}).items()
        }
        name = f"{mutant.module}:{mutant.function}"
        names = {name} if self._is_called(mutant) else self._find_users(mutant)
        concerned = {test for test, facts in tests.items() if not names.isdisjoint(facts.called)}
        concerned = concerned or set(tests)
        noticed = self._noticed[name]
        alike = Counter[tuple[str, frozenset[str]]]()
        costs: dict[str, float] = {}
        for test in sorted(concerned, key=lambda test: tests[test].seconds):
            kind = test.partition("[")[0], frozenset(tests[test].called)
            alike[kind] += 1
            costs[test] = tests[test].seconds * alike[kind]
        chosen: list[str] = []
        seconds = 0.0
        for test in sorted(costs, key=lambda test: (-noticed[test], costs[test])):
            if not chosen or seconds + tests[test].seconds <= self._most_seconds:
                chosen.append(test)
                seconds += tests[test].seconds
        return chosen, seconds

    def _is_called(self, mutant: Mutant) -> bool:
        return f"{mutant.module}:{mutant.function}" in self._called

    def _find_users(self, mutant: Mutant) -> set[str]:
        sources = {module: (self._rig.tree / module).read_text() for module in self._tests}
        return find_users(sources, mutant.module, mutant.line, called=self._called)

    def try_mutant(self, mutant: Mutant) -> Tried | None:
        """None: it is no mutant."""
        diff = tell_diff(self._rig.tree, mutant)
        if diff is None:
            return None
        tests, usual = self.choose_tests(mutant)
        limit = LEAST_SECONDS + usual * TIMES_SLOWER
        began = time.monotonic()
        run = self._run(mutant, tests, limit)
        if run.passed and (slow := self._slow.get(mutant.module)):
            with use_mutation(self._rig.tree / mutant.module, _operator(mutant), mutant.occurrence):
                run = self._rig.run_tests(slow, seconds=limit * 4)
        for test in _FAILED.findall(run.said):
            self._noticed[f"{mutant.module}:{mutant.function}"][test] += 1
        outcome = TIMED_OUT if run.timed_out else SURVIVED if run.passed else KILLED
        return Tried(mutant, diff, outcome, len(tests), time.monotonic() - began)

    def _run(self, mutant: Mutant, tests: Sequence[str], seconds: float) -> Run:
        path = self._rig.tree / mutant.module
        changed = _change(path.read_text(), mutant)
        assert changed  # noqa: S101 -- it has a diff
        # What ran when the module was loaded has been made already.
        if self._is_called(mutant) and (
            run := self._rig.run_changed(mutant.module, changed, tests, seconds=seconds)
        ):
            return run
        self._rig.drop_tables()  # it may be in what migrations say
        try:
            with use_mutation(path, _operator(mutant), mutant.occurrence):
                return self._rig.run_tests(tests, seconds=seconds)
        finally:
            self._rig.drop_tables()
