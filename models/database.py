"""How Postgres is reached: one pool a process, and sessions that are one transaction each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from models.errors import DatabaseUnavailable

POOL_SIZE = 8
POOL_OVERFLOW = 12  # connections more while many stages record at once; 20 a process in all
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 30


class Database:
    """An engine, and transactions on it.

    Args:
        url: `postgresql+psycopg://...`
        name: shown in `pg_stat_activity`.
    """

    def __init__(self, url: str, *, name: str) -> None:
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=STATEMENT_SECONDS,
            # Postgres writes 1e30 out in full; orjson reads it as the number that it can write.
            json_deserializer=orjson.loads,
            hide_parameters=True,  # prompts, in the text of an error
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "application_name": f"pressroom {name}",
                # A stage must end: nothing else limits a thread that waits for a lock.
                "options": f"-c statement_timeout={STATEMENT_SECONDS}s"
                f" -c idle_in_transaction_session_timeout={STATEMENT_SECONDS}s",
            },
        )

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A session whose transaction is committed at the end, or rolled back on an error.

        Raises:
            DatabaseUnavailable: no connection, or no tables.
        """
        try:
            async with (
                AsyncSession(self.engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session
        # InternalError: it is read-only after a failover, or we held a transaction for too long.
        except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
            raise DatabaseUnavailable(
                f"PostgreSQL did not answer: {_say(error)}. Is the stack up? "
                "`pressroom doctor` tells"
            ) from error
        except ProgrammingError as error:
            if "UndefinedTable" not in type(error.orig).__name__:
                raise
            raise DatabaseUnavailable(
                "the database has no Pressroom tables: run `pressroom run migrate`"
            ) from error

    async def close(self) -> None:
        await self.engine.dispose()


def _say(error: Exception) -> str:
    """The driver's words on one line, without SQL and its parameters."""
    return " ".join(str(getattr(error, "orig", error)).split())


async def ping(session: AsyncSession) -> None:
    """Ask for an answer."""
    await session.execute(text("SELECT 1"))


async def empty_tables(session: AsyncSession) -> None:
    """Delete everything: for tests, and for whoever begins anew."""
    await session.execute(
        text(
            "TRUNCATE attempts, artifacts, deliveries, jobs, campaigns, lanes, settings, "
            "endpoint_stats, handles, events, api_keys, batches, batch_requests, pulses, flows, "
            "charges, size_stats, shelved_jobs"
        )
    )
