"""A stack of a benchmark's own, and what its processes use."""

import contextlib
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from gateway.cli.console import notes, read_settings
from gateway.cli.demo import free_ports, prepare
from workers.app import make_app
from workers.settings import Settings
from workers.stack.lifecycle import bring_up, take_down, wait_for
from workers.stack.plan import WORKER, make_plan
from workers.stack.supervisor import StackError, Supervisor

PING_SECONDS = 3.0


@contextlib.contextmanager
def run_own_stack(variables: Mapping[str, str] | None = None) -> Iterator[Settings]:
    """Whole and empty, on free ports; its folder stays only if something went wrong.

    Args:
        variables: of the environment, for this stack alone.
    """
    with own_folder() as folder:
        prepare(folder, free_ports(3))
        os.environ |= variables or {}
        settings = read_settings()
        bring_up(settings, say)
        try:
            yield settings
        finally:
            say("stopping the stack")
            take_down(settings, lambda _step: None)
        shutil.rmtree(folder)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A benchmark's own folder, and the environment, which is afterwards as it was."""
    before = dict(os.environ)
    try:
        yield read_settings().data_dir.absolute() / "bench"
    finally:
        os.environ.clear()
        os.environ |= before


def set_workers(settings: Settings, count: int) -> None:
    """Let the first `count` worker processes run and no others, and wait until they answer.

    Raises:
        StackError: they did not.
    """
    supervisor = Supervisor(settings)
    for state in supervisor.states():
        if state.name.startswith(WORKER):
            wanted = int(state.name.removeprefix(WORKER)) <= count
            if wanted and not state.pid:
                supervisor.start(state.name)
            elif state.pid and not wanted:
                supervisor.stop(state.name)
    _wait_for_workers(settings, count)


def rest(settings: Settings) -> None:
    """Stop everything of a stack but its Postgres and its Redis."""
    supervisor = Supervisor(settings)
    servers = [program.name for program in make_plan(settings) if program.server]
    for state in reversed(supervisor.states()):
        if state.pid and state.name not in servers:
            supervisor.stop(state.name)


def wake(settings: Settings) -> None:
    """Start what does not run, and wait until its workers answer.

    Raises:
        StackError: they did not.
    """
    supervisor = Supervisor(settings)
    states = supervisor.states()
    for state in states:
        if not state.pid:
            supervisor.start(state.name)
    _wait_for_workers(settings, sum(state.name.startswith(WORKER) for state in states))


def _wait_for_workers(settings: Settings, count: int) -> None:
    app = make_app(settings)

    def check() -> str | None:
        answered = len(app.control.ping(timeout=PING_SECONDS, limit=count) or ())
        return None if answered == count else f"{answered} of {count} answered"

    wait_for("the workers", check)


def say(step: str) -> None:
    notes.print(f"[dim]{step}[/dim]")


def is_running(settings: Settings, name: str) -> bool:
    return any(state.running for state in Supervisor(settings).states() if state.name == name)


def find_process(settings: Settings, name: str) -> psutil.Process:
    """
    Raises:
        StackError: it is not running.
    """
    for state in Supervisor(settings).states():
        if state.name == name and state.running and state.pid:
            return psutil.Process(state.pid)
    raise StackError(f"{name} is not running")


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def read_cpu(settings: Settings) -> Mapping[str, float]:
    """CPU seconds until now of each kind of process, its children's among them, dead or alive."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for state in Supervisor(settings).states():
        if state.pid:
            seconds[state.name.partition("-")[0]] += cpu_seconds_of_tree(state.pid)
    return seconds


def cpu_seconds_of_tree(pid: int) -> float:
    """Until now, of a process and its children, dead or alive."""
    seconds = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                seconds += sum(process.cpu_times()[:4])
    return seconds
