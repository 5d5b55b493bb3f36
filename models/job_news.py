"""What whoever watches tasks is told of jobs: where they are, and nothing that is in them."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.job import JobState, Reason


@dataclass(frozen=True, slots=True)
class JobNews:
    """A job as it is now.

    Attributes:
        campaign: its name.
        sent: a `/run` was written down for it.
    """

    id: UUID
    endpoint: str
    state: JobState
    reason: Reason | None
    priority: int
    attempt: int
    upstream_id: str | None
    campaign: str | None
    cost_usd: Decimal | None
    created_at: dt.datetime
    submitted_at: dt.datetime | None
    finished_at: dt.datetime | None


_NEWS = """
    SELECT jobs.id, jobs.endpoint, state, reason, priority, attempt, upstream_id,
        campaigns.name AS campaign, cost_usd, jobs.created_at, submitted_at, finished_at
    FROM jobs LEFT JOIN campaigns ON campaigns.id = jobs.campaign_id
    WHERE (campaigns.id IS NULL
        OR greatest(campaigns.total, campaigns.planned, campaigns.expanded) <= :campaign_most)
"""


async def list_job_news(
    session: AsyncSession, job_ids: Collection[UUID], *, campaign_most: int
) -> Sequence[JobNews]:
    """Of these, but for those of campaigns of more than `campaign_most` jobs."""
    rows = await session.execute(
        text(f"{_NEWS} AND jobs.id = ANY(:ids) ORDER BY jobs.id"),
        {"ids": list(job_ids), "campaign_most": campaign_most},
    )
    return [_read(row) for row in rows]


async def list_latest_news(
    session: AsyncSession, *, limit: int, campaign_most: int
) -> Sequence[JobNews]:
    """Of the latest `limit` jobs, the oldest of them first; without the same."""
    rows = await session.execute(
        text(f"""
            {_NEWS} AND jobs.id IN (SELECT id FROM jobs ORDER BY id DESC LIMIT :limit)
            ORDER BY jobs.id
        """),  # noqa: S608 -- a constant
        {"limit": limit, "campaign_most": campaign_most},
    )
    return [_read(row) for row in rows]


def _read(row: Row[Any]) -> JobNews:
    return JobNews(
        id=row.id,
        endpoint=row.endpoint,
        state=JobState(row.state),
        reason=Reason(row.reason) if row.reason else None,
        priority=row.priority,
        attempt=row.attempt,
        upstream_id=row.upstream_id,
        campaign=row.campaign,
        cost_usd=row.cost_usd,
        created_at=row.created_at,
        submitted_at=row.submitted_at,
        finished_at=row.finished_at,
    )
