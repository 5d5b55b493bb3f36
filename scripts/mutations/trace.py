"""A plugin of pytest: which tests call which functions of the modules that are to be changed.

The environment names the file it goes to, and the modules. The answer is approximate in one way: a
function that runs on behalf of a test after its end is counted to the next.
"""

import json
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import pytest

FILE, MODULES = "MUTANTS_TRACE", "MUTANTS_MODULES"


@dataclass(frozen=True, slots=True)
class Traced:
    """A test; `called` are functions, as `models/lane.py:close_lane`."""

    seconds: float
    passed: bool
    called: Collection[str]


class Trace:
    def __init__(self, root: Path, modules: list[str]) -> None:
        self._names = {str(root / module): module for module in modules}
        self._test = ""
        self.called: dict[str, set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (module := self._names.get(frame.f_code.co_filename)):
            self.called[self._test].add(f"{module}:{frame.f_code.co_name}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._test, began = item.nodeid, time.monotonic()
        sys.setprofile(self.profile)
        threading.setprofile(self.profile)
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.monotonic() - began
            sys.setprofile(None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    def write(self, path: Path) -> None:
        tests = {
            test: Traced(seconds, test not in self.failed, sorted(self.called[test]))
            for test, seconds in self.seconds.items()
        }
        path.write_text(json.dumps({test: asdict(traced) for test, traced in tests.items()}))


def read(path: Path) -> dict[str, Traced]:
    return {test: Traced(**facts) for test, facts in json.loads(path.read_text()).items()}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(
        Trace(config.rootpath, os.environ[MODULES].split()), "mutants-trace"
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    if trace := config.pluginmanager.get_plugin("mutants-trace"):
        trace.write(Path(os.environ[FILE]))
