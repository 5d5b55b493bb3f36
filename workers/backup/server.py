"""The embedded PostgreSQL, for as long as it is needed while the stack is down."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import DatabaseUnavailable
from workers.backup.errors import BackupRefused
from workers.health import check_database
from workers.settings import Settings
from workers.stack import postgres
from workers.stack.lifecycle import prepare_folders, wait_for
from workers.stack.supervisor import STACK_VARIABLE, StackError, Supervisor

STOP_SECONDS = 60.0
NAME = "postgres"


def has_database(settings: Settings) -> bool:
    """Whether there is a database of this installation at all; of a server elsewhere: who knows."""
    data = settings.data_dir / NAME
    return not settings.embeds_postgres or (data / "PG_VERSION").exists()


def refuse_running_stack(settings: Settings) -> None:
    """
    Raises:
        BackupRefused: the stack of this data folder is up, or was killed and left processes.
    """
    supervisor = Supervisor(settings)
    if supervisor.is_up() or supervisor.find_leftovers():
        raise BackupRefused(
            f"the stack in {settings.data_dir} is up: take it down first (`pressroom down`), "
            "and bring it up again afterwards"
        )


@contextmanager
def database_server(settings: Settings) -> Iterator[None]:
    """PostgreSQL answers while this is open: the one that runs, or one that is started for it.

    Raises:
        DatabaseUnavailable: it did not come up.
    """
    if not settings.embeds_postgres or asyncio.run(check_database(settings)) is None:
        yield
        return
    data = settings.data_dir.absolute() / NAME
    try:
        prepare_folders(settings)
        postgres.prepare(data, settings.socket_dir)
        process = _start(settings)
    except (OSError, postgres.PostgresNotPrepared) as error:
        raise DatabaseUnavailable(f"PostgreSQL in {data} cannot be started: {error}") from error
    log = settings.data_dir / "logs" / "postgres-alone.log"

    def check() -> str | None:
        if process.poll() is not None:
            raise DatabaseUnavailable(f"PostgreSQL in {data} ended as it started; see {log}")
        return asyncio.run(check_database(settings))

    try:
        try:
            wait_for("PostgreSQL", check)
        except StackError as error:
            raise DatabaseUnavailable(str(error)) from error
        yield
    finally:
        process.send_signal(signal.SIGINT)  # its "fast": connections are ended, nothing is lost
        process.wait(STOP_SECONDS)


def _start(settings: Settings) -> subprocess.Popen[bytes]:
    data_dir = settings.data_dir.absolute()
    with (data_dir / "logs" / "postgres-alone.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 -- our own wheel's program
            postgres.command(data_dir / NAME, settings.socket_dir),
            **postgres.identity(),
            cwd="/",
            # Marked: should we be killed, `up` and `down` find it, and end it.
            env={**os.environ, STACK_VARIABLE: str(data_dir)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us alone
        )
