"""A campaign: jobs handed in together, from a file, and followed as one. It is counted, not kept:
how far it is, and what it cost, is read from its jobs.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, new_id
from models.errors import NotFound
from models.job import JobState, Reason


class Campaign(Base):
    __tablename__ = "campaigns"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    endpoint: Mapped[str | None]  # None if its jobs run on several
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    total: Mapped[int | None]  # None until all of its file is enqueued


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign is."""

    total: int | None  # None while its file is still being read in
    queued: int
    running: int  # from being submitted to the end, unknown outcomes among them
    completed: int
    failed: int  # ended in any other way
    estimate_usd: Decimal
    spent_usd: Decimal
    polls: int
    seconds: float  # from its start to the last job's end, or to now
    files_stored: int
    files_pending: int
    files_expired: int
    bytes_stored: int

    @property
    def ended(self) -> int:
        return self.completed + self.failed

    @property
    def enqueued(self) -> int:
        return self.queued + self.running + self.ended

    @property
    def settled(self) -> bool:
        """Every job has ended and every file is stored or given up."""
        return self.total is not None and self.ended >= self.total and self.files_pending == 0


async def add_campaign(session: AsyncSession, *, name: str, endpoint: str | None) -> UUID:
    campaign = Campaign(id=new_id(), name=name, endpoint=endpoint)
    session.add(campaign)
    await session.flush()
    return campaign.id


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
        SELECT campaigns.total, job.*, file.*
        FROM campaigns
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE state = 'queued') AS queued,
                count(*) FILTER (WHERE finished_at IS NULL AND state <> 'queued') AS running,
                count(*) FILTER (WHERE state = 'completed') AS completed,
                count(*) FILTER (WHERE finished_at IS NOT NULL AND state <> 'completed') AS failed,
                coalesce(sum(estimate_usd), 0) AS estimate_usd,
                coalesce(sum(cost_usd), 0) AS spent_usd,
                coalesce(sum(polls), 0) AS polls,
                extract(epoch FROM CASE WHEN bool_and(finished_at IS NOT NULL)
                    THEN max(finished_at) ELSE now() END - campaigns.created_at) AS seconds
            FROM jobs WHERE campaign_id = campaigns.id
        ) AS job
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
        queued=row.queued,
        running=row.running,
        completed=row.completed,
        failed=row.failed,
        estimate_usd=row.estimate_usd,
        spent_usd=row.spent_usd,
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
