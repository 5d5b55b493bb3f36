"""Where mutants are tried: a copy of the tree, servers of its own, and pytest in forks."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from scripts.mutations.collected import UNCHANGED
from scripts.mutations.forks import TIMED_OUT
from scripts.mutations.trace import FILE, MODULES, Traced, read
from workers.health import check_database, check_redis
from workers.settings import Settings
from workers.stack import postgres, valkey

ROOT = Path(__file__).parents[2]
COPIED = (
    *("clients", "docs", "endpoints", "gateway", "models", "scripts", "tasks", "tests", "workers"),
    *("pyproject.toml", "constraints.txt", "compose.yaml", "README.md"),
)
KEPT_SERVICES = "TESTS_KEPT_SERVICES"  # as tests/conftest.py names it
START_SECONDS = 60.0


class RigError(Exception):
    """It could not be set up, or the tests fail before anything was changed."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of pytest."""

    code: int
    seconds: float
    said: str

    @property
    def passed(self) -> bool:
        return self.code == 0

    @property
    def timed_out(self) -> bool:
        return self.code == TIMED_OUT


class Rig:
    """
    Args:
        start: starts one of the modules here that run tests, in the tree.
    """

    def __init__(
        self, tree: Path, services: Settings | None, start: Callable[..., subprocess.Popen[str]]
    ) -> None:
        self.tree = tree
        self._services = services
        self._start = start
        self._forks = start("scripts.mutations.forks")
        self._collected: subprocess.Popen[str] | None = None

    def run_tests(
        self, tests: Sequence[str], *, seconds: float, options: Sequence[str] = ()
    ) -> Run:
        """Run tests of the tree as it stands."""
        arguments = [*_OPTIONS, *options, *tests]
        return _ask(self._forks, {"arguments": arguments, "seconds": seconds})

    def collect(self, files: Sequence[str], modules: Sequence[str]) -> None:
        """Load the tree as it stands, for `run_changed`."""
        names = [_name(module) for module in modules]
        self._collected = self._start(
            "scripts.mutations.collected", *names, "--", *_OPTIONS, *files
        )

    def run_changed(
        self, module: str, source: str, tests: Sequence[str], *, seconds: float
    ) -> Run | None:
        """Run collected tests with another code in functions of a module.

        Returns: None if no function differs.
        """
        assert self._collected  # noqa: S101 -- `collect` comes first
        asked = {"module": _name(module), "source": source, "tests": tests, "seconds": seconds}
        run = _ask(self._collected, asked)
        return None if run.code == UNCHANGED else run

    def drop_tables(self) -> None:
        """The next run of the tests migrates from nothing, by what the modules then say."""
        if self._services is not None:
            dsn = self._services.database_dsn.replace("+psycopg", "")
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public")


def _name(module: str) -> str:
    return module.removesuffix(".py").replace("/", ".")


def _ask(process: subprocess.Popen[str], asked: object) -> Run:
    assert process.stdin  # noqa: S101 -- a pipe
    assert process.stdout  # noqa: S101 -- a pipe
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    if not (line := process.stdout.readline()):
        raise RigError("a process that runs the tests has died")
    return Run(**json.loads(line))


_OPTIONS = (
    *("-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "--timeout=60"),
    # Of plugins that are loaded already assertions are not rewritten.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


@contextmanager
def open_rig(modules: Sequence[str], *, root: Path = ROOT, servers: bool = True) -> Iterator[Rig]:
    """Copy, start, and take all of it away again.

    Args:
        root: the tree, of which the folders and files in `COPIED` are copied.
        servers: whether the tests need any.
    """
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="mutants-")))
        tree = folder / "tree"
        tree.mkdir()
        for name in COPIED:
            _copy(root / name, tree / name)
        environment = {
            **os.environ,
            "PYTHONPATH": str(tree),
            FILE: str(folder / "trace.json"),
            MODULES: " ".join(modules),
        }
        services = None
        if servers:
            services = held.enter_context(_serve(folder / "services"))
            environment[KEPT_SERVICES] = str(services.data_dir)
        # Bytecode is not kept: of a file that changes twice a second it might be the wrong one.
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder)}

        def start(module: str, *arguments: str) -> subprocess.Popen[str]:
            return held.enter_context(_start(tree, environment, module, arguments))

        yield Rig(tree, services, start)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", ".*", "node_modules")
        shutil.copytree(source, target, ignore=ignored)
    elif source.exists():
        shutil.copy(source, target)


@contextmanager
def _serve(data: Path) -> Iterator[Settings]:
    settings = Settings(data_dir=data)
    postgres.prepare(data / "postgres", settings.socket_dir)
    unsafe = [part for name in _UNSAFE for part in ("-c", f"{name}=off")]
    commands: tuple[tuple[Sequence[str], dict[str, Any]], ...] = (
        ([*postgres.command(data / "postgres", settings.socket_dir), *unsafe], postgres.identity()),
        (valkey.command(data / "valkey", settings.socket_dir), {}),
    )
    with ExitStack() as held:
        for command, identity in commands:
            process = subprocess.Popen(  # noqa: S603 -- our own wheels' programs
                command,
                **identity,
                cwd="/",
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            held.callback(_stop, process)
        for check in (check_database, check_redis):
            deadline = time.monotonic() + START_SECONDS
            while said := asyncio.run(check(settings)):
                if time.monotonic() > deadline:
                    raise RigError(said)
                time.sleep(0.05)
        yield settings


_UNSAFE = ("fsync", "synchronous_commit", "full_page_writes")  # nothing of it is kept


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(30)


@contextmanager
def _start(
    tree: Path, environment: Mapping[str, str], module: str, arguments: Sequence[str]
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603 -- this very Python
        [sys.executable, "-m", module, *arguments],
        cwd=tree,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:  # closes its pipes
        try:
            yield process
        finally:
            process.terminate()


def read_trace(rig: Rig) -> dict[str, Traced]:
    return read(rig.tree.parent / "trace.json")
