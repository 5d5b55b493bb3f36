"""Which days a page of money is of, in which zone; as its address has it."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

SPANS: Final[Mapping[str, str]] = {
    "today": "Today",
    "7d": "7 days",
    "30d": "30 days",
    "own": "From … to …",
}
DAYS: Final[Mapping[str, int]] = {"today": 1, "7d": 7, "30d": 30}
USUAL = "30d"
MOST_DAYS = 366


class BadWindow(Exception):
    """Days that are none, or too many: `str()` says what was wanted."""


@dataclass(frozen=True)
class Window:
    """Whole days, the last of them perhaps not over yet.

    Args:
        first, last: both within.
    """

    first: dt.date
    last: dt.date
    zone: ZoneInfo

    @property
    def since(self) -> dt.datetime:
        return dt.datetime.combine(self.first, dt.time(), self.zone)

    @property
    def until(self) -> dt.datetime:
        return dt.datetime.combine(self.last + dt.timedelta(days=1), dt.time(), self.zone)

    @property
    def days(self) -> list[dt.date]:
        count = (self.last - self.first).days + 1
        return [self.first + dt.timedelta(days=one) for one in range(count)]


def read_window(span: str, zone: str, first: str = "", last: str = "") -> Window:
    """
    Args:
        span: one of `SPANS`.
        first, last: of "own": 2026-11-28.

    Raises:
        BadWindow
    """
    try:
        where = ZoneInfo(zone)
    except (KeyError, ValueError, OSError):  # none of this name; no name; a folder of zones
        raise BadWindow(f"A time zone was wanted, as Europe/Berlin is; {zone!r} came.") from None
    today = dt.datetime.now(where).date()
    if span in DAYS:
        return Window(today - dt.timedelta(days=DAYS[span] - 1), today, where)
    try:
        begin = dt.date.fromisoformat(first) if first else today
        end = dt.date.fromisoformat(last) if last else today
    except ValueError:
        raise BadWindow("A day was wanted, as 2026-11-28 is.") from None
    if end < begin:
        raise BadWindow("The last day is before the first.")
    if (end - begin).days >= MOST_DAYS:
        raise BadWindow(f"At most {MOST_DAYS} days are shown at once.")
    return Window(begin, end, where)
