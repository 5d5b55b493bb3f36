"""Bring a stack up, and take it down, in order."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from models.migrate import migrate
from workers.health import check_database, check_http, check_queues, check_redis
from workers.settings import Settings
from workers.stack import postgres
from workers.stack.plan import count_workers, make_plan
from workers.stack.supervisor import StackError, Supervisor

READY_SECONDS = 180.0  # of each; the machine may be busy
DOWN_SECONDS = 90.0

Report = Callable[[str], None]


def bring_up(settings: Settings, report: Report) -> None:
    """Start every process, and wait until each does its work. `report` is told of each step.

    If it fails or is interrupted, what was started is stopped again.

    Raises:
        StackError: it is up already, a port is taken, or something did not come up.
    """
    supervisor = Supervisor(settings)
    if supervisor.is_up():
        raise StackError(
            f"a stack is already up in {settings.data_dir}: `pressroom status` shows it"
        )
    end_leftovers(supervisor, report)
    refuse_taken_ports(settings)
    prepare_folders(settings)
    if settings.embeds_postgres:
        report("preparing PostgreSQL")
        for note in postgres.prepare(
            settings.data_dir.absolute() / "postgres", settings.socket_dir
        ):
            report(note)
    with _flower_password(settings):
        plan = make_plan(settings)
        supervisor.launch(plan)
    try:
        report("starting the servers")
        for program in plan:
            if program.server:
                supervisor.start(program.name)
        wait_for("PostgreSQL", lambda: asyncio.run(check_database(settings)))
        wait_for("Redis", lambda: asyncio.run(check_redis(settings)))
        report("migrating the database")
        migrate(settings.database_dsn)
        report("starting the workers")
        for program in plan:
            if not program.server:
                supervisor.start(program.name)
        if settings.emulated:
            wait_for("the emulator", lambda: check_http(emulator_health(settings)))
        wait_for("the gateway", lambda: check_http(gateway_health(settings)))
        wait_for("the workers", lambda: asyncio.run(check_queues(settings)))
    except BaseException:
        report("stopping what was started")
        supervisor.shut_down(seconds=DOWN_SECONDS)
        raise


def take_down(settings: Settings, report: Report) -> bool:
    """Stop every process, gracefully; whether there was any.

    Raises:
        StackError: something could not be stopped.
    """
    supervisor = Supervisor(settings)
    if supervisor.is_up():
        report("stopping; what is being sent is waited for")
        supervisor.shut_down(seconds=DOWN_SECONDS)
        return True
    return end_leftovers(supervisor, report)


def end_leftovers(supervisor: Supervisor, report: Report) -> bool:
    """End the processes of a stack whose supervisor was killed; whether there were any."""
    leftovers = supervisor.find_leftovers()
    if not leftovers:
        return False
    report(f"ending {len(leftovers)} processes that an earlier stack left behind")
    # The servers last, by their age: what hangs on them first.
    for process in reversed(leftovers):
        process.terminate()
    _, alive = psutil.wait_procs(leftovers, timeout=DOWN_SECONDS / 3)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=5)
    return True


def refuse_taken_ports(settings: Settings) -> None:
    """
    Raises:
        StackError: somebody else listens where we are to.
    """
    wanted = [
        ("PRESSROOM_GATEWAY_PORT", settings.gateway_host, settings.gateway_port),
        ("PRESSROOM_FLOWER_PORT", settings.flower_host, settings.flower_port),
    ]
    if settings.emulated:
        wanted.append(("PRESSROOM_EMULATOR_PORT", settings.emulator_host, settings.emulator_port))
    if settings.metrics_token:
        wanted += [
            ("PRESSROOM_METRICS_PORT", settings.metrics_host, settings.metrics_port + number)
            for number in range(count_workers(settings))
        ]
    for variable, host, port in wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise StackError(
                    f"{host}:{port} is not to be had ({error.strerror}): "
                    f"set {variable} to another port, or stop what listens there"
                ) from error


def prepare_folders(settings: Settings) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    for name in ("run", "logs", "spool"):
        (settings.data_dir / name).mkdir(mode=0o700, exist_ok=True)


def wait_for(what: str, check: Callable[[], str | None]) -> None:
    """
    Args:
        check: None if all is well, else what is wrong.

    Raises:
        StackError: it was not well within `READY_SECONDS`.
    """
    deadline = time.monotonic() + READY_SECONDS
    while (problem := check()) is not None:
        if time.monotonic() > deadline:
            raise StackError(f"{what} did not come up: {problem}")
        time.sleep(0.1)


def emulator_health(settings: Settings) -> str:
    return f"http://{settings.emulator_host}:{settings.emulator_port}/healthz"


def gateway_health(settings: Settings) -> str:
    return f"http://{settings.gateway_host}:{settings.gateway_port}/healthz"


def flower_url(settings: Settings) -> str:
    return f"http://{settings.flower_host}:{settings.flower_port}/"


@contextmanager
def _flower_password(settings: Settings) -> Iterator[None]:
    """Give Flower a password if the settings hold none: kept in DATA_DIR, for its owner alone."""
    name = "PRESSROOM_FLOWER_PASSWORD"
    if settings.flower_password is not None:
        yield
        return
    path = settings.data_dir / "run" / "flower-password"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(12))
    os.environ[name] = path.read_text()
    try:
        yield
    finally:
        del os.environ[name]
