"""The upstream's limits, kept by all workers together: so many a window, so many at once.

A worker takes permits before it claims jobs and gives each back when its call was answered. A
permit counts against the window from when it is taken until a whole window *after the answer*: the
request reached the upstream at some moment between the two, so whatever window the upstream looks
at, and however long requests were on their way, it never holds more than the limit. Against
"at once" a permit counts until the answer.

The permits of a worker that died come free when their lease ends, which a live one extends. If
Redis lost its memory (it knows since when it remembers), the caller says what was sent of late, as
the ledger tells of submits; where nobody knows, the last window is taken to have been spent evenly
and in full.

One script, and so one round trip, takes as many as are free up to what is wanted. (The `limits`
package was tried first: it gives all or nothing, takes nothing back, and cannot be told the past.)
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from redis.asyncio import Redis

from endpoints.catalogue.limits import Limit

KEPT_SECONDS = 86_400  # how long an unused quota is remembered
RECHECK_SECONDS = 1.0  # at the limit "at once": whoever gives permits back rings, if it lives
CAREFUL_SLICES = 20

# Members of the window are "<any>:<count>", scored with when they leave it; those in flight are
# leases, scored with when they run out, their counts beside them. Times are Redis's own, in ms.
_TAKE = """
local window, flight, counts, known = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local lease, want, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local per_window, window_ms, at_once = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = redis.call('SET', KEYS[5], now, 'NX', 'GET') or now
if redis.call('EXISTS', known) == 0 then
    if now - since <= 2 * window_ms then return {-1, 0} end
    redis.call('SET', known, 1, 'EX', ARGV[7])
end

for _, dead in ipairs(redis.call('ZRANGEBYSCORE', flight, '-inf', now)) do
    local left = redis.call('HGET', counts, dead) or 0
    redis.call('ZADD', window, now + window_ms, dead .. ':' .. left)
    redis.call('ZREM', flight, dead)
    redis.call('HDEL', counts, dead)
end
-- Those that leave in this very millisecond stay: the clock is cut to whole ones.
redis.call('ZREMRANGEBYSCORE', window, '-inf', '(' .. now)

local flying, used = 0, 0
for _, count in ipairs(redis.call('HVALS', counts)) do flying = flying + count end
for _, member in ipairs(redis.call('ZRANGE', window, 0, -1)) do
    used = used + tonumber(string.match(member, ':(%d+)$'))
end
local free = math.min(want, per_window - used - flying, at_once - flying)
for i = 1, 4 do redis.call('EXPIRE', KEYS[i], ARGV[7]) end
if free > 0 then
    redis.call('ZADD', flight, now + lease_ms, lease)
    redis.call('HSET', counts, lease, free)
    redis.call('EXPIRE', flight, ARGV[7])
    redis.call('EXPIRE', counts, ARGV[7])
    return {free, 0}
end
local next = redis.call('ZRANGE', window, 0, 0, 'WITHSCORES')
if per_window - used - flying <= 0 and next[2] then return {0, next[2] - now + 1} end
return {0, tonumber(ARGV[8])}
"""

_GIVE_BACK = """
local window, flight, counts = KEYS[1], KEYS[2], KEYS[3]
local lease, answered, unused = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local held = tonumber(redis.call('HGET', counts, lease) or 0)
if held == 0 then return end
answered = math.min(answered, held)
if answered > 0 then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('ZADD', window, now + tonumber(ARGV[4]), lease .. ':' .. held .. ':' .. answered)
    redis.call('EXPIRE', window, ARGV[5])
end
local left = math.max(held - answered - unused, 0)
if left == 0 then
    redis.call('HDEL', counts, lease)
    redis.call('ZREM', flight, lease)
else
    redis.call('HSET', counts, lease, left)
end
"""

# A beat says what it holds, too: whoever lost that (a flush, a lease that ran out) learns it again.
_EXTEND = """
local flight, counts = KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', flight, now + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', counts, ARGV[1], ARGV[3])
redis.call('EXPIRE', flight, ARGV[4])
redis.call('EXPIRE', counts, ARGV[4])
"""

# Arguments: expiry in s, then pairs of (ms until it leaves the window, count).
_RESTORE = """
local window, known = KEYS[1], KEYS[4]
if redis.call('EXISTS', known) == 1 then return end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV, 2 do
    redis.call('ZADD', window, now + ARGV[i], 'restored' .. i .. ':' .. ARGV[i + 1])
