"""One fault, from its jobs to its row."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from models.base import new_id
from scripts.faults.fault import Fault
from scripts.faults.measure import (
    LOOK_SECONDS,
    Progress,
    read_outcome,
    wait_progress,
)
from scripts.faults.row import Row
from scripts.faults.scene import Scene
from scripts.faults.stack import Stack
from scripts.faults.verdict import Measured, find_complaints, judge
from scripts.faults.workload import Workload

IN_FLIGHT_SECONDS = 60.0
DONE_SECONDS = 240.0  # then what has not ended counts as lost
STRUCK_AT = 0.05  # the share of jobs that are completed when it strikes
STRUCK_EARLY_AT = 0.2  # or that are accepted, if it strikes early


@dataclass(frozen=True, slots=True)
class Ran:
    """A row, and why its bar was missed, if it was."""

    row: Row
    complaints: Sequence[str]
    whole: bool  # the stack may be used for the next fault


async def run_fault(stack: Stack, fault: Fault, *, jobs: int, scale: float) -> Ran:
    """Hand jobs in, break things, wait until all is done, count."""
    await stack.emulator.reset()
    if fault.silent:
        await stack.emulator.arm("webhook_silent")
    secret, key_id = await stack.make_key(f"chaos {fault.name}")
    seconds = max(fault.seconds * scale, fault.least_seconds)
    workload = Workload(
        base_url=stack.settings.link_base,
        key=secret,
        key_id=key_id,
        name=f"{fault.name} {new_id().hex[-8:]}",
        jobs=jobs * fault.times,
        seconds=seconds,
    )
    scene = Scene(stack, workload, seconds=seconds, seed=fault.name)
    sending = asyncio.create_task(workload.send())
    try:
        try:
            await _wait_in_flight(stack, workload, early=fault.early)
            workload.note_strike()
            await fault.strike(scene)
        except Exception as error:  # noqa: BLE001 -- the next fault is to be run all the same
            scene.complain(f"it could not be done: {error!r}")
        ended = time.monotonic()
        workload.note_strike()  # in case that it was none
        workload.note_end()
        moving_again, done = await _follow(stack, workload, sending, ended)
        await sending
    finally:
        sending.cancel()
    measured = Measured(
        outcome=await read_outcome(stack, workload),
        excused=scene.excused,
        moving_again=moving_again,
        done=done,
    )
    complaints = [*scene.complaints, *find_complaints(fault, measured)]
    if workload.refused:
        complaints.append(f"{len(workload.refused)} never accepted: {workload.refused[0]}")
    row = judge(fault, measured, jobs=len(workload.ids), complaints=complaints)
    return Ran(row, complaints, whole=done is not None)


async def _wait_in_flight(stack: Stack, workload: Workload, *, early: bool) -> None:
    def struck(progress: Progress) -> bool:
        if early:
            return progress.jobs >= STRUCK_EARLY_AT * workload.jobs
        return progress.completed >= STRUCK_AT * workload.jobs

    async with asyncio.timeout(IN_FLIGHT_SECONDS):
        while not struck(await wait_progress(stack.database, workload.key_id)):  # noqa: ASYNC110 -- Postgres tells nobody
            await asyncio.sleep(LOOK_SECONDS / 2)


async def _follow(
    stack: Stack, workload: Workload, sending: asyncio.Task[None], ended: float
) -> tuple[float | None, float | None]:
    """Seconds from the fault's end until something moved, and until all was done."""
    at_end = await wait_progress(stack.database, workload.key_id)
    moving: float | None = 0.0 if sending.done() and at_end.done else None
    while time.monotonic() < ended + DONE_SECONDS:
        progress = await wait_progress(stack.database, workload.key_id)
        now = time.monotonic() - ended
        if moving is None and progress.moved > at_end.moved:
            moving = now
        if sending.done() and progress.done:
            return moving, now
        await asyncio.sleep(LOOK_SECONDS)
    return moving, None
