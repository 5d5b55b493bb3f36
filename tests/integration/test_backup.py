"""Backup and restore on a real server: what is kept, what is refused; nothing is paid twice."""

import asyncio
import dataclasses
import datetime as dt
import json
import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from sqlalchemy import make_url, text

import tasks.expand
from models.artifact import list_artifacts
from models.audit import Action, Actor, AuditFilter, list_acts
from models.base import Base
from models.campaign import add_campaign, advance
from models.campaign_figures import count_jobs
from models.database import Database
from models.event import Place, list_events
from models.interventions import cancel_jobs, retry_jobs
from models.job import TERMINAL, JobState, OnUnknown, Reason
from models.job_queries import get_job
from models.key import Scope, issue_key, revoke_key
from models.lane import StageName, set_paused
from models.migrate import _migrator, find_version, migrate
from models.restore import AS_IN_THE_BACKUP, CARRIED
from models.schedule import list_schedules, remove_schedule
from models.schedule_run import list_runs
from models.setting import get_settings, put_setting
from models.shelf import shelve_jobs, take_back
from tasks.archive import ARCHIVE
from tasks.campaigns.timetable import Timetable
from tasks.expand import expand_campaign
from tasks.intake import Request, check_request, enqueue
from tasks.poll import POLL
from tasks.schedules import Contents, create_schedule
from tasks.submit import SUBMIT
from tasks.sweep import sweep_lanes
from tasks.tick import tick_schedule, tick_schedules
from workers.app import make_app
from workers.backup.errors import BackupDamaged, BackupFailed, BackupRefused, NoBackup
from workers.backup.folder import list_names, open_backup, verify_backup
from workers.backup.make import make_backup
from workers.backup.programs import find_program
from workers.backup.restore import Options, restore_backup
from workers.lane import LaneRun
from workers.runtime import open_runtime
from workers.settings import Settings
from workers.store import write

ROOT = Path(__file__).parents[2]
FLUX = "black-forest-labs-flux-1-schnell"


def ignore(_what, _done, _total):
    """Nobody looks at the progress."""


