"""How every stage works its lane: claim, act, record, chain.

    claim   one statement takes the due rows, cut to what the quota allows now, and leases them
    act     the calls of all rows run together on the event loop; each ends in a value
    record  the ends are written in small flushes as they come, each guarded by the lease
    chain   the lane's next bell is rung *before* acting: if the claim was full, for when there are
            permits for more (at once where the quota is large: another thread or worker takes the
            next batch, and the lane widens by itself), else for when the next row is due; and each
            flush rings for what it made due

A stage is a `Stage` value; this is the one place that runs them. If the process dies at any line,
what was claimed comes due again when its lease ends, and a lost bell is rung again by the sweep.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar
from uuid import UUID

import stamina
import structlog
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from endpoints.outcomes import Busy, BusyCause
from endpoints.quota import Permits
from models.base import new_id
from models.claims import extend_lease, hand_back
from models.errors import DatabaseUnavailable
from models.lane import Claim, StageName, note_lane_fails, seconds_until_due
from workers.call_trace import CallTrace
from workers.metrics import note_claim
from workers.run_permits import RunPermits
from workers.run_report import RunReport
from workers.runtime import Runtime, get_process

if TYPE_CHECKING:
    from workers.run_trace import RunTrace

RECORD_SECONDS = 60.0  # how long a write is tried again while Postgres is away
LEASE_SECONDS = 15.0  # a dead worker's rows come due again after this
HEARTBEAT_SECONDS = 5.0  # how often a live one extends the lease of calls that take long
RUNS_SHARE = 8  # of a process's threads that one lane may hold: an eighth
CROWDED_SECONDS = 1.0  # until it is tried again
LATE_SECONDS = 0.1  # a loop that is no later than this is not too busy
LONGEST_LATE_SECONDS = 1.0  # that a bell is put off for it
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
        record_seconds: how long its ends are kept while Postgres is away.
        stalls: its calls are short: if none is answered between two beats, its lane is broken.
        claim: takes due rows, as many as are wanted and may be.
        act: one row's call; everything that can go wrong with it is a value.
        record: writes ends, in one transaction, and says what that made due.
        name_end: a word for what came of a call: `completed`.
        find_busy: of an end, that the upstream told it to wait.
        yields: what is under way goes before it: a loop that is late takes little of it.
        trace: what the spans of its calls say.
        rests: nothing of it is begun in maintenance; the sweep rings once that is over.
    """

    name: StageName
    batch: int
    act_seconds: float
    operation: str
    flush_seconds: float
    interruptible: bool
    claim: Callable[[Runtime, Claim], Awaitable[Sequence[Row]]]
    act: Callable[[Runtime, Row], Awaitable[End]]
    record: Callable[[Runtime, str, Sequence[End]], Awaitable[Chain]]
    name_end: Callable[[End], str]
    find_busy: Callable[[End], Busy | None] = lambda _end: None
    record_seconds: float = RECORD_SECONDS
    stalls: bool = False
    yields: bool = False
    trace: CallTrace[Row, End] | None = None
    rests: bool = False

    @property
    def total_seconds(self) -> float:
        """What one run takes at most; nothing else limits a Celery thread."""
        return self.act_seconds + MARGIN_SECONDS + self.record_seconds


@dataclass(frozen=True, slots=True)
class More:
    """Rows wait beyond those that a run has claimed.

    Attributes:
        at: when there are permits for them, by the monotonic clock.
        crowded: as many calls are under way as may be.
    """

    at: float
    crowded: bool

    @property
    def seconds(self) -> float:
        return self.at - time.monotonic()


def work_lane(stage: Stage[Row, End], endpoint: str, at: int) -> str:
    """Answer a bell: run the stage once, on this process's loop, and wait for it; what it did."""
    process = get_process()
    run = LaneRun(process.runtime, stage, endpoint)
    try:
        process.loop.run(run.answer(at), seconds=stage.total_seconds)
    except (DatabaseUnavailable, RedisError, TimeoutError) as error:
        # What was claimed comes due again, and the sweep rings for it.
        log.warning("lane_run_failed", stage=stage.name, endpoint=endpoint, error=repr(error))
        return f"{run.report}, then {type(error).__name__}"
    return str(run.report)


