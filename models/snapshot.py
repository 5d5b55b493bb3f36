"""Everything as it stood at one moment: what a backup counts, and which files belong to it.

All of it is read in one transaction that sees one snapshot, and whose snapshot others may see as
well, so that a dump made by another program tells of the same moment.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from alembic.migration import MigrationContext
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from models.errors import DatabaseUnavailable

CONNECT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Moment:
    """Which snapshot it is, and of what."""

    snapshot: str  # by which another session may see the same
    taken_at: dt.datetime  # by the database's clock
    server: str  # PostgreSQL's version: 18.4
    schema: str  # in which our tables are
    schema_version: str | None
    table_bytes: int  # of all tables, without their indexes
    encrypted: bool  # on its way from the server


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file that a row names."""

    key: str
    size_bytes: int | None  # of a thumbnail nothing is recorded
    sha256: str | None  # the same


@contextmanager
def open_quietly(url: str, *, name: str) -> Iterator[Connection]:
    """A connection that may take its time, in one transaction, rolled back on an error.

    Args:
        name: shown in `pg_stat_activity`.

    Raises:
        DatabaseUnavailable: no connection.
    """
    engine = create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": f"pressroom {name}",
            "prepare_threshold": None,
        },
    )
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise DatabaseUnavailable(f"PostgreSQL did not answer: {error.orig}") from error
    try:
        with connection, connection.begin():
            yield connection
    finally:
        engine.dispose()


@contextmanager
def open_snapshot(url: str) -> Iterator[tuple[Connection, Moment]]:
    """A connection that sees one moment for as long as it is open."""
    with open_quietly(url, name="backup") as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        yield connection, _find_moment(connection)


def _find_moment(connection: Connection) -> Moment:
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 -- it is open
    row = connection.execute(
        text("""
            SELECT pg_export_snapshot(), now(), current_setting('server_version'),
                current_schema(), (
                    SELECT coalesce(sum(pg_table_size(oid)), 0) FROM pg_class
                    WHERE relnamespace = to_regnamespace(quote_ident(current_schema()))
                      AND relkind = 'r')
        """)
    ).one()
    return Moment(
        snapshot=row[0],
        taken_at=row[1],
        server=row[2].split()[0],
        schema=row[3],
        schema_version=find_schema_version(connection),
        table_bytes=int(row[4]),
        encrypted=bool(driver.pgconn.ssl_in_use),
    )


def find_schema_version(connection: Connection) -> str | None:
    """The migration that the tables are at; None: there are none."""
    return MigrationContext.configure(connection).get_current_revision()


def count_rows_of_tables(connection: Connection) -> dict[str, int]:
    """Table to the number of its rows."""
    tables = connection.scalars(
        text("""
            SELECT relname FROM pg_class
            WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relkind = 'r'
              AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
                              AND objid = pg_class.oid AND deptype = 'e')
            ORDER BY relname
        """)
    ).all()
    return {
        table: int(connection.scalar(text(f'SELECT count(*) FROM "{table}"')) or 0)  # noqa: S608 -- a name from the catalogue
        for table in tables
    }


def count_jobs_by_state(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        text("SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state")
    )
    return {state: int(count) for state, count in rows}


def list_file_rows(connection: Connection) -> list[FileRow]:
    """Every file that a row says is stored, once."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT ON (store_key) store_key, size_bytes, sha256
            FROM artifacts WHERE store_key IS NOT NULL
            UNION ALL
            SELECT DISTINCT thumbnail_key, CAST(NULL AS bigint), NULL
            FROM artifacts WHERE thumbnail_key IS NOT NULL
            UNION ALL
            -- Of campaigns that are still to be expanded; an older schema has no such column.
            SELECT DISTINCT to_jsonb(campaigns) ->> 'rows_key', CAST(NULL AS bigint), NULL
            FROM campaigns WHERE to_jsonb(campaigns) ->> 'rows_key' IS NOT NULL AND total IS NULL
        """)
    )
    return [FileRow(key, size_bytes, sha256) for key, size_bytes, sha256 in rows]
