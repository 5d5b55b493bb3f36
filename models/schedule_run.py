"""What was decided of the fires of a schedule: a row for each.

    started    its campaign was added; `ended_at` says that it was seen to be over
    buffered   it waits for a run to be over, then is started
    skipped    a run before it was not over
    missed     nothing looked in time
    failed     its campaign could not be added

What is backfilled is a line of its own: it holds up no fire of the clock, and none holds it up.
"""

import datetime as dt
import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, word_column
from models.job import OPEN, TERMINAL, JobState


class RunOutcome(enum.StrEnum):
    STARTED = "started"
    BUFFERED = "buffered"
    SKIPPED = "skipped"
    MISSED = "missed"
    FAILED = "failed"


class ScheduleRun(Base):
    __tablename__ = "schedule_runs"
    __table_args__ = (
        CheckConstraint(
            "(outcome = 'started') = (campaign_id IS NOT NULL)", name="campaign_iff_started"
        ),
        Index(
            "schedule_runs_open",  # list_open_runs, list_buffered, schedule.list_due
            "schedule_id",
            postgresql_where=text("ended_at IS NULL AND outcome IN ('started', 'buffered')"),
        ),
    )

    schedule_id: Mapped[UUID] = mapped_column(
        ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True
    )
    due_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    outcome: Mapped[RunOutcome] = mapped_column(word_column(RunOutcome))
    campaign_id: Mapped[UUID | None] = mapped_column(ForeignKey("campaigns.id"))
    backfill: Mapped[bool] = mapped_column(server_default="false")
    at_once: Mapped[bool] = mapped_column(server_default="false")  # it waits for no other
    note: Mapped[str | None]  # why it came to that
    decided_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    cancel_asked: Mapped[bool] = mapped_column(server_default="false")  # of its unended jobs
    ended_at: Mapped[dt.datetime | None]


