"""Export: everything of a campaign on disk, as one file of lines and its files by name.

What is there with the right hash is not fetched again, so that an export that was cut off goes on
where it was. A file is hashed while it is written, under a name of its own until it is whole.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import orjson

from gateway.reports.file_names import name_file
from models.artifact import Artifact, ArtifactState, list_artifacts
from models.campaign import list_first_jobs
from models.errors import PressroomError
from models.job import TERMINAL, Job, JobState
from models.job_queries import JobFilter, list_jobs
from tasks.campaigns.template import Template
from workers.runtime import Runtime
from workers.store import read_chunks

LINES = "results.jsonl"
PART = ".pressroom-part"
AT_ONCE = 200  # jobs that are held
FETCHED_AT_ONCE = 8


class SameName(PressroomError):
    """Two files would be one; nothing was written."""

    def __init__(self, path: PurePosixPath, jobs: Sequence[UUID]) -> None:
        super().__init__(path, jobs)
        self.path = path
        self.jobs = jobs

    def __str__(self) -> str:
        return (
            f"--name: {self.path} would be a file of {self.jobs[0]} and of {self.jobs[1]}; "
            "{id} and {n} tell them apart"
        )


@dataclass(slots=True)
class Exported:
    """
    Attributes:
        fetched, kept: files that were written, and that were there already.
        missing: files that are not stored: not yet, or their URL died.
        broken: what is wrong with a file that is stored, a line each.
        not_ended: jobs whose result is still to come.
    """

    items: int = 0
    not_ended: int = 0
    fetched: int = 0
    kept: int = 0
    bytes: int = 0
    missing: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not (self.missing or self.broken or self.not_ended)


async def export_campaign(
    runtime: Runtime,
    campaign_id: UUID,
    folder: Path,
    *,
    name: Template | None,
    states: Collection[JobState],
    note: Callable[[Exported], None],
) -> Exported:
    """
    Args:
        name: of the files; None: none are written.
        states: of the jobs that are exported; any, if there are none.
        note: is called as it goes on.

    Raises:
        SameName: nothing was written.
        BadTemplate: of a file nothing would be left of its name; the same.
        OSError: the folder cannot be written to.
    """
    if name is not None:
        await _check_names(runtime, campaign_id, name, states)
    exported = Exported()
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    lines = folder / f"{LINES}{PART}"
    with lines.open("wb") as file:
        async for jobs, files in _read(runtime, campaign_id, states):
            paths = await _write_files(runtime, folder, jobs, files, name=name, exported=exported)
            for job in jobs:
                exported.items += 1
                exported.not_ended += job.state not in TERMINAL
                line = _describe(job, files[job.id], paths)
                file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE, default=str))
            note(exported)
    lines.replace(folder / LINES)
    return exported


async def _read(
    runtime: Runtime, campaign_id: UUID, states: Collection[JobState]
) -> AsyncIterator[tuple[Sequence[Job], dict[UUID, list[Artifact]]]]:
    """In the campaign's order, with the files of each job."""
    async with runtime.database.begin() as session:
        ids = await list_first_jobs(session, campaign_id, limit=None)
    for start in range(0, len(ids), AT_ONCE):
        wanted = ids[start : start + AT_ONCE]
        async with runtime.database.begin() as session:
            found = await list_jobs(session, JobFilter(job_ids=wanted), limit=None)
            stored = await list_artifacts(session, job_ids=wanted)
        by_id = {job.id: job for job in found if not states or job.state in states}
        files: dict[UUID, list[Artifact]] = defaultdict(list)
        for one in stored:
            files[one.job_id].append(one)
        yield [by_id[one] for one in wanted if one in by_id], files


async def _check_names(
    runtime: Runtime, campaign_id: UUID, name: Template, states: Collection[JobState]
) -> None:
    taken: dict[PurePosixPath, UUID] = {PurePosixPath(LINES): campaign_id}
    async for jobs, files in _read(runtime, campaign_id, states):
        for job in jobs:
            for file in _stored(files[job.id]):
                path = PurePosixPath(str(name_file(name, job, file)).casefold())  # as some disks do
                if path in taken:
                    raise SameName(path, [taken[path], job.id])
                taken[path] = job.id


async def _write_files(
    runtime: Runtime,
    folder: Path,
    jobs: Sequence[Job],
    files: dict[UUID, list[Artifact]],
    *,
    name: Template | None,
    exported: Exported,
) -> dict[UUID, str]:
    """Where each file is, from the folder on."""
    paths: dict[UUID, str] = {}
    if name is None:
        return paths
    gate = asyncio.Semaphore(FETCHED_AT_ONCE)

    async def write_one(job: Job, file: Artifact) -> None:
        path = name_file(name, job, file)
        async with gate:
            try:
                size = await asyncio.to_thread(_fetch, runtime, folder / path, file)
            except _Broken as error:
                exported.broken.append(f"{path}: of job {job.id}: {error}")
                return
        paths[file.id] = str(path)
        exported.fetched += size is not None
        exported.kept += size is None
        exported.bytes += size or 0

    await asyncio.gather(*(write_one(job, file) for job in jobs for file in _stored(files[job.id])))
    exported.missing += sum(
        file.state is not ArtifactState.STORED for job in jobs for file in files[job.id]
    )
    return paths


class _Broken(Exception):
    """Its text says what is wrong with a file that is stored."""


def _fetch(runtime: Runtime, path: Path, file: Artifact) -> int | None:
    """Bytes that were written; None: it was there, whole.

    Raises:
        _Broken: it is not there.
    """
    if path.is_file() and path.stat().st_size == file.size_bytes and _hash(path) == file.sha256:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + PART)
    digest, size = hashlib.sha256(), 0
    try:
        with part.open("wb") as to:
            for chunk in read_chunks(runtime.store, str(file.store_key)):
                to.write(chunk)
                digest.update(chunk)
                size += len(chunk)
    except FileNotFoundError as error:
        part.unlink()
        said = "the store has lost it; `pressroom artifacts verify --refetch` fetches it again"
        raise _Broken(said) from error
    if digest.hexdigest() != file.sha256:
        part.unlink()
        raise _Broken(f"its SHA-256 is {digest.hexdigest()}; {file.sha256} was stored")
    part.replace(path)
    return size


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored(files: Sequence[Artifact]) -> list[Artifact]:
    return [file for file in files if file.state is ArtifactState.STORED]


def _describe(job: Job, files: Sequence[Artifact], paths: dict[UUID, str]) -> dict[str, Any]:
    """A line of results.jsonl."""
    return {
        "id": job.id,
        "custom_id": job.custom_id,
        "position": job.position,
        "endpoint": job.endpoint,
        "state": job.state,
        "reason": job.reason,
        "error": job.error if job.state is not JobState.COMPLETED else None,
        "input": job.input,
        "output": job.output,
        "cost_usd": None if job.cost_usd is None else float(job.cost_usd),
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "files": [
            {
                "path": paths.get(file.id),
                "state": file.state,
                "field": file.field,
                "sha256": file.sha256,
                "size_bytes": file.size_bytes,
                "media_type": file.media_type,
            }
            for file in files
        ],
    }
