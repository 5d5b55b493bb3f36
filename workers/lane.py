"""How every stage works its lane: claim, act, record, chain.

    claim   one statement takes the due rows, cut to what the quota allows now, and leases them
    act     the calls of all rows run together on the event loop; each ends in a value
    record  the ends are written in small flushes as they come, each guarded by the lease
    chain   the lane's next bell is rung *before* acting: at once if the claim was full (so that
            another thread or worker takes the next batch, and the lane widens by itself), else
            for when the next row is due; and each flush rings for what it made due

A stage is a `Stage` value; this is the one place that runs them. If the process dies at any line,
what was claimed comes due again when its lease ends, and a lost bell is rung again by the sweep.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import stamina
import structlog
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from endpoints.catalogue import Operation
from endpoints.quota import Permits
from models.base import new_id
from models.claims import extend_lease, find_recent_submits, hand_back
from models.errors import DatabaseUnavailable
from models.lane import StageName, seconds_until_due
from workers.operator_settings import OWN
from workers.runtime import Runtime, get_process

RECORD_SECONDS = 60.0  # how long a write is tried again while Postgres is away
LEASE_SECONDS = 15.0  # a dead worker's rows come due again after this
HEARTBEAT_SECONDS = 5.0  # how often a live one extends the lease of calls that take long
MARGIN_SECONDS = 10.0  # of a run over its longest call: for the claim

log = structlog.get_logger()


class Leased(Protocol):
    @property
    def id(self) -> UUID: ...
    @property
    def lease(self) -> UUID: ...


Row = TypeVar("Row", bound=Leased)
End = TypeVar("End")

# What a record made due: stage to seconds. The lane's bells are rung for them.
Chain = Mapping[StageName, float]


@dataclass(frozen=True)
class Stage(Generic[Row, End]):
    """One stage of every endpoint.

    Attributes:
        batch: rows a claim takes at most.
        act_seconds: what one call takes at most.
        operation: whose quota a call counts against.
        flush_seconds: ends that come this close together are written together.
        interruptible: its calls may be dropped half-way and made again.
        claim: (runtime, endpoint, limit=, lease=, lease_seconds=) to rows.
        act: one row's call; everything that can go wrong with it is a value.
        record: writes ends, in one transaction, and says what that made due.
    """

    name: StageName
    batch: int
    act_seconds: float
    operation: str
    flush_seconds: float
    interruptible: bool
    claim: Callable[[Runtime, str, int, UUID, float], Awaitable[Sequence[Row]]]
    act: Callable[[Runtime, Row], Awaitable[End]]
    record: Callable[[Runtime, str, Sequence[End]], Awaitable[Chain]]

    @property
    def total_seconds(self) -> float:
        """What one run takes at most; nothing else limits a Celery thread."""
        return self.act_seconds + MARGIN_SECONDS + RECORD_SECONDS


def work_lane(stage: Stage[Row, End], endpoint: str, at: int) -> None:
    """Answer a bell: run the stage once, on this process's loop, and wait for it."""
    process = get_process()
    run = LaneRun(process.runtime, stage, endpoint)
    try:
        process.loop.run(run.answer(at), seconds=stage.total_seconds)
    except (DatabaseUnavailable, RedisError, TimeoutError) as error:
        # What was claimed comes due again, and the sweep rings for it.
        log.warning("lane_run_failed", stage=stage.name, endpoint=endpoint, error=repr(error))


