"""Money day by day: a column each, what is certain below what is not; and the same as a table.

Plain elements rather than a drawing: they take their colours from the theme as it changes, a table
says the same to who cannot see them, and there is no library of charts to load.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nicegui.element import Element

from gateway.words import say_usd

STEPS = (1, 2, 2.5, 5, 10)  # of a scale, times a power of ten
LINES = 4  # of a scale, about


@dataclass(frozen=True)
class DayBar:
    """Args:
    sure, unsure: US dollars; of the second it is not known whether it was billed.
    """

    day: dt.date
    sure: float
    unsure: float
    jobs: int


class DayBars(Element, component="day_bars.js"):
    """Args:
    caption: what they are, for who hears the page.
    """

    def __init__(self, *, caption: str) -> None:
        super().__init__()
        self.props["caption"] = caption
        self.set([])

    def set(self, bars: Sequence[DayBar]) -> None:
        lines = make_scale(max((bar.sure + bar.unsure for bar in bars), default=0.0))
        top = lines[-1]
        self.props["lines"] = [{"at": line / top, "text": say_usd(line)} for line in lines]
        self.props["bars"] = [_describe(bar, top) for bar in bars]


def _describe(bar: DayBar, top: float) -> dict[str, Any]:
    return {
        "key": bar.day.isoformat(),
        "short": f"{bar.day.day} {bar.day:%b}",
        "whole": f"{bar.day:%a} {bar.day.day} {bar.day:%b %Y}",
        "sure": bar.sure / top,
        "unsure": bar.unsure / top,
        "sureText": say_usd(bar.sure),
        "unsureText": say_usd(bar.unsure) if bar.unsure else "",
        "jobs": bar.jobs,
    }


def make_scale(most: float) -> list[float]:
    """Round figures from nothing to `most`, or a little more; the last is above nothing."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / LINES
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * one for one in STEPS if power * one >= rough * (1 - 1e-9))
    return [step * count for count in range(math.ceil(most / step - 1e-9) + 1)]
