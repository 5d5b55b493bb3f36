"""Restore a backup: files that the store lacks, then the database, in one transaction.

    look     the backup is whole; nobody uses the database; what is there now
    files    those that the store lacks; more than it needs does no harm
    load     the tables that are there are set aside, those of the backup come in their place, and
             are migrated
    carry    what was sent since the backup is taken over (models/restore.py), so that nothing is
             paid twice; the lanes of what nobody can tell of are paused

Whatever fails, the database is as it was. Redis is left alone: it holds no truth, and what it knows
of the upstream's limits is still so.
"""

import datetime as dt
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import obstore
import psycopg
from obstore.exceptions import BaseError as StoreError
from obstore.store import ObjectStore
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from models import restore as tables
from models.audit import Actor
from models.restore import Carried, Held
from models.snapshot import count_jobs_by_state, count_rows_of_tables, open_quietly
from workers.backup.errors import BackupDamaged, BackupFailed, BackupRefused
from workers.backup.folder import (
    SECRET,
    Backup,
    Report,
    StoredFile,
    check_dump,
    find_damage,
    read_files,
)
from workers.backup.load import load_dump
from workers.backup.programs import Program, find_program, major
from workers.backup.server import database_server, has_database, refuse_running_stack
from workers.secret import Secret
from workers.settings import Settings
from workers.store import open_store, say_error

NAMED_MOST = 3
APPLICATION = "restore"


@dataclass(frozen=True, slots=True)
class Options:
    """How to restore."""

    dry_run: bool = False
    forget_present: bool = False  # take nothing over from the database that is replaced
    send_queued: bool = False  # pause no lane
    with_files: bool = True
    by: Actor | None = None  # whom the audit log names


