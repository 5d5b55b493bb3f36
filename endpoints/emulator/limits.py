"""The upstream's limits: requests in a sliding window, and requests at once.

They hold for each key, endpoint and operation, in real seconds (see `clock` for why). A request
that is refused does not count against the window.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

WINDOW_SECONDS: Final = 10.0
OPERATIONS: Final = frozenset(
    {"run", "runsync", "status", "stream", "cancel", "retry", "purge-queue", "health"}
    | {"openai", "openai-models"}
)


@dataclass(slots=True)
class Gate:
    """What one key may do with one operation of one endpoint, and the most that it did."""

    per_window: int | None
    concurrent: int | None
    arrivals: deque[float] = field(default_factory=deque)
    inside: int = 0
    peak_window: int = 0
    peak_concurrent: int = 0

    def enter(self, now: float) -> bool:
        """Let a request in at the monotonic second `now`, or return False."""
        while self.arrivals and self.arrivals[0] <= now - WINDOW_SECONDS:
            self.arrivals.popleft()
        if self.per_window is not None and len(self.arrivals) >= self.per_window:
            return False
        if self.concurrent is not None and self.inside >= self.concurrent:
            return False
        self.arrivals.append(now)
        self.inside += 1
        self.peak_window = max(self.peak_window, len(self.arrivals))
        self.peak_concurrent = max(self.peak_concurrent, self.inside)
        return True

    def leave(self) -> None:
        """Take note that a request which was let in has been answered, or was given up."""
        self.inside -= 1