@pytest.fixture
def new_database(services):
    """Makes databases of this test's, with tables or without; returns their URLs."""
    server = make_url(services.database_dsn)
    plain = server.set(drivername="postgresql").render_as_string(hide_password=False)
    names = []

    def make(*, migrated=True):
        names.append(f"backup_{uuid4().hex}")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {names[-1]}")
        url = server.set(database=names[-1]).render_as_string(hide_password=False)
        if migrated:
            migrate(url)
        return url

    yield make
    with psycopg.connect(plain, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def settings(settings, new_database):
    """Of an installation with a database of its own."""
    return change(settings, database_url=new_database())


def change(settings, **fields):
    return Settings(**{**settings.model_dump(exclude_none=True), **fields})


@pytest.fixture
def elsewhere(settings, new_database, tmp_path):
    """An installation on another machine: an empty database and an empty folder."""
    return change(settings, database_url=new_database(), data_dir=tmp_path / "elsewhere")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "backups"


async def back_up(settings, root, *, with_files=True, with_secret=False):
    return await asyncio.to_thread(
        make_backup, settings, root, ignore, with_files=with_files, with_secret=with_secret
    )


async def restore(settings, root, **options):
    return await asyncio.to_thread(
        restore_backup,
        settings,
        open_backup(root),
        Options(**options),
        ignore,
        agree=lambda _present: None,
    )


@asynccontextmanager
async def installation(settings):
    """Its runtime; nobody is connected to its database afterwards."""
    async with open_runtime(settings, make_app(settings), name="tests") as runtime:
        yield runtime


async def add_jobs(runtime, count, **fields):
    request = Request(endpoint=FLUX, input={"prompt": "a fox", "width": 256, "height": 256})
    jobs = [
        check_request(runtime.catalogue, request, on_unknown=OnUnknown.RESUBMIT).job
        for _ in range(count)
    ]
    jobs = [dataclasses.replace(job, **fields) for job in jobs]
    await enqueue(runtime, jobs)
    return [job.id for job in jobs]


async def find_job(runtime, job_id):
    async with runtime.database.begin() as session:
        return await get_job(session, job_id)


async def run_to_the_end(runtime, job_ids):
    """Work as workers do until each job has ended and its file is stored; its states."""
    async with asyncio.timeout(40):
        while True:
            states = [(await find_job(runtime, job_id)).state for job_id in job_ids]
            if all(state in TERMINAL for state in states):
                break
            await LaneRun(runtime, SUBMIT, FLUX).run()
            await LaneRun(runtime, POLL, FLUX).run()
            await asyncio.sleep(0.02)
        while await LaneRun(runtime, ARCHIVE, FLUX).run():
            pass
    return states


async def sent(emulator):
    """How many generations the upstream was asked for."""
    return (await emulator.get("/admin/ledger")).json()["jobs"]


def contents(settings):
    """Every row of every table, as text."""
    plain = settings.database_dsn.replace("+psycopg", "")
    with psycopg.connect(plain) as connection:
        return {
            table: sorted(
                str(row) for (row,) in connection.execute(f"SELECT to_jsonb(t) FROM {table} AS t")
            )
            for table in sorted(Base.metadata.tables)
        }


def stored(settings):
    """Every file of the store, with its bytes."""
    store = settings.data_dir / "store"
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def execute(settings, statement):
    with psycopg.connect(settings.database_dsn.replace("+psycopg", "")) as connection:
        connection.execute(statement)


@pytest.mark.usefixtures("emulator")
async def test_every_row_and_every_file_comes_back(settings, elsewhere, root):
    async with installation(settings) as runtime:
        await run_to_the_end(runtime, await add_jobs(runtime, 3))

    made = await back_up(settings, root)
    await restore(elsewhere, root)

    assert contents(elsewhere) == contents(settings)
    assert stored(elsewhere) == stored(settings)
    assert len(stored(settings)) == made.manifest.files > 0
    assert made.manifest.rows["jobs"] == 3
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


async def test_what_a_backup_tells_of_is_one_moment(settings, root):
    """Rows that come while it is made are in no part of it."""
    async with installation(settings) as runtime:
        await add_jobs(runtime, 2)
    added: list[str] = []

    def add_one_more(what, _done, _total):
        if not added:
            added.append(what)
            execute(
                settings,
                f"INSERT INTO jobs (id, endpoint, input) VALUES ('{uuid4()}', 'x', '{{}}')",
            )

    await asyncio.to_thread(
        make_backup, settings, root, add_one_more, with_files=True, with_secret=False
    )
    execute(settings, "DELETE FROM jobs WHERE endpoint = 'x'")
    await restore(settings, root)

    assert added == ["dumping the database"]
    assert open_backup(root).manifest.jobs == {"queued": 2}
    assert len(contents(settings)["jobs"]) == 2


async def test_a_restore_to_earlier_pays_for_nothing_again(settings, emulator, root):
    async with installation(settings) as runtime:
        early = await add_jobs(runtime, 4)
    await back_up(settings, root)
    async with installation(settings) as runtime:
        await run_to_the_end(runtime, early)  # all four are paid for now
        late = await add_jobs(runtime, 3)
        await LaneRun(runtime, SUBMIT, FLUX).run()  # and are on their way
        waiting = await add_jobs(runtime, 1)
        costs = {job_id: (await find_job(runtime, job_id)).cost_usd for job_id in early}

    restored = await restore(settings, root)

    assert (restored.carried.later_jobs, restored.carried.newer_jobs) == (4, 4)
    assert restored.held == []
    async with installation(settings) as runtime:
        states = await run_to_the_end(runtime, [*early, *late, *waiting])
        assert set(states) == {JobState.COMPLETED}
        assert costs == {job_id: (await find_job(runtime, job_id)).cost_usd for job_id in early}
        async with runtime.database.begin() as session:
            files = await list_artifacts(session, job_ids=[*early, *late])
    assert Counter(file.state for file in files) == {"stored": 7}
    assert await sent(emulator) == 8


async def test_maintenance_outlives_a_restore_that_is_done_within_it(settings, root):
    async with installation(settings) as runtime, runtime.database.begin() as session:
        await put_setting(session, name="events_days", value=3)
    await back_up(settings, root)
    async with installation(settings) as runtime, runtime.database.begin() as session:
        await put_setting(session, name="maintenance", value={"reason": "a restore"})
        await put_setting(session, name="events_days", value=4)

    await restore(settings, root)

    async with installation(settings) as runtime, runtime.database.begin() as session:
        kept = await get_settings(session)
    assert kept == {"maintenance": {"reason": "a restore"}, "events_days": 3}


@pytest.mark.usefixtures("emulator")
async def test_what_is_on_the_shelf_comes_back_whichever_is_kept(settings, root):
    """Shelved then, shelved since, taken back and sent since: each job has its input once."""
    async with installation(settings) as runtime:
        jobs = await add_jobs(runtime, 4)
        await run_to_the_end(runtime, jobs)
        before = [(await find_job(runtime, one)).input for one in jobs]
        execute(settings, f"UPDATE jobs SET state = 'failed' WHERE id = '{jobs[3]}'")
        execute(settings, f"DELETE FROM artifacts WHERE job_id = '{jobs[3]}'")
        await put_on_the_shelf(settings, runtime, [*jobs[:2], jobs[3]])
    await back_up(settings, root)
    async with installation(settings) as runtime:
        late = await add_jobs(runtime, 1)
        await run_to_the_end(runtime, late)
        before += [(await find_job(runtime, one)).input for one in late]
        await put_on_the_shelf(settings, runtime, [jobs[2], *late])
        async with runtime.database.begin() as session:
            await take_back(session, jobs[:1])
            await retry_jobs(session, job_ids=[jobs[3]])
        await run_to_the_end(runtime, [jobs[3]])

    restored = await restore(settings, root)

    assert (restored.carried.newer_jobs, restored.carried.later_jobs) == (1, 1)
    async with installation(settings) as runtime:
        found = [await find_job(runtime, one) for one in [*jobs, *late]]
    assert [job.input for job in found] == before
    assert all(job.output for job in found)
    shelved = {job.id for job in found if job.shelved_at is not None}
    assert shelved == {*jobs[:2], *late}
    assert len(contents(settings)["shelved_jobs"]) == 3


async def put_on_the_shelf(settings, runtime, job_ids):
    listed = ", ".join(f"'{one}'" for one in job_ids)
    execute(settings, f"UPDATE jobs SET finished_at = '2020-01-01' WHERE id IN ({listed})")
    async with runtime.database.begin() as session:
        assert await shelve_jobs(session, older_than_seconds=86_400) == len(job_ids)


async def test_without_the_present_ledger_the_same_would_be_paid_again(settings, emulator, root):
    """What the test above is worth: the upstream does bill what is sent again."""
    async with installation(settings) as runtime:
        jobs = await add_jobs(runtime, 4)
    await back_up(settings, root)
    async with installation(settings) as runtime:
        await run_to_the_end(runtime, jobs)

    await restore(settings, root, forget_present=True, send_queued=True)

    async with installation(settings) as runtime:
        await run_to_the_end(runtime, jobs)
    assert await sent(emulator) == 8


async def test_a_reply_that_was_lost_since_stays_unknown(settings, emulator, root):
    """It may be paid for: it is not sent as if it never had been."""
    async with installation(settings) as runtime:
        [job_id] = await add_jobs(runtime, 1)
    await back_up(settings, root)
    async with installation(settings) as runtime:
        await emulator.post("/admin/faults", json={"kind": "reset_after", "count": 1})
        await LaneRun(runtime, SUBMIT, FLUX).run()
        assert (await find_job(runtime, job_id)).state is JobState.UNKNOWN

    await restore(settings, root)

    async with installation(settings) as runtime:
        assert (await find_job(runtime, job_id)).state is JobState.UNKNOWN
        assert await LaneRun(runtime, SUBMIT, FLUX).run() == 0


async def test_what_never_left_is_as_it_was_then(settings, root):
    async with installation(settings) as runtime:
        jobs = await add_jobs(runtime, 3)
    await back_up(settings, root)
    async with installation(settings) as runtime:
        async with runtime.database.begin() as session:
            await cancel_jobs(session, job_ids=jobs)
        assert (await find_job(runtime, jobs[0])).state is JobState.CANCELLED

    restored = await restore(settings, root)

    assert restored.jobs == {"queued": 3}
    assert restored.held == []  # it is known that they were not sent


DAMAGES = {
    "the database is gone": "DROP TABLE attempts, artifacts, deliveries, jobs CASCADE",
    "its tables are empty": (
        "TRUNCATE attempts, reservations, artifacts, deliveries, shelved_jobs, jobs"
    ),
    "jobs are gone": "DELETE FROM jobs WHERE state = 'queued'",
    "the ledger is gone": "TRUNCATE attempts, reservations",
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_nothing_is_sent_that_may_have_been_until_an_operator_says_so(
    settings, emulator, root, damage
):
    async with installation(settings) as runtime:
        done = await add_jobs(runtime, 1)
        await run_to_the_end(runtime, done)
        queued = await add_jobs(runtime, 2)
        async with runtime.database.begin() as session:  # until a time that is past by then
            await set_paused(session, StageName.SUBMIT, FLUX, paused=True, seconds=0)
    await back_up(settings, root)
    execute(settings, DAMAGES[damage])

    restored = await restore(
        settings, root, forget_present=damage == "the database is gone", by=Actor("tests")
    )

    assert [(one.endpoint, one.jobs) for one in restored.held] == [(FLUX, 2)]
    async with installation(settings) as runtime:
        async with runtime.database.begin() as session:
            [noted] = await list_acts(session, AuditFilter(actor="tests"), limit=10)
        assert noted.action == Action.DATABASE_RESTORE
        await sweep_lanes(runtime)
        assert await LaneRun(runtime, SUBMIT, FLUX).run() == 0
        assert await sent(emulator) == 1
        async with runtime.database.begin() as session:
            await set_paused(session, StageName.SUBMIT, FLUX, paused=False)
        assert set(await run_to_the_end(runtime, queued)) == {JobState.COMPLETED}
    assert await sent(emulator) == 3


async def test_what_is_in_flight_is_found_again_on_another_machine(
    settings, elsewhere, emulator, root
):
    async with installation(settings) as runtime:
        jobs = await add_jobs(runtime, 2)
        await LaneRun(runtime, SUBMIT, FLUX).run()
    await back_up(settings, root)

    restored = await restore(elsewhere, root)

    assert restored.held == []
    async with installation(elsewhere) as runtime:
        assert set(await run_to_the_end(runtime, jobs)) == {JobState.COMPLETED}
    assert await sent(emulator) == 2


async def test_a_campaign_that_is_half_expanded_is_expanded_on_another_machine(
    settings, elsewhere, root, monkeypatch
):
    monkeypatch.setattr(tasks.expand, "AT_ONCE", 3)

    async def die_later(session, campaign_id, *, start, **rest):
        if start:
            raise RuntimeError("killed")
        return await advance(session, campaign_id, start=start, **rest)

    async with installation(settings) as runtime:
        await write(runtime.store, "files/rows.csv", b"prompt\n" + b"a fox\n" * 7)
        async with runtime.database.begin() as session:
            campaign_id = await add_campaign(
                session,
                name="half",
                endpoint=FLUX,
                spec={"name": "half", "endpoint": FLUX, "prompts": {"file": "rows.csv"}},
                rows_key="files/rows.csv",
                planned=7,
            )
        monkeypatch.setattr(tasks.expand, "advance", die_later)
        with pytest.raises(RuntimeError):
            await expand_campaign(runtime, campaign_id)
        monkeypatch.undo()
    await back_up(settings, root)

    await restore(elsewhere, root)

    async with installation(elsewhere) as runtime:
        assert not await expand_campaign(runtime, campaign_id)
        async with runtime.database.begin() as session:
            progress = await count_jobs(session, campaign_id)
    assert (progress.total, progress.enqueued, progress.problem) == (7, 7, None)


async def test_what_was_in_flight_too_long_ago_is_lost_and_not_sent_again(
    settings, elsewhere, emulator, root
):
    """The upstream has forgotten it; that it ran and was billed is likelier than not."""
    async with installation(settings) as runtime:
        await emulator.post("/admin/faults", json={"kind": "lose_job", "count": 2})
        jobs = await add_jobs(runtime, 2)
        await LaneRun(runtime, SUBMIT, FLUX).run()
    await back_up(settings, root)

    await restore(elsewhere, root)
    # Of real time; to the emulated upstream it is more than an hour.
    execute(
        elsewhere, "UPDATE jobs SET submitted_at = now() - interval '4 minutes', next_at = now()"
    )

    async with installation(elsewhere) as runtime:
        assert set(await run_to_the_end(runtime, jobs)) == {JobState.LOST}
        ended = [await find_job(runtime, job_id) for job_id in jobs]
    assert {(job.reason, job.attempt) for job in ended} == {(Reason.RESULT_EXPIRED, 1)}


async def test_send_queued_pauses_nothing(settings, elsewhere, root):
    async with installation(settings) as runtime:
        await add_jobs(runtime, 2)
    await back_up(settings, root)

    restored = await restore(elsewhere, root, send_queued=True)

    assert [one.jobs for one in restored.held] == [2]
    assert contents(elsewhere)["lanes"] == []


async def test_a_batch_that_waits_to_be_enqueued_is_held_too(settings, elsewhere, root):
    async with installation(settings) as runtime, runtime.database.begin() as session:
        key = (await issue_key(session, name="shop", scopes=[Scope.RUN])).row
        await session.execute(
            text("""
                WITH batch AS (
                    INSERT INTO batches (id, key_id, endpoint, state)
                    VALUES (:id, :key, :endpoint, 'finalized'))
                SELECT 1
            """),
            {"id": uuid4(), "key": key.id, "endpoint": FLUX},
        )
        await session.execute(
            text("""
                INSERT INTO batch_requests (id, batch_id, position, input)
                SELECT gen_random_uuid(), id, 0, '{}' FROM batches
            """)
        )
    await back_up(settings, root)

    restored = await restore(elsewhere, root)

    assert [(one.endpoint, one.jobs) for one in restored.held] == [(FLUX, 1)]


@pytest.mark.usefixtures("emulator")
async def test_a_dry_run_tells_the_same_and_changes_nothing(settings, root):
    async with installation(settings) as runtime:
        jobs = await add_jobs(runtime, 2)
        await run_to_the_end(runtime, jobs)
    await back_up(settings, root)
    async with installation(settings) as runtime:
        await add_jobs(runtime, 1)
    lost = next(path for path in (settings.data_dir / "store").rglob("*") if path.is_file())
    lost.unlink()
    before = contents(settings), stored(settings)

    tried = await restore(settings, root, dry_run=True)
    after = contents(settings), stored(settings)
    done = await restore(settings, root)

    assert after == before
    assert dataclasses.replace(tried, secret="") == dataclasses.replace(done, secret="")
    assert done.files_copied == 1
    assert lost.exists()


async def test_a_key_that_was_revoked_since_stays_revoked(settings, root):
    async with installation(settings) as runtime, runtime.database.begin() as session:
        old = (await issue_key(session, name="shop", scopes=[Scope.RUN])).row
    await back_up(settings, root)
    async with installation(settings) as runtime, runtime.database.begin() as session:
        await revoke_key(session, old.id)
        await issue_key(session, name="newer", scopes=[Scope.RUN])

    await restore(settings, root)

    with psycopg.connect(settings.database_dsn.replace("+psycopg", "")) as connection:
        keys = connection.execute("SELECT name, revoked_at IS NOT NULL FROM api_keys").fetchall()
    assert sorted(keys) == [("newer", False), ("shop", True)]


async def test_readers_of_events_hear_of_what_comes_after_a_move_to_another_server(
    settings, elsewhere, root
):
    """The places of events are numbers of transactions, and the other server is not so far yet."""
    async with installation(settings) as runtime:
        await add_jobs(runtime, 2)
    execute(settings, "UPDATE events SET transaction = transaction + 1000000000")
    await back_up(settings, root)

    await restore(elsewhere, root)

    async with installation(elsewhere) as runtime:
        [newest] = await add_jobs(runtime, 1)
        async with runtime.database.begin() as session:
            events = await list_events(session, after=Place(0, 0), limit=10)
    assert len(events) == 3
    assert events[-1].job_id == newest
    restored = await restore(elsewhere, root)  # both know the first two, by other numbers
    assert restored.carried.newer_jobs == 1
    assert len(contents(elsewhere)["events"]) == 3


async def test_an_older_backup_is_migrated(settings, elsewhere, new_database, root):
    older = change(settings, database_url=new_database(migrated=False))
    with _migrator(older.database_dsn) as config:
        command.upgrade(config, "0002")
    execute(older, "INSERT INTO endpoint_stats (endpoint) VALUES ('x')")
    execute(older, f"INSERT INTO jobs (id, endpoint, input) VALUES ('{uuid4()}', 'x', '{{}}')")
    await back_up(older, root)

    await restore(settings, root)  # over a newer one
    await restore(elsewhere, root)

    assert open_backup(root).manifest.schema_version == "0002"
    for one in (settings, elsewhere):
        version, newest = find_version(one.database_dsn)
        assert version == newest
        assert len(contents(one)["jobs"]) == 1


@pytest.mark.usefixtures("emulator")
async def test_files_that_are_there_are_not_copied_again(settings, root):
    async with installation(settings) as runtime:
        await run_to_the_end(runtime, await add_jobs(runtime, 1))
    await back_up(settings, root)
    first = {path: path.stat().st_ino for path in (root / "files").rglob("*") if path.is_file()}
    await asyncio.sleep(1.1)  # a backup is named by its second

    made = await back_up(settings, root)

    assert {
        path: path.stat().st_ino for path in (root / "files").rglob("*") if path.is_file()
    } == first
    assert len(list_names(root)) == 2
    assert verify_backup(made, ignore, known={}) == []


@pytest.mark.usefixtures("emulator")
async def test_files_that_the_store_lost_or_changed_are_told_of(settings, root):
    async with installation(settings) as runtime:
        await run_to_the_end(runtime, await add_jobs(runtime, 2))
    [gone, changed] = sorted(
        path for path in (settings.data_dir / "store" / "files").rglob("*") if path.is_file()
    )
    gone.unlink()
    changed.write_bytes(b"x" * changed.stat().st_size)

    made = await back_up(settings, root)

    assert [Path(key).name for key in made.manifest.missing] == [gone.name]
    assert [Path(key).name for key in made.manifest.damaged] == [changed.name]
    assert verify_backup(made, ignore, known={}) == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("what", ["*/database.dump", "*/files.jsonl", "files/*/*/*"])
@pytest.mark.usefixtures("emulator")
async def test_damage_is_found_and_refused(settings, elsewhere, root, what, damage):
    async with installation(settings) as runtime:
        await run_to_the_end(runtime, await add_jobs(runtime, 1))
    made = await back_up(settings, root)
    before = contents(elsewhere)
    [path] = root.glob(what)
    damage(path)

    problems = verify_backup(made, ignore, known={})

    assert [path.name in problem for problem in problems] == [True]
    with pytest.raises(BackupDamaged, match=path.name):
        await restore(elsewhere, root)
    assert contents(elsewhere) == before


async def test_a_restore_that_fails_half_way_leaves_all_as_it_was(settings, root):
    async with installation(settings) as runtime:
        await add_jobs(runtime, 2)
    made = await back_up(settings, root)
    manifest = made.folder / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["rows"]["jobs"] = 3
    manifest.write_text(json.dumps(facts))
    before = contents(settings)

    with pytest.raises(BackupFailed, match="jobs: 2 of 3"):
        await restore(settings, root)

    assert contents(settings) == before
    with psycopg.connect(settings.database_dsn.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT to_regnamespace('pressroom_before')").fetchone() == (
            None,
        )


@pytest.mark.parametrize("moment", ["dumping the database", "writing it all to the disk"])
@pytest.mark.parametrize("how", ["killed", "interrupted"])
async def test_half_a_backup_is_never_taken_for_one(settings, root, moment, how):
    async with installation(settings) as runtime:
        await add_jobs(runtime, 1)
    end = "os.kill(os.getpid(), 9)" if how == "killed" else "raise KeyboardInterrupt"
    variables = {
        "PRESSROOM_DATABASE_URL": settings.database_dsn,
        "PRESSROOM_DATA_DIR": str(settings.data_dir),
    }
    script = f"""
import os, pathlib
from workers.backup.make import make_backup
from workers.settings import Settings
def report(what, done, total):
    if what == {moment!r}:
        {end}
make_backup(Settings(), pathlib.Path({str(root)!r}), report, with_files=True, with_secret=False)
"""
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
    )

    assert ended.returncode == (-signal.SIGKILL if how == "killed" else -signal.SIGINT)
    assert bool(list(root.glob(".*.part"))) == (how == "killed")
    assert list_names(root) == []
    with pytest.raises(NoBackup, match="holds no backup"):
        open_backup(root)
    await back_up(settings, root)
    assert list(root.glob(".*.part")) == []


async def test_the_secret_goes_along_only_if_it_is_asked_for(settings, elsewhere, root):
    without = await back_up(settings, root)
    assert not (without.folder / "secret").exists()
    await asyncio.sleep(1.1)  # a backup is named by its second
    made = await back_up(settings, root, with_secret=True)

    restored = await restore(elsewhere, root)

    kept = made.folder / "secret"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert (elsewhere.data_dir / "secret").read_text() == (settings.data_dir / "secret").read_text()
    assert (restored.secret, restored.secret_fits) == ("restored", True)


async def test_another_secret_is_kept_and_told_of(settings, elsewhere, root):
    await back_up(settings, root, with_secret=True)
    elsewhere.data_dir.mkdir()
    (elsewhere.data_dir / "secret").write_text("another one, of another installation")

    restored = await restore(elsewhere, root)

    assert (restored.secret, restored.secret_fits) == ("kept", False)
    assert (elsewhere.data_dir / "secret").read_text().startswith("another")


async def test_a_database_in_use_is_not_replaced(settings, root):
    await back_up(settings, root)
    database = Database(settings.database_dsn, name="worker 7")
    async with database.begin() as session:
        await session.execute(text("SELECT 1"))

        with pytest.raises(BackupRefused, match="in use by pressroom worker 7"):
            await restore(settings, root)

    await database.close()


async def test_tables_of_others_are_not_replaced(settings, root):
    await back_up(settings, root)
    execute(settings, "CREATE TABLE orders (id int)")

    with pytest.raises(BackupRefused, match="orders"):
        await restore(settings, root)

    execute(settings, "SELECT FROM orders")


@pytest.mark.parametrize("newer", ["the backup", "the database"])
async def test_tables_of_a_newer_pressroom_are_refused(settings, root, newer):
    if newer == "the backup":
        execute(settings, "UPDATE alembic_version SET version_num = '9999'")
    await back_up(settings, root)
    version = "0001" if newer == "the backup" else "9999"
    execute(settings, f"UPDATE alembic_version SET version_num = '{version}'")

    with pytest.raises(BackupRefused, match="9999, which this Pressroom does not know"):
        await restore(settings, root)


async def test_a_format_of_the_future_says_so(settings, root):
    made = await back_up(settings, root)
    manifest = made.folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 2}))

    with pytest.raises(BackupDamaged, match="format 2 and 1 was wanted"):
        open_backup(root)


