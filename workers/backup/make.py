"""Make a backup: a dump of the database, then the files that the rows of the same moment name.

Stored files never change, so what is copied after the dump is what it was at its moment. It works
on a stack that runs; nobody waits for it.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from obstore.exceptions import BaseError as StoreError
from obstore.store import ObjectStore
from sqlalchemy.exc import DBAPIError, ProgrammingError

from models.snapshot import (
    FileRow,
    Moment,
    count_jobs_by_state,
    count_rows_of_tables,
    list_file_rows,
    open_snapshot,
)
from workers.backup.errors import BackupDamaged, BackupFailed, BackupRefused
from workers.backup.folder import (
    DUMP,
    FORMAT,
    PART,
    SECRET,
    Backup,
    Manifest,
    Report,
    StoredFile,
    hash_file,
    list_names,
    lock_folder,
    name_of,
    open_backup,
    read_files,
    write_files,
    write_manifest,
)
from workers.backup.programs import Program, connect_by, find_program
from workers.backup.server import database_server, has_database
from workers.secret import load_secret
from workers.settings import Settings
from workers.store import open_store, read_chunks, say_error

COPIES_AT_ONCE = 4
THUMBNAIL_BYTES = 30_000  # about; nothing is recorded of them
TICK_SECONDS = 0.2


def make_backup(
    settings: Settings, root: Path, report: Report, *, with_files: bool, with_secret: bool
) -> Backup:
    """One more backup in the folder `root`.

    Raises:
        BackupError, DatabaseUnavailable: there is none more.
    """
    if not has_database(settings):
        raise BackupRefused(f"there is no database in {settings.data_dir}: nothing to back up")
    with lock_folder(root), database_server(settings):
        for left in root.glob(f".*{PART}"):  # of one that was killed
            shutil.rmtree(left)
        try:
            return _make(settings, root, report, with_files=with_files, with_secret=with_secret)
        except OSError as error:
            raise BackupFailed(
                f"{error.filename or root} could not be written: {error.strerror or error}"
            ) from error
        except DBAPIError as error:
            raise BackupFailed(f"PostgreSQL did not answer any more: {error.orig}") from error


def _make(
    settings: Settings, root: Path, report: Report, *, with_files: bool, with_secret: bool
) -> Backup:
    with contextlib.ExitStack() as held:
        connection, moment = held.enter_context(open_snapshot(settings.database_dsn))
        if moment.schema_version is None:
            raise BackupRefused("the database has no Pressroom tables: nothing to back up")
        name = name_of(moment.taken_at)
        if (root / name).exists():
            raise BackupRefused(f"{root / name} was made in this very second: try again")
        part = root / f".{name}{PART}"
        pg_dump = find_program("pg_dump", version=moment.server, encrypted=moment.encrypted)
        try:
            rows, jobs = count_rows_of_tables(connection), count_jobs_by_state(connection)
            wanted = list_file_rows(connection) if with_files else []
        except ProgrammingError as error:
            raise BackupRefused(f"the database is not whole: {error.orig}") from error
        refuse_full_disk(root, moment, wanted)
        part.mkdir(mode=0o700)
        held.callback(shutil.rmtree, part, ignore_errors=True)  # unless it was renamed
        for size in dump_database(settings, pg_dump, moment, part / DUMP):
            report("dumping the database", size, None)
        # What others may see of this moment ends with the transaction.
        connection.rollback()

        copier = Copier(open_store(settings), root)
        files = copier.copy(wanted, report)
        secret = load_secret(settings)
        if with_secret:
            _write_secret(settings, part / SECRET)
        manifest = Manifest(
            format=FORMAT,
            program=version("pressroom"),
            taken_at=moment.taken_at,
            schema=moment.schema,
            schema_version=moment.schema_version,
            server=moment.server,
            dumped_by=pg_dump.version,
            dump_bytes=(part / DUMP).stat().st_size,
            dump_sha256=hash_file(part / DUMP),
            rows=rows,
            jobs=jobs,
            with_files=with_files,
            files=len(files),
            files_bytes=sum(file.bytes for file in files),
            files_sha256=write_files(part, files) if with_files else None,
            missing=copier.missing,
            damaged=copier.damaged,
            with_secret=with_secret,
            secret_proof=secret.sign_link("backup"),
        )
        write_manifest(part, manifest)
        report("writing it all to the disk", 0, None)
        os.sync()
        part.rename(root / name)
    return Backup(root, name, manifest)


def refuse_full_disk(root: Path, moment: Moment, wanted: Sequence[FileRow]) -> None:
    """
    Raises:
        BackupRefused: there is less room than it may take.
    """
    new = sum(row.size_bytes or THUMBNAIL_BYTES for row in wanted if not (root / row.key).exists())
    needed, free = moment.table_bytes + new, shutil.disk_usage(root).free
    if free < needed:
        raise BackupRefused(
            f"{root} has {free / 1e6:,.0f} MB left, and up to {needed / 1e6:,.0f} MB are wanted: "
            f"{moment.table_bytes / 1e6:,.0f} for the database, {new / 1e6:,.0f} for files"
        )


def dump_database(
    settings: Settings, pg_dump: Program, moment: Moment, path: Path
) -> Iterator[int]:
    """Run pg_dump; yields how many bytes it has written, now and then.

    Raises:
        BackupFailed: it failed.
    """
    yield 0
    database, environment = connect_by(settings)
    command = [
        str(pg_dump.path),
        f"--dbname={database}",
        f"--file={path}",
        "--format=custom",
        "--compress=1",
        f"--schema={moment.schema}",
        f"--snapshot={moment.snapshot}",
        "--no-owner",
        "--no-privileges",
        "--lock-wait-timeout=60s",
        "--no-password",
    ]
    with subprocess.Popen(  # noqa: S603 -- PostgreSQL's own program
        command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    _, said = process.communicate(timeout=TICK_SECONDS)
                    break
                yield path.stat().st_size if path.exists() else 0
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise BackupFailed(f"pg_dump failed: {said.strip()}")


class Copier:
    """Copies stored files into a folder of backups, each once, and notes those that it cannot.

    Args:
        root: the folder; a file is there under the key that it has in the store.
    """

    def __init__(self, store: ObjectStore, root: Path) -> None:
        self._store = store
        self._root = root
        self._known = _known_hashes(root)
        self.missing: list[str] = []
        self.damaged: list[str] = []

    def copy(self, rows: Sequence[FileRow], report: Report) -> list[StoredFile]:
        """
        Raises:
            BackupFailed: the store does not answer.
        """
        copied = []
        with ThreadPoolExecutor(COPIES_AT_ONCE) as threads:
            done = threads.map(self._copy_one, rows)
            try:
                for number, file in enumerate(done, start=1):
                    if file is not None:
                        copied.append(file)
                    report("copying files", number, len(rows))
            except StoreError as error:
                threads.shutdown(cancel_futures=True)
                raise BackupFailed(f"the store did not give a file: {say_error(error)}") from error
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
        return copied

    def _copy_one(self, row: FileRow) -> StoredFile | None:
        """None: it is noted as missing or damaged."""
        path = self._root / row.key
        if path.exists() and row.size_bytes in {None, path.stat().st_size}:
            sha256 = row.sha256 or self._known.get(row.key) or hash_file(path)
            return StoredFile(row.key, path.stat().st_size, sha256)
        part = path.with_name(path.name + PART)
        (self._root / Path(row.key).parts[0]).mkdir(exist_ok=True, mode=0o700)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        try:
            with part.open("wb") as sink:
                for chunk in read_chunks(self._store, row.key):
                    digest.update(chunk)
                    sink.write(chunk)
            if row.sha256 not in {None, digest.hexdigest()}:
                self.damaged.append(row.key)
                return None
            part.rename(path)
        except FileNotFoundError:
            self.missing.append(row.key)
            return None
        finally:
            part.unlink(missing_ok=True)
        return StoredFile(row.key, path.stat().st_size, digest.hexdigest())


def _known_hashes(root: Path) -> dict[str, str]:
    """Of the files of the last backup, so that what is there need not be read again."""
    try:
        names = list_names(root)
        files = read_files(open_backup(root, names[-1])) if names else []
    except BackupDamaged:
        return {}
    return {file.key: file.sha256 for file in files}


def _write_secret(settings: Settings, path: Path) -> None:
    path.touch(mode=0o600)
    given = settings.secret
    path.write_text(
        given.get_secret_value() if given else (settings.data_dir / "secret").read_text()
    )
