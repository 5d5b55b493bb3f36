"""supervisord: it starts the processes of a stack and brings each back when it dies.

Its own configuration file holds no secret: children inherit the environment. It is spoken to over
a socket under DATA_DIR, which is also how the other commands find a running stack.
"""

import configparser
import contextlib
import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import psutil
from supervisor.xmlrpc import SupervisorTransport

from workers.settings import Settings
from workers.stack.plan import WORKER, Program

STACK_VARIABLE = "PRESSROOM_STACK"  # marks every process of a stack with its data folder
START_SECONDS = 20.0


class StackError(Exception):
    """The stack could not be started or stopped; its text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """How supervisord sees a process."""

    name: str
    state: str  # RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL
    pid: int | None
    up_seconds: int | None
    log: str

    @property
    def running(self) -> bool:
        return self.state == "RUNNING"


class Supervisor:
    """The supervisord of one data folder."""

    def __init__(self, settings: Settings) -> None:
        self._data_dir = settings.data_dir.absolute()
        self._socket = settings.socket_dir / "supervisor.sock"
        self.logs = self._data_dir / "logs"

    def is_up(self) -> bool:
        try:
            with self._rpc() as rpc:
                return bool(rpc.supervisor.getState())
        except (OSError, HTTPException, xmlrpc.client.Error):
            return False

    def launch(self, programs: Sequence[Program]) -> None:
        """Start supervisord, as a daemon; it starts nothing by itself.

        Raises:
            StackError: it did not come up.
        """
        run = self._data_dir / "run"
        for folder in (run, self.logs, self._socket.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = run / "supervisord.conf"
        with config.open("w") as file:
            self._configure(programs).write(file)
        started = subprocess.run(  # noqa: S603 -- our own interpreter
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self._data_dir,
            env={**os.environ, **self._environment()},
            check=False,
        )
        deadline = time.monotonic() + START_SECONDS
        while started.returncode or not self.is_up():
            if started.returncode or time.monotonic() > deadline:
                raise StackError(
                    f"supervisord did not start; see {self.logs / 'supervisord.log'}: "
                    f"{started.stderr.strip() or started.stdout.strip()}"
                )
            time.sleep(0.05)

    def start(self, name: str) -> None:
        """
        Raises:
            StackError: the process ended at once.
        """
        try:
            with self._rpc() as rpc:
                rpc.supervisor.startProcess(_full_name(name), False)  # noqa: FBT003 -- its interface
        except xmlrpc.client.Fault as fault:
            raise StackError(
                f"{name} did not start ({fault.faultString}); see {self.logs / name}.log"
            ) from fault

    def stop(self, name: str) -> None:
        with self._rpc() as rpc:
            rpc.supervisor.stopProcess(_full_name(name))

    def kill(self, name: str) -> None:
        """End a process that cannot end itself; supervisord starts it again."""
        with self._rpc() as rpc:
            rpc.supervisor.signalProcess(_full_name(name), "KILL")

    def states(self) -> list[ProcessState]:
        """Every process, in the order they start; empty if the stack is down."""
        if not self.is_up():
            return []
        with self._rpc() as rpc:
            infos = rpc.supervisor.getAllProcessInfo()
        assert isinstance(infos, list)  # noqa: S101 -- its interface
        return [
            ProcessState(
                name=str(info["name"]),
                state=str(info["statename"]),
                pid=int(info["pid"]) or None,
                up_seconds=int(info["now"]) - int(info["start"]) if info["pid"] else None,
                log=str(info["stdout_logfile"]),
            )
            for info in infos
        ]

    def shut_down(self, *, seconds: float) -> None:
        """Stop every process in order, then supervisord.

        Raises:
            StackError: something still runs after `seconds`.
        """
        with self._rpc() as rpc:
            rpc.supervisor.shutdown()
        deadline = time.monotonic() + seconds
        while self.is_up() or self.find_leftovers():
            if time.monotonic() > deadline:
                left = ", ".join(f"{one.name()} ({one.pid})" for one in self.find_leftovers())
                raise StackError(f"still running after {seconds:.0f} s: {left or 'supervisord'}")
            time.sleep(0.1)

    def find_leftovers(self) -> list[psutil.Process]:
        """Processes of this stack; if supervisord is down, it was killed and left them behind."""
        mine = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                marked = process.environ().get(STACK_VARIABLE) == str(self._data_dir)
                if (
                    marked
                    and process.pid != os.getpid()
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    mine.append(process)
        return mine

    def _environment(self) -> Mapping[str, str]:
        return {STACK_VARIABLE: str(self._data_dir), "PRESSROOM_DATA_DIR": str(self._data_dir)}

    def _configure(self, programs: Sequence[Program]) -> configparser.RawConfigParser:
        run = self._data_dir / "run"
        config = configparser.RawConfigParser()
        config["unix_http_server"] = {"file": _escape(self._socket), "chmod": "0700"}
        config["supervisord"] = {
            "logfile": _escape(self.logs / "supervisord.log"),
            "pidfile": _escape(run / "supervisord.pid"),
            "childlogdir": _escape(self.logs),
            **({"user": "root"} if os.geteuid() == 0 else {}),
        }
        config["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        workers = [program.name for program in programs if program.name.startswith(WORKER)]
        for program in programs:
            config[f"program:{program.name}"] = {
                "command": _escape(shlex.join(program.command)),
                "directory": "/" if program.user else _escape(self._data_dir),
                "priority": str(program.priority),
                "autostart": "false",
                "autorestart": "true",
                "startsecs": "1",
                "startretries": "1000000",  # for ever: it waits a second longer each time
                "stopsignal": program.stop_signal,
                "stopwaitsecs": str(program.stop_seconds),
                "killasgroup": "true",
                "redirect_stderr": "true",
                "stdout_logfile": _escape(self.logs / f"{program.name}.log"),
                "stdout_logfile_maxbytes": "20MB",
                "stdout_logfile_backups": "2",
                **({"user": program.user} if program.user else {}),
            }
        if workers:  # one group: they stop together, not one after the other
            config["group:workers"] = {"programs": ",".join(workers), "priority": "50"}
        return config

    @contextlib.contextmanager
    def _rpc(self) -> Iterator[xmlrpc.client.ServerProxy]:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        with xmlrpc.client.ServerProxy("http://stack", transport=transport) as proxy:
            yield proxy


def _full_name(name: str) -> str:
    return f"workers:{name}" if name.startswith(WORKER) else name


def _escape(value: str | Path) -> str:
    return str(value).replace("%", "%%")