class LaneRun(Generic[Row, End]):
    """One run of a stage of an endpoint."""

    def __init__(self, runtime: Runtime, stage: Stage[Row, End], endpoint: str) -> None:
        self._runtime = runtime
        self._stage = stage
        self._endpoint = endpoint
        self._lease = new_id()

    async def answer(self, at: int) -> None:
        if await self._runtime.bells.answer(self._stage.name, self._endpoint, at):
            await self.run()

    async def run(self) -> int:
        """Claim, act, record, chain; returns how many rows were claimed."""
        lane = bound_contextvars(
            stage=self._stage.name, endpoint=self._endpoint, lease=str(self._lease)
        )
        with lane:  # for what the stage's own functions log, too
            return await self._run()

    async def _run(self) -> int:
        async with AsyncExitStack() as held:
            permits = await self._take_permits(held)
            if permits.count == 0:
                await self._ring(self._stage.name, permits.retry_in)
                return 0
            rows = await self._stage.claim(
                self._runtime, self._endpoint, permits.count, self._lease, LEASE_SECONDS
            )
            await self._give_back(unused=permits.count - len(rows))
            full = len(rows) == permits.count
            await self._chain_own(full=full)
            if not rows:
                return 0
            log.debug("rows_claimed", rows=len(rows))
            if self._runtime.stopping.is_set():
                await self._hand_back()
                return 0
            heart = asyncio.create_task(self._beat([row.id for row in rows]))
            held.callback(heart.cancel)
            async for ends, answered in self._act(rows):
                chain = await self._record(ends)
                await self._give_back(answered=answered)
                if full:  # more waited: perhaps for the permits that are now free
                    await self._ring(self._stage.name, 0.0)
                for stage, seconds in chain.items():
                    await self._ring(stage, seconds)
            return len(rows)

    async def _beat(self, ids: Sequence[UUID]) -> None:
        """Keep the lease while calls run; a beat that fails is a beat missed."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                async with self._runtime.database.begin() as session:
                    await extend_lease(
                        session,
                        self._stage.name,
                        ids=ids,
                        lease=self._lease,
                        seconds=LEASE_SECONDS,
                    )
            except DatabaseUnavailable as error:
                log.warning("heartbeat_missed", error=str(error))

    async def _take_permits(self, held: AsyncExitStack) -> Permits:
        """Leave for up to a batch of calls; what is left of it at the end is given back."""
        operation = self._stage.operation
        limit = await self._runtime.limit(self._endpoint, operation)

        async def take() -> Permits:
            return await self._runtime.quota.take(
                operation,
                self._endpoint,
                lease=self._lease,
                want=self._stage.batch,
                limit=limit,
                lease_seconds=self._stage.total_seconds,
            )

        permits = await take()
        if permits.forgotten:
            # Of polls no ledger is kept; our own work has no window to exceed.
            sent: Sequence[float] | None = [] if operation in OWN else None
            if operation == Operation.RUN:
                async with self._runtime.database.begin() as session:
                    sent = await find_recent_submits(
                        session, endpoint=self._endpoint, seconds=limit.window_seconds
                    )
            await self._runtime.quota.restore(
                operation, self._endpoint, limit=limit, answered_seconds_ago=sent
            )
            permits = await take()
        if permits.count:
            # Calls that end in no record (an error of ours) count as made.
            held.push_async_callback(self._give_back, answered=permits.count)
        return permits

    async def _give_back(self, *, answered: int = 0, unused: int = 0) -> None:
        if not answered and not unused:
            return
        try:
            await self._runtime.quota.give_back(
                self._stage.operation,
                self._endpoint,
                lease=self._lease,
                limit=await self._runtime.limit(self._endpoint, self._stage.operation),
                answered=answered,
                unused=unused,
            )
        except (RedisError, DatabaseUnavailable) as error:
            # They come free when their lease ends; the calls under way must not suffer for it.
            log.warning("permits_not_given_back", error=str(error))

    async def _chain_own(self, *, full: bool) -> None:
        if full:
            await self._ring(self._stage.name, 0.0)
            return
        try:
            async with self._runtime.database.begin() as session:
                seconds = await seconds_until_due(session, self._stage.name, self._endpoint)
        except DatabaseUnavailable as error:
            log.warning("lane_not_chained", error=str(error))  # the sweep rings
            return
        if seconds is not None:
            await self._ring(self._stage.name, seconds)

    async def _act(self, rows: Sequence[Row]) -> AsyncIterator[tuple[list[End], int]]:
        """Ends as they come, with the number of calls that they are of.

        A call that raises is a bug, and is logged: its row is left to the end of its lease.
        """
        pending: set[asyncio.Task[End]] = {
            asyncio.create_task(self._stage.act(self._runtime, row), name=str(row.id))  # type: ignore[arg-type]  # every act is a coroutine function
            for row in rows
        }
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if pending:
                    more, pending = await asyncio.wait(pending, timeout=self._stage.flush_seconds)
                    done |= more
                for task in done:
                    if error := task.exception():
                        log.error("act_raised", row=task.get_name(), exc_info=error)
                yield [task.result() for task in done if not task.exception()], len(done)
                if self._stage.interruptible and self._runtime.stopping.is_set():
                    break
        finally:
            for task in pending:
                task.cancel()
        if pending:
            await self._hand_back()

    async def _record(self, ends: Sequence[End]) -> Chain:
        """Write ends; while Postgres is away, for a while again: they are dear."""
        if not ends:
            return {}
        async for attempt in stamina.retry_context(
            on=DatabaseUnavailable, timeout=RECORD_SECONDS, attempts=None, wait_max=2.0
        ):
            with attempt:
                return await self._stage.record(self._runtime, self._endpoint, ends)
        raise AssertionError("unreachable: the last attempt raises")

    async def _hand_back(self) -> None:
        async with self._runtime.database.begin() as session:
            rows = await hand_back(session, self._stage.name, lease=self._lease)
        log.info("leases_handed_back", rows=rows)
        await self._ring(self._stage.name, 0.0)

    async def _ring(self, stage: StageName, seconds: float) -> None:
        await self._runtime.bells.ring(stage, self._endpoint, in_seconds=seconds)
