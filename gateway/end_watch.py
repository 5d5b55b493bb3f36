"""Wait for the ends of jobs: any number of clients, one query for all of them, twenty a second.

A client that waits costs a future. It holds no thread and no database connection.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection
from uuid import UUID

import structlog

from models.errors import DatabaseUnavailable
from models.job_queries import find_ended
from workers.runtime import Runtime

LOOK_SECONDS = 0.05
LOOK_AGAIN_SECONDS = 1.0  # while Postgres is away
FILES_SECONDS = 2.0  # a result that is waited for waits so long for its files to be stored
LOOKED_FOR_AT_ONCE = 5_000

log = structlog.get_logger()


class EndWatch:
    """Tells when jobs have ended."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiters: dict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._ended_at: dict[UUID, float] = {}  # those whose files are still waited for
        self._wanted = asyncio.Event()
        self.stopping = asyncio.Event()

    def stop(self) -> None:
        """Let everybody who waits go: the process is to end, and they can ask another."""
        self.stopping.set()
        for events in self._waiters.values():
            for event in events:
                event.set()

    async def wait(self, job_ids: Collection[UUID], *, seconds: float) -> None:
        """Until one of the jobs has ended, its files stored or not to be waited for, or in vain."""
        event = asyncio.Event()
        for job_id in job_ids:
            self._waiters[job_id].add(event)
        self._wanted.set()
        try:
            if not self.stopping.is_set():
                async with asyncio.timeout(seconds):
                    await event.wait()
        except TimeoutError:
            pass
        finally:
            for job_id in job_ids:
                self._waiters[job_id].discard(event)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]
                    self._ended_at.pop(job_id, None)

    async def run(self) -> None:
        """Look until cancelled; only while somebody waits."""
        while True:
            await self._wanted.wait()
            if not self._waiters:
                self._wanted.clear()
                continue
            pause = LOOK_SECONDS
            try:
                await self._look()
            except DatabaseUnavailable as error:
                log.warning("ends_not_seen", waiting=len(self._waiters), error=str(error))
                pause = LOOK_AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def _look(self) -> None:
        wanted = list(self._waiters)
        now = time.monotonic()
        for start in range(0, len(wanted), LOOKED_FOR_AT_ONCE):
            async with self._runtime.database.begin() as session:
                ended = await find_ended(session, wanted[start : start + LOOKED_FOR_AT_ONCE])
            for job in ended:
                if job.id not in self._waiters:  # they left while it was looked for
                    continue
                first_seen = self._ended_at.setdefault(job.id, now)
                if job.settled or now - first_seen >= FILES_SECONDS:
                    for event in self._waiters[job.id]:
                        event.set()
