"""Hold the store against the rows: read every stored file again, and say what is not as it was.

Rows are read by the page, in the order of their hashes, so bytes that many files share are read
once and memory stays flat. A fault is believed at the second look, by rows read again: files may be
stored, and fetched again, while this runs.
"""

import asyncio
import enum
import hashlib
import io
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from obstore.exceptions import BaseError as StoreError
from obstore.store import ObjectStore
from PIL import Image

from models.custody import Content, is_refetched, list_contents, list_files_of, refetch_content
from models.errors import PressroomError
from models.lane import StageName
from tasks.media import make_thumbnail, probe
from workers.runtime import Runtime
from workers.store import read, read_chunks, say_error, write

PAGE = 500
PROBED = 10  # files, all of which are missing only in another store
AT_ONCE = 8
SHOWN_FILES = 20  # of those that share bytes
SHOWN_PROBLEMS = 1000  # in JSON; all are counted
STORE_ERRORS = (StoreError, OSError)  # obstore's own, and Python's


class WrongStore(PressroomError):
    """Nothing that was looked for is in the store: it is not the one that the files were put in."""


class Fault(enum.StrEnum):
    MISSING = "missing"
    CHANGED = "changed"  # other bytes than were stored
    UNREADABLE = "unreadable"  # the store does not give it, or what it gives is no picture


