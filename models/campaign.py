"""A campaign: jobs handed in together, from a file, and followed as one. It is counted, not kept:
how far it is, and what it cost, is read from its jobs.

One that has a specification is expanded by workers, in order: `expanded` says how many of its items
there are, and is written together with them, so that none is there twice or left out whatever dies.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Index, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, new_id
from models.errors import NotFound, PressroomError
from models.job import JobState, Reason


class NameTaken(PressroomError):
    """There is a campaign of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"name: a campaign {self.name!r} is there already; another name was wanted"


class Campaign(Base):
    __tablename__ = "campaigns"
    __table_args__ = (
        Index(
            "campaigns_named",  # NameTaken
            "name",
            unique=True,
            postgresql_where=text("spec IS NOT NULL"),
        ),
        Index(
            "campaigns_to_expand",  # claim_unexpanded
            "expanded_at",
            postgresql_where=text("spec IS NOT NULL AND total IS NULL AND problem IS NULL"),
        ),
        Index("campaigns_unsettled", "id", postgresql_where=text("unsettled")),  # hold.py
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    endpoint: Mapped[str | None]  # None if its jobs run on several
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    total: Mapped[int | None]  # None until all of its file is enqueued
    spec: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    rows_key: Mapped[str | None]  # of its file, in the store: as it was when it was started
    planned: Mapped[int | None]  # items of it, as they were counted before it was started
    expanded: Mapped[int] = mapped_column(server_default="0")  # items that are enqueued
    expanded_at: Mapped[dt.datetime | None]  # when the last of them were, or somebody was sent for
    problem: Mapped[str | None]  # why it is not expanded further
    paused_at: Mapped[dt.datetime | None]
    unsettled: Mapped[bool] = mapped_column(server_default="false")  # its jobs are not so yet


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign is."""

    total: int | None  # None while its items are still being enqueued
    planned: int | None  # how many there will be, if it has a specification
    problem: str | None  # why the rest of them is not enqueued
    paused: bool
    queued: int
    running: int  # from being submitted to the end, unknown outcomes among them
    completed: int
    failed: int  # ended in any other way
    cancelled: int
    estimate_usd: Decimal
    spent_usd: Decimal  # on every attempt, of jobs that were sent again, too
    polls: int
    seconds: float  # from its start to the last job's end, or to now
    files_stored: int
    files_pending: int
    files_expired: int
    bytes_stored: int

    @property
    def ended(self) -> int:
        return self.completed + self.failed + self.cancelled

    @property
    def enqueued(self) -> int:
        return self.queued + self.running + self.ended

    @property
    def settled(self) -> bool:
        """Every job has ended and every file is stored or given up."""
        return self.total is not None and self.ended >= self.total and self.files_pending == 0


async def add_campaign(
    session: AsyncSession,
    *,
    name: str,
    endpoint: str | None,
    spec: dict[str, Any] | None = None,
    rows_key: str | None = None,
    planned: int | None = None,
) -> UUID:
    """
    Args:
        spec: to be expanded by workers; without one, whoever adds it enqueues its jobs.
        rows_key: of the specification's file, in the store.
        planned: how many items it has.

    Raises:
        NameTaken: another that has a specification has this name.
    """
    campaign = Campaign(
        id=new_id(), name=name, endpoint=endpoint, spec=spec, rows_key=rows_key, planned=planned
    )
    session.add(campaign)
    try:
        await session.flush()
    except IntegrityError as error:
        if "campaigns_named" in str(error):
            raise NameTaken(name) from error
        raise
    return campaign.id


async def claim_unexpanded(session: AsyncSession, *, idle_seconds: float) -> Sequence[UUID]:
    """Those of which items are left to be enqueued, and nobody has enqueued any for so long.

    Whoever asks goes on with them: for as long again nobody else is told.
    """
    return (
        await session.scalars(
            text("""
                UPDATE campaigns SET expanded_at = now()
                WHERE spec IS NOT NULL AND total IS NULL AND problem IS NULL AND paused_at IS NULL
                  AND coalesce(expanded_at, created_at) < now() - make_interval(secs => :idle)
                RETURNING id
            """),
            {"idle": idle_seconds},
        )
    ).all()


async def advance(session: AsyncSession, campaign_id: UUID, *, start: int, end: int) -> bool:
    """Items from `start` up to `end` are enqueued in this transaction; False: somebody else did.

    Two that expand the same campaign at once: the second waits for the first, and then gives way.
    """
    moved = await session.execute(
        text("""
            UPDATE campaigns SET expanded = :end, expanded_at = now()
            WHERE id = :id AND expanded = :start AND total IS NULL AND problem IS NULL
              AND paused_at IS NULL
            RETURNING id
        """),
        {"id": campaign_id, "start": start, "end": end},
    )
    return moved.first() is not None


async def give_up_expanding(session: AsyncSession, campaign_id: UUID, problem: str) -> None:
    """The rest of its items cannot be enqueued; those that are run on."""
    await session.execute(
        text("""
            UPDATE campaigns SET problem = :problem, total = expanded
            WHERE id = :id AND total IS NULL
        """),
        {"id": campaign_id, "problem": problem},
    )


async def close_campaign(session: AsyncSession, campaign_id: UUID) -> int:
    """All of it is enqueued: fix its total, which is returned."""
    statement = text("""
        UPDATE campaigns SET total = (SELECT count(*) FROM jobs WHERE campaign_id = :id)
        WHERE id = :id RETURNING total
    """)
    return int((await session.execute(statement, {"id": campaign_id})).scalar_one())


async def get_campaign(session: AsyncSession, campaign_id: UUID) -> Campaign:
    """
    Raises:
        NotFound: there is none with this id.
    """
    campaign = await session.get(Campaign, campaign_id)
    if campaign is None:
        raise NotFound("campaign", str(campaign_id))
    return campaign


async def list_campaigns(session: AsyncSession, *, limit: int) -> Sequence[Campaign]:
    """Newest first."""
    return (await session.scalars(select(Campaign).order_by(Campaign.id.desc()).limit(limit))).all()


async def count_jobs(session: AsyncSession, campaign_id: UUID) -> Progress:
    statement = text("""
        SELECT campaigns.total, campaigns.planned, campaigns.problem,
            campaigns.paused_at IS NOT NULL AS paused, job.*, earlier.*, file.*
        FROM campaigns
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE state = 'queued') AS queued,
                count(*) FILTER (WHERE finished_at IS NULL AND state <> 'queued') AS running,
                count(*) FILTER (WHERE state = 'completed') AS completed,
                count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
                count(*) FILTER (WHERE finished_at IS NOT NULL
                    AND state NOT IN ('completed', 'cancelled')) AS failed,
                coalesce(sum(estimate_usd), 0) AS estimate_usd,
                coalesce(sum(cost_usd), 0) AS last_usd,
                coalesce(sum(polls), 0) AS polls,
                extract(epoch FROM CASE WHEN bool_and(finished_at IS NOT NULL)
                    THEN max(finished_at) ELSE now() END - campaigns.created_at) AS seconds
            FROM jobs WHERE campaign_id = campaigns.id
        ) AS job
        CROSS JOIN LATERAL (
            -- A job's own cost is that of its last attempt; most have but one.
            SELECT coalesce(sum(attempts.cost_usd), 0) AS before_usd
            FROM jobs JOIN attempts ON attempts.job_id = jobs.id AND attempts.number < jobs.attempt
            WHERE campaign_id = campaigns.id AND jobs.attempt > 1
        ) AS earlier
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE artifacts.state = 'stored') AS files_stored,
                count(*) FILTER (WHERE artifacts.state = 'pending') AS files_pending,
                count(*) FILTER (WHERE artifacts.state = 'expired') AS files_expired,
                coalesce(sum(size_bytes), 0) AS bytes_stored
            FROM jobs JOIN artifacts ON artifacts.job_id = jobs.id
            WHERE campaign_id = campaigns.id
        ) AS file
        WHERE campaigns.id = :id
    """)
    row = (await session.execute(statement, {"id": campaign_id})).one_or_none()
    if row is None:
        raise NotFound("campaign", str(campaign_id))
    return Progress(
        total=row.total,
        planned=row.planned,
        problem=row.problem,
        paused=row.paused,
        queued=row.queued,
        running=row.running,
        completed=row.completed,
        failed=row.failed,
        estimate_usd=row.estimate_usd,
        cancelled=row.cancelled,
        spent_usd=row.last_usd + row.before_usd,
        polls=row.polls,
        seconds=float(row.seconds),
        files_stored=row.files_stored,
        files_pending=row.files_pending,
        files_expired=row.files_expired,
        bytes_stored=int(row.bytes_stored),
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """How many jobs ended in one way that is not completed, and what one of them was told."""

    state: JobState
    reason: Reason | None
    jobs: int
    error: str | None


async def count_endings(session: AsyncSession, campaign_id: UUID) -> list[Ending]:
    """The ways in which jobs of the campaign failed, the most frequent first."""
    rows = await session.execute(
        text("""
            SELECT state, reason, count(*) AS jobs, min(error) AS error FROM jobs
            WHERE campaign_id = :id AND finished_at IS NOT NULL AND state <> 'completed'
            GROUP BY state, reason ORDER BY jobs DESC
        """),
        {"id": campaign_id},
    )
    return [
        Ending(JobState(row.state), Reason(row.reason) if row.reason else None, row.jobs, row.error)
        for row in rows
    ]


async def find_last_position(session: AsyncSession, campaign_id: UUID) -> int:
    """The line of its file up to which it is enqueued; 0 if none is."""
    return int(
        await session.scalar(
            text("SELECT coalesce(max(position), 0) FROM jobs WHERE campaign_id = :id"),
            {"id": campaign_id},
        )
        or 0
    )


async def find_unended_jobs(session: AsyncSession, campaign_id: UUID) -> list[UUID]:
    """The ids of its jobs that a cancel would still reach."""
    return list(
        await session.scalars(
            text("SELECT id FROM jobs WHERE campaign_id = :id AND finished_at IS NULL"),
            {"id": campaign_id},
        )
    )


@dataclass(frozen=True, slots=True)
class Retriable:
    """A job that ended without a result, and what another try may cost."""

    id: UUID
    estimate_usd: Decimal | None


async def find_retriable(
    session: AsyncSession,
    campaign_id: UUID,
    *,
    states: Collection[JobState],
    reasons: Collection[Reason],
) -> Sequence[Retriable]:
    """Jobs of the campaign that ended so, in its order.

    Args:
        states: of those that may be sent again.
        reasons: for which they ended; any, if there are none.
    """
    rows = await session.execute(
        text("""
            SELECT id, estimate_usd FROM jobs
            WHERE campaign_id = :id AND state = ANY(:states)
              AND (cardinality(CAST(:reasons AS text[])) = 0 OR reason = ANY(:reasons))
            ORDER BY position
        """),
        {"id": campaign_id, "states": list(states), "reasons": list(reasons)},
    )
    return [Retriable(row.id, row.estimate_usd) for row in rows]


@dataclass(frozen=True, slots=True)
class EndpointFigures:
    """A campaign's jobs on one endpoint; times are those that the upstream names."""

    endpoint: str
    jobs: int
    completed: int
    failed: int
    cancelled: int
    estimate_usd: Decimal
    cost_usd: Decimal  # of the last attempt of each
    p50_seconds: float | None
    p95_seconds: float | None


