"""A stack of a benchmark's own, and what its processes use."""

import contextlib
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping

import psutil

from gateway.cli.console import notes, read_settings
from gateway.cli.demo import prepare
from workers.settings import Settings
from workers.stack.lifecycle import bring_up, take_down
from workers.stack.supervisor import StackError, Supervisor


@contextlib.contextmanager
def run_own_stack() -> Iterator[Settings]:
    """Whole and empty, on free ports; its folder stays only if something went wrong."""
    settings = prepare(read_settings().data_dir.absolute() / "bench")
    bring_up(settings, say)
    try:
        yield settings
    finally:
        say("stopping the stack")
        take_down(settings, lambda _step: None)
    shutil.rmtree(settings.data_dir)


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
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(state.pid)
            for process in (parent, *parent.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    seconds[state.name.partition("-")[0]] += sum(process.cpu_times()[:4])
    return seconds
