"""What a campaign came to so far, read from its jobs: where they are, what they cost and took."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import HELD
from models.errors import NotFound
from models.job import JobState, Reason


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


@dataclass(frozen=True, slots=True)
class Open:
    """A campaign's jobs on one endpoint, as far as they have not ended.

    Attributes:
        jobs: that have or have not ended.
        last_due_seconds: until the last of those that wait may be sent, by its pace.
        without_money: some wait for room in a budget.
    """

    endpoint: str
    jobs: int
    queued: int
    last_due_seconds: float
    without_money: bool


async def count_open(session: AsyncSession, campaign_id: UUID) -> list[Open]:
    """By endpoint, those of which some have not ended."""
    rows = await session.execute(
        text(f"""
            SELECT endpoint, count(*) AS jobs, count(*) FILTER (WHERE state = 'queued') AS queued,
                coalesce(extract(epoch FROM max(next_at)
                    FILTER (WHERE state = 'queued' AND NOT {HELD}) - now()), 0) AS last_due,
                coalesce(bool_or(held_by <> campaign_id) FILTER (WHERE state = 'queued'), false)
                    AS without_money
            FROM jobs WHERE campaign_id = :id
            GROUP BY endpoint HAVING bool_or(finished_at IS NULL)
        """),  # noqa: S608 -- a constant
        {"id": campaign_id},
    )
    return [
        Open(
            endpoint=row.endpoint,
            jobs=row.jobs,
            queued=row.queued,
            last_due_seconds=max(float(row.last_due), 0.0),
            without_money=row.without_money,
        )
        for row in rows
    ]
