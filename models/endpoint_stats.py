"""What was learned of an endpoint: how long its jobs take.

One row for each endpoint ever used, so the table is also the list of endpoints to look after;
`transitions.enqueue_jobs` adds them.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import ARRAY, Float, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class EndpointStats(Base):
    __tablename__ = "endpoint_stats"

    endpoint: Mapped[str] = mapped_column(primary_key=True)
    # Decayed counts of finished jobs by duration; what the bins mean is endpoints/forecast.py's.
    durations: Mapped[list[float]] = mapped_column(ARRAY(Float), server_default="{}")
    updated_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    hinted_at: Mapped[dt.datetime | None]  # when a webhook of it last came: they do come


async def get_durations(session: AsyncSession, endpoint: str) -> Sequence[float]:
    """The endpoint's histogram; empty if nothing was learned yet."""
    return (
        await session.scalar(
            select(EndpointStats.durations).where(EndpointStats.endpoint == endpoint)
        )
        or []
    )


async def add_durations(
    session: AsyncSession, endpoint: str, *, counts: Mapping[int, int], bins: int, keep: float
) -> None:
    """Add the `counts` of finished jobs by bin, after fading what was there to `keep` of it."""
    await session.execute(
        text("""
            UPDATE endpoint_stats SET updated_at = now(), durations = (
                SELECT array_agg(coalesce(durations[bin + 1], 0) * :keep
                                 + coalesce(CAST(CAST(:counts AS jsonb) ->> bin AS float), 0)
                                 ORDER BY bin)
                FROM generate_series(0, :bins - 1) AS bin)
            WHERE endpoint = :endpoint
        """),
        {
            "endpoint": endpoint,
            "keep": keep,
            "bins": bins,
            "counts": "[" + ",".join(str(counts.get(bin_, 0)) for bin_ in range(bins)) + "]",
        },
    )


async def note_hints(session: AsyncSession, *, job_ids: Sequence[UUID]) -> None:
    """Webhooks came of these jobs: of their endpoints, silence now tells something.

    Noted once a second: a storm of them must not queue behind the row.
    """
    await session.execute(
        text("""
            UPDATE endpoint_stats SET hinted_at = now()
            WHERE endpoint IN (SELECT endpoint FROM jobs WHERE id = ANY(:ids))
              AND (hinted_at IS NULL OR hinted_at < now() - make_interval(secs => 1))
        """),
        {"ids": list(job_ids)},
    )
