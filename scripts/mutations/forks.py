"""Runs pytest again and again, each time in a fork that has loaded what others wrote already.

Of a test run that takes a second most is the loading of libraries. They are loaded once, here; of
our own modules, which change from run to run, none is. A line of JSON comes in for each run, and
one goes out: `{"arguments": [...], "seconds": 60}`, `{"code": 1, "seconds": 0.8, "said": "..."}`.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SAID_BYTES = 4000  # of the end of a run's output
TIMED_OUT = -1
_POLL_SECONDS = 0.01

_LIST_MODULES = """
import importlib, sys
for name in ("tests", "gateway.app", "tasks.generate", "workers.worker", "workers.stack.lifecycle"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
import pytest, pytest_asyncio, hypothesis.stateful, PIL.Image, av
print("\\n".join(sys.modules))
"""


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    load_libraries()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        asked = json.loads(line)
        work = functools.partial(pytest.main, asked["arguments"])
        answers.write(json.dumps(run_forked(work, asked["seconds"])) + "\n")
        answers.flush()


def load_libraries() -> None:
    """Import what our modules import, but for themselves."""
    listed = subprocess.run(  # noqa: S603 -- this very Python
        [sys.executable, "-c", _LIST_MODULES], capture_output=True, text=True, check=True
    )
    here = Path.cwd()
    own = {path.name for path in here.iterdir()}
    for name in listed.stdout.split():
        # pytest's plugins are for pytest to load.
        if name.partition(".")[0] not in own and "pytest" not in name:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    gc.freeze()


def run_forked(work: Callable[[], int], seconds: float) -> dict[str, object]:
    """Do it in a process of its own, which ends with what it returns.

    Returns: its code or `TIMED_OUT`, how long it took, and the end of what it printed.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            code = 99
            try:
                code = work()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = _wait(child, began + seconds)
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - SAID_BYTES))
        said = output.read().decode("utf-8", "replace")
    return {"code": code, "seconds": time.monotonic() - began, "said": said}


def _wait(child: int, deadline: float) -> int:
    try:
        while time.monotonic() < deadline:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                child = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(_POLL_SECONDS)
        return TIMED_OUT
    finally:
        if child:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
