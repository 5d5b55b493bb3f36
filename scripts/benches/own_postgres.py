"""A PostgreSQL server of a benchmark's own, without the rest of a stack, and its bulk loads."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from sqlalchemy import make_url

from gateway.cli.console import read_settings
from models.migrate import migrate
from scripts.benches.own_stack import say
from workers.health import check_database
from workers.settings import Settings
from workers.stack import postgres
from workers.stack.lifecycle import wait_for
from workers.stack.supervisor import StackError

STOP_SECONDS = 120  # it writes out what it holds

# What a bulk load may do without: nobody minds if the machine dies meanwhile.
LOADING = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "maintenance_work_mem": "'256MB'",
    "synchronous_commit": "off",
}


@contextlib.contextmanager
def run_own_postgres() -> Iterator[str]:
    """The stack's embedded server with our tables, empty; its URL. Its folder goes at the end.

    Raises:
        StackError: it did not come up, or one of an earlier benchmark still runs.
    """
    folder = read_settings().data_dir.absolute() / "bench-rows"
    settings = Settings(data_dir=folder, database_url=None)
    data = settings.data_dir / "postgres"
    if (data / "postmaster.pid").exists() and asyncio.run(check_database(settings)) is None:
        raise StackError(f"a server runs in {data}: stop it first")
    shutil.rmtree(settings.data_dir, ignore_errors=True)
    postgres.prepare(data, settings.socket_dir)
    server = subprocess.Popen(  # noqa: S603 -- our own wheel's program
        [*postgres.command(data, settings.socket_dir)],
        **postgres.identity(),
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for("PostgreSQL", lambda: asyncio.run(check_database(settings)))
        migrate(settings.database_dsn)
        yield settings.database_dsn
    finally:
        say("stopping PostgreSQL")
        server.send_signal(signal.SIGINT)
        server.wait(STOP_SECONDS)
        shutil.rmtree(settings.data_dir, ignore_errors=True)
        shutil.rmtree(settings.socket_dir, ignore_errors=True)


class Loader:
    """A connection for bulk loads: each statement is a transaction, and may take its time."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextlib.contextmanager
    def connect(cls, url: str) -> Iterator["Loader"]:
        plain = make_url(url).set(drivername="postgresql")
        with psycopg.connect(
            plain.render_as_string(hide_password=False), autocommit=True
        ) as connection:
            yield cls(connection)

    def run(self, statement: str, **values: object) -> None:
        self._connection.execute(statement.encode(), values or None)

    def read(self, statement: str, **values: object) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(statement.encode(), values or None).fetchall()

    @contextlib.contextmanager
    def load(self, *tables: str) -> Iterator[None]:
        """Let go of what slows a bulk load down, and of the tables' indexes that hold most rows.

        At the end all of it is back, and the tables are vacuumed and analyzed.
        """
        for name, value in LOADING.items():
            self.run(f"ALTER SYSTEM SET {name} = {value}")
        self.run("SELECT pg_reload_conf()")
        self.run("SET session_replication_role = replica")  # no triggers, no foreign keys
        indexes = self.read(
            r"""
            SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
            WHERE indrelid = ANY(CAST(%(tables)s AS regclass[]))
              -- Those of few rows cost little to keep, and each a scan to make.
              AND coalesce(pg_get_expr(indpred, indrelid), '') ~ '^(\(\w+ IS NOT NULL\))?$'
              AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
            """,
            tables=list(tables),
        )
        for name, _ in indexes:
            self.run(f"DROP INDEX {name}")
        yield
        self.run("SET maintenance_work_mem = '256MB'")
        for _, definition in indexes:
            self.run(definition)
        self.run("SET session_replication_role = origin")
        self.run(f"VACUUM (ANALYZE) {', '.join(tables)}")
        for name in LOADING:
            self.run(f"ALTER SYSTEM RESET {name}")
        self.run("SELECT pg_reload_conf()")
        self.run("CHECKPOINT")
        os.sync()  # the kernel holds gigabytes, and would write them while claims are timed