@dataclass(frozen=True, slots=True)
class Present:
    """The database that is to be replaced."""

    jobs: dict[str, int] = field(default_factory=dict)  # in each state
    newest_at: dt.datetime | None = None  # when the last job was handed in
    unusable: str | None = None  # why nothing can be taken over from it; None: it can

    @property
    def job_count(self) -> int:
        return sum(self.jobs.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored, or would be."""

    present: Present
    jobs: dict[str, int]  # in each state, afterwards
    carried: Carried | None  # None: nothing was taken over
    held: Sequence[Held]  # jobs that may have been sent since
    paused: bool  # whether their lanes are
    files_copied: int
    files_lacking: Sequence[str]  # neither in the backup nor in the store
    secret: str  # what became of it, in words
    secret_fits: bool


def restore_backup(
    settings: Settings,
    backup: Backup,
    options: Options,
    report: Report,
    *,
    agree: Callable[[Present], None],
) -> Restored:
    """Put the backup in the place of what is there.

    Args:
        agree: told of what would be replaced; raises to stop it.

    Raises:
        BackupError, DatabaseUnavailable: nothing was restored; the database is as it was.
    """
    if settings.embeds_postgres:
        refuse_running_stack(settings)
    _refuse_newer(backup)
    report("checking the dump", 0, None)
    check_dump(backup)
    wanted = read_files(backup) if options.with_files else []
    pg_restore = find_program("pg_restore", version=backup.manifest.dumped_by)
    fresh = not has_database(settings)
    if fresh and options.dry_run:
        present = Present(unusable="there is none")
        agree(present)
        return _foretell(settings, backup, present, options, wanted)
    with database_server(settings):
        with open_quietly(settings.database_dsn, name=APPLICATION) as connection:
            present = _look(connection, backup)
        agree(present)
        store = open_store(settings)
        lacking = _find_lacking(store, wanted, report)
        _refuse_damaged(backup, lacking, report)
        if not options.dry_run:
            _copy_files(store, backup, lacking, report)
            secret, fits = _place_secret(settings, backup)
        else:
            secret, fits = _foretell_secret(settings, backup)
        restored = Restored(
            present=present,
            jobs={},
            carried=None,
            held=(),
            paused=not options.send_queued,
            files_copied=len(lacking),
            files_lacking=_find_gone(store, backup),
            secret=secret,
            secret_fits=fits,
        )
        carrying = not options.forget_present and present.unusable is None
        return _replace(
            settings,
            backup,
            pg_restore,
            restored,
            report,
            carrying=carrying,
            options=options,
        )


def _refuse_newer(backup: Backup) -> None:
    if not tables.knows_version(backup.manifest.schema_version):
        raise BackupRefused(
            f"the backup's tables are at version {backup.manifest.schema_version}, which this "
            f"Pressroom does not know: restore it with Pressroom {backup.manifest.program} or newer"
        )


def _look(connection: Connection, backup: Backup) -> Present:
    """What is there now; refuses what must not be replaced."""
    others = tables.find_others(connection)
    if others:
        named = ", ".join(others[:NAMED_MOST]) + (", ..." if len(others) > NAMED_MOST else "")
        raise BackupRefused(
            f"the database is in use by {named}: stop every worker, gateway and command first"
        )
    version, schema, server = tables.find_present(connection)
    if major(server) < major(backup.manifest.server):
        raise BackupRefused(
            f"the server is PostgreSQL {server}, and the backup is of {backup.manifest.server}: "
            "restore it to that version or a newer one"
        )
    if schema != backup.manifest.schema:
        raise BackupRefused(
            f"the backup's tables are in the schema {backup.manifest.schema}, and this database's "
            f"own would be in {schema or 'none'}: restore it where the schema is the same"
        )
    if not tables.knows_version(version):
        raise BackupRefused(
            f"the database is at version {version}, which this Pressroom does not know: "
            "restore with the Pressroom that it belongs to"
        )
    strange = tables.find_strange_tables(connection)
    if strange:
        raise BackupRefused(
            f"the schema {schema} holds tables that are not Pressroom's ({', '.join(strange)}): "
            "restore to a database of its own"
        )
    return _count_present(connection, version)


def _count_present(connection: Connection, version: str | None) -> Present:
    if version is None:
        return Present(unusable="it has no Pressroom tables")
    try:
        jobs = count_jobs_by_state(connection)
        newest = tables.find_newest(connection)
    except DBAPIError as error:
        return Present(unusable=f"it cannot be read: {error.orig}")
    # Older tables lack what later migrations add: that is seen to once they are migrated.
    return Present(jobs=jobs, newest_at=newest)


def _replace(
    settings: Settings,
    backup: Backup,
    pg_restore: Program,
    restored: Restored,
    report: Report,
    *,
    carrying: bool,
    options: Options,
) -> Restored:
    try:
        with open_quietly(settings.database_dsn, name=APPLICATION) as connection:
            restored = _replace_within(
                connection, backup, pg_restore, restored, report, carrying=carrying
            )
            if options.by is not None:
                tables.note_restore(connection, options.by, taken_at=backup.manifest.taken_at)
            if options.dry_run:
                connection.rollback()
    except (DBAPIError, psycopg.Error, BackupDamaged) as error:
        said = " ".join(str(getattr(error, "orig", error)).split())
        hint = (
            " If what is wrong is in the present database: `--forget-present` takes nothing over"
            if carrying
            else ""
        )
        raise BackupFailed(
            f"nothing was restored, the database is as it was: {said}.{hint}"
        ) from error
    return restored


def _replace_within(
    connection: Connection,
    backup: Backup,
    pg_restore: Program,
    restored: Restored,
    report: Report,
    *,
    carrying: bool,
) -> Restored:
    if not tables.hold_off_others(connection):
        raise BackupRefused("another restore is under way")
    if carrying:
        report("migrating what is there", 0, None)
        tables.migrate_within(connection)
        missing = tables.find_missing_tables(connection)
        if missing:
            raise BackupFailed(
                f"the present database is not whole, it lacks {', '.join(missing)}: "
                "`--forget-present` takes nothing over from it"
            )
    tables.set_aside(connection)
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 -- it is open
    load_dump(driver, backup, pg_restore, report)
    tables.use_schema(connection, backup.manifest.schema)
    _refuse_other_rows(connection, backup)
    report("migrating", 0, None)
    tables.migrate_within(connection)
    tables.analyze(connection)
    carried = None
    if carrying:
        report("taking over what was sent since", 0, None)
        carried = tables.carry_over(connection)
    hold = tables.hold_untold if restored.paused else tables.count_untold
    held = hold(connection, carried=carried)
    tables.mend_events(connection)
    tables.drop_aside(connection)
    tables.analyze(connection)
    return replace(restored, jobs=count_jobs_by_state(connection), carried=carried, held=held)


def _refuse_other_rows(connection: Connection, backup: Backup) -> None:
    found = count_rows_of_tables(connection)
    if found != backup.manifest.rows:
        wrong = [
            f"{table}: {found.get(table)} of {rows}"
            for table, rows in backup.manifest.rows.items()
            if found.get(table) != rows
        ]
        raise BackupDamaged(f"other rows came out of the dump than went in: {', '.join(wrong)}")


def _find_lacking(
    store: ObjectStore, wanted: Sequence[StoredFile], report: Report
) -> list[StoredFile]:
    """Files of the backup that the store does not have, or not whole."""
    lacking = []
    for number, file in enumerate(wanted, start=1):
        if _size_in(store, file.key) != file.bytes:
            lacking.append(file)
        report("comparing files", number, len(wanted))
    return lacking


def _size_in(store: ObjectStore, key: str) -> int | None:
    try:
        return int(obstore.head(store, key)["size"])
    except FileNotFoundError:
        return None
    except StoreError as error:
        raise BackupFailed(f"the store does not answer: {say_error(error)}") from error


def _refuse_damaged(backup: Backup, lacking: Sequence[StoredFile], report: Report) -> None:
    problems = []
    for number, file in enumerate(lacking, start=1):
        problem = find_damage(backup.root, file)
        if problem:
            problems.append(problem)
        report("reading files", number, len(lacking))
    if problems:
        raise BackupDamaged(
            f"{len(problems)} files of the backup are damaged, and the store lacks them: "
            f"{'; '.join(problems[:NAMED_MOST])}. `pressroom backup verify` names all; "
            "`--no-files` restores the database alone"
        )


def _copy_files(
    store: ObjectStore, backup: Backup, lacking: Sequence[StoredFile], report: Report
) -> None:
    for number, file in enumerate(lacking, start=1):
        try:
            obstore.put(store, file.key, backup.root / file.key)
        except (StoreError, OSError) as error:
            said = say_error(error)
            raise BackupFailed(f"the store did not take {file.key}: {said}") from error
        report("copying files", number, len(lacking))


def _find_gone(store: ObjectStore, backup: Backup) -> list[str]:
    """Files that were not in the store when the backup was made, and still are not."""
    manifest = backup.manifest
    return [key for key in (*manifest.missing, *manifest.damaged) if _size_in(store, key) is None]


def _place_secret(settings: Settings, backup: Backup) -> tuple[str, bool]:
    """Put the backup's secret where there is none; what became of it, and whether it fits."""
    path, kept = settings.data_dir / SECRET, backup.folder / SECRET
    if settings.secret is None and not path.exists() and kept.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(".secret-restored")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(kept.read_text())
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
        return "restored", _secret_fits(settings, backup)
    return _foretell_secret(settings, backup)


def _foretell_secret(settings: Settings, backup: Backup) -> tuple[str, bool]:
    path: Path = settings.data_dir / SECRET
    if settings.secret is not None or path.exists():
        return "kept", _secret_fits(settings, backup)
    if (backup.folder / SECRET).exists():
        return "would be restored", True
    return "not in the backup: a new one is made", False


def _secret_fits(settings: Settings, backup: Backup) -> bool:
    given = settings.secret
    root = given.get_secret_value() if given else (settings.data_dir / SECRET).read_text()
    return Secret(root).sign_link("backup") == backup.manifest.secret_proof


def _foretell(
    settings: Settings,
    backup: Backup,
    present: Present,
    options: Options,
    wanted: Sequence[StoredFile],
) -> Restored:
    """Of a dry run where there is no database to try it on."""
    secret, fits = _foretell_secret(settings, backup)
    waiting = sum(
        backup.manifest.jobs.get(state, 0) for state in ("queued", "submitting", "unknown")
    )
    return Restored(
        present=present,
        jobs=backup.manifest.jobs,
        carried=None,
        held=[Held("all endpoints", waiting)] if waiting else [],
        paused=not options.send_queued,
        files_copied=len(wanted),
        files_lacking=[*backup.manifest.missing, *backup.manifest.damaged],
        secret=secret,
        secret_fits=fits,
    )
