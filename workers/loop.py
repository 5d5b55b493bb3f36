"""The event loop of a process: one, on a thread of its own.

Stages run on Celery's threads and only wait there; what they wait for runs together here.
"""

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

STOP_SECONDS = 2.0  # of a process that ends: for what still runs on its loop

T = TypeVar("T")


class LoopThread:
    """An event loop that runs until the process ends."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._thread.start()
        atexit.register(self._stop)

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

    def _stop(self) -> None:
        """Once no thread waits for it any more, which is when `atexit` has its turn.

        A loop that still turned as the interpreter goes would crash the process: uvloop's timers
        ask for an interpreter that is gone. What hangs on the loop keeps nobody: it is left there.
        """

        async def end() -> None:
            if rest := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in rest:
                    task.cancel()
                await asyncio.wait(rest, timeout=STOP_SECONDS)
            self._loop.stop()

        self.start(end())
        self._thread.join(2 * STOP_SECONDS)
