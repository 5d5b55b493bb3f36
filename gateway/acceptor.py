"""Requests that come together are written down together: one transaction for all that wait.

No request waits for others to come. While one transaction is under way, what comes is collected,
and is the next. An answer is given once its transaction is committed; the bells are rung after it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from models.errors import DatabaseUnavailable
from models.lane import StageName
from tasks.accept import Acceptance, Accepted, Incoming, accept
from workers.runtime import Runtime

BATCH = 500  # jobs a transaction
BATCH_BYTES = 32_000_000  # of their bodies
RING_SECONDS = 0.2  # between rings: one for all that was written down meanwhile
WAITING_MOST = 5_000  # requests; more are told to come again

log = structlog.get_logger()


class Overloaded(Exception):
    """Too many requests wait to be written down."""


@dataclass(eq=False, slots=True)
class _Waiting:
    incoming: Sequence[Incoming]
    size: int
    answer: asyncio.Future[list[Accepted]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Acceptor:
    """Writes down requests of this process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(maxsize=WAITING_MOST)
        self._to_ring: dict[StageName, set[str]] = defaultdict(set)
        self._something_to_ring = asyncio.Event()
        self._stopping = False

    async def accept(self, incoming: Sequence[Incoming], *, size: int) -> list[Accepted]:
        """Write down requests, all or none; what became of each, in their order.

        Args:
            size: of their bodies, in bytes.

        Raises:
            Overloaded, DatabaseUnavailable: nothing was written.
        """
        waiting = _Waiting(incoming, size)
        try:
            self._waiting.put_nowait(waiting)
        except asyncio.QueueFull as error:
            raise Overloaded from error
        # Shielded by being awaited here alone: a client that goes away leaves its job accepted.
        return await waiting.answer

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ring())
            try:
                await self._write_all()
            finally:
                # A cancel alone may be lost: redis-py drops one that comes while it connects.
                self._stopping = True
                self._something_to_ring.set()

    async def _write_all(self) -> None:
        held: _Waiting | None = None
        while True:
            batch = [held or await self._waiting.get()]
            held = self._collect(batch)
            await self._write(batch)

    def _collect(self, batch: list[_Waiting]) -> _Waiting | None:
        """Add what waits, up to a batch; returns one that was taken and is for the next."""
        jobs = len(batch[0].incoming)
        size = batch[0].size
        while not self._waiting.empty():
            one = self._waiting.get_nowait()
            jobs += len(one.incoming)
            size += one.size
            if jobs > BATCH or size > BATCH_BYTES:
                return one
            batch.append(one)
        return None

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        try:
            acceptance = await self._commit([one for each in batch for one in each.incoming])
        except DatabaseUnavailable as error:
            for waiting in batch:
                _fail(waiting, error)
        except Exception as error:  # noqa: BLE001 -- of one of them: the others must not suffer
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            log.warning("batch_divided", requests=len(batch), error=type(error).__name__)
            for waiting in batch:
                await self._write([waiting])
        else:
            answers = iter(acceptance.accepted)
            for waiting in batch:
                mine = [next(answers) for _ in waiting.incoming]
                if not waiting.answer.done():  # its client went away
                    waiting.answer.set_result(mine)
            self._ring_later(acceptance.bells)

    async def _commit(self, incoming: Sequence[Incoming]) -> Acceptance:
        async with self._runtime.database.begin() as session:
            return await accept(session, incoming)

    def _ring_later(self, bells: Mapping[StageName, set[str]]) -> None:
        for stage, endpoints in bells.items():
            self._to_ring[stage] |= endpoints
        self._something_to_ring.set()

    async def _ring(self) -> None:
        while not self._stopping:
            await self._something_to_ring.wait()
            self._something_to_ring.clear()
            bells, self._to_ring = self._to_ring, defaultdict(set)
            try:
                for stage, endpoints in bells.items():
                    await self._runtime.bells.ring_each(stage, endpoints)
            except Exception:
                log.exception("bells_not_rung")  # the sweep rings; writing down goes on
            await asyncio.sleep(RING_SECONDS)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