class Remedy(enum.StrEnum):
    REFETCHED = "fetched again"
    UNDER_WAY = "already being fetched again"
    REMADE = "made again"
    NONE = "no URL of it lives"
    UNTRIED = "the store has to be looked at"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the store that is not as it was stored."""

    content: Content
    of: str  # "file" or "thumbnail"
    fault: Fault
    detail: str
    files: Sequence[tuple[UUID, UUID]] = ()  # (file, job); the first of those that have it
    remedy: Remedy | None = None  # None: none was asked for

    @property
    def mended(self) -> bool:
        return self.remedy in {Remedy.REFETCHED, Remedy.UNDER_WAY, Remedy.REMADE}

    def describe(self) -> dict[str, Any]:
        return {
            "of": self.of,
            "fault": self.fault,
            "detail": self.detail,
            "sha256": self.content.sha256,
            "store_key": self._key,
            "files": self.content.files,
            "artifacts": [str(artifact) for artifact, _ in self.files],
            "jobs": sorted({str(job) for _, job in self.files}),
            "remedy": self.remedy,
        }

    def __str__(self) -> str:
        named = ", ".join(str(artifact) for artifact, _ in self.files)
        more = self.content.files - len(self.files)
        said = f"{named}{f' and {more:,} more' if more > 0 else ''}: {self.of} {self.fault}"
        return f"{said}: {self.detail}" + (f"; {self.remedy}" if self.remedy else "")

    @property
    def _key(self) -> str | None:
        return self.content.store_key if self.of == "file" else self.content.thumbnail_key


@dataclass(slots=True)
class Report:
    """All that was found, counted; the first problems as they are."""

    files: int = 0
    problems: int = 0
    damaged: int = 0  # files whose bytes are not as they were stored
    thumbnails: int = 0
    mended: int = 0
    shown: list[Problem] = field(default_factory=list)

    def add(self, page: Sequence[Content], problems: Sequence[Problem]) -> None:
        self.files += sum(content.files for content in page)
        self.problems += len(problems)
        self.damaged += sum(one.content.files for one in problems if one.of == "file")
        self.thumbnails += sum(one.of == "thumbnail" for one in problems)
        self.mended += sum(one.mended for one in problems)
        self.shown += problems[: SHOWN_PROBLEMS - len(self.shown)]

    def describe(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "damaged": self.damaged,
            "thumbnails_damaged": self.thumbnails,
            "mended": self.mended,
            "problems": [problem.describe() for problem in self.shown],
            "problems_not_shown": self.problems - len(self.shown),
        }

    def __str__(self) -> str:
        said = f"{self.files - self.damaged:,} of {self.files:,} files are as they were stored"
        if self.thumbnails:
            said += f"; {self.thumbnails:,} thumbnails are not"
        return said + (
            f"; of {self.problems:,} faults {self.mended:,} are being mended" if self.mended else ""
        )


async def verify_store(
    runtime: Runtime, *, campaign_id: UUID | None, refetch: bool, all_lost: bool = False
) -> AsyncIterator[tuple[Sequence[Content], Sequence[Problem]]]:
    """Page by page: what was looked at, and what is wrong with it.

    Raises:
        WrongStore: `refetch`, not `all_lost`, and none of the first files is there: nothing was
            changed.
    """
    if refetch and not all_lost:
        await _refuse_wrong_store(runtime, campaign_id)
    last: Content | None = None
    slots = asyncio.Semaphore(AT_ONCE)

    async def look(content: Content) -> list[Problem]:
        async with slots:
            return await examine(runtime, content, refetch=refetch)

    while True:
        async with runtime.database.begin() as session:
            page = await list_contents(session, after=last, limit=PAGE, campaign_id=campaign_id)
        if not page:
            return
        found = await asyncio.gather(*map(look, page))
        yield page, [problem for problems in found for problem in problems]
        last = page[-1]


async def _refuse_wrong_store(runtime: Runtime, campaign_id: UUID | None) -> None:
    async with runtime.database.begin() as session:
        first = await list_contents(session, after=None, limit=PROBED, campaign_id=campaign_id)
    if len(first) < PROBED:
        return  # so few may well be lost
    for content in first:
        wrong = await asyncio.to_thread(_look_at_file, runtime.store, content)
        if wrong is None or wrong[0] is not Fault.MISSING:
            return
    raise WrongStore(
        f"none of the first {PROBED} files is in {runtime.settings.store_base}; nothing was "
        "changed. If they were put elsewhere, set PRESSROOM_STORE_URL; if they are all lost, say "
        "--all-lost"
    )


async def examine(runtime: Runtime, content: Content, *, refetch: bool) -> list[Problem]:
    """What is wrong with one file of the store, and its thumbnail; mended, if `refetch`."""
    if not await _look(runtime, content):
        return []
    async with runtime.database.begin() as session:
        now = await list_contents(session, after=None, limit=PAGE, sha256=content.sha256)
        files = await list_files_of(session, content, limit=SHOWN_FILES)
    if content.store_key not in {one.store_key for one in now}:
        return []  # it is being fetched again
    problems = await _look(runtime, content)
    problems = [replace(problem, files=files) for problem in problems]
    return await _mend(runtime, content, problems) if refetch else problems


async def _look(runtime: Runtime, content: Content) -> list[Problem]:
    problems = []
    if wrong := await asyncio.to_thread(_look_at_file, runtime.store, content):
        problems.append(Problem(content, "file", *wrong))
    if content.thumbnail_key and (
        wrong := await asyncio.to_thread(
            _look_at_thumbnail, await _try_read(runtime, content.thumbnail_key)
        )
    ):
        problems.append(Problem(content, "thumbnail", *wrong))
    return problems


def _look_at_file(store: ObjectStore, content: Content) -> tuple[Fault, str] | None:
    try:
        found = copy_file(store, content.store_key)
    except FileNotFoundError:
        return Fault.MISSING, f"{content.store_key} is not in the store"
    except STORE_ERRORS as error:
        return Fault.UNREADABLE, say_error(error)
    if found == content.sha256:
        return None
    return Fault.CHANGED, f"{content.sha256} was stored, and is now {found}"


async def _try_read(runtime: Runtime, key: str) -> bytes | Exception:
    try:
        return await read(runtime.store, key)
    except STORE_ERRORS as error:
        return error


def _look_at_thumbnail(came: bytes | Exception) -> tuple[Fault, str] | None:
    """There is no hash of it: it is whole if it is a picture."""
    if isinstance(came, FileNotFoundError):
        return Fault.MISSING, "it is not in the store"
    if isinstance(came, Exception):
        return Fault.UNREADABLE, say_error(came)
    try:
        with Image.open(io.BytesIO(came), formats=["WEBP"]) as picture:
            picture.load()
    except Exception as error:  # noqa: BLE001 -- decoders raise anything at all on broken bytes
        return Fault.UNREADABLE, f"{type(error).__name__}: {error}"
    return None


async def _mend(runtime: Runtime, content: Content, problems: Sequence[Problem]) -> list[Problem]:
    """With the file comes its thumbnail."""
    of_file = next((one for one in problems if one.of == "file"), None)
    if of_file is None:
        made = await _remake_thumbnail(runtime, content)
        remedy = Remedy.REMADE if made else Remedy.UNTRIED
    elif of_file.fault is Fault.UNREADABLE:
        remedy = Remedy.UNTRIED
    else:
        remedy = await refetch_bytes(
            runtime, content, why=f"{of_file.fault} in the store: {of_file.detail}"
        )
    return [replace(problem, remedy=remedy) for problem in problems]


async def refetch_bytes(runtime: Runtime, content: Content, *, why: str) -> Remedy:
    """Have bytes that the store lost downloaded again."""
    async with runtime.database.begin() as session:
        if await is_refetched(session, content.sha256):
            return Remedy.UNDER_WAY
        file = await refetch_content(session, content, why=why)
    if file is None:
        return Remedy.NONE
    await runtime.bells.ring(StageName.ARCHIVE, file.endpoint)
    return Remedy.REFETCHED


async def _remake_thumbnail(runtime: Runtime, content: Content) -> bool:
    """From the stored file, which is as it was."""
    if content.thumbnail_key is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        try:
            made = await asyncio.to_thread(_make_thumbnail, runtime.store, content.store_key, path)
            if made is not None:
                await write(runtime.store, content.thumbnail_key, made)
        except STORE_ERRORS:
            return False
    return made is not None


def _make_thumbnail(store: ObjectStore, key: str, path: Path) -> bytes | None:
    with path.open("wb") as sink:
        copy_file(store, key, sink)
    return make_thumbnail(path, probe(path, declared=None))


def copy_file(store: ObjectStore, key: str, sink: BinaryIO | None = None) -> str:
    """Stream a stored file into `sink`, if there is one; returns the SHA-256 of what was read."""
    digest = hashlib.sha256()
    for chunk in read_chunks(store, key):
        digest.update(chunk)
        if sink is not None:
            sink.write(chunk)
    return digest.hexdigest()
