"""Which processes a local stack has, and how each is started."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.settings import Settings
from workers.stack import postgres, valkey

GATEWAY = "gateway"
WORKER = "worker-"  # and its number
BEAT = "beat"


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process. Those of a lower `priority` start earlier and stop later."""

    name: str
    command: Sequence[str]
    priority: int
    stop_signal: str = "TERM"
    stop_seconds: int = 10  # then it is killed
    user: str | None = None
    server: bool = False  # started, and ready, before the others


def own_command(*arguments: str) -> list[str]:
    """`pressroom ...` of this installation."""
    return [str(Path(sys.executable).with_name("pressroom")), *arguments]


def behind(command: Sequence[str]) -> list[str]:
    """The command, at the lowest priority: it works on what waits; who asks is answered first."""
    return ["nice", "-n", "19", *command]


def count_workers(settings: Settings) -> int:
    return settings.workers or os.cpu_count() or 1


def make_plan(settings: Settings) -> list[Program]:
    """The programs, servers first."""
    data_dir = settings.data_dir.absolute()
    programs = []
    if settings.embeds_postgres:
        programs.append(
            Program(
                "postgres",
                postgres.command(data_dir / "postgres", settings.socket_dir),
                priority=10,
                stop_signal="INT",  # its "fast": connections are ended, nothing is lost
                stop_seconds=30,
                user=postgres.server_user(),
                server=True,
            )
        )
    if settings.embeds_redis:
        programs.append(
            Program(
                "valkey",
                valkey.command(data_dir / "valkey", settings.socket_dir),
                priority=20,
                server=True,
            )
        )
    if settings.emulated:
        programs.append(
            Program(
                "emulator",
                behind(
                    [
                        sys.executable,
                        "-m",
                        "endpoints.emulator",
                        f"--host={settings.emulator_host}",
                        f"--port={settings.emulator_port}",
                        f"--clock={settings.emulator_clock:g}",
                    ]
                ),
                priority=30,
            )
        )
    programs.append(Program(GATEWAY, own_command("run", "gateway"), priority=40))
    programs += [
        Program(
            f"{WORKER}{number}",
            behind(
                own_command(
                    "run",
                    "worker",
                    f"--name={WORKER}{number}",
                    f"--metrics-port={settings.metrics_port + number - 1}",
                )
            ),
            priority=50,
            stop_seconds=45,  # a `/run` on its way is waited for
        )
        for number in range(1, count_workers(settings) + 1)
    ]
    programs.append(Program(BEAT, own_command("run", "beat"), priority=60))
    programs.append(Program("flower", behind(own_command("run", "flower")), priority=70))
    # As far behind as those that it judges: where they starve, it must not be hasty.
    programs.append(Program("watchdog", behind(own_command("run", "watchdog")), priority=80))
    return programs