class LaneRun(Generic[Row, End]):
    """One run of a stage of an endpoint."""

    def __init__(self, runtime: Runtime, stage: Stage[Row, End], endpoint: str) -> None:
        self._runtime = runtime
        self._stage = stage
        self._endpoint = endpoint
        self.report = RunReport()
        self._lease = new_id()
        self._permits = RunPermits(runtime, stage.name, stage.operation, endpoint, self._lease)
        self._waiting = 0  # calls without an answer
        self._held = False  # the upstream told one to wait: what has not gone yet does not go
        self._trace: RunTrace[Row, End] | None = None

    async def answer(self, at: int) -> None:
        if await self._runtime.bells.answer(self._stage.name, self._endpoint, at):
            await self.run()
        else:
            self.report.idle = "another bell was first"

    async def run(self) -> int:
        """Claim, act, record, chain; returns how many rows were claimed."""
        lane = bound_contextvars(
            stage=self._stage.name, endpoint=self._endpoint, lease=str(self._lease)
        )
        with lane:  # for what the stage's own functions log, too
            return await self._run()

    async def _run(self) -> int:
        if self._stage.rests and (await self._runtime.operator_settings()).maintenance is not None:
            self.report.idle = "maintenance"
            return 0
        async with AsyncExitStack() as held:
            if not self._enter(held):
                self.report.idle = "no thread to spare"
                await self._ring(self._stage.name, CROWDED_SECONDS)
                return 0
            late = self._stage.yields * self._runtime.lag.seconds
            # Of what is begun each needs the loop again: so much of it that none is late for long.
            share = min(1.0, LATE_SECONDS / late) if late else 1.0
            permits = await self._permits.take(max(round(share * self._stage.batch), 1))
            more_at = time.monotonic() + permits.retry_in
            held.push_async_callback(self._permits.give_back_all)
            if permits.count == 0:
                self.report.idle = "no permit is free"
                await self._ring(self._stage.name, permits.retry_in)
                return 0
            began_ns = time.time_ns()
            rows = await self._stage.claim(self._runtime, self._want(permits.count))
            self._begin_trace(rows, began_ns, held)
            note_claim(self._stage.name, len(rows))
            if rows:  # from here on: a Redis that hangs must not cost them their lease
                for beat in (self._keep_rows([row.id for row in rows]), self._keep_permits()):
                    held.push_async_callback(stop_task, asyncio.create_task(beat))
            await self._permits.give_back(unused=permits.count - len(rows))
            self.report.claimed = len(rows)
            more = None
            if len(rows) == permits.count:  # more waits, perhaps for permits that come free
                more = More(more_at, crowded=permits.crowded)
            await self._chain_own(more)
            if not rows:
                return 0
            log.debug("rows_claimed", rows=len(rows))
            if self._runtime.stopping.is_set():
                await self._hand_back([row.id for row in rows])
                return 0
            self._waiting = len(rows)
            rung: list[asyncio.Task[None]] = []
            async for ends, answered in self._act(rows, permits):
                self.report.count(map(self._stage.name_end, ends))
                chain = await self._record(ends)
                # Beside it: a Redis that hangs must not keep the next answers from being written.
                rung.append(asyncio.create_task(self._follow_up(chain, answered, more)))
            await asyncio.gather(*rung)
            return len(rows)

    def _want(self, limit: int) -> Claim:
        return Claim(
            endpoint=self._endpoint,
            limit=limit,
            lease=self._lease,
            lease_seconds=LEASE_SECONDS,
            proven=self._runtime.proven,
        )

    def _begin_trace(self, rows: Sequence[Row], began_ns: int, held: AsyncExitStack) -> None:
        if self._runtime.tracer is None or self._stage.trace is None or not rows:
            return
        self._trace = self._runtime.tracer.begin_run(
            self._stage.name,
            self._stage.trace,
            endpoint=self._endpoint,
            lease=self._lease,
            rows=rows,
            began_ns=began_ns,
        )
        if self._trace is not None:
            held.enter_context(self._trace.under_way())

    def _enter(self, held: AsyncExitStack) -> bool:
        """Whether this process has room for one more run of the lane, which may hang."""
        runs, lane = self._runtime.lane_runs, (self._stage.name, self._endpoint)
        if runs[lane] >= max(1, self._runtime.settings.worker_threads // RUNS_SHARE):
            return False
        runs[lane] += 1

        def leave() -> None:
            runs[lane] -= 1
            if not runs[lane]:
                del runs[lane]

        held.callback(leave)
        return True

    async def _follow_up(self, chain: Chain, answered: int, more: More | None) -> None:
        await self._permits.give_back(answered=answered)
        if more is not None:
            await self._ring(self._stage.name, more.seconds)
        for stage, seconds in chain.items():
            await self._ring(stage, seconds)

    async def _keep_rows(self, ids: Sequence[UUID]) -> None:
        """A heartbeat: the rows are held while calls run; one that fails is one missed."""
        waiting, stalls = 0, self._stage.stalls
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            stalled = stalls and self._waiting == waiting > 0
            waiting, stalls = self._waiting, stalls and not stalled  # it is said once
            try:
                async with self._runtime.database.begin() as session:
                    await extend_lease(
                        session,
                        self._stage.name,
                        ids=ids,
                        lease=self._lease,
                        seconds=LEASE_SECONDS,
                    )
                    if stalled:
                        await note_lane_fails(
                            session,
                            self._stage.name,
                            self._endpoint,
                            calls=waiting,
                            reason=f"{waiting} calls have had no answer for some seconds",
                        )
            except DatabaseUnavailable as error:
                log.warning("heartbeat_missed", error=str(error))

    async def _keep_permits(self) -> None:
        """The same for the permits, apart: a Redis that hangs must not cost the rows a beat."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._permits.extend()

    async def _chain_own(self, more: More | None) -> None:
        """Ring for what is left: once there are permits for it, or when the next row is due."""
        if more is not None:
            if not more.crowded:  # whoever gives a permit back rings, and this run has some
                await self._ring(self._stage.name, more.seconds)
            return
        try:
            async with self._runtime.database.begin() as session:
                seconds = await seconds_until_due(session, self._stage.name, self._endpoint)
        except DatabaseUnavailable as error:
            log.warning("lane_not_chained", error=str(error))  # the sweep rings
            return
        if seconds is not None:
            await self._ring(self._stage.name, seconds)

    async def _act(
        self, rows: Sequence[Row], permits: Permits
    ) -> AsyncIterator[tuple[list[End], int]]:
        """Ends as they come, with the number of calls that they are of.

        A call that raises is a bug, and is logged: its row is left to the end of its lease.
        """
        pending: set[asyncio.Task[End | None]] = {
            asyncio.create_task(self._call(row, permits.wait(place)), name=str(row.id))
            for place, row in enumerate(rows)
        }
        unsent: list[UUID] = []
        for task in pending:
            task.add_done_callback(self._note_answer)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if pending:
                    more, pending = await asyncio.wait(pending, timeout=self._stage.flush_seconds)
                    done |= more
                ends, not_sent = _read_ends(done)
                unsent += not_sent
                if answered := len(done) - len(not_sent):
                    yield ends, answered
                if self._stage.interruptible and self._runtime.stopping.is_set():
                    break
        finally:
            for task in pending:
                task.cancel()
        # What was dropped on its way may have reached the upstream: it counts as a call.
        await self._permits.give_back(unused=len(unsent))
        if to_hand_back := [*unsent, *(UUID(task.get_name()) for task in pending)]:
            await self._hand_back(to_hand_back)

    async def _call(self, row: Row, wait: float) -> End | None:
        """Act once its turn has come; None if another of the lane was told to wait meanwhile."""
        if wait:
            await asyncio.sleep(wait)
            self._held = self._held or not await self._permits.may_go()
        if self._held:
            return None
        call = self._stage.act(self._runtime, row)
        end = await (call if self._trace is None else self._trace.act(call, row))
        if busy := self._stage.find_busy(end):
            self._held = True
            if busy.cause is BusyCause.RATE_LIMITED:
                await self._permits.refused()
        return end

    def _note_answer(self, _task: asyncio.Task[End | None]) -> None:
        """At once: what waits to be written down is answered."""
        self._waiting -= 1

    async def _record(self, ends: Sequence[End]) -> Chain:
        """Write ends; while Postgres is away, for a while again: they are dear.

        What cannot be written for another reason is a bug, and is logged: its rows are left to the
        end of their lease, and the other calls of the run go on.
        """
        if not ends:
            return {}
        try:
            return await self._try_record(ends)
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("record_failed", rows=len(ends))
            return {}

    async def _try_record(self, ends: Sequence[End]) -> Chain:
        async for attempt in self._retries():
            with attempt:
                chain = await self._stage.record(self._runtime, self._endpoint, ends)
                if self._trace is not None:
                    self._trace.note_recorded(len(ends))
                return chain
        raise AssertionError("unreachable: the last attempt raises")

    def _retries(self) -> AsyncIterator[stamina.Attempt]:
        return stamina.retry_context(
            on=DatabaseUnavailable, timeout=self._stage.record_seconds, attempts=None, wait_max=2.0
        )

    async def _hand_back(self, ids: Sequence[UUID]) -> None:
        """Of what was not sent; a lane that was told to wait is rung when its record says so.

        While Postgres is away, for a while again: a submission that is not handed back counts as
        one that may have been sent.
        """
        async for attempt in self._retries():
            with attempt:
                async with self._runtime.database.begin() as session:
                    rows = await hand_back(session, self._stage.name, lease=self._lease, ids=ids)
                log.info("leases_handed_back", rows=rows)
        self.report.count(["handed back"] * len(ids))
        if not self._held:
            await self._ring(self._stage.name, 0.0)

    async def _ring(self, stage: StageName, seconds: float) -> None:
        """Ring, while the loop is late so much later: what comes due meanwhile is claimed at once.

        A message costs as much as two calls, so that a late loop would be later by many of them.
        """
        late = self._runtime.lag.seconds
        wait = max(seconds, min(late, LONGEST_LATE_SECONDS)) if late > LATE_SECONDS else seconds
        if stage is self._stage.name:
            self.report.note_bell(wait)
        await self._runtime.bells.ring(stage, self._endpoint, in_seconds=wait)


def _read_ends(
    done: Iterable[asyncio.Task[End | None]],
) -> tuple[list[End], list[UUID]]:
    """The ends of calls, and the ids of the rows for which none was made."""
    ends: list[End] = []
    unsent: list[UUID] = []
    for task in done:
        if error := task.exception():
            log.error("act_raised", row=task.get_name(), exc_info=error)
        elif (end := task.result()) is None:
            unsent.append(UUID(task.get_name()))
        else:
            ends.append(end)
    return ends, unsent


async def stop_task(task: asyncio.Task[None]) -> None:
    """Cancel it, and wait until it has given up the connection that it may hold."""
    task.cancel()
    await asyncio.wait([task])
