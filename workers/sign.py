"""Signs of life that workers leave in Redis, for others to see on whatever host they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import orjson
from redis.asyncio import Redis

from workers.settings import Settings

SILENT_SECONDS = 30
FORGET_SECONDS = 600  # a worker without a sign for so long is gone, and not missed


@dataclass(frozen=True, slots=True)
class Sign:
    """What a worker said, and when by Redis's clock."""

    at: int
    said: str  # what is wrong with it; nothing if all is well

    def to_json(self) -> bytes:
        return orjson.dumps({"at": self.at, "said": self.said})

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        return cls(**orjson.loads(text))

    def is_silent(self, now: int) -> bool:
        return now - self.at > SILENT_SECONDS

    def problem(self, now: int) -> str | None:
        """What is wrong with the worker that left it; None if nothing is."""
        if self.is_silent(now):
            return f"has shown no sign of life for {now - self.at} s"
        return self.said or None


def sign_key(settings: Settings, node: str) -> str:
    """Under which a worker leaves its sign.

    Args:
        node: Celery's name of it: name@host.
    """
    return f"{settings.redis_prefix}worker:{node}"


async def read_signs(settings: Settings, connection: Redis) -> tuple[int, Mapping[str, Sign]]:
    """What Redis's clock says, and the last sign of each worker by its node.

    Raises:
        RedisError: Redis is away.
    """
    now, _ = await connection.time()
    prefix = sign_key(settings, "")
    signs = {}
    async for key in connection.scan_iter(match=f"{prefix}*", count=1000):
        if left := await connection.get(key):
            name = key.decode() if isinstance(key, bytes) else str(key)
            signs[name.removeprefix(prefix)] = Sign.from_json(left)
    return int(now), signs
