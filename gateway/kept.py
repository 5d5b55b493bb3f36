"""Read once for all who ask within some time: nothing is read while nobody does."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Kept(Generic[T]):
    """
    Args:
        read: is under way once at most.
        seconds: for which what it gave is given again.
    """

    def __init__(self, read: Callable[[], Awaitable[T]], *, seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._reading = asyncio.Lock()
        self._read_at = -math.inf
        self._kept: T | None = None

    async def get(self) -> T:
        """As it is, or was so lately. Raises what `read` does."""
        async with self._reading:
            if time.monotonic() - self._read_at >= self._seconds:
                self._kept = await self._read()
                self._read_at = time.monotonic()
            return cast("T", self._kept)
