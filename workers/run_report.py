"""What one run of a lane did, in a line: the result of its Celery task, which Flower shows."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class RunReport:
    """
    Attributes:
        idle: why nothing was claimed, if that is not for want of rows.
        claimed: rows.
        ends: of their calls, by a word for each.
        next_seconds: until the lane's next bell; None: it rang for none.
    """

    idle: str | None = None
    claimed: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    next_seconds: float | None = None

    def count(self, words: Iterable[str]) -> None:
        self.ends.update(words)

    def note_bell(self, seconds: float) -> None:
        """It rang for so soon; the soonest counts."""
        known = self.next_seconds
        self.next_seconds = seconds if known is None else min(known, seconds)

    def __str__(self) -> str:
        """As `claimed 87, completed 31, in progress 56, next in 1.2 s`."""
        said = [self.idle or f"claimed {self.claimed:,}"]
        said += [f"{word} {count:,}" for word, count in self.ends.most_common()]
        if self.next_seconds is not None:
            said.append(f"next in {self.next_seconds:.1f} s" if self.next_seconds else "next now")
        return ", ".join(said)
