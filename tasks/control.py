"""What people ask of jobs that are there: cancel them, retry them, empty a queue.

Written down first, then rung for; whoever waits for the jobs' ends is told by the same transaction.
"""

from collections.abc import Sequence
from uuid import UUID

from models.delivery import wake_deliveries
from models.interventions import cancel_jobs, find_purgeable, retry_jobs
from models.job import IN_FLIGHT, TERMINAL, JobState
from models.lane import StageName
from workers.runtime import Runtime


async def cancel(runtime: Runtime, job_ids: Sequence[UUID]) -> dict[UUID, JobState]:
    """Cancel jobs: queued ones at once, those further on at the upstream, which may bill them.

    Returns the state that each is now in; a job that had ended, or does not exist, is left out.
    """
    async with runtime.database.begin() as session:
        changed = await cancel_jobs(session, job_ids=job_ids)
        ended = [job_id for job_id, (state, _) in changed.items() if state in TERMINAL]
        told = await wake_deliveries(session, ended=ended, hold_seconds=0) if ended else {}
    endpoints = {endpoint for _, endpoint in changed.values()}
    for stage in told:
        await runtime.bells.ring_each(stage, endpoints)
    await runtime.bells.ring_each(
        StageName.CANCEL, {endpoint for state, endpoint in changed.values() if state in IN_FLIGHT}
    )
    return {job_id: state for job_id, (state, _) in changed.items()}


async def retry(runtime: Runtime, job_ids: Sequence[UUID]) -> set[UUID]:
    """Queue jobs again that ended without a result; returns those that may be, and now are."""
    async with runtime.database.begin() as session:
        retried = await retry_jobs(session, job_ids=job_ids)
    await runtime.bells.ring_each(StageName.SUBMIT, set(retried.values()))
    return set(retried)


async def purge(runtime: Runtime, endpoint: str, *, owner: UUID | None) -> set[UUID]:
    """Cancel what waits in an endpoint's queue, here or at the upstream; returns what it was."""
    async with runtime.database.begin() as session:
        waiting = await find_purgeable(session, endpoint=endpoint, owner=owner)
    return set(await cancel(runtime, waiting)) if waiting else set()
