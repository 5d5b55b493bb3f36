"""The event loop of a process: one, on a thread of its own.

Stages run on Celery's threads and only wait there; what they wait for runs together here.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class LoopThread:
    """An event loop that runs until `stop`."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], *, seconds: float) -> T:
        """Wait for `coroutine` on the calling thread.

        Raises:
            TimeoutError: it took longer than `seconds`, and was cancelled.
        """

        async def bounded() -> T:
            async with asyncio.timeout(seconds):
                return await coroutine

        return asyncio.run_coroutine_threadsafe(bounded(), self._loop).result()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let `coroutine` run on its own, to the end of the process."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)
