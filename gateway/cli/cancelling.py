"""Cancel many jobs, and show how far the upstream has got with it: it takes ten a second."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.console import notes
from models.job import TERMINAL, JobState
from models.job_queries import JobFilter, count_filtered_jobs
from tasks import control
from workers.runtime import Runtime

BATCH = 500
LOOK_SECONDS = 0.5
OPEN = [state for state in JobState if state not in TERMINAL]


async def cancel_jobs(
    runtime: Runtime, job_ids: Sequence[UUID], *, wait: bool
) -> dict[UUID, JobState]:
    """Ask for the jobs to be cancelled, and (`wait`) stay until the upstream has ended them.

    Whoever is interrupted leaves them to the workers: they are cancelled all the same.

    Returns the state that each was in once it was asked for, of those that had not ended before.
    """
    changed: dict[UUID, JobState] = {}
    with _bar() as progress:
        asking = progress.add_task("asking", total=len(job_ids))
        for start in range(0, len(job_ids), BATCH):
            batch = job_ids[start : start + BATCH]
            changed |= await control.cancel(runtime, batch)
            progress.advance(asking, len(batch))
    running = [job_id for job_id, state in changed.items() if state not in TERMINAL]
    if wait and running:
        try:
            await _follow(runtime, running)
        except asyncio.CancelledError:
            notes.print("detached; the upstream is told of the others all the same")
            raise
    return changed


async def _follow(runtime: Runtime, job_ids: Sequence[UUID]) -> None:
    with _bar() as progress:
        stopping = progress.add_task("ending at the upstream", total=len(job_ids))
        left = len(job_ids)
        while left:
            async with runtime.database.begin() as session:
                left = await count_filtered_jobs(session, JobFilter(job_ids=job_ids, states=OPEN))
            progress.update(stopping, completed=len(job_ids) - left)
            if left:
                await asyncio.sleep(LOOK_SECONDS)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
    )
