"""What was learned of an endpoint: how long its jobs take.

One row for each endpoint ever used, so the table is also the list of endpoints to look after;
`transitions.enqueue_jobs` adds them.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Float, Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base
from models.pulse import GAP_SECONDS, LISTENING


class EndpointStats(Base):
    __tablename__ = "endpoint_stats"

    endpoint: Mapped[str] = mapped_column(primary_key=True)
    # Decayed counts of finished jobs by duration; what the bins mean is endpoints/forecast.py's.
    durations: Mapped[list[float]] = mapped_column(ARRAY(Float), server_default="{}")
    updated_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    hinted_at: Mapped[dt.datetime | None]  # when the latest was sent of which a webhook came
    heard_at: Mapped[dt.datetime | None]  # when a webhook last came


async def list_endpoints(session: AsyncSession) -> Sequence[str]:
    """Every endpoint ever used, in the order of their names."""
    return (
        await session.scalars(select(EndpointStats.endpoint).order_by(EndpointStats.endpoint))
    ).all()


async def get_durations(session: AsyncSession, endpoint: str) -> Sequence[float]:
    """The endpoint's histogram; empty if nothing was learned yet."""
    return (
        await session.scalar(
            select(EndpointStats.durations).where(EndpointStats.endpoint == endpoint)
        )
        or []
    )


async def list_durations(session: AsyncSession) -> Mapping[str, Sequence[float]]:
    """The histogram of every endpoint of which something was learned."""
    found = await session.execute(
        select(EndpointStats.endpoint, EndpointStats.durations).where(EndpointStats.durations != [])
    )
    return {str(endpoint): durations for endpoint, durations in found}


@dataclass(frozen=True, slots=True)
class Learned:
    """What tells when an endpoint's jobs are to be asked for.

    Attributes:
        durations: its histogram; empty if nothing was learned yet.
        hinted_seconds_ago: when the latest was sent of which a webhook came; None if none ever did,
            or if the gateway does not listen.
    """

    durations: Sequence[float] = ()
    hinted_seconds_ago: float | None = None


_LEARNED = """
    SELECT endpoint, durations,
        CASE WHEN pulses.at > now() - make_interval(secs => :gap)
            THEN extract(epoch FROM now() - hinted_at) END AS ago
    FROM endpoint_stats LEFT JOIN pulses ON pulses.name = :listening
"""
_LEARNED_OF_ONE = text(f"{_LEARNED} WHERE endpoint = :endpoint")
_LEARNED_OF_HINTED = text(f"{_LEARNED} WHERE hinted_at > now() - interval '1 day'")
_LISTENS = {"gap": GAP_SECONDS, "listening": LISTENING}


async def get_learned(session: AsyncSession, endpoint: str) -> Learned:
    rows = await session.execute(_LEARNED_OF_ONE, {"endpoint": endpoint, **_LISTENS})
    return next((_read_learned(row) for row in rows), Learned())


async def list_hinted(session: AsyncSession) -> Mapping[str, Learned]:
    """Every endpoint of whose jobs webhooks came within a day: no poll is put off for longer."""
    rows = await session.execute(_LEARNED_OF_HINTED, _LISTENS)
    return {str(row.endpoint): _read_learned(row) for row in rows}


def _read_learned(row: Row[Any]) -> Learned:
    return Learned(row.durations, None if row.ago is None else float(row.ago))


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
