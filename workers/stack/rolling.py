"""Workers of this stack, drained and restarted one after the other.

A worker that is told to stop (TERM) takes no more messages, gives back what it has claimed and not
sent, and waits for calls that are under way: their answers are written down, and its permits are
free. So nothing is lost or sent twice, whichever workers stop; and while one is restarted, the
others work.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from workers.health import check_worker
from workers.settings import Settings
from workers.stack.plan import WORKER
from workers.stack.supervisor import ProcessState, StackError, Supervisor

DRAINED = "STOPPED"  # by somebody, who wants it to stay so
HEALTHY_SECONDS = 90.0  # within which a worker that was started takes a message

Report = Callable[[str], None]


def list_workers(supervisor: Supervisor) -> list[ProcessState]:
    """
    Raises:
        StackError: no stack is up here.
    """
    states = [state for state in supervisor.states() if state.name.startswith(WORKER)]
    if not states:
        raise StackError(
            "no stack of `pressroom up` is up here; where containers run workers, `docker stop` "
            "and `docker restart` do it, one after the other: see docs/acting.md"
        )
    return states


def choose_workers(supervisor: Supervisor, names: Sequence[str]) -> list[ProcessState]:
    """Those of these names, or (none given) all.

    Raises:
        StackError: there is none of a name, or no stack is up here.
    """
    states = {state.name: state for state in list_workers(supervisor)}
    if unknown := [name for name in names if name not in states]:
        raise StackError(f"no worker {', '.join(unknown)}; there are {', '.join(states)}")
    return [states[name] for name in names or states]


def choose_restarted(supervisor: Supervisor, names: Sequence[str]) -> list[ProcessState]:
    """The same; without names all but those that somebody drained.

    Raises:
        StackError: the same.
    """
    chosen = choose_workers(supervisor, names)
    return chosen if names else [one for one in chosen if one.state != DRAINED]


def drain_workers(supervisor: Supervisor, names: Sequence[str]) -> None:
    """Stop them, each once what it holds has ended. They stay stopped."""
    with ThreadPoolExecutor() as stopping:  # none waits for another
        list(stopping.map(supervisor.stop, names))


def resume_worker(settings: Settings, supervisor: Supervisor, name: str) -> None:
    """Start it, and wait until it takes messages.

    Raises:
        StackError: it does not.
    """
    supervisor.start(name)
    deadline = time.monotonic() + HEALTHY_SECONDS
    while problem := asyncio.run(check_worker(settings, f"{name}@{socket.gethostname()}")):
        if time.monotonic() > deadline:
            log = supervisor.logs / f"{name}.log"
            raise StackError(f"{name} was started, and is not well: {problem}; see {log}")


def restart_workers(
    settings: Settings, supervisor: Supervisor, names: Sequence[str], report: Report
) -> None:
    """Restart them one after the other, each once the one before takes messages.

    Raises:
        StackError: one did not come back; those after it were left as they were.
    """
    for state in choose_restarted(supervisor, names):
        if state.running:
            report(f"{state.name}: what it holds is waited for")
            drain_workers(supervisor, [state.name])
        report(f"{state.name}: starting")
        resume_worker(settings, supervisor, state.name)
        report(f"{state.name}: takes messages")
