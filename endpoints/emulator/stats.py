"""What the emulator was asked and how it answered: what tests and benchmarks read."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

DROPPED: Final = "dropped"  # in place of an HTTP status: the connection was cut


@dataclass(slots=True)
class Tally:
    """The requests of one operation of one endpoint."""

    requests: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    rejected_429: int = 0  # by the limits, not by a fault


class Stats:
    """A tally for each endpoint and operation that was asked for."""

    def __init__(self) -> None:
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.accepted = 0
        self.lost = 0

    def tally(self, endpoint: str, operation: str) -> Tally:
        """Return the tally of an operation of a known endpoint."""
        return self.tallies.setdefault((endpoint, operation), Tally())
