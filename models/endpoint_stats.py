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
    hinted_at: Mapped[dt.datetime | None]  # when the latest was sent of which a webhook came
    heard_at: Mapped[dt.datetime | None]  # when a webhook last came


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


async def note_hints(session: AsyncSession, attempts: Sequence[tuple[UUID, UUID]]) -> None:
    """Webhooks came of these (job id, lease): silence of what was sent before them tells something.

    Of one that was sent later than any that was heard of, it tells nothing: it may be that webhooks
    have ceased, and only those of older jobs still come. See `transitions.resolve_unknown`.
    """
    await session.execute(
        text("""
            WITH heard AS (
                SELECT endpoint, max(sent_at) AS sent_at
                FROM unnest(CAST(:jobs AS uuid[]), CAST(:leases AS uuid[])) AS hint(job_id, lease)
                JOIN attempts USING (job_id, lease)
                GROUP BY endpoint
            ), news AS (
                SELECT endpoint, heard.sent_at FROM endpoint_stats JOIN heard USING (endpoint)
                -- A storm of copies is no news but once a second.
                WHERE hinted_at IS NULL OR hinted_at < heard.sent_at OR heard_at IS NULL
                   OR heard_at < now() - make_interval(secs => 1)
                ORDER BY endpoint  -- so that two that write several at once cannot deadlock
                FOR UPDATE OF endpoint_stats
            )
            UPDATE endpoint_stats SET hinted_at = greatest(hinted_at, news.sent_at),
                heard_at = now()
            FROM news WHERE endpoint_stats.endpoint = news.endpoint
        """),
        {
            "jobs": [job_id for job_id, _ in attempts],
            "leases": [lease for _, lease in attempts],
        },
    )
