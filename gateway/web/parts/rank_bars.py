"""A ranking in money: a table whose first column is drawn as bars, too."""

from collections.abc import Sequence
from dataclasses import dataclass

from nicegui.element import Element

from gateway.words import say_usd

FEW = 8  # rows that are shown until somebody wants more
MOST = 200


@dataclass(frozen=True)
class RankBar:
    """Args:
    sure, unsure: US dollars; of the second it is not known whether it was billed.
    """

    name: str
    sure: float
    unsure: float
    jobs: int


class RankBars(Element, component="rank_bars.js"):
    """The largest first, as they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.props["few"] = FEW
        self.set("", [])

    def set(self, kind: str, bars: Sequence[RankBar]) -> None:
        """Args:
        kind: what each is: "Endpoint".
        """
        top = max((bar.sure + bar.unsure for bar in bars), default=0.0) or 1.0
        whole = sum(bar.sure for bar in bars) or 1.0
        self.props["kind"] = kind
        self.props["left"] = max(len(bars) - MOST, 0)
        self.props["bars"] = [
            {
                "name": bar.name,
                "sure": bar.sure / top,
                "unsure": bar.unsure / top,
                "sureText": say_usd(bar.sure),
                "share": f"{bar.sure / whole:.0%}",
                "unsureText": say_usd(bar.unsure) if bar.unsure else "",
                "jobs": f"{bar.jobs:,}",
            }
            for bar in bars[:MOST]
        ]
