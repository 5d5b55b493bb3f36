"""Tests that are collected once and run again and again, each time in a fork.

Of a run of a few tests most is the loading of modules and the collecting of tests. Here both are
done once. In a fork the functions of one module get the code that they have in a changed source;
what is not within a function cannot be changed so. A line of JSON comes in for each run,
`{"module": "models.lane", "source": "...", "tests": [...], "seconds": 60}`, and one goes out:
`{"code": 1, "seconds": 0.8, "said": "..."}`. The arguments are pytest's.
"""

import contextlib
import gc
import json
import os
import sys
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TextIO

import pytest
from _pytest.main import pytest_runtestloop as run_loop

from scripts.mutations.forks import run_forked

UNCHANGED = -2  # the change is within no function that is there


class Collected:
    """A plugin of pytest that runs tests when it is told to.

    Args:
        orders, answers: lines of JSON.
        modules: whose functions will be changed.
    """

    def __init__(self, orders: TextIO, answers: TextIO, modules: Sequence[str]) -> None:
        self._orders = orders
        self._answers = answers
        self._modules = modules
        self._failed: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        functions = _find_functions(self._modules)
        gc.freeze()
        for line in self._orders:
            asked = json.loads(line)
            session.items = [items[test] for test in asked["tests"]]
            found = functions[asked["module"]]

            def work(
                found: Sequence[types.FunctionType] = found, source: str = asked["source"]
            ) -> int:
                return self._run(session) if swap(found, source) else UNCHANGED

            self._answers.write(json.dumps(run_forked(work, asked["seconds"])) + "\n")
            self._answers.flush()
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.append(report.nodeid)

    def _run(self, session: pytest.Session) -> int:
        with contextlib.suppress(session.Failed):  # it is to stop at the first
            run_loop(session)
        sys.stdout.writelines(f"FAILED {test}\n" for test in self._failed)
        return 1 if self._failed else 0


def _find_functions(modules: Sequence[str]) -> dict[str, list[types.FunctionType]]:
    """Also those that a decorator hides."""
    found: dict[str, list[types.FunctionType]] = {module: [] for module in modules}
    for each in gc.get_objects():
        if isinstance(each, types.FunctionType) and each.__module__ in found:
            found[each.__module__].append(each)
    return found


def swap(functions: Sequence[types.FunctionType], source: str) -> bool:
    """Give functions the code that they have in `source`.

    Returns: whether any got another; False: what differs is elsewhere.
    """
    codes = list(_walk(compile(source, "changed", "exec")))
    names = Counter(code.co_qualname for code in codes)
    changed = {code.co_qualname: code for code in codes if names[code.co_qualname] == 1}
    differs = False
    for function in functions:
        code = changed.get(function.__code__.co_qualname)
        if code is None or _facts(code) == _facts(function.__code__):
            continue
        if code.co_freevars != function.__code__.co_freevars:
            return False
        function.__code__ = code.replace(co_filename=function.__code__.co_filename)
        differs = True
    return differs


def _walk(code: types.CodeType) -> Iterator[types.CodeType]:
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield const
            yield from _walk(const)


def _facts(code: types.CodeType) -> object:
    """What it does, wherever it stands."""
    consts = [_facts(one) if isinstance(one, types.CodeType) else one for one in code.co_consts]
    return code.co_code, code.co_names, [(type(one), one) for one in consts]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    orders = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    at = sys.argv.index("--")
    pytest.main(sys.argv[at + 1 :], plugins=[Collected(orders, answers, sys.argv[1:at])])


if __name__ == "__main__":
    main()
