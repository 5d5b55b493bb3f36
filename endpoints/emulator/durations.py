"""How long jobs take: log-normal around a median, with a long tail, the same for the same seed."""

import random
from typing import Final

EXECUTION_SIGMA: Final = 0.25  # two jobs in three within a quarter of the median
DELAY_SIGMA: Final = 0.6
TAIL_SHARE: Final = 0.02  # one job in fifty is a straggler
TAIL_STRETCH: Final = (1.5, 3.0)


class Durations:
    """The times of one endpoint's jobs, in emulated seconds, drawn in order of arrival."""

    def __init__(
        self, name: str, *, seed: int, execution_seconds: float, delay_seconds: float, spread: float
    ) -> None:
        self._random = random.Random(f"{seed}:{name}")  # noqa: S311 -- draws, not secrets
        self._execution_seconds = execution_seconds
        self._delay_seconds = delay_seconds
        self._spread = spread

    def draw(self) -> tuple[float, float]:
        """Return the delay until a worker is ready, and the execution time."""
        delay = self._delay_seconds * self._stray(DELAY_SIGMA)
        execution = self._execution_seconds * self._stray(EXECUTION_SIGMA)
        if self._spread and self._random.random() < TAIL_SHARE:
            execution *= self._random.uniform(*TAIL_STRETCH)
        return delay, execution

    def quirk(self) -> int:
        """Return 31 random bits."""
        return self._random.getrandbits(31)

    def _stray(self, sigma: float) -> float:
        return self._random.lognormvariate(0.0, sigma * self._spread)
