"""A schedule: a campaign's specification that is run again and again, when its cron fires.

`due_at` is the first of its fires that nothing was decided of. Who decides about one holds the row,
and in one transaction notes what was decided (schedule_run.py), adds the campaign, and moves
`due_at` on: so each fire is decided once, however many look and whatever dies.
"""

import datetime as dt
import enum
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Index, delete, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, Usd, word_column
from models.errors import NotFound, PressroomError


class Overlap(enum.StrEnum):
    """What is done about a fire while a run of an earlier one is not over."""

    SKIP = "skip"  # it is left out
    BUFFER_ONE = "buffer_one"  # it starts after that run; while one waits so, others are left out
    ALLOW = "allow"  # it starts beside that run
    CANCEL_OTHER = "cancel_other"  # what has not ended of that run is cancelled, and it starts


class ScheduleNameTaken(PressroomError):
    """There is a schedule of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"name: a schedule {self.name!r} is there already; another name was wanted"


class Schedule(Base):
    __tablename__ = "schedules"
    __table_args__ = (
        Index("schedules_due", "starts_at", postgresql_where=text("paused_at IS NULL")),  # list_due
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    spec: Mapped[Json]  # of the campaign, without its schedule
    rows_key: Mapped[str | None]  # of its file, in the store: as it was when it was given
    planned: Mapped[int]  # jobs of a run
    estimate_usd: Mapped[Usd]  # of those whose price is known
    unpriced: Mapped[int]  # jobs whose price is not
    cron: Mapped[str]
    zone: Mapped[str]
    overlap: Mapped[Overlap] = mapped_column(word_column(Overlap))
    catch_up_seconds: Mapped[float]
    jitter_seconds: Mapped[float]
    pause_on_failure: Mapped[bool]
    due_at: Mapped[dt.datetime]
    starts_at: Mapped[dt.datetime]  # of the same fire: the jitter later
    paused_at: Mapped[dt.datetime | None]
    problem: Mapped[str | None]  # why it paused by itself
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())


async def read_clock(session: AsyncSession) -> dt.datetime:
    """The database's: workers' clocks may differ."""
    now: dt.datetime = (await session.execute(select(func.now()))).scalar_one()
    return now


async def add_schedule(session: AsyncSession, schedule: Schedule) -> None:
    """
    Raises:
        ScheduleNameTaken: another has its name.
    """
    session.add(schedule)
    try:
        await session.flush()
    except IntegrityError as error:
        if "schedules_name_key" in str(error):
            raise ScheduleNameTaken(schedule.name) from error
        raise


async def get_schedule(session: AsyncSession, schedule_id: UUID, *, hold: bool = False) -> Schedule:
    """
    Args:
        hold: against every other change, until the transaction ends.

    Raises:
        NotFound: there is none with this id.
    """
    schedule = await session.get(Schedule, schedule_id, with_for_update=hold or None)
    if schedule is None:
        raise NotFound("schedule", str(schedule_id))
    return schedule


async def hold_schedule(session: AsyncSession, schedule_id: UUID) -> Schedule | None:
    """The same, for who decides about its fires; None: somebody else is at it, or it is gone."""
    return await session.scalar(
        select(Schedule).where(Schedule.id == schedule_id).with_for_update(skip_locked=True)
    )


async def find_schedule(session: AsyncSession, name: str) -> UUID | None:
    """The id of the one of that name."""
    return await session.scalar(select(Schedule.id).where(Schedule.name == name))


async def list_schedules(session: AsyncSession) -> Sequence[Schedule]:
    """In the order of their names."""
    return (await session.scalars(select(Schedule).order_by(Schedule.name))).all()


async def list_due(session: AsyncSession, now: dt.datetime) -> Sequence[UUID]:
    """Those of which a fire is to start, or a run was not over when it was last looked at."""
    return (
        await session.scalars(
            text("""
                SELECT id FROM schedules WHERE paused_at IS NULL AND starts_at <= :now
                UNION
                SELECT schedule_id FROM schedule_runs
                WHERE ended_at IS NULL AND outcome IN ('started', 'buffered')
                ORDER BY 1
            """),
            {"now": now},
        )
    ).all()


async def remove_schedule(session: AsyncSession, schedule_id: UUID) -> None:
    """Forget it, and what was decided of its fires. Its campaigns stay, and run on.

    Raises:
        NotFound: there is none with this id.
    """
    removed = await session.scalar(
        delete(Schedule).where(Schedule.id == schedule_id).returning(Schedule.id)
    )
    if removed is None:
        raise NotFound("schedule", str(schedule_id))
