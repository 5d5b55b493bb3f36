"""One call to the upstream that is no lane's: made now, under the same quota as all others."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis.exceptions import RedisError

from endpoints.catalogue import Operation
from models.base import new_id
from workers.runtime import Runtime

PATIENCE_SECONDS = 3.0  # for a limit that is used up: whoever asks waits, too
AWAY_SECONDS = 1.0  # until it is worth asking Redis again

log = structlog.get_logger()


class QuotaSpent(Exception):
    """No call may be made now.

    Attributes:
        retry_in: seconds until one may be.
        known: the upstream's limit leaves no room; else nobody knows, for Redis is away.
    """

    def __init__(self, retry_in: float, *, known: bool = True) -> None:
        super().__init__(retry_in)
        self.retry_in = retry_in
        self.known = known

    def __str__(self) -> str:
        if self.known:
            return "the upstream's limit of these requests is used up"
        return "how much of the upstream's limit is used up is not known: Redis cannot be reached"


@asynccontextmanager
async def one_call(
    runtime: Runtime, endpoint: str, operation: Operation, *, seconds: float
) -> AsyncIterator[None]:
    """Leave to make one call, waited for if need be, and given back at the end.

    Args:
        seconds: what the call takes at most.

    Raises:
        QuotaSpent: there is none.
    """
    lease = new_id()
    limit = await runtime.limit(endpoint, operation)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            permits = await runtime.quota.take(
                operation, endpoint, lease=lease, want=1, limit=limit, lease_seconds=seconds
            )
            if permits.forgotten:
                await runtime.quota.restore(
                    operation, endpoint, limit=limit, answered_seconds_ago=None
                )
        except RedisError as error:
            log.warning("quota_not_known", endpoint=endpoint, error=str(error))
            raise QuotaSpent(AWAY_SECONDS, known=False) from error
        if permits.count:
            break
        if time.monotonic() + permits.retry_in > deadline:
            raise QuotaSpent(permits.retry_in)
        await asyncio.sleep(permits.retry_in)
    try:
        yield
    finally:
        try:
            await runtime.quota.give_back(operation, endpoint, lease=lease, limit=limit, answered=1)
        except RedisError as error:
            log.warning("permits_not_given_back", error=str(error))
