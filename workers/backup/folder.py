"""A folder of backups: each has a folder of its own, named by its time, and they share their files.

    files/, thumbnails/       stored files under the keys that they have in the store, each once
    2026-02-03T04-05-06Z/     one backup
        manifest.json         what it is; written last
        database.dump         by pg_dump, in its custom format
        files.jsonl           the files that belong to it: key, bytes, SHA-256
        secret                the installation's secret, if that was asked for

What is being written is named `.part`, so that half a backup is never taken for a whole one.
"""

import dataclasses
import datetime as dt
import fcntl
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.backup.errors import BackupDamaged, BackupRefused, NoBackup

FORMAT = 1
MANIFEST, DUMP, FILES, SECRET = "manifest.json", "database.dump", "files.jsonl", "secret"
PART = ".part"
NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ")
CHUNK_BYTES = 1024 * 1024

# What is done, how far it is, and of how much (None: that is not known).
Report = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that belongs to a backup."""

    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup is."""

    format: int
    program: str  # Pressroom's version
    taken_at: dt.datetime  # by the database's clock
    schema: str
    schema_version: str
    server: str  # PostgreSQL's version
    dumped_by: str  # pg_dump's
    dump_bytes: int
    dump_sha256: str
    rows: dict[str, int]  # of each table
    jobs: dict[str, int]  # in each state
    with_files: bool
    files: int
    files_bytes: int
    files_sha256: str | None  # of their list
    missing: list[str] = field(default_factory=list)  # files that the store did not have
    damaged: list[str] = field(default_factory=list)  # or had otherwise than they were stored
    with_secret: bool = False
    secret_proof: str = ""  # tells whether a secret is the one that it was


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup in its folder."""

    root: Path
    name: str
    manifest: Manifest

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def dump(self) -> Path:
        return self.folder / DUMP


def name_of(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H-%M-%SZ")


def list_names(root: Path) -> list[str]:
    """Whole backups, the oldest first.

    Raises:
        NoBackup: there is no such folder.
    """
    if not root.is_dir():
        raise NoBackup(f"{root} is no folder")
    return sorted(
        one.name for one in root.iterdir() if NAME.fullmatch(one.name) and (one / MANIFEST).exists()
    )


def open_backup(root: Path, name: str | None = None) -> Backup:
    """A backup by its name, or the newest.

    Raises:
        NoBackup: there is none.
        BackupDamaged: its manifest cannot be read.
    """
    names = list_names(root)
    if not names:
        raise NoBackup(f"{root} holds no backup: `pressroom backup {root}` makes one")
    if name is not None and name not in names:
        raise NoBackup(f"{root} holds no backup {name!r}; it holds {', '.join(names)}")
    chosen = name or names[-1]
    return Backup(root, chosen, _read_manifest(root / chosen / MANIFEST))


def _read_manifest(path: Path) -> Manifest:
    try:
        facts = json.loads(path.read_text())
        found = facts["format"]
        if found != FORMAT:
            raise BackupDamaged(
                f"{path} is of format {found!r} and {FORMAT} was wanted: "
                "a newer Pressroom wrote it; restore it with that"
            )
        return Manifest(**{**facts, "taken_at": dt.datetime.fromisoformat(facts["taken_at"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BackupDamaged(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    facts = {**dataclasses.asdict(manifest), "taken_at": manifest.taken_at.isoformat()}
    (folder / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n")


def write_files(folder: Path, files: Sequence[StoredFile]) -> str:
    """Write the list of files; returns its SHA-256."""
    path = folder / FILES
    with path.open("w") as sink:
        for one in files:
            sink.write(json.dumps(dataclasses.asdict(one)) + "\n")
    return hash_file(path)


def read_files(backup: Backup) -> list[StoredFile]:
    """The files that belong to a backup.

    Raises:
        BackupDamaged: their list is not what was written.
    """
    if not backup.manifest.with_files:
        return []
    path = backup.folder / FILES
    _check(path, sha256=backup.manifest.files_sha256)
    with path.open() as lines:
        return [StoredFile(**json.loads(line)) for line in lines]


def check_dump(backup: Backup) -> None:
    """
    Raises:
        BackupDamaged: it is not what was written.
    """
    _check(backup.dump, sha256=backup.manifest.dump_sha256, size=backup.manifest.dump_bytes)


def find_damage(root: Path, file: StoredFile) -> str | None:
    """What is wrong with a file in the folder, if anything is."""
    try:
        _check(root / file.key, sha256=file.sha256, size=file.bytes)
    except BackupDamaged as error:
        return str(error)
    return None


def verify_backup(
    backup: Backup, report: Report, *, known: dict[StoredFile, str | None]
) -> list[str]:
    """Read all of a backup again; what is wrong with it.

    Args:
        known: files that were looked at for another backup, and what was found; it grows.
    """
    problems = []
    try:
        check_dump(backup)
    except BackupDamaged as error:
        problems.append(str(error))
    try:
        files = read_files(backup)
    except BackupDamaged as error:
        return [*problems, str(error)]
    for number, file in enumerate(files, start=1):
        if file not in known:
            known[file] = find_damage(backup.root, file)
        report(f"reading the files of {backup.name}", number, len(files))
    return problems + [problem for file in files if (problem := known[file])]


def hash_file(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _check(path: Path, *, sha256: str | None, size: int | None = None) -> None:
    try:
        found_size = path.stat().st_size
        if size is not None and found_size != size:
            raise BackupDamaged(f"{path} has {found_size} bytes; {size} were written")
        found = hash_file(path)
    except OSError as error:
        raise BackupDamaged(f"{path} cannot be read: {error.strerror}") from error
    if found != sha256:
        raise BackupDamaged(f"{path} has the SHA-256 {found}; {sha256} was written")


@contextmanager
def lock_folder(root: Path) -> Iterator[None]:
    """Nobody else writes to the folder meanwhile.

    Raises:
        BackupRefused: somebody does, or it cannot be written to.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (root / ".lock").open("w")
    except OSError as error:
        raise BackupRefused(f"{root} cannot be written to: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BackupRefused(f"another backup is being written to {root}") from error
        yield


def describe(backup: Backup) -> dict[str, Any]:
    """For `--json`."""
    facts = dataclasses.asdict(backup.manifest)
    return {"name": backup.name, "folder": str(backup.folder.absolute()), **facts}