async def sum_by_endpoint(session: AsyncSession, campaign_id: UUID) -> list[EndpointFigures]:
    """In the order of their names."""
    rows = await session.execute(
        text("""
            SELECT endpoint, count(*) AS jobs,
                count(*) FILTER (WHERE state = 'completed') AS completed,
                count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
                count(*) FILTER (WHERE finished_at IS NOT NULL
                    AND state NOT IN ('completed', 'cancelled')) AS failed,
                coalesce(sum(estimate_usd), 0) AS estimate_usd,
                coalesce(sum(cost_usd), 0) AS cost_usd,
                percentile_cont(0.5) WITHIN GROUP (ORDER BY delay_ms + execution_ms)
                    FILTER (WHERE state = 'completed' AND cached_from IS NULL) AS p50_ms,
                percentile_cont(0.95) WITHIN GROUP (ORDER BY delay_ms + execution_ms)
                    FILTER (WHERE state = 'completed' AND cached_from IS NULL) AS p95_ms
            FROM jobs WHERE campaign_id = :id GROUP BY endpoint ORDER BY endpoint
        """),
        {"id": campaign_id},
    )
    return [
        EndpointFigures(
            endpoint=row.endpoint,
            jobs=row.jobs,
            completed=row.completed,
            failed=row.failed,
            cancelled=row.cancelled,
            estimate_usd=row.estimate_usd,
            cost_usd=row.cost_usd,
            p50_seconds=None if row.p50_ms is None else row.p50_ms / 1000,
            p95_seconds=None if row.p95_ms is None else row.p95_ms / 1000,
        )
        for row in rows
    ]


async def list_first_jobs(session: AsyncSession, campaign_id: UUID, *, limit: int) -> list[UUID]:
    """The ids of its first items, in its order."""
    return list(
        await session.scalars(
            text("""
                SELECT id FROM jobs WHERE campaign_id = :id ORDER BY position, id LIMIT :limit
            """),
            {"id": campaign_id, "limit": limit},
        )
    )
