"""The permits of one run of a lane: taken before it claims, kept while it calls, given back."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from endpoints.catalogue import Operation
from endpoints.quota import Permits
from models.claims import find_recent_submits
from models.errors import DatabaseUnavailable
from models.lane import StageName, find_learned, note_learned
from workers.operator_settings import OWN
from workers.runtime import Runtime

LEASE_SECONDS = 15.0  # those of a dead worker come free after this
LOOK_SECONDS = 0.02  # between two looks at whether another was refused

log = structlog.get_logger()


class RunPermits:
    """
    Args:
        lease: of the run: what they are held under.
    """

    def __init__(
        self, runtime: Runtime, stage: StageName, operation: str, endpoint: str, lease: UUID
    ) -> None:
        self._runtime = runtime
        self._stage = stage
        self._operation = operation
        self._endpoint = endpoint
        self._lease = lease
        self._held = 0
        self._looked_at = -LOOK_SECONDS
        self._stopped = False
        self._speaking = asyncio.Lock()  # what is said of them to Redis comes there in order

    async def take(self, want: int) -> Permits:
        """Take leave for up to so many calls.

        Raises:
            RedisError, DatabaseUnavailable: none was taken.
        """
        limit = await self._runtime.limit(self._endpoint, self._operation)

        async def ask() -> Permits:
            return await self._runtime.quota.take(
                self._operation,
                self._endpoint,
                lease=self._lease,
                want=want,
                limit=limit,
                lease_seconds=LEASE_SECONDS,
            )

        permits = await ask()
        if permits.forgotten:
            # Of polls no ledger is kept; our own work has no window to exceed.
            sent: Sequence[float] | None = [] if self._operation in OWN else None
            async with self._runtime.database.begin() as session:
                if self._operation == Operation.RUN:
                    sent = await find_recent_submits(
                        session, endpoint=self._endpoint, seconds=limit.window_seconds
                    )
                learned = await find_learned(session, self._stage, self._endpoint)
            await self._runtime.quota.restore(
                self._operation,
                self._endpoint,
                limit=limit,
                answered_seconds_ago=sent,
                learned=learned,
            )
            permits = await ask()
        self._held = permits.count
        return permits

    async def may_go(self) -> bool:
        """Whether a call whose turn has come may go: no other run has been refused meanwhile."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            try:
                self._stopped = await self._runtime.quota.held(self._operation, self._endpoint)
            except RedisError as error:
                log.warning("hold_not_known", error=str(error))
        return not self._stopped

    async def refused(self) -> None:
        """A call was refused for the limit: all workers learn of it, and Postgres what it told."""
        try:
            limit = await self._runtime.limit(self._endpoint, self._operation)
            learned = await self._runtime.quota.refused(
                self._operation, self._endpoint, limit=limit
            )
            if learned is None:
                return
            async with self._runtime.database.begin() as session:
                await note_learned(session, self._stage, self._endpoint, learned=learned)
        except (RedisError, DatabaseUnavailable) as error:
            log.warning("refusal_not_noted", error=str(error))  # the lane is closed all the same
            return
        log.warning("limit_learned", learned=learned, documented=limit.per_window)

    async def give_back(self, *, answered: int = 0, unused: int = 0) -> None:
        """Calls were answered, or will not be made. What cannot be said comes free by itself."""
        async with self._speaking:
            answered = min(answered, self._held)
            unused = min(unused, self._held - answered)
            if not answered and not unused:
                return
            self._held -= answered + unused
            try:
                await self._runtime.quota.give_back(
                    self._operation,
                    self._endpoint,
                    lease=self._lease,
                    limit=await self._runtime.limit(self._endpoint, self._operation),
                    answered=answered,
                    unused=unused,
                )
            except (RedisError, DatabaseUnavailable) as error:
                # The calls under way must not suffer for it, and the next would fare no better.
                self._held = 0
                log.warning("permits_not_given_back", error=str(error))

    async def give_back_all(self) -> None:
        """Calls that ended in no record (an error of ours) count as made."""
        await self.give_back(answered=self._held)

    async def extend(self) -> None:
        """Hold those that are left for longer; if Redis has forgotten them, it learns of them."""
        async with self._speaking:
            if not self._held:
                return
            try:
                await self._runtime.quota.extend(
                    self._operation,
                    self._endpoint,
                    lease=self._lease,
                    held=self._held,
                    lease_seconds=LEASE_SECONDS,
                )
            except RedisError as error:
                log.warning("permits_not_extended", error=str(error))
