"""What a campaign came to so far, read from its jobs: where they are, what they cost and took.

A campaign may have a hundred thousand of them, and pages ask again every few seconds: one statement
goes over them once.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import HELD
from models.errors import NotFound
from models.job import TERMINAL, JobState, Reason


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


@dataclass(frozen=True, slots=True)
class Ending:
    """How many jobs ended in one way that is not completed, and what one of them was told."""

    state: JobState
    reason: Reason | None
    jobs: int
    error: str | None


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


@dataclass(frozen=True, slots=True)
class Figures:
    """
    Attributes:
        endings: the ways in which its jobs failed, the most frequent first.
        open: by endpoint, those of which some have not ended.
    """

    progress: Progress
    endings: Sequence[Ending]
    open: Sequence[Open]


# Jobs that are alike: on one endpoint, in one state, for one reason.
_ALIKE = text(f"""
    SELECT *, (
        -- A job's own cost is that of its last attempt; most have but one.
        SELECT coalesce(sum(attempts.cost_usd), 0)
        FROM unnest(again_ids, again_attempts) AS again(id, attempt)
        JOIN attempts ON attempts.job_id = again.id AND attempts.number < again.attempt
    ) AS before_usd
    FROM (
        SELECT endpoint, state, reason, count(*) AS jobs,
            coalesce(sum(estimate_usd), 0) AS estimate_usd, coalesce(sum(cost_usd), 0) AS last_usd,
            sum(polls) AS polls, max(finished_at) AS finished_at, min(error) AS error,
            array_agg(id) FILTER (WHERE attempt > 1) AS again_ids,
            array_agg(attempt) FILTER (WHERE attempt > 1) AS again_attempts,
            coalesce(extract(epoch FROM max(next_at)
                FILTER (WHERE state = 'queued' AND NOT {HELD}) - now()), 0) AS last_due,
            coalesce(bool_or(held_by <> campaign_id) FILTER (WHERE state = 'queued'), false)
                AS without_money
        FROM jobs WHERE campaign_id = :id GROUP BY endpoint, state, reason
    ) AS alike
""")  # noqa: S608 -- a constant
_FILES = text("""
    SELECT campaigns.total, campaigns.planned, campaigns.problem,
        campaigns.paused_at IS NOT NULL AS paused, campaigns.created_at, now() AS now, file.*
    FROM campaigns CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE artifacts.state = 'stored') AS files_stored,
            count(*) FILTER (WHERE artifacts.state = 'pending') AS files_pending,
            count(*) FILTER (WHERE artifacts.state = 'expired') AS files_expired,
            coalesce(sum(size_bytes), 0) AS bytes_stored
        FROM jobs JOIN artifacts ON artifacts.job_id = jobs.id
        WHERE campaign_id = campaigns.id
    ) AS file
    WHERE campaigns.id = :id
""")
_APART = (JobState.QUEUED, JobState.COMPLETED, JobState.CANCELLED)


async def read_figures(session: AsyncSession, campaign_id: UUID) -> Figures:
    """
    Raises:
        NotFound: there is none with this id.
    """
    # Before the files: those of every job that has ended by now are there.
    alike = (await session.execute(_ALIKE, {"id": campaign_id})).all()
    campaign = (await session.execute(_FILES, {"id": campaign_id})).one_or_none()
    if campaign is None:
        raise NotFound("campaign", str(campaign_id))
    return Figures(_sum_up(campaign, alike), _find_endings(alike), _find_open(alike))


async def count_jobs(session: AsyncSession, campaign_id: UUID) -> Progress:
    """
    Raises:
        NotFound: there is none with this id.
    """
    return (await read_figures(session, campaign_id)).progress


def _sum_up(campaign: Any, alike: Sequence[Any]) -> Progress:  # noqa: ANN401 -- rows
    counts: defaultdict[str, int] = defaultdict(int)
    for one in alike:
        if one.state in _APART:
            counts[one.state] += one.jobs
        else:
            counts["failed" if one.state in TERMINAL else "running"] += one.jobs
    ended = bool(alike) and all(one.state in TERMINAL for one in alike)
    until = max(one.finished_at for one in alike) if ended else campaign.now
    return Progress(
        total=campaign.total,
        planned=campaign.planned,
        problem=campaign.problem,
        paused=campaign.paused,
        queued=counts[JobState.QUEUED],
        running=counts["running"],
        completed=counts[JobState.COMPLETED],
        failed=counts["failed"],
        cancelled=counts[JobState.CANCELLED],
        estimate_usd=sum((one.estimate_usd for one in alike), Decimal()),
        spent_usd=sum((one.last_usd + one.before_usd for one in alike), Decimal()),
        polls=sum(one.polls for one in alike),
        seconds=(until - campaign.created_at).total_seconds(),
        files_stored=campaign.files_stored,
        files_pending=campaign.files_pending,
        files_expired=campaign.files_expired,
        bytes_stored=int(campaign.bytes_stored),
    )


def _find_endings(alike: Sequence[Any]) -> Sequence[Ending]:
    found: dict[tuple[str, str | None], Ending] = {}
    for one in alike:
        if one.state not in TERMINAL or one.state == JobState.COMPLETED:
            continue
        before = found.get((one.state, one.reason))  # on another endpoint
        found[one.state, one.reason] = Ending(
            JobState(one.state),
            Reason(one.reason) if one.reason else None,
            one.jobs + (before.jobs if before else 0),
            one.error if before is None or before.error is None else before.error,
        )
    return sorted(found.values(), key=lambda ending: -ending.jobs)


def _find_open(alike: Sequence[Any]) -> Sequence[Open]:
    by_endpoint: defaultdict[str, list[Any]] = defaultdict(list)
    for one in alike:
        by_endpoint[one.endpoint].append(one)
    return [
        Open(
            endpoint=endpoint,
            jobs=sum(one.jobs for one in ones),
            queued=sum(one.jobs for one in ones if one.state == JobState.QUEUED),
            last_due_seconds=max(0.0, *(float(one.last_due) for one in ones)),
            without_money=any(one.without_money for one in ones),
        )
        for endpoint, ones in by_endpoint.items()
        if any(one.state not in TERMINAL for one in ones)
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
