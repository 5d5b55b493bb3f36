"""How long jobs of one size took, apart from the others of their endpoint.

Sizes come from inputs (`endpoints/size_class.py`), which are other people's: of an endpoint, no
more than `SIZES_MOST` are learned of.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, Float, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base

SIZES_MOST = 64


class SizeStats(Base):
    __tablename__ = "size_stats"

    endpoint: Mapped[str] = mapped_column(primary_key=True)
    size_class: Mapped[str] = mapped_column(primary_key=True)
    durations: Mapped[list[float]] = mapped_column(ARRAY(Float))  # as of `EndpointStats`
    # How much better the size predicted than the endpoint, in log likelihood; decayed.
    gain: Mapped[float] = mapped_column(server_default="0")
    updated_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())


@dataclass(frozen=True, slots=True)
class OfSize:
    """What was learned of one size."""

    durations: Sequence[float] = ()
    gain: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeNews:
    """What jobs of one size that have ended add to it.

    Attributes:
        counts: of jobs by bin, of every bin.
        keep: of the older counts.
        gain: added to what is kept of the older gain, `keep_gain`.
    """

    size_class: str
    counts: Sequence[float]
    keep: float
    gain: float
    keep_gain: float


async def get_sizes(
    session: AsyncSession, endpoint: str, sizes: Collection[str]
) -> Mapping[str, OfSize]:
    """What was learned of these; nothing was of those that are left out."""
    if not sizes:
        return {}
    rows = await session.execute(
        text("""
            SELECT size_class, durations, gain FROM size_stats
            WHERE endpoint = :endpoint AND size_class = ANY(:sizes)
        """),
        {"endpoint": endpoint, "sizes": list(sizes)},
    )
    return {row.size_class: OfSize(row.durations, row.gain) for row in rows}


async def add_sizes(session: AsyncSession, endpoint: str, news: Collection[SizeNews]) -> None:
    """Add what ended jobs tell of their sizes."""
    for one in sorted(news, key=lambda news: news.size_class):  # so that two cannot deadlock
        await session.execute(
            text("""
                INSERT INTO size_stats AS known (endpoint, size_class, durations, gain)
                SELECT :endpoint, :size, CAST(:counts AS float[]), :gain
                WHERE (SELECT count(*) FROM size_stats WHERE endpoint = :endpoint) < :most
                    OR EXISTS (SELECT FROM size_stats
                        WHERE endpoint = :endpoint AND size_class = :size)
                ON CONFLICT (endpoint, size_class) DO UPDATE SET
                    updated_at = now(), gain = known.gain * :keep_gain + excluded.gain,
                    durations = (
                        SELECT array_agg(coalesce(older, 0) * :keep + coalesce(newer, 0)
                            ORDER BY bin)
                        FROM unnest(known.durations, excluded.durations)
                            WITH ORDINALITY AS counted(older, newer, bin))
            """),
            {
                "endpoint": endpoint,
                "size": one.size_class,
                "counts": list(one.counts),
                "keep": one.keep,
                "gain": one.gain,
                "keep_gain": one.keep_gain,
                "most": SIZES_MOST,
            },
        )
