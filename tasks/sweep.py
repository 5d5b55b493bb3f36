"""Sweep: a few times a minute, find what nobody rang for.

Level-triggered: it looks at what is, not at what happened, so missed, late and double sweeps do no
harm; one at a time runs, under a lock. It frees what dead workers held, decides what is unknown,
asks earlier for what waits for webhooks that have ceased, gives up what is past its deadline, goes
on with campaigns that somebody began to expand, pause or resume, starts those of schedules, keeps
budgets, tells of campaigns that are complete, forgets what is old, and rings every lane that has
due work.
"""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy.ext.asyncio import AsyncSession

from models.audit import forget_acts
from models.delivery import wake_deliveries
from models.endpoint_stats import get_durations, list_hinted
from models.errors import DatabaseUnavailable
from models.event import forget_events
from models.handle import forget_handles
from models.interventions import expire_jobs
from models.lane import find_lanes, resume_lanes, try_sweep_lock
from models.poison import set_aside_rows
from models.shelf import shelve_jobs
from models.transitions import (
    find_orphaned_endpoints,
    find_unresolved_endpoints,
    give_up_orphans,
    recall_polls,
    resolve_unknown,
    set_aside_jobs,
)
from tasks import retry_policy
from tasks.announce import announce_campaigns
from tasks.batch import finish_batches
from tasks.custody import watch_custody
from tasks.expand import resume_expanding
from tasks.first_poll import plan_first_poll
from tasks.limits import keep_limits
from tasks.pause import settle_campaigns
from tasks.submit import HINT_SECONDS, longest_seconds
from tasks.tick import tick_schedules
from workers.runtime import Runtime, get_process
from workers.sweep_watch import note_sweep
from workers.taken import give_back_abandoned

SWEEP_SECONDS = 30.0  # what one takes at most
STEPS: Sequence[Callable[[Runtime], Awaitable[object]]] = (
    give_back_abandoned,
    finish_batches,
    settle_campaigns,
    keep_limits,
    resume_expanding,
    announce_campaigns,
    tick_schedules,
    watch_custody,
)

log = structlog.get_logger()


async def sweep_lanes(runtime: Runtime) -> int:
    """Returns how many lanes were rung; -1 if another sweep was running."""
    operator = await runtime.operator_settings()
    async with runtime.database.begin() as session:
        if not await try_sweep_lock(session):
            return -1
        orphans = 0
        for endpoint in await find_orphaned_endpoints(session):
            wait = longest_seconds(runtime, endpoint, await get_durations(session, endpoint))
            orphans += await give_up_orphans(
                session, endpoint=endpoint, wait_seconds=wait + HINT_SECONDS
            )
        ended: list[UUID] = []
        for endpoint in await find_unresolved_endpoints(session):
            longest = longest_seconds(runtime, endpoint, await get_durations(session, endpoint))
            ended += await resolve_unknown(
                session,
                endpoint=endpoint,
                longest_seconds=longest,
                max_sends=retry_policy.UNKNOWN.sends,
                max_attempts=operator.max_attempts,
            )
        await _recall_polls(runtime, session)
        ended += await expire_jobs(session)
        poisonous = await set_aside_jobs(session)
        ended += poisonous
        set_aside = len(poisonous) + await set_aside_rows(session)
        if ended:
            await wake_deliveries(session, ended=ended, hold_seconds=0)
        await forget_handles(session)
        await forget_events(session, older_than_seconds=operator.events_days * 86_400)
        await forget_acts(session, older_than_seconds=operator.audit_days * 86_400)
        await resume_lanes(session)
        lanes = await find_lanes(session)
    await note_sweep(runtime)
    rung = 0
    for lane in lanes:
        if lane.due and lane.held_up is None:
            rung += await runtime.bells.ring(lane.stage, lane.endpoint)
    await _go_on(runtime, shelve_days=operator.jobs_days)
    if orphans or ended:
        log.warning("jobs_given_up", orphans=orphans, ended=len(ended))
    if set_aside:
        log.error("rows_set_aside", rows=set_aside)
    return rung


async def _go_on(runtime: Runtime, *, shelve_days: float) -> None:
    """Step by step: a process that is to end is waited for, and another sweep does the rest."""
    for step in STEPS:
        if runtime.stopping.is_set():
            return
        await step(runtime)
    await _shelve(runtime, days=shelve_days)


async def _recall_polls(runtime: Runtime, session: AsyncSession) -> None:
    """Where webhooks are no longer heard, no first poll waits for one."""
    for endpoint, learned in (await list_hinted(session)).items():
        first = plan_first_poll(runtime, endpoint, learned)
        if not first.hinted and (
            jobs := await recall_polls(session, endpoint=endpoint, first_seconds=first.forecast)
        ):
            log.info("polls_recalled", endpoint=endpoint, jobs=jobs)


async def _shelve(runtime: Runtime, *, days: float) -> None:
    """In a transaction of its own, which nothing of the sweep waits for."""
    if days > 0:
        async with runtime.database.begin() as session:
            shelved = await shelve_jobs(session, older_than_seconds=days * 86_400)
        if shelved:
            log.info("jobs_shelved", jobs=shelved)


# No events: Flower would show little else.
@shared_task(name="pressroom.sweep", ignore_result=True, send_events=False)
def sweep() -> None:
    process = get_process()
    try:
        process.loop.run(sweep_lanes(process.runtime), seconds=SWEEP_SECONDS)
    except (DatabaseUnavailable, TimeoutError) as error:
        log.warning("sweep_failed", error=str(error))
