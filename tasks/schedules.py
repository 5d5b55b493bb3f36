"""What people do with schedules: make, change, pause and run them, and backfill what was not run.

Each is one transaction that holds the schedule's row, as a tick does: what is changed holds from
the next fire on, and whatever was decided before stays so.
"""

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import new_id
from models.errors import PressroomError
from models.schedule import Schedule, add_schedule, get_schedule, read_clock
from models.schedule_run import buffer_runs, find_taken
from tasks.campaigns.cron import Fire
from tasks.campaigns.timetable import Timetable

NEXT = 10  # fires that are shown
MOST_FIRES = 1_000  # of one backfill
EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)  # of what is backfilled
INSTANT = dt.timedelta(microseconds=1)


class InvalidSchedule(PressroomError):
    """What was asked for is not possible; `problems` has a line for each thing that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(list(problems))
        self.problems = list(problems)

    def __str__(self) -> str:
        return "; ".join(self.problems)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a schedule runs, as it was planned.

    Attributes:
        spec: of the campaign, as JSON, without its schedule.
        rows_key: of its file, in the store.
        jobs: of one run.
        usd: of those whose price is known.
        unpriced: how many have none.
    """

    spec: dict[str, Any]
    rows_key: str | None
    jobs: int
    usd: Decimal
    unpriced: int


async def create_schedule(
    session: AsyncSession,
    *,
    name: str,
    timetable: Timetable,
    contents: Contents,
    paused: bool = False,
    now: dt.datetime | None = None,
) -> Schedule:
    """Its first fire is the first after now.

    Raises:
        ScheduleNameTaken: another has its name.
    """
    now = now or await read_clock(session)
    schedule = Schedule(id=new_id(), name=name, paused_at=now if paused else None)
    _fill(schedule, contents)
    _set(schedule, timetable)
    _aim(schedule, timetable, after=now)
    await add_schedule(session, schedule)
    return schedule


async def change_schedule(
    session: AsyncSession,
    schedule_id: UUID,
    *,
    changes: Mapping[str, Any] | None = None,
    contents: Contents | None = None,
    paused: bool | None = None,
    now: dt.datetime | None = None,
) -> Schedule:
    """
    Args:
        changes: fields of its timetable.
        paused: False: it goes on with the first fire after now.

    Raises:
        NotFound: there is none with this id.
        InvalidSchedule: the timetable would not be right; nothing is changed.
    """
    now = now or await read_clock(session)
    schedule = await get_schedule(session, schedule_id, hold=True)
    before = read_timetable(schedule)
    try:
        after = Timetable.model_validate({**before.model_dump(), **(changes or {})})
    except ValidationError as error:
        raise InvalidSchedule(say_problems(error)) from error
    if contents is not None:
        _fill(schedule, contents)
    _set(schedule, after)
    resumed = paused is False and schedule.paused_at is not None
    if resumed or (after.cron, after.zone) != (before.cron, before.zone):
        _aim(schedule, after, after=now)
    elif after.jitter != before.jitter:
        _aim(schedule, after, after=schedule.due_at - INSTANT)
    if resumed:
        schedule.paused_at = schedule.problem = None
    elif paused and schedule.paused_at is None:
        schedule.paused_at = now
    return schedule


def list_next(schedule: Schedule, *, now: dt.datetime, count: int = NEXT) -> Sequence[Fire]:
    """Its coming fires: those of which nothing was decided, or if it were resumed now."""
    cron = read_timetable(schedule).read_cron()
    paused = schedule.paused_at is not None
    after, starts = (now, now) if paused else (schedule.due_at - INSTANT, schedule.starts_at)
    fires = []
    for _ in range(count):
        fire = cron.find_fire(schedule.id, after=after, jitter_seconds=schedule.jitter_seconds)
        after, starts = fire.due_at, max(starts, fire.starts_at)
        fires.append(Fire(fire.due_at, starts))
    return fires


