"""How late the event loop of a process is: whether it has more to do than it can."""

import asyncio
import time

LOOK_SECONDS = 0.05
FADES = 0.8  # of an earlier lag, with each look


class LoopLag:
    """
    Attributes:
        seconds: by which what is due is late now, about.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    async def watch(self) -> None:
        """Look, until cancelled."""
        while True:
            due = time.monotonic() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            self.seconds = max(time.monotonic() - due, FADES * self.seconds)