_OPEN = [state.value for state in OPEN]
_FAILED = [
    state.value for state in TERMINAL if state not in {JobState.COMPLETED, JobState.CANCELLED}
]


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that was not over when it was last looked at, and how it is now."""

    due_at: dt.datetime
    campaign_id: UUID
    backfill: bool
    cancel_asked: bool
    ended: bool  # all its jobs are enqueued, and have ended
    failed: int  # jobs of it, if it has ended
    problem: str | None  # why the rest of its jobs was not enqueued


async def is_decided(session: AsyncSession, schedule_id: UUID, due_at: dt.datetime) -> bool:
    return await session.get(ScheduleRun, (schedule_id, due_at)) is not None


async def get_run(session: AsyncSession, schedule_id: UUID, due_at: dt.datetime) -> ScheduleRun:
    """Of a fire that was decided about."""
    return await session.get_one(ScheduleRun, (schedule_id, due_at))


async def list_open_runs(session: AsyncSession, schedule_id: UUID) -> Sequence[OpenRun]:
    """In the order in which they were due."""
    rows = await session.execute(
        text("""
            SELECT open.*, CASE WHEN ended THEN (SELECT count(*) FROM jobs
                WHERE campaign_id = open.campaign_id AND state = ANY(:failed)) ELSE 0 END AS failed
            FROM (
                SELECT due_at, campaign_id, backfill, cancel_asked, campaigns.problem,
                    total IS NOT NULL AND NOT EXISTS (SELECT FROM jobs
                        WHERE campaign_id = campaigns.id AND state = ANY(:open)) AS ended
                FROM schedule_runs JOIN campaigns ON campaigns.id = campaign_id
                WHERE schedule_id = :id AND outcome = 'started' AND ended_at IS NULL
            ) AS open ORDER BY due_at
        """),
        {"id": schedule_id, "open": _OPEN, "failed": _FAILED},
    )
    return [
        OpenRun(
            due_at=row.due_at,
            campaign_id=row.campaign_id,
            backfill=row.backfill,
            cancel_asked=row.cancel_asked,
            ended=row.ended,
            failed=row.failed,
            problem=row.problem,
        )
        for row in rows
    ]


async def list_buffered(session: AsyncSession, schedule_id: UUID) -> Sequence[ScheduleRun]:
    """In the order in which they were due."""
    return (
        await session.scalars(
            select(ScheduleRun)
            .where(
                ScheduleRun.schedule_id == schedule_id,
                ScheduleRun.outcome == RunOutcome.BUFFERED,
                ScheduleRun.ended_at.is_(None),
            )
            .order_by(ScheduleRun.due_at)
        )
    ).all()


async def buffer_runs(
    session: AsyncSession,
    schedule_id: UUID,
    dues: Collection[dt.datetime],
    *,
    backfill: bool,
    at_once: bool,
    note: str,
) -> int:
    """Let fires wait to be started, but those that were, or wait already. Returns how many."""
    statement = insert(ScheduleRun).values(
        [
            {
                "schedule_id": schedule_id,
                "due_at": due,
                "outcome": RunOutcome.BUFFERED,
                "backfill": backfill,
                "at_once": at_once,
                "note": note,
            }
            for due in dues
        ]
    )
    given = statement.excluded
    added = await session.scalars(
        statement.on_conflict_do_update(
            index_elements=[ScheduleRun.schedule_id, ScheduleRun.due_at],
            set_={
                "outcome": given.outcome,
                "backfill": given.backfill,
                "at_once": given.at_once,
                "note": given.note,
                "decided_at": func.now(),
            },
            where=ScheduleRun.outcome.notin_((RunOutcome.STARTED, RunOutcome.BUFFERED)),
        ).returning(ScheduleRun.due_at)
    )
    return len(added.all())


async def find_taken(
    session: AsyncSession, schedule_id: UUID, start: dt.datetime, end: dt.datetime
) -> set[dt.datetime]:
    """Fires from `start` to `end`, both included, that were started, or wait to be."""
    return set(
        await session.scalars(
            select(ScheduleRun.due_at).where(
                ScheduleRun.schedule_id == schedule_id,
                ScheduleRun.due_at.between(start, end),
                ScheduleRun.outcome.in_((RunOutcome.STARTED, RunOutcome.BUFFERED)),
            )
        )
    )


async def end_run(session: AsyncSession, schedule_id: UUID, due_at: dt.datetime) -> None:
    """It was seen to be over."""
    await session.execute(
        update(ScheduleRun)
        .where(ScheduleRun.schedule_id == schedule_id, ScheduleRun.due_at == due_at)
        .values(ended_at=func.now())
    )


async def ask_to_cancel(session: AsyncSession, schedule_id: UUID, due_at: dt.datetime) -> None:
    """Its unended jobs are to be cancelled, until none is left."""
    await session.execute(
        update(ScheduleRun)
        .where(ScheduleRun.schedule_id == schedule_id, ScheduleRun.due_at == due_at)
        .values(cancel_asked=True)
    )


async def find_cancellable(
    session: AsyncSession, campaign_id: UUID, *, limit: int
) -> Sequence[UUID]:
    """Jobs of a campaign that have not ended, and of which no cancel was asked for."""
    return (
        await session.scalars(
            text("""
                SELECT id FROM jobs
                WHERE campaign_id = :id AND state = ANY(:open) AND cancel_requested_at IS NULL
                ORDER BY id LIMIT :limit
            """),
            {"id": campaign_id, "open": _OPEN, "limit": limit},
        )
    ).all()


async def list_last_runs(
    session: AsyncSession, *, each: int
) -> Mapping[UUID, Sequence[ScheduleRun]]:
    """Of every schedule so many that were due last, the last first."""
    place = (
        func.row_number()
        .over(partition_by=ScheduleRun.schedule_id, order_by=ScheduleRun.due_at.desc())
        .label("place")
    )
    last = select(ScheduleRun.schedule_id, ScheduleRun.due_at, place).subquery()
    rows = await session.scalars(
        select(ScheduleRun)
        .join(
            last,
            (ScheduleRun.schedule_id == last.c.schedule_id) & (ScheduleRun.due_at == last.c.due_at),
        )
        .where(last.c.place <= each)
        .order_by(ScheduleRun.due_at.desc())
    )
    found: dict[UUID, list[ScheduleRun]] = {}
    for run in rows:
        found.setdefault(run.schedule_id, []).append(run)
    return found


async def list_runs(
    session: AsyncSession, schedule_id: UUID, *, limit: int
) -> Sequence[ScheduleRun]:
    """Those that were due last, the last first."""
    return (
        await session.scalars(
            select(ScheduleRun)
            .where(ScheduleRun.schedule_id == schedule_id)
            .order_by(ScheduleRun.due_at.desc())
            .limit(limit)
        )
    ).all()
