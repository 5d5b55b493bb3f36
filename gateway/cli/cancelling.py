"""Cancel many jobs, and show how far the upstream has got with it: it takes ten a second."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.console import notes
from models.audit import Actor
from models.job import OPEN, TERMINAL, JobState
from models.job_queries import JobFilter, count_filtered_jobs
from tasks import control
from workers.runtime import Runtime

BATCH = 500
LOOK_SECONDS = 0.5


async def cancel_jobs(
    runtime: Runtime, job_ids: Sequence[UUID], *, wait: bool, by: Actor | None = None
) -> dict[UUID, JobState]:
    """Ask for the jobs to be cancelled, and (`wait`) stay until the upstream has ended them.

    Whoever is interrupted leaves them to the workers: they are cancelled all the same.

    Returns the state that each was in once it was asked for, of those that had not ended before.

    Args:
        by: None: the audit log tells of them already.
    """
    changed: dict[UUID, JobState] = {}
    with make_bar() as progress:
        asking = progress.add_task("asking", total=len(job_ids))
        for start in range(0, len(job_ids), BATCH):
            batch = job_ids[start : start + BATCH]
            changed |= await control.cancel(runtime, batch, by=by)
            progress.advance(asking, len(batch))
    running = [job_id for job_id, state in changed.items() if state not in TERMINAL]
    if wait and running:
        await follow_cancels(runtime, JobFilter(job_ids=running, states=OPEN))
    return changed


async def follow_cancels(runtime: Runtime, running: JobFilter) -> None:
    """Stay until none fits: whoever is interrupted leaves them to the workers."""
    try:
        with make_bar() as progress:
            stopping = progress.add_task("ending at the upstream", total=None)
            total = 0
            while True:
                async with runtime.database.begin() as session:
                    left = await count_filtered_jobs(session, running)
                total = max(total, left)
                progress.update(stopping, total=total, completed=total - left)
                if not left:
                    return
                await asyncio.sleep(LOOK_SECONDS)
    except asyncio.CancelledError:
        notes.print("detached; the upstream is told of the others all the same")
        raise


def make_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
    )
