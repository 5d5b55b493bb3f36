"""Bells: messages that say that a lane may have work at a time.

A lane has one pending bell at most. Its time is kept under one key: who rings for a time that is
no earlier than the pending one stays silent, unless that one is overdue (its message was lost).
The message carries its time, and the stage that it starts takes the key if it still holds that
time; if not, an earlier bell has been rung since, and this message dies. So chains never multiply.
The key is taken before the claim, so what comes due after the claim rings anew.

No host's clock has a say: a countdown's time is Redis's (`workers/clock.py`), and bells do not
expire. Where no worker answers, an overdue bell is not lost but waits in its queue, and rings no
more once that is long.
"""

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from models.lane import StageName
from workers.metrics import note_bell

LONGEST_SECONDS = 60.0  # a countdown message is held by a worker: none for long
OVERDUE_SECONDS = 3.0  # a bell this late is lost
AT_ONCE_SECONDS = 0.02  # sooner than this needs no countdown
CROWDED = 1000  # messages in a queue: more than there are lanes, so nobody answers them

_RING = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = now + tonumber(ARGV[1])
local pending = tonumber(redis.call('GET', KEYS[1]) or 'nan')
if pending == pending and pending <= at then
  if pending > now - tonumber(ARGV[2]) then return 0 end
  if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[3]) then return 0 end
end
redis.call('SET', KEYS[1], at, 'PX', tonumber(ARGV[1]) + 3600000)
return at
"""

_ANSWER = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pending:
    """Bells that were rung and not answered yet."""

    bells: int
    overdue: int  # of them, those whose time is past


class Bells:
    """Rings through Celery; remembers in Redis.

    Args:
        prefix: of every key.
    """

    def __init__(self, redis: Redis, app: Celery, *, prefix: str) -> None:
        self._redis = redis
        self._app = app
        self._prefix = prefix
        self._ring = redis.register_script(_RING)
        self._answer = redis.register_script(_ANSWER)

    async def ring(self, stage: StageName, endpoint: str, *, in_seconds: float = 0.0) -> bool:
        """Say that the lane may have work in `in_seconds`; whether a message was sent.

        A message that cannot be sent is left to the sweep: the work is in Postgres.
        """
        wait = min(max(in_seconds, 0.0), LONGEST_SECONDS)
        try:
            at = int(
                await self._ring(
                    keys=[self._key(stage, endpoint), f"{self._prefix}{stage}"],
                    args=[round(wait * 1000), round(OVERDUE_SECONDS * 1000), CROWDED],
                )
            )
            if at:
                await asyncio.to_thread(self._publish, stage, endpoint, at, wait)
        except (RedisError, OperationalError, RuntimeError) as error:
            log.warning("bell_not_rung", stage=stage, endpoint=endpoint, error=str(error))
            note_bell(stage, "failed")
            return False
        note_bell(stage, "rung" if at else "spared")
        return bool(at)

    async def ring_each(self, stage: StageName, endpoints: Iterable[str]) -> None:
        """Ring the stage of several endpoints at once."""
        for endpoint in endpoints:
            await self.ring(stage, endpoint)

    async def answer(self, stage: StageName, endpoint: str, at: int) -> bool:
        """Whether this bell is the lane's; if not, an earlier one has taken its place."""
        answered = bool(await self._answer(keys=[self._key(stage, endpoint)], args=[at]))
        note_bell(stage, "answered" if answered else "stale")
        return answered

    async def count_pending(self, endpoints: Sequence[str]) -> Mapping[StageName, Pending]:
        """How many lanes of these endpoints have a bell that was not answered yet, by stage."""
        lanes = [(stage, endpoint) for stage in StageName for endpoint in endpoints]
        seconds, microseconds = await self._redis.time()
        now = seconds * 1000 + microseconds // 1000
        times = await self._redis.mget([self._key(*lane) for lane in lanes]) if lanes else []
        rung: dict[StageName, list[int]] = {stage: [] for stage in StageName}
        for (stage, _), at in zip(lanes, times, strict=True):
            if at is not None:
                rung[stage].append(int(at))
        late = now - OVERDUE_SECONDS * 1000
        return {
            stage: Pending(len(each), sum(at < late for at in each)) for stage, each in rung.items()
        }

    def _publish(self, stage: StageName, endpoint: str, at: int, wait: float) -> None:
        self._app.send_task(
            f"pressroom.{stage}",
            args=(endpoint, at),
            eta=dt.datetime.fromtimestamp(at / 1000, dt.UTC) if wait > AT_ONCE_SECONDS else None,
            ignore_result=True,
        )

    def _key(self, stage: StageName, endpoint: str) -> str:
        return f"{self._prefix}bell:{stage}:{endpoint}"
