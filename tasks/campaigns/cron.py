"""When a cron fires, in a time zone. On the two nights a year when clocks change, as in Debian:

    at set hours, `30 2 * * *`      what falls into the skipped hour fires as soon as that is over;
                                    what falls into the repeated hour fires the first time alone
    `*` first, `*/5 2 * * *`        at each moment at which the clock shows such a time: never in
                                    the skipped hour, both times in the repeated hour

cronsim knows the calendar; what clocks do is here, for its own steps of an hour lose their way
where clocks change by half of one. Times that come and go are UTC.
"""

import datetime as dt
import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from tasks.campaigns.template import suggest

FIELDS = 5
WANTED = "minute, hour, day of month, month and day of week were wanted, as in '0 2 * * *'"
MARGIN = dt.timedelta(hours=4)  # more than any change of clocks
MINUTE = dt.timedelta(minutes=1)
BEGIN = dt.datetime(2000, 1, 1)  # noqa: DTZ001 -- by nobody's clock


class BadCron(ValueError):
    """It cannot be used; its text says what came and what was wanted."""


class BadZone(ValueError):
    """There is no such time zone; the same."""


@dataclass(frozen=True, slots=True)
class Fire:
    """When a run is due, and when it starts: up to the jitter later."""

    due_at: dt.datetime
    starts_at: dt.datetime


def read_zone(name: str) -> ZoneInfo:
    """
    Raises:
        BadZone: with a near name, if there is one.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        hint = suggest(name, available_timezones())
        near = hint if hint.startswith("did you mean") else "one such as Europe/Berlin was wanted"
        raise BadZone(f"{name!r} is no time zone; {near}") from error


class Cron:
    """A cron expression of five fields, in a time zone.

    Raises:
        BadCron: it cannot be read, or never fires.
        BadZone: there is no such time zone.
    """

    def __init__(self, expression: str, zone: str) -> None:
        self.zone = read_zone(zone)
        self._fields = expression.split()
        if len(self._fields) != FIELDS:
            raise BadCron(f"{expression!r}: {WANTED}")
        try:
            never = next(self._read(BEGIN), None) is None
        except CronSimError as error:
            never = self._is_whole()
            if not never:
                said = str(error)
                raise BadCron(f"{expression!r}: {said[:1].lower()}{said[1:]}; {WANTED}") from error
        if never:
            raise BadCron(f"{expression!r} never fires: no month of it has such a day")
        self._by_moments = any(one.startswith("*") for one in self._fields[:2])

    def fires(self, after: dt.datetime) -> Iterator[dt.datetime]:
        """Its times after that one, in order, without end."""
        begin = after.astimezone(self.zone).replace(tzinfo=None) - MARGIN
        passes = [self._moments(begin, fold=0)]
        if self._by_moments:
            passes.append(self._moments(begin, fold=1))
        last = after
        for moment in heapq.merge(*passes):
            if moment > last:
                last = moment
                yield moment

    def find_fire(self, schedule_id: UUID, *, after: dt.datetime, jitter_seconds: float) -> Fire:
        """The first that is due after that time."""
        due = next(self.fires(after))
        return Fire(due, due + find_jitter(schedule_id, due, most_seconds=jitter_seconds))

    def explain(self) -> str:
        """In English: "At 02:00 every day"."""
        return str(self._read(BEGIN).explain())

    def say(self, moment: dt.datetime) -> str:
        """A time by the clock of its zone, with how far that is from UTC."""
        exact = moment.second or moment.microsecond
        return moment.astimezone(self.zone).isoformat(timespec="seconds" if exact else "minutes")

    def _moments(self, begin: dt.datetime, *, fold: int) -> Iterator[dt.datetime]:
        """When the clock shows such times: the first time it does, or (`fold` 1) the last."""
        for shown in self._read(begin):
            moment = self._find_moment(shown, fold)
            if not self._by_moments:
                while moment is None:
                    shown += MINUTE  # noqa: PLW2901 -- until the clock shows it
                    moment = self._find_moment(shown, fold)
            if moment is not None:
                yield moment

    def _find_moment(self, shown: dt.datetime, fold: int) -> dt.datetime | None:
        """None: the clock never shows that."""
        moment = shown.replace(tzinfo=self.zone, fold=fold).astimezone(dt.UTC)
        back = moment.astimezone(self.zone).replace(tzinfo=None)
        return moment if back == shown else None

    def _read(self, begin: dt.datetime) -> CronSim:
        return CronSim(" ".join(self._fields), begin)

    def _is_whole(self) -> bool:
        """Whether each field can be read by itself."""
        for place, one in enumerate(self._fields):
            alone = ["*"] * FIELDS
            alone[place] = one
            try:
                CronSim(" ".join(alone), BEGIN)
            except CronSimError:
                return False
        return True


def find_jitter(schedule_id: UUID, due: dt.datetime, *, most_seconds: float) -> dt.timedelta:
    """How much later a fire starts: the same whenever, and wherever, it is asked."""
    said = schedule_id.bytes + due.astimezone(dt.UTC).isoformat().encode()
    share = int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big") / 2**64
    return dt.timedelta(seconds=int(share * most_seconds))
