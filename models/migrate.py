"""Bring the database to the newest schema. Safe to run twice, and from two processes at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from models.base import Base
from models.errors import DatabaseUnavailable

LOCK = 7_305_846_012  # any number, as long as nothing else locks it


@contextmanager
def _migrator(url: str) -> Iterator[Config]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 5})
    try:
        with engine.begin() as connection:
            # Held to the end of the transaction that migrates: whoever comes second waits,
            # and then finds nothing to do.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            config.attributes["connection"] = connection
            yield config
    except OperationalError as error:
        raise DatabaseUnavailable(f"PostgreSQL did not answer: {error.orig}") from error
    finally:
        engine.dispose()


def migrate(url: str) -> str:
    """Migrate to the newest version, which is returned.

    Raises:
        DatabaseUnavailable: no connection to `url`.
    """
    with _migrator(url) as config:
        command.upgrade(config, "head")
        return str(ScriptDirectory.from_config(config).get_current_head())


def find_drift(url: str) -> list[object]:
    """How the migrated database differs from what the models say; nothing, if all is well."""
    with _migrator(url) as config:
        connection = config.attributes["connection"]
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def find_version(url: str) -> tuple[str | None, str]:
    """The version that the database is at, and the newest there is."""
    with _migrator(url) as config:
        context = MigrationContext.configure(config.attributes["connection"])
        return context.get_current_revision(), str(
            ScriptDirectory.from_config(config).get_current_head()
        )
