"""Sweep: a few times a minute, find what nobody rang for.

Level-triggered: it looks at what is, not at what happened, so missed, late and double sweeps do no
harm; one at a time runs, under a lock. It frees what dead workers held, decides what is unknown,
gives up what is past its deadline, forgets what is old, and rings every lane that has due work.
"""

import structlog
from celery import shared_task

from models.delivery import wake_deliveries
from models.errors import DatabaseUnavailable
from models.event import forget_events
from models.handle import forget_handles
from models.interventions import expire_jobs
from models.lane import find_lanes, try_sweep_lock
from models.transitions import give_up_orphans, resolve_unknown
from tasks.batch import finish_batches
from workers.runtime import Runtime, get_process
from workers.sweep_watch import note_sweep

UNKNOWN_SECONDS = 30.0  # a dead worker's submissions wait so long for a webhook
SWEEP_SECONDS = 30.0  # what one takes at most

log = structlog.get_logger()


async def sweep_lanes(runtime: Runtime) -> int:
    """Returns how many lanes were rung; -1 if another sweep was running."""
    operator = await runtime.operator_settings()
    async with runtime.database.begin() as session:
        if not await try_sweep_lock(session):
            return -1
        orphans = await give_up_orphans(session, wait_seconds=UNKNOWN_SECONDS)
        ended = list(await resolve_unknown(session, max_attempts=operator.max_attempts))
        ended += await expire_jobs(session)
        if ended:
            await wake_deliveries(session, ended=ended, hold_seconds=0)
        await forget_handles(session)
        await forget_events(session, older_than_seconds=operator.events_days * 86_400)
        lanes = await find_lanes(session)
    await note_sweep(runtime)
    rung = 0
    for lane in lanes:
        if lane.due and not lane.paused and lane.closed_seconds is None:
            rung += await runtime.bells.ring(lane.stage, lane.endpoint)
    await finish_batches(runtime)
    if orphans or ended:
        log.warning("jobs_given_up", orphans=orphans, ended=len(ended))
    return rung


@shared_task(name="pressroom.sweep", ignore_result=True)
def sweep() -> None:
    process = get_process()
    try:
        process.loop.run(sweep_lanes(process.runtime), seconds=SWEEP_SECONDS)
    except (DatabaseUnavailable, TimeoutError) as error:
        log.warning("sweep_failed", error=str(error))
