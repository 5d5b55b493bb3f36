"""How Postgres is reached: one pool a process, and sessions that are one transaction each.

A pooler in transaction mode may stand between (PgBouncer): then each transaction has another
connection to the server, maybe, and nothing may be left on one. All that is kept for longer than a
transaction is a statement that psycopg has prepared, and how long statements may take; locks are
those of transactions, and nothing listens.
"""

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
IDLE_SECONDS = 10
LIMITS = {
    # A stage must end: nothing else limits a thread that waits for a lock.
    "statement_timeout": STATEMENT_SECONDS,
    # A host that is cut off amid a transaction leaves its locks behind, for which others wait.
    "idle_in_transaction_session_timeout": IDLE_SECONDS,
}
SET_LIMITS = text(
    "SELECT "
    + ", ".join(f"set_config('{limit}', '{seconds}s', true)" for limit, seconds in LIMITS.items())
)
# When each side gives up a connection whose other side is gone without a word: the system's own
# answers are a quarter of an hour for what was sent, and two hours for one that is idle.
SILENT_SECONDS = 15
CLIENT_ALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": SILENT_SECONDS * 1000,
}
SERVER_ALIVE = {
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": SILENT_SECONDS * 1000,
}


class Database:
    """An engine, and transactions on it.

    Args:
        url: `postgresql+psycopg://...`
        name: shown in `pg_stat_activity`.
        pooled: `url` is a pooler's, in transaction mode.
    """

    def __init__(self, url: str, *, name: str, pooled: bool = False) -> None:
        self._pooled = pooled
        # What a pooler would refuse, or give to others.
        options = {**{limit: f"{seconds}s" for limit, seconds in LIMITS.items()}, **SERVER_ALIVE}
        flags = " ".join(f"-c {name}={value}" for name, value in options.items())
        kept = {"prepare_threshold": None} if pooled else {"options": flags}
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
                **CLIENT_ALIVE,
                **kept,
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
                if self._pooled:
                    await session.execute(SET_LIMITS)
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
            "charges, size_stats, shelved_jobs, budgets, budget_periods, budget_changes, "
            "reservations, announcements, schedules, schedule_runs, audit"
        )
    )
