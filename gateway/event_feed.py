"""Events as they happen, for any number of listeners: one reader of the table, five times a second.

A listener that comes back says where it was; what it missed is read for it alone, and then it joins
the others. Nothing is left out between the two, and nothing comes twice.
"""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import structlog

from models.errors import DatabaseUnavailable
from models.event import Event, Place, find_place, list_events
from workers.runtime import Runtime

READ_SECONDS = 0.2
READ_AGAIN_SECONDS = 1.0  # while Postgres is away
BATCH = 1_000
BEHIND_MOST = 10_000  # events; a listener that is further behind reads the table itself

log = structlog.get_logger()


class EventFeed:
    """Reads new events while somebody listens."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._listeners: set[asyncio.Queue[Event]] = set()
        self._place: Place | None = None  # up to here listeners have been told
        self._wanted = asyncio.Event()
        self._stopping = False

    def stop(self) -> None:
        """Let every listener go within a second: it can go on at another gateway."""
        self._stopping = True

    async def listen(
        self, *, owner: UUID | None, after: Place | None
    ) -> AsyncIterator[Event | None]:
        """Events of one key's jobs, or (None) of everybody's; None each second in between.

        Args:
            after: the last one that was seen; None: from now on.
        """
        place = after or await self._now()
        while True:
            mine: asyncio.Queue[Event] = asyncio.Queue(maxsize=BEHIND_MOST)
            self._listeners.add(mine)
            try:
                # The common reader begins no later than this listener's own reading ends.
                if self._place is None:
                    now = await self._now()
                    self._place = self._place or now  # another may have begun it meanwhile
                self._wanted.set()
                # What the common reader has passed already, and what comes while this is read,
                # is in the table or in the queue: `place` tells which of it is new.
                async for event in self._read(place, owner):
                    place = place_of(event)
                    yield event
                while mine in self._listeners:  # else it is behind
                    if self._stopping:
                        return
                    try:
                        async with asyncio.timeout(1.0):
                            event = await mine.get()
                    except TimeoutError:
                        yield None
                        continue
                    if place_of(event) > place and owner in {None, event.key_id}:
                        place = place_of(event)
                        yield event
            finally:
                self._listeners.discard(mine)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self._wanted.wait()
            if not self._listeners:
                self._wanted.clear()
                self._place = None
                continue
            pause = READ_SECONDS
            try:
                await self._tell_new()
            except DatabaseUnavailable as error:
                log.warning("events_not_read", listeners=len(self._listeners), error=str(error))
                pause = READ_AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def _now(self) -> Place:
        async with self._runtime.database.begin() as session:
            return await find_place(session)

    async def _tell_new(self) -> None:
        if self._place is None:
            return
        async for event in self._read(self._place, None):
            for listener in tuple(self._listeners):
                if listener.full():
                    self._listeners.discard(listener)
                else:
                    listener.put_nowait(event)
            self._place = place_of(event)

    async def _read(self, after: Place, owner: UUID | None) -> AsyncIterator[Event]:
        while True:
            async with self._runtime.database.begin() as session:
                batch = await list_events(session, after=after, limit=BATCH, owner=owner)
            for event in batch:
                yield event
            if len(batch) < BATCH:
                return
            after = place_of(batch[-1])


def place_of(event: Event) -> Place:
    return Place(event.transaction, event.number)
