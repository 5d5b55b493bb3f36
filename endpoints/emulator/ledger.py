"""What the emulator billed, to the last digit: what a client's own books are compared with.

A generation that ran is in it even where no price is known: that it ran twice can then still be
seen.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """One bill: a job, what it cost in USD, and when, in emulated seconds.

    Attributes:
        cost: None where the catalogue knows no price.
        prompt: the first words of what was asked for, by which a client finds its own request.
    """

    id: str
    endpoint: str
    cost: Decimal | None
    at: float
    prompt: str


class Ledger:
    """Every bill, in order. It outlives the jobs: money is not forgotten after half an hour."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._totals: defaultdict[str, Decimal] = defaultdict(Decimal)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def total_usd(self) -> Decimal:
        """The sum of all bills."""
        return sum(self._totals.values(), Decimal())

    @property
    def by_endpoint(self) -> dict[str, Decimal]:
        """The sum of each endpoint's bills."""
        return dict(self._totals)

    def bill(self, entry: Entry) -> None:
        """Write down one bill."""
        self._entries.append(entry)
        if entry.cost is not None:
            self._totals[entry.endpoint] += entry.cost