end
redis.call('SET', known, 1, 'EX', ARGV[1])
redis.call('EXPIRE', window, ARGV[1])
"""


# As _TAKE counts, but nothing is changed.
_USAGE = """
local window, flight, counts = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local flying, used = 0, 0
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', flight, now, '+inf')) do
    flying = flying + (redis.call('HGET', counts, lease) or 0)
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', window, now, '+inf')) do
    used = used + tonumber(string.match(member, ':(%d+)$'))
end
return {used, flying}
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a limit is taken."""

    in_window: int  # answered calls that still count, and those under way
    at_once: int


@dataclass(frozen=True, slots=True)
class Permits:
    """Leave to make `count` calls; if none, when to ask again."""

    count: int
    retry_in: float  # seconds
    forgotten: bool = False  # Redis does not know what was sent before: restore first


class Quota:
    """Permits for calls to the upstream.

    Args:
        redis: decodes responses or not.
        prefix: of every key.
    """

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._prefix = prefix
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._extend = redis.register_script(_EXTEND)
        self._restore = redis.register_script(_RESTORE)
        self._usage = redis.register_script(_USAGE)

    async def take(
        self,
        operation: str,
        endpoint: str,
        *,
        lease: UUID,
        want: int,
        limit: Limit,
        lease_seconds: float,
    ) -> Permits:
        """Take up to `want` permits under `lease`, which runs out after `lease_seconds`."""
        count, wait_ms = await self._take(
            keys=self._keys(operation, endpoint),
            args=[
                lease.hex,
                want,
                round(lease_seconds * 1000),
                limit.per_window,
                round(limit.window_seconds * 1000),
                limit.concurrent or limit.per_window,
                KEPT_SECONDS,
                round(RECHECK_SECONDS * 1000),
            ],
        )
        if int(count) < 0:
            return Permits(0, 0.0, forgotten=True)
        return Permits(int(count), float(wait_ms) / 1000)

    async def give_back(
        self,
        operation: str,
        endpoint: str,
        *,
        lease: UUID,
        limit: Limit,
        answered: int = 0,
        unused: int = 0,
    ) -> None:
        """Calls were answered (or given up), or never made."""
        await self._give_back(
            keys=self._keys(operation, endpoint),
            args=[
                lease.hex,
                answered,
                unused,
                round(limit.window_seconds * 1000),
                KEPT_SECONDS,
            ],
        )

    async def extend(
        self, operation: str, endpoint: str, *, lease: UUID, held: int, lease_seconds: float
    ) -> None:
        """The calls of `held` permits are still under way: they count for so long again."""
        await self._extend(
            keys=self._keys(operation, endpoint),
            args=[lease.hex, round(lease_seconds * 1000), held, KEPT_SECONDS],
        )

    async def usage(self, operation: str, endpoint: str) -> Usage:
        """How much is taken now."""
        used, flying = await self._usage(keys=self._keys(operation, endpoint))
        return Usage(int(used) + int(flying), int(flying))

    async def restore(
        self,
        operation: str,
        endpoint: str,
        *,
        limit: Limit,
        answered_seconds_ago: Sequence[float] | None,
    ) -> None:
        """Say what was sent of late: how long ago each was answered (0: not yet).

        None if nobody knows: the last window is then taken to have been spent evenly, in full.
        """
        slice_seconds = limit.window_seconds / CAREFUL_SLICES
        if answered_seconds_ago is None:
            share = -(-limit.per_window // CAREFUL_SLICES)
            slices = dict.fromkeys(range(1, CAREFUL_SLICES + 1), share)
        else:
            # Rounded up to a slice: at most that much too careful.
            slices = Counter(
                math.ceil((limit.window_seconds - ago) / slice_seconds)
                for ago in answered_seconds_ago
                if ago < limit.window_seconds
            )
        leaving = [(round(i * slice_seconds * 1000), count) for i, count in slices.items()]
        await self._restore(
            keys=self._keys(operation, endpoint),
            args=[KEPT_SECONDS, *(value for pair in leaving for value in pair)],
        )

    def _keys(self, operation: str, endpoint: str) -> list[str]:
        name = f"{self._prefix}quota:{operation}:{{{endpoint}}}"
        return [
            f"{name}:window",
            f"{name}:flight",
            f"{name}:counts",
            f"{name}:known",
            f"{self._prefix}quota:since",
        ]
