"""Jobs that arrive at a steady rate, and how their ends were seen.

When a job ended is known by the emulator, on the wall's clock; when that was seen, by our row. An
endpoint has one stream at a time: its jobs are numbered by their `position`.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from models.job import OnUnknown
from scripts.benches.pollers import Seen
from scripts.faults.emulator import Emulator
from tasks.intake import Request, check_request, enqueue
from workers.runtime import Runtime
from workers.stack.supervisor import StackError

LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Live:
    """What those jobs of one endpoint came to that were measured.

    Attributes:
        took: how long each was upstream, in seconds.
        unfinished: jobs that did not complete.
        unrecorded: polls that the upstream counted, of all jobs, and no row did.
    """

    seen: Seen
    took: Sequence[float]
    unfinished: int
    unrecorded: int

    @property
    def idle_polls_each(self) -> float:
        """Each job has one poll that fetches its result: those before it."""
        return self.seen.polls_each - 1


async def send_steadily(
    runtime: Runtime, endpoints: Sequence[str], positions: range, *, rate: float
) -> None:
    """Hand in so many jobs a second to each endpoint."""
    began = time.monotonic()
    for number, position in enumerate(positions):
        await asyncio.sleep(began + number / rate - time.monotonic())
        await hand_in(
            runtime,
            [Request(endpoint=one, input={"n": position}, position=position) for one in endpoints],
        )


async def hand_in(runtime: Runtime, requests: Sequence[Request]) -> None:
    """As the command line does it."""
    checked = [
        check_request(runtime.catalogue, request, on_unknown=OnUnknown.RESUBMIT)
        for request in requests
    ]
    await enqueue(runtime, [one.job for one in checked])


async def wait_for_ends(runtime: Runtime, endpoints: Sequence[str], *, seconds: float) -> None:
    """
    Raises:
        StackError: not all of their jobs ended in time.
    """
    until = time.monotonic() + seconds
    while left := await _count_open(runtime, endpoints):
        if time.monotonic() > until:
            raise StackError(f"{left} jobs have not ended after {seconds:g} s")
        await asyncio.sleep(LOOK_SECONDS)


async def look(runtime: Runtime, emulator: Emulator, endpoint: str, *, since: int) -> Live:
    """What its jobs of that position and later came to."""
    ended_at = {bill["id"]: float(bill["unix"]) for bill in await emulator.read_bills()}
    async with runtime.database.begin() as session:
        rows = (
            await session.execute(
                text("""
                    SELECT upstream_id, position, polls, finished_at, state = 'completed' AS done,
                        (delay_ms + execution_ms) / 1000.0 AS took
                    FROM jobs WHERE endpoint = :endpoint
                """),
                {"endpoint": endpoint},
            )
        ).all()
    measured = [row for row in rows if row.position >= since]
    done = [row for row in measured if row.done]
    asked = await emulator.count_requests("status", endpoint=endpoint)
    return Live(
        Seen(
            [row.polls for row in done],
            [row.finished_at.timestamp() - ended_at[row.upstream_id] for row in done],
        ),
        [float(row.took) for row in done],
        unfinished=len(measured) - len(done),
        unrecorded=asked - sum(row.polls for row in rows),
    )


async def _count_open(runtime: Runtime, endpoints: Sequence[str]) -> int:
    statement = text("""
        SELECT count(*) FROM jobs WHERE finished_at IS NULL AND endpoint = ANY(:endpoints)
    """)
    async with runtime.database.begin() as session:
        return int(await session.scalar(statement, {"endpoints": list(endpoints)}) or 0)
