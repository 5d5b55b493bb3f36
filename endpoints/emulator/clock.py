"""What time it is upstream, and how fast it passes.

Everything that the upstream measures on its own (queueing, execution, retention, ttl, expiry of
files) runs on this clock. The rate-limit windows do not: a client meets them in the seconds of its
own wall clock, so speeding them up would test arithmetic that no client will ever do.
"""

import math
import time


class Clock:
    """Seconds since the emulator started, `factor` times as fast as the wall's.

    A factor of 0 freezes the clock: it then moves by `skip` alone, which is what tests want.
    """

    def __init__(self, *, factor: float = 1.0) -> None:
        if not (math.isfinite(factor) and factor >= 0):
            raise ValueError(f"clock factor: {factor} is not a finite number of at least 0")
        self.factor = factor
        self._started = time.monotonic()
        self._skipped = 0.0

    def now(self) -> float:
        """Return the emulated seconds that have passed."""
        return (time.monotonic() - self._started) * self.factor + self._skipped

    def skip(self, seconds: float) -> None:
        """Jump `seconds` ahead, on the emulated clock."""
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"skip: {seconds} is not a finite number of seconds, at least 0")
        self._skipped += seconds

    def unix(self, emulated: float) -> float | None:
        """Return when it was so late, in seconds since 1970; None if the clock is frozen.

        Of a time before a jump ahead that is too early, by as much as was skipped.
        """
        return time.time() - (self.now() - emulated) / self.factor if self.factor else None

    def real_seconds(self, emulated: float) -> float:
        """Return how long `emulated` seconds take on the wall: for ever on a frozen clock."""
        return emulated / self.factor if self.factor else math.inf
