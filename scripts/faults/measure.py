"""What has become of the jobs, by the three who know: the database, the store, the emulator."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from models.database import Database
from models.errors import DatabaseUnavailable
from models.job import JobState
from scripts.faults.stack import Stack
from scripts.faults.workload import Workload
from workers.stack.supervisor import StackError

LOOK_SECONDS = 0.2
QUIET_SECONDS = 60.0
AWAY_SECONDS = 120.0  # that Postgres may be away


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the jobs of one key are."""

    jobs: int
    completed: int
    ended: int
    pending_files: int
    stored_files: int
    accepted: int  # calls that the upstream took

    @property
    def done(self) -> bool:
        return self.ended == self.jobs and not self.pending_files

    @property
    def moved(self) -> int:
        """It grows with each step ahead."""
        return self.completed + self.stored_files + self.accepted


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    Attributes:
        completed: with their files, whole, in the store.
        ends: those that are not, by their state.
        billed: generations that ran.
        billed_twice: jobs for which more than one ran.
        unknown: jobs of which is reported that they may have been billed twice.
        unbilled: completed jobs for which nothing ran: who says so cannot be right.
        strangers: jobs that nobody handed in.
    """

    completed: int
    ends: Mapping[str, int]
    billed: int
    billed_twice: int
    unknown: int
    unbilled: int
    strangers: int


async def read_progress(database: Database, key_id: str) -> Progress:
    """
    Raises:
        DatabaseUnavailable: Postgres is away.
    """
    async with database.begin() as session:
        row = (
            await session.execute(
                text("""
                    WITH mine AS MATERIALIZED (
                        SELECT id, state, finished_at FROM jobs WHERE key_id = CAST(:key AS uuid))
                    SELECT count(*) AS jobs,
                        count(*) FILTER (WHERE state = 'completed') AS completed,
                        count(finished_at) AS ended,
                        (SELECT count(*) FROM artifacts JOIN mine ON mine.id = job_id
                         WHERE artifacts.state = 'pending') AS pending_files,
                        (SELECT count(*) FROM artifacts JOIN mine ON mine.id = job_id
                         WHERE artifacts.state = 'stored') AS stored_files,
                        (SELECT count(*) FROM attempts JOIN mine ON mine.id = job_id
                         WHERE answer = 'accepted') AS accepted
                    FROM mine
                """),
                {"key": key_id},
            )
        ).one()
    return Progress(**row._mapping)  # noqa: SLF001 -- its documented interface


async def wait_progress(database: Database, key_id: str) -> Progress:
    """The same, once Postgres is there.

    Raises:
        StackError: it does not come back.
    """
    until = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return await read_progress(database, key_id)
        except DatabaseUnavailable as error:
            if time.monotonic() > until:
                raise StackError(f"after {AWAY_SECONDS:g} s: {error}") from error
            await asyncio.sleep(LOOK_SECONDS / 2)


async def read_longest_wait(
    database: Database, key_id: str, *, seconds: float, but: float
) -> float:
    """How long a job waited to be taken by the upstream, of those handed in of late.

    Args:
        seconds: not longer ago than that,
        but: nor in the last so many seconds, for those may still wait.
    """
    async with database.begin() as session:
        waited = await session.scalar(
            text("""
                SELECT max(EXTRACT(EPOCH FROM COALESCE(taken_at, now()) - created_at))
                FROM (
                    SELECT created_at, (
                        SELECT min(sent_at) FROM attempts
                        WHERE job_id = jobs.id AND answer = 'accepted') AS taken_at
                    FROM jobs WHERE key_id = CAST(:key AS uuid)
                        AND created_at BETWEEN now() - make_interval(secs => :seconds)
                            AND now() - make_interval(secs => :but)
                ) AS late
            """),
            {"key": key_id, "seconds": seconds, "but": but},
        )
    return float(waited or 0.0)


async def read_outcome(stack: Stack, workload: Workload) -> Outcome:
    """What came of it all; the emulator is waited for until nothing runs there."""
    async with asyncio.timeout(QUIET_SECONDS):
        while await stack.emulator.count("queued") + await stack.emulator.count("running"):  # noqa: ASYNC110 -- another process's
            await asyncio.sleep(LOOK_SECONDS)
    bills = Counter(
        bill["prompt"]
        for bill in await stack.emulator.read_bills()
        if bill["prompt"].startswith(f"{workload.name} ")
    )
    jobs = await _read_jobs(stack.database, workload.key_id)
    whole = await asyncio.to_thread(_find_whole, stack.settings.data_dir / "store", jobs)
    completed = [job for job in jobs if job.completed and job.id in whole]
    ends = Counter(
        job.state if not job.completed else "file lost" for job in jobs if job not in completed
    )
    missing = len(set(workload.ids) - {job.id for job in jobs})
    return Outcome(
        completed=len(completed),
        ends=ends + Counter({"no such job": missing}),
        billed=bills.total(),
        billed_twice=sum(count > 1 for count in bills.values()),
        unknown=await _count_doubtful(stack.database, workload.key_id),
        unbilled=sum(not bills[job.prompt] for job in completed),
        strangers=len({job.id for job in jobs} - set(workload.ids)),
    )


@dataclass(frozen=True, slots=True)
class _Job:
    id: str
    state: str
    prompt: str
    picture: bool
    files: tuple[tuple[str | None, str | None], ...]  # key in the store, SHA-256

    @property
    def completed(self) -> bool:
        return self.state == JobState.COMPLETED


async def _read_jobs(database: Database, key_id: str) -> list[_Job]:
    async with database.begin() as session:
        rows = await session.execute(
            text("""
                SELECT CAST(id AS text), state, input->>'prompt', input ? 'width',
                    (SELECT coalesce(jsonb_agg(jsonb_build_array(store_key, sha256)), '[]')
                     FROM artifacts WHERE job_id = jobs.id)
                FROM jobs WHERE key_id = CAST(:key AS uuid)
            """),
            {"key": key_id},
        )
        return [
            _Job(job, state, prompt, picture, tuple(map(tuple, files)))
            for job, state, prompt, picture, files in rows
        ]


def _find_whole(store: Path, jobs: list[_Job]) -> set[str]:
    """The jobs that have all of their files, each with the bytes that it was stored with."""
    return {
        job.id
        for job in jobs
        if len(job.files) == job.picture and all(_is_whole(store, *file) for file in job.files)
    }


def _is_whole(store: Path, key: str | None, sha256: str | None) -> bool:
    path = store / key if key else None
    return (
        path is not None
        and path.is_file()
        and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    )


async def _count_doubtful(database: Database, key_id: str) -> int:
    async with database.begin() as session:
        return int(
            await session.scalar(
                text("""
                    SELECT count(DISTINCT job_id) FROM attempts
                    JOIN jobs ON jobs.id = job_id
                    WHERE fate IN ('doubtful', 'gone') AND key_id = CAST(:key AS uuid)
                """),
                {"key": key_id},
            )
            or 0
        )