async def test_a_full_disk_is_told_of_before_anything_is_written(settings, root, monkeypatch):
    usage = os.statvfs("/")
    monkeypatch.setattr(
        "workers.backup.make.shutil.disk_usage",
        lambda _path: type("Usage", (), {"free": 1000, "total": usage.f_blocks})(),
    )

    with pytest.raises(BackupRefused, match="0 MB left"):
        await back_up(settings, root)

    assert list_names(root) == []


def test_a_server_newer_than_every_pg_dump_is_refused(tmp_path):
    with pytest.raises(
        BackupRefused, match=r"pg_dump of PostgreSQL 99 or newer was wanted, .* is 18"
    ):
        find_program("pg_dump", version="99.1")
    with pytest.raises(BackupRefused, match="there is none"):
        find_program("pg_dump", version="18.1", folders=[tmp_path])


def test_every_table_has_a_rule_for_a_restore():
    """A new table: is what the present database says of it taken over, or the backup's?"""
    ruled = {model.__tablename__ for model in (*CARRIED, *AS_IN_THE_BACKUP)}

    assert ruled == set(Base.metadata.tables)


async def test_a_restore_decides_about_no_fire_again(settings, root):
    """One that was removed since comes back, but paused; of one made anew, the new one stays."""
    noon = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
    planned = Contents(
        spec={"name": "a", "endpoint": FLUX, "prompts": ["a fox"]},
        rows_key=None,
        jobs=1,
        usd=Decimal(),
        unpriced=0,
    )

    async def make(runtime, name):
        async with runtime.database.begin() as session:
            timetable = Timetable(cron="0 * * * *")
            schedule = await create_schedule(
                session, name=name, timetable=timetable, contents=planned, now=noon
            )
            return schedule.id

    async with installation(settings) as runtime:
        kept, removed, anew = [await make(runtime, name) for name in ("kept", "removed", "anew")]
    await back_up(settings, root)
    async with installation(settings) as runtime:
        async with runtime.database.begin() as session:
            await remove_schedule(session, removed)
            await remove_schedule(session, anew)
        await tick_schedule(runtime, kept, noon + dt.timedelta(hours=1))
        anew = await make(runtime, "anew")

    await restore(settings, root)

    async with installation(settings) as runtime:
        assert await tick_schedules(runtime, noon + dt.timedelta(hours=1.5)) == 1  # of `anew`
        async with runtime.database.begin() as session:
            found = {one.id: one for one in await list_schedules(session)}
            [run] = await list_runs(session, kept, limit=5)
    assert run.campaign_id is not None
    assert set(found) == {kept, removed, anew}
    assert [found[one].paused_at is None for one in (kept, removed, anew)] == [True, False, True]
    assert "comes from a backup" in (found[removed].problem or "")
