"""A stack on several hosts: the servers, gateway and beat on ours, two with a worker each."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.cli.demo import CLOCK, free_ports, prepare
from models.migrate import migrate
from scripts.benches.own_stack import say
from scripts.faults.network import OWN_ADDRESS, Host, make_hosts
from scripts.faults.stack import ENDPOINTS, EXECUTION_SECONDS, Stack
from workers.health import check_database, check_http, check_queues, check_redis
from workers.settings import Settings
from workers.stack import postgres, valkey
from workers.stack.lifecycle import emulator_health, gateway_health, prepare_folders, wait_for
from workers.stack.plan import own_command

HOSTS = 2
LOOPBACK = "127.0.0.1"
NETWORK = "192.0.2.0/24"
STOP_SECONDS = 45.0


class HostsStack(Stack):
    """
    Attributes:
        hosts: each with the process of its worker, which is called as `worker_name` says.
    """

    hosts: Mapping[Host, subprocess.Popen[bytes]]


def worker_name(host: Host) -> str:
    return f"worker-{host.number}"


@contextlib.asynccontextmanager
async def run_hosts(folder: Path) -> AsyncIterator[HostsStack]:
    """Whole and empty, in that folder, which stays only if something went wrong.

    Raises:
        StackError: it did not come up.
    """
    await asyncio.to_thread(prepare, folder, free_ports(3))
    os.environ |= {
        "PRESSROOM_GATEWAY_HOST": OWN_ADDRESS,
        "PRESSROOM_EMULATOR_HOST": OWN_ADDRESS,
        "PRESSROOM_SECRET": "no secret, for hosts on one machine",
    }
    settings = Settings()
    prepare_folders(settings)
    say("starting the servers, and two hosts with a worker each")
    async with make_hosts(HOSTS) as hosts:
        with contextlib.ExitStack() as running:
            stack = HostsStack(settings, own_port=settings.gateway_port, emulator_host=LOOPBACK)
            for name, command, identity in _servers(settings):
                running.enter_context(_run(name, command, settings, identity=identity))
            await asyncio.to_thread(_wait_for_servers, settings)
            for name in ("gateway", "beat"):
                running.enter_context(_run(name, own_command("run", name), settings))
            stack.hosts = {
                host: running.enter_context(_run_worker(host, settings)) for host in hosts
            }
            try:
                await asyncio.to_thread(
                    wait_for, "the gateway", lambda: check_http(gateway_health(settings))
                )
                await asyncio.to_thread(
                    wait_for, "the workers", lambda: asyncio.run(check_queues(settings))
                )
                for endpoint in ENDPOINTS:
                    await stack.emulator.serve(endpoint, execution_seconds=EXECUTION_SECONDS)
                yield stack
            finally:
                await stack.emulator.close()
                await stack.database.close()
                say("stopping the stack")
    shutil.rmtree(folder)


def _servers(settings: Settings) -> Iterator[tuple[str, Sequence[str], Mapping[str, Any]]]:
    """Their names and commands, and as whom each runs; the network reaches them, too."""
    data = settings.data_dir.absolute()
    postgres.prepare(data / "postgres", settings.socket_dir)
    with (data / "postgres" / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {NETWORK} trust\n")
    everywhere = ["-c", f"listen_addresses={OWN_ADDRESS}"]
    yield (
        "postgres",
        [*postgres.command(data / "postgres", settings.socket_dir), *everywhere],
        {**postgres.identity(), "cwd": "/"},
    )
    open_port = ["--port", "6379", "--bind", OWN_ADDRESS, "--protected-mode", "no"]
    yield "valkey", [*valkey.command(data / "valkey", settings.socket_dir), *open_port], {}
    host, port = "--host=0.0.0.0", f"--port={settings.emulator_port}"
    emulator = [sys.executable, "-m", "endpoints.emulator", host, port, f"--clock={CLOCK}"]
    yield "emulator", emulator, {}


def _wait_for_servers(settings: Settings) -> None:
    wait_for("PostgreSQL", lambda: asyncio.run(check_database(settings)))
    wait_for("Redis", lambda: asyncio.run(check_redis(settings)))
    wait_for("the emulator", lambda: check_http(emulator_health(settings)))
    migrate(settings.database_dsn)


def _run_worker(
    host: Host, settings: Settings
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Its folder is its own; files are in one that all hosts share, as in a bucket."""
    return _run(
        worker_name(host),
        host.command(*own_command("run", "worker", f"--name={worker_name(host)}")),
        settings,
        variables={
            "PRESSROOM_DATA_DIR": str(settings.data_dir / f"host-{host.number}"),
            "PRESSROOM_DATABASE_URL": f"postgresql://postgres@{OWN_ADDRESS}/postgres",
            "PRESSROOM_REDIS_URL": f"redis://{OWN_ADDRESS}/0",
            "PRESSROOM_STORE_URL": settings.store_base,
        },
    )


@contextlib.contextmanager
def _run(
    name: str,
    command: Sequence[str],
    settings: Settings,
    *,
    identity: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for so long; it is told to stop, and then killed.

    Args:
        identity: as whom PostgreSQL runs, which a TERM would have wait for its clients.
    """
    options: dict[str, Any] = {"cwd": settings.data_dir, **(identity or {})}
    with (settings.data_dir / "logs" / f"{name}.log").open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 -- our own programs
            command,
            env={**os.environ, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            **options,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT if identity else signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
