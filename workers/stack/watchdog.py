"""The watchdog of a local stack: it ends processes that live and do nothing.

A deaf worker ends itself (`workers/watch.py`), but one that is stopped, or whose interpreter is
stuck, cannot. A worker and beat are judged by their pulse, the gateway by its `/healthz`. What is
silent for 30 s is killed (nothing gentler reaches it), and supervisord starts it again.

Silence is counted in looks, and one look counts for little: if the watchdog itself was stopped, or
the whole machine, the others are not to blame.
"""

import contextlib
import signal
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.client import HTTPException

import structlog

from workers import telemetry
from workers.health import check_http
from workers.pulse import read_pulse
from workers.settings import Settings
from workers.stack.lifecycle import gateway_health
from workers.stack.plan import BEAT, GATEWAY, WORKER
from workers.stack.supervisor import ProcessState, Supervisor

LOOK_SECONDS = 3.0
SILENT_SECONDS = 30.0
HTTP_SECONDS = 10.0  # a gateway under load is slow, not silent
START_SECONDS = 90.0  # on top, before its first sign of life

Sign = object  # what changes, or not, from look to look
FindSign = Callable[[ProcessState], Sign | None]

log = structlog.get_logger()


@dataclass
class Watched:
    """What is known of one process."""

    pid: int
    sign: Sign | None = None
    silent_seconds: float = -START_SECONDS


class Watchdog:
    """Judges processes by the signs of life that it finds.

    Args:
        find_sign: of a process, or None: there is none (yet). Another one each time if it lives.
    """

    def __init__(self, find_sign: FindSign) -> None:
        self._find_sign = find_sign
        self._watched: dict[str, Watched] = {}

    def look(self, states: Iterable[ProcessState], *, seconds: float) -> list[ProcessState]:
        """Those that are to be ended.

        Args:
            seconds: since the last look.
        """
        seconds = min(seconds, 2 * LOOK_SECONDS)
        return [state for state in states if self._is_silent(state, seconds)]

    def _is_silent(self, state: ProcessState, seconds: float) -> bool:
        if not state.running or state.pid is None:
            self._watched.pop(state.name, None)
            return False
        watched = self._watched.get(state.name)
        if watched is None or watched.pid != state.pid:
            watched = self._watched[state.name] = Watched(state.pid)
        sign = self._find_sign(state)
        if sign is not None and sign != watched.sign:
            if watched.sign is None:
                log.info("process_seen", name=state.name, pid=state.pid)
            watched.sign = sign
            watched.silent_seconds = 0.0
        else:
            watched.silent_seconds += seconds
        return watched.silent_seconds >= SILENT_SECONDS


class GatewayProbe:
    """Asks the gateway on a thread of its own, so that its silence does not hold up the looks."""

    def __init__(self, settings: Settings) -> None:
        self._url = gateway_health(settings)
        self.answered_at: float | None = None
        threading.Thread(target=self._ask, name="gateway-probe", daemon=True).start()

    def _ask(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_SECONDS):
            if check_http(self._url, seconds=HTTP_SECONDS) is None:
                self.answered_at = time.monotonic()


def find_sign(settings: Settings, gateway: GatewayProbe, state: ProcessState) -> Sign | None:
    """A sign of life of a process; None if there is none."""
    if state.name == GATEWAY:
        return gateway.answered_at
    pulse = read_pulse(settings.data_dir, state.name)
    return pulse if pulse is not None and pulse.pid == state.pid else None


def is_watched(state: ProcessState) -> bool:
    return state.name in {GATEWAY, BEAT} or state.name.startswith(WORKER)


def run_watchdog(settings: Settings) -> None:
    """Run until a signal."""
    telemetry.set_up(settings)
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    supervisor = Supervisor(settings)
    gateway = GatewayProbe(settings)
    watchdog = Watchdog(lambda state: find_sign(settings, gateway, state))
    looked_at = time.monotonic()
    while not asked.wait(LOOK_SECONDS):
        now = time.monotonic()
        # supervisord is busy, or going down.
        with contextlib.suppress(OSError, HTTPException, xmlrpc.client.Error):
            states = [state for state in supervisor.states() if is_watched(state)]
            for state in watchdog.look(states, seconds=now - looked_at):
                log.error("process_fell_silent", name=state.name, pid=state.pid)
                supervisor.kill(state.name)
        looked_at = now
