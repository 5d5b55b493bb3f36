"""A campaign through PgBouncer in transaction mode: a few connections to the server serve them all.

The server itself is the stack's own; PgBouncer stands before it on 127.0.0.1.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from models.database import Database
from models.errors import DatabaseUnavailable
from tests.acceptance.test_campaign_survives import check_everything, start_campaign
from tests.conftest import free_port
from workers.app import make_app
from workers.runtime import open_runtime
from workers.settings import Settings
from workers.stack import postgres
from workers.stack.lifecycle import bring_up, take_down

# Debian puts it where only root's PATH leads.
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
SERVER_CONNECTIONS = 6
JOBS = 40

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")

CONFIG = """
[databases]
postgres = host={sockets} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 1000
logfile = {folder}/pgbouncer.log
pidfile =
"""


@pytest.fixture(scope="module")
def pooled(data_root):
    """A stack whose workers and gateway reach their database through PgBouncer."""
    port = free_port()
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    settings = Settings(
        data_dir=Path(tempfile.mkdtemp(prefix="pooled-", dir=data_root)),
        database_pooler_url=url,
        gateway_port=free_port(),
        flower_port=free_port(),
        emulator_port=free_port(),
    )
    # It runs as the server does, who may read the whole of this.
    with (
        tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder,
        pytest.MonkeyPatch.context() as env,
    ):
        Path(folder).chmod(0o777)
        config = Path(folder) / "pgbouncer.ini"
        config.write_text(
            CONFIG.format(
                folder=folder,
                port=port,
                sockets=settings.socket_dir,
                connections=SERVER_CONNECTIONS,
            )
        )
        for name in ("data_dir", "gateway_port", "flower_port", "emulator_port"):
            env.setenv(f"PRESSROOM_{name.upper()}", str(getattr(settings, name)))
        env.setenv("PRESSROOM_DATABASE_POOLER_URL", url)
        pooler = subprocess.Popen(
            [str(PGBOUNCER), "-q", config],
            **postgres.identity(),
            cwd="/",
            stderr=subprocess.DEVNULL,
        )
        try:
            bring_up(settings, lambda _step: None)
            yield settings
        finally:
            take_down(settings, lambda _step: None)
            pooler.terminate()
            pooler.wait(30)


async def count_connections(settings):
    """To the server, of processes of the stack; seen from beside the pooler."""
    plain = settings.database_dsn.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(plain) as connection:
        rows = await connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pressroom %'"
            " AND application_name <> 'pressroom check'"  # which goes to the server itself
        )
        [[count]] = await rows.fetchall()
    return count


async def test_a_campaign_goes_through_on_a_few_connections(pooled):
    async with open_runtime(pooled, make_app(pooled), name="tests") as runtime:
        campaign_id = await start_campaign(runtime, JOBS)
        most = 0
        checking = asyncio.create_task(check_everything(runtime, campaign_id, jobs=JOBS))
        while not checking.done():
            most = max(most, await count_connections(pooled))
            await asyncio.sleep(0.1)
        await checking

    assert 0 < most <= SERVER_CONNECTIONS


async def test_many_at_once_prepare_nothing_that_others_would_meet(pooled):
    """psycopg prepares what runs five times, under names that count from one in each process."""
    databases = [Database(pooled.pooler_dsn, name=f"tests {n}", pooled=True) for n in range(3)]

    async def work(database):
        for number in range(20):
            async with database.begin() as session:
                asked = {"number": number}
                assert await session.scalar(text("SELECT :number + 1"), asked) == number + 1

    await asyncio.gather(*(work(database) for database in databases for _ in range(4)))

    for database in databases:
        await database.close()


async def test_a_statement_is_ended_in_time_and_the_next_transaction_is_none_the_wiser(
    pooled, monkeypatch
):
    limit = text("SELECT set_config('statement_timeout', '100ms', true)")
    monkeypatch.setattr("models.database.SET_LIMITS", limit)
    database = Database(pooled.pooler_dsn, name="tests", pooled=True)

    with pytest.raises(DatabaseUnavailable, match="statement timeout"):
        async with database.begin() as session:
            await session.execute(text("SELECT pg_sleep(20)"))

    await database.close()
    plain = pooled.database_pooler_url.get_secret_value()
    async with await psycopg.AsyncConnection.connect(plain, prepare_threshold=None) as connection:
        rows = await connection.execute("SHOW statement_timeout")
        assert await rows.fetchone() == ("0",)


async def test_without_the_setting_a_pooler_refuses_us_at_once(pooled):
    database = Database(pooled.pooler_dsn, name="tests")

    with pytest.raises(DatabaseUnavailable, match="unsupported startup parameter"):
        async with database.begin() as session:
            await session.execute(text("SELECT 1"))

    await database.close()