async def list_missing(
    session: AsyncSession,
    schedule: Schedule,
    *,
    start: dt.datetime,
    end: dt.datetime,
    now: dt.datetime,
) -> Sequence[dt.datetime]:
    """Fires from `start` to `end`, both included, that were not started and do not wait.

    Raises:
        InvalidSchedule: it is no range of the past, or has too many fires.
    """
    cron = read_timetable(schedule).read_cron()
    if end > now:
        raise InvalidSchedule([f"a time that is past was wanted, {end.isoformat()} came"])
    if not EARLIEST <= start <= end:
        said = f"a time between {EARLIEST.date()} and {end.isoformat()} was wanted"
        raise InvalidSchedule([f"{said}, {start.isoformat()} came"])
    upto = itertools.takewhile(lambda due: due <= end, cron.fires(start - INSTANT))
    dues = list(itertools.islice(upto, MOST_FIRES + 1))
    if len(dues) > MOST_FIRES:
        raise InvalidSchedule([f"more than {MOST_FIRES:,} fires; a shorter range was wanted"])
    taken = await find_taken(session, schedule.id, start, end)
    return [due for due in dues if due not in taken]


async def backfill_schedule(
    session: AsyncSession,
    schedule_id: UUID,
    *,
    start: dt.datetime,
    end: dt.datetime,
    at_once: bool,
    now: dt.datetime | None = None,
) -> int:
    """Let the fires of a past range wait to be started, each once the one before is over.

    Returns how many.

    Args:
        at_once: none waits for another.

    Raises:
        NotFound: there is none with this id.
        InvalidSchedule: as `list_missing`.
    """
    now = now or await read_clock(session)
    schedule = await get_schedule(session, schedule_id, hold=True)
    dues = await list_missing(session, schedule, start=start, end=end, now=now)
    if not dues:
        return 0
    return await buffer_runs(
        session, schedule.id, dues, backfill=True, at_once=at_once, note="backfilled"
    )


async def run_schedule(
    session: AsyncSession, schedule_id: UUID, *, now: dt.datetime | None = None
) -> dt.datetime:
    """Let a run of it start, whatever else runs; returns what counts as its time.

    Raises:
        NotFound: there is none with this id.
        InvalidSchedule: one was asked for within the same second.
    """
    now = (now or await read_clock(session)).replace(microsecond=0)
    schedule = await get_schedule(session, schedule_id, hold=True)
    added = await buffer_runs(
        session, schedule.id, [now], backfill=False, at_once=True, note="run by hand"
    )
    if not added:
        raise InvalidSchedule(["a run of this second is there already"])
    return now


def read_timetable(schedule: Schedule) -> Timetable:
    """As it was checked when it was set."""
    return Timetable.model_construct(
        cron=schedule.cron,
        zone=schedule.zone,
        overlap=schedule.overlap,
        catch_up=schedule.catch_up_seconds,
        jitter=schedule.jitter_seconds,
        pause_on_failure=schedule.pause_on_failure,
    )


def say_problems(error: ValidationError) -> list[str]:
    """A line for each thing that is wrong with a form."""
    return [
        f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}".lstrip(": ")
        for one in error.errors(include_url=False)
    ]


def _fill(schedule: Schedule, contents: Contents) -> None:
    schedule.spec, schedule.rows_key = contents.spec, contents.rows_key
    schedule.planned, schedule.unpriced = contents.jobs, contents.unpriced
    schedule.estimate_usd = contents.usd


def _set(schedule: Schedule, timetable: Timetable) -> None:
    schedule.cron, schedule.zone = timetable.cron, timetable.zone
    schedule.overlap = timetable.overlap
    schedule.catch_up_seconds = timetable.catch_up
    schedule.jitter_seconds = timetable.jitter
    schedule.pause_on_failure = timetable.pause_on_failure


def _aim(schedule: Schedule, timetable: Timetable, *, after: dt.datetime) -> None:
    fire = timetable.read_cron().find_fire(
        schedule.id, after=after, jitter_seconds=timetable.jitter
    )
    schedule.due_at, schedule.starts_at = fire.due_at, fire.starts_at
