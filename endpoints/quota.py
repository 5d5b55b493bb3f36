"""The upstream's limits, kept by all workers together: so many a window, so many at once.

A worker takes permits before it claims jobs and gives each back when its call was answered. A
permit counts against the window from when it is taken until a whole window *after the answer*: the
request reached the upstream at some moment between the two, so whatever window the upstream looks
at, and however long requests were on their way, it never holds more than the limit. Against
"at once" a permit counts until the answer.

They are spread over the window: a call may go once its turn has come, and turns are evenly apart.
So where much waits the upstream sees a steady stream, not a flood every ten seconds, and few calls
are under way at once when it refuses one. What was not used of the last window is no turn lost: so
much may go at once, when a lane wakes up.

A refusal (429) while the limit was in use says that it is no longer what is documented: it moves
with the upstream's workers, and others may use the same account. Then half of what was in use is
the limit, for all workers, and nothing goes for a moment. It rises again once it was used in full
for some windows without a refusal, in steps that double; a step too far goes back to what was good,
and it is longer until the next.

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

from endpoints import quota_scripts
from endpoints.catalogue.limits import Limit

KEPT_SECONDS = 86_400  # how long an unused quota is remembered
RECHECK_SECONDS = 1.0  # at the limit "at once": whoever gives permits back rings, if it lives
CAREFUL_SLICES = 20
AHEAD_SECONDS = 0.3  # a claim takes what may go within so long: few claims, and nobody waits long
SHARE = 0.985  # of the documented rate: clocks and networks are not even
HOLD_SECONDS = 0.5  # after a refusal, until the lane is closed for everybody
APART_SECONDS = 2.0  # refusals closer together are of calls that were under way together
STEP_SHARE = 0.05  # of the documented limit, by which a learned one first rises
PATIENCE_WINDOWS = 3  # until it first does; each step too far doubles it
PATIENCE_WINDOWS_MOST = 48


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a limit is taken."""

    in_window: int  # answered calls that still count, and those under way
    at_once: int
    learned: int | None = None  # calls a window, if refusals showed it to be less than documented


@dataclass(frozen=True, slots=True)
class Permits:
    """Leave to make `count` calls, and when to ask for more."""

    count: int
    retry_in: float  # seconds; 0 of some: as many as were wanted
    forgotten: bool = False  # Redis does not know what was sent before: restore first
    crowded: bool = False  # with these as many are under way as may be: more when one is given back
    first_in: float = 0.0  # seconds until the first call may go; negative: since when it might
    gap: float = 0.0  # seconds between two

    def wait(self, place: int) -> float:
        """Seconds until the call at this place, from 0, may go."""
        return max(self.first_in + place * self.gap, 0.0)


class Quota:
    """Permits for calls to the upstream.

    Args:
        redis: decodes responses or not.
        prefix: of every key.
    """

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._prefix = prefix
        self._take = redis.register_script(quota_scripts.TAKE)
        self._give_back = redis.register_script(quota_scripts.GIVE_BACK)
        self._extend = redis.register_script(quota_scripts.EXTEND)
        self._held = redis.register_script(quota_scripts.HELD)
        self._refused = redis.register_script(quota_scripts.REFUSED)
        self._restore = redis.register_script(quota_scripts.RESTORE)
        self._usage = redis.register_script(quota_scripts.USAGE)

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
        count, wait_ms, first_ms, gap_us, crowded = await self._take(
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
                round(AHEAD_SECONDS * 1000),
                SHARE,
            ],
        )
        if int(count) < 0:
            return Permits(0, 0.0, forgotten=True)
        return Permits(
            int(count),
            float(wait_ms) / 1000,
            crowded=bool(crowded),
            first_in=float(first_ms) / 1000,
            gap=float(gap_us) / 1_000_000,
        )

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

    async def refused(self, operation: str, endpoint: str, *, limit: Limit) -> int | None:
        """A call was refused for the limit: nothing goes for a moment.

        Returns what the limit is now, if this showed that it is less than it was thought to be.
        """
        learned, is_news = await self._refused(
            keys=self._keys(operation, endpoint),
            args=[
                limit.per_window,
                round(limit.window_seconds * 1000),
                KEPT_SECONDS,
                round(HOLD_SECONDS * 1000),
                round(APART_SECONDS * 1000),
                _step(limit),
                PATIENCE_WINDOWS,
                PATIENCE_WINDOWS_MOST,
            ],
        )
        return int(learned) if is_news else None

    async def held(self, operation: str, endpoint: str) -> bool:
        """Whether a call was refused a moment ago: what has turns to come does not go."""
        return bool(await self._held(keys=self._keys(operation, endpoint)))

    async def usage(self, operation: str, endpoint: str) -> Usage:
        """How much is taken now."""
        used, flying, learned = await self._usage(keys=self._keys(operation, endpoint))
        return Usage(int(used) + int(flying), int(flying), int(learned) or None)

    async def restore(
        self,
        operation: str,
        endpoint: str,
        *,
        limit: Limit,
        answered_seconds_ago: Sequence[float] | None,
        learned: int | None = None,
    ) -> None:
        """Say what was sent of late: how long ago each was answered (0: not yet).

        None if nobody knows: the last window is then taken to have been spent evenly, in full.

        Args:
            learned: the limit, if refusals had shown it to be less than `limit`.
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
            args=[
                KEPT_SECONDS,
                learned or 0,
                _step(limit),
                PATIENCE_WINDOWS,
                *(value for pair in leaving for value in pair),
            ],
        )

    def _keys(self, operation: str, endpoint: str) -> list[str]:
        name = f"{self._prefix}quota:{operation}:{{{endpoint}}}"
        return [
            f"{name}:window",
            f"{name}:flight",
            f"{name}:counts",
            f"{name}:known",
            f"{self._prefix}quota:since",
            f"{name}:pace",
        ]


def _step(limit: Limit) -> int:
    return max(round(limit.per_window * STEP_SHARE), 1)
