"""What a connection to Postgres leaves behind when its host is gone."""

import pytest
from sqlalchemy import text

import models.database
from models.database import Database
from models.errors import DatabaseUnavailable


async def test_the_locks_of_a_host_that_is_gone_amid_a_transaction_are_not_waited_for_long(
    settings, database, monkeypatch
):
    monkeypatch.setitem(models.database.LIMITS, "idle_in_transaction_session_timeout", 1)
    async with database.begin() as session:
        await session.execute(text("INSERT INTO settings (name, value) VALUES ('a', '1')"))
    gone = Database(settings.database_dsn, name="tests")

    async def write_and_wait():
        async with gone.begin() as its_session:
            await its_session.execute(text("UPDATE settings SET value = '2'"))
            async with database.begin() as session:
                await session.execute(text("SET LOCAL statement_timeout = '5s'"))
                await session.execute(text("UPDATE settings SET value = '3'"))
            await its_session.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable, match="idle-in-transaction"):
        await write_and_wait()
    async with database.begin() as session:
        assert await session.scalar(text("SELECT value FROM settings")) == 3
    await gone.close()
