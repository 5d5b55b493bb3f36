"""The schema: migrated by whoever comes first, and a ledger that no statement can rewrite."""

import asyncio
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from models.attempt import Answer, AttemptEnd, answer_attempts
from models.base import new_id
from models.database import Database, ping
from models.errors import DatabaseUnavailable
from models.migrate import find_drift, find_version, migrate
from models.transitions import NewJob, claim_submissions, enqueue_jobs

ROOT = Path(__file__).parents[2]
FLUX = "black-forest-labs-flux-1-schnell"


@pytest.fixture
def fresh_dsn(services):
    """The URL of a database of this test's, without tables."""
    server = make_url(services.database_dsn)
    name = f"fresh_{uuid4().hex}"
    plain = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def start_migration(dsn):
    return subprocess.Popen(
        [sys.executable, "-c", f"from models.migrate import migrate; print(migrate({dsn!r}))"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_that_migrate_at_once_both_end_at_the_newest_version(fresh_dsn):
    migrating = [start_migration(fresh_dsn) for _ in range(2)]

    ended = [(*process.communicate(timeout=60), process.returncode) for process in migrating]

    newest = find_version(fresh_dsn)[1]
    assert [(out.strip(), code) for out, _, code in ended] == [(newest, 0)] * 2, ended
    assert find_version(fresh_dsn) == (newest, newest)
    assert find_drift(fresh_dsn) == []


def test_migrating_twice_changes_nothing(fresh_dsn):
    first = migrate(fresh_dsn)

    assert migrate(fresh_dsn) == first
    assert find_drift(fresh_dsn) == []


def test_a_database_without_tables_has_no_version_and_differs_in_every_table(fresh_dsn):
    assert find_version(fresh_dsn)[0] is None
    assert find_drift(fresh_dsn) != []


async def test_a_database_without_tables_says_to_migrate(fresh_dsn):
    database = Database(fresh_dsn, name="tests")

    with pytest.raises(DatabaseUnavailable, match="run migrate"):
        async with database.begin() as session:
            await session.execute(text("SELECT FROM jobs"))

    await database.close()


async def test_a_mistake_in_a_statement_is_not_taken_for_an_outage(database):
    with pytest.raises(ProgrammingError):
        async with database.begin() as session:
            await session.execute(text("SELECT nonsense FROM jobs"))


def test_a_server_out_of_reach_is_said_to_be(tmp_path):
    with pytest.raises(DatabaseUnavailable, match="did not answer"):
        migrate(f"postgresql+psycopg://postgres@/postgres?host={tmp_path}")


async def test_a_server_out_of_reach_is_unavailable_to_sessions_too(tmp_path):
    database = Database(f"postgresql+psycopg://postgres@/postgres?host={tmp_path}", name="tests")

    async with asyncio.timeout(10):
        with pytest.raises(DatabaseUnavailable, match="did not answer"):
            async with database.begin() as session:
                await ping(session)

    await database.close()


@pytest.fixture
async def attempt(database):
    """The lease of an attempt that was refused with HTTP 400."""
    lease, job_id = new_id(), new_id()
    async with database.begin() as session:
        await enqueue_jobs(session, [NewJob(id=job_id, endpoint=FLUX, input={})])
        await claim_submissions(
            session, endpoint=FLUX, limit=1, lease=lease, lease_seconds=60, proven=True
        )
        end = AttemptEnd(
            job_id=job_id, lease=lease, answer=Answer.REFUSED, http_status=400, error="no"
        )
        await answer_attempts(session, [end])
    return lease


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM attempts",
        "DELETE FROM jobs",
        "UPDATE attempts SET answer = 'accepted'",
        "UPDATE attempts SET answer = NULL",
        "UPDATE attempts SET answered_at = now() + interval '1 hour'",
        "UPDATE attempts SET http_status = 200",
        "UPDATE attempts SET error = ''",
        "UPDATE attempts SET number = number + 1",
        "UPDATE attempts SET endpoint = 'another'",
        "UPDATE attempts SET sent_at = now() - interval '1 day'",
        "UPDATE attempts SET lease = gen_random_uuid()",
    ],
)
async def test_the_ledger_refuses_to_be_rewritten(database, attempt, statement):
    with pytest.raises(DBAPIError):
        async with database.begin() as session:
            await session.execute(text(statement))

    async with database.begin() as session:
        row = (await session.execute(text("SELECT lease, answer FROM attempts"))).one()
    assert tuple(row) == (attempt, "refused")


async def test_the_ledger_takes_each_fact_once(database, attempt):
    async with database.begin() as session:
        await session.execute(text("UPDATE attempts SET upstream_id = 'u', cost_usd = 0.02"))
        await session.execute(text("UPDATE attempts SET upstream_id = 'u', cost_usd = 0.02"))

    for change in ("upstream_id = 'other'", "cost_usd = 0", "cost_usd = NULL"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with database.begin() as session:
                await session.execute(
                    text(f"UPDATE attempts SET {change} WHERE lease = '{attempt}'")
                )


@pytest.mark.parametrize("fate", ["absent", "doubtful"])
async def test_what_was_concluded_gives_way_to_gone_alone_and_only_of_what_was_taken(
    database, attempt, fate
):
    async def change(change):
        async with database.begin() as session:
            statement = f"UPDATE attempts SET {change} WHERE lease = '{attempt}'"
            await session.execute(text(statement))

    await change(f"fate = '{fate}'")
    with pytest.raises(DBAPIError, match="append-only"):
        await change("fate = 'gone'")
    await change("upstream_id = 'u'")
    for refused in ("'absent'" if fate == "doubtful" else "'doubtful'", "NULL"):
        with pytest.raises(DBAPIError, match="append-only"):
            await change(f"fate = {refused}")

    await change("fate = 'gone'")

    with pytest.raises(DBAPIError, match="append-only"):
        await change(f"fate = '{fate}'")
