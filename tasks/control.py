"""What people ask of jobs that are there: cancel them, retry them, move them up, empty a queue.

Written down first, then rung for; whoever waits for the jobs' ends is told by the same transaction,
and so is the audit log, if somebody asked (`by`): deadlines, budgets and schedules act, too.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models.audit import Action, Actor, note_act
from models.base import Json
from models.delivery import wake_deliveries
from models.interventions import cancel_jobs, count_states, find_purgeable, retry_jobs
from models.job import IN_FLIGHT, OPEN, TERMINAL, JobState
from models.lane import StageName
from models.priorities import prioritize_jobs
from workers.runtime import Runtime

NAMED_MOST = 5  # jobs of one act that the audit log names


async def cancel(
    runtime: Runtime,
    job_ids: Sequence[UUID],
    *,
    by: Actor | None = None,
    asked: Json | None = None,
    states: Sequence[JobState] = OPEN,
) -> dict[UUID, JobState]:
    """Cancel jobs: queued ones at once, those further on at the upstream, which may bill them.

    Returns the state that each is now in; a job that had ended, or does not exist, is left out.

    Args:
        asked: what was asked for, if not just these jobs.
        states: jobs that are in none of them any more are left alone.
    """
    async with runtime.database.begin() as session:
        before = await count_states(session, job_ids) if by else {}
        changed = await cancel_jobs(session, job_ids=job_ids, states=states)
        ended = [job_id for job_id, (state, _) in changed.items() if state in TERMINAL]
        told = await wake_deliveries(session, ended=ended, hold_seconds=0) if ended else {}
        await _note(
            session, by, Action.JOBS_CANCEL, changed, before={"states": before}, asked=asked
        )
    endpoints = {endpoint for _, endpoint in changed.values()}
    for stage in told:
        await runtime.bells.ring_each(stage, endpoints)
    await runtime.bells.ring_each(
        StageName.CANCEL, {endpoint for state, endpoint in changed.values() if state in IN_FLIGHT}
    )
    return {job_id: state for job_id, (state, _) in changed.items()}


async def retry(
    runtime: Runtime,
    job_ids: Sequence[UUID],
    *,
    by: Actor | None = None,
    asked: Json | None = None,
) -> set[UUID]:
    """Queue jobs again that ended without a result; returns those that may be, and now are."""
    async with runtime.database.begin() as session:
        before = await count_states(session, job_ids) if by else {}
        retried = await retry_jobs(session, job_ids=job_ids)
        await _note(session, by, Action.JOBS_RETRY, retried, before={"states": before}, asked=asked)
    await runtime.bells.ring_each(StageName.SUBMIT, set(retried.values()))
    return set(retried)


async def prioritize(
    runtime: Runtime,
    job_ids: Sequence[UUID],
    *,
    priority: int,
    by: Actor,
    asked: Json | None = None,
) -> set[UUID]:
    """Give queued jobs another priority, and their place in its line; returns those that moved."""
    async with runtime.database.begin() as session:
        moved = await prioritize_jobs(session, job_ids=job_ids, priority=priority)
        told = {**(asked or {}), "priority": priority}
        await _note(session, by, Action.JOBS_PRIORITIZE, moved, before=None, asked=told)
    return set(moved)


async def purge(
    runtime: Runtime, endpoint: str, *, owner: UUID | None, by: Actor | None = None
) -> set[UUID]:
    """Cancel what waits in an endpoint's queue, here or at the upstream; returns what it was."""
    async with runtime.database.begin() as session:
        waiting = await find_purgeable(session, endpoint=endpoint, owner=owner)
    asked = {"purge": endpoint}
    return set(await cancel(runtime, waiting, by=by, asked=asked)) if waiting else set()


async def _note(
    session: AsyncSession,
    by: Actor | None,
    action: Action,
    changed: Collection[UUID],
    *,
    before: Json | None,
    asked: Json | None,
) -> None:
    if by is None or not changed:
        return
    ids = [str(one) for one in changed]
    target = ids[0] if len(ids) == 1 else f"{len(ids)} jobs"
    after = {**(asked or {}), "jobs": len(ids), "first": ids[:NAMED_MOST]}
    await note_act(session, by, action, target, before=before, after=after)
