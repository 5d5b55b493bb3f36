"""What a flush of ends knows of how long jobs take, and what it adds: of the endpoint, by size."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from endpoints import forecast
from models.endpoint_stats import add_durations
from models.size_stats import OfSize, SizeNews, add_sizes, get_sizes


@dataclass(frozen=True, slots=True)
class Durations:
    """Counts of jobs by how long they took.

    Attributes:
        of_endpoint: empty if nothing was learned.
        by_size: where something was.
    """

    of_endpoint: Sequence[float]
    by_size: Mapping[str, OfSize]

    def of(self, size_class: str | None) -> Sequence[float]:
        """Those that predict a job of this size best."""
        size = self.by_size.get(size_class or "", OfSize())
        return forecast.choose(self.of_endpoint, size.durations, size.gain)


async def read_durations(
    session: AsyncSession,
    endpoint: str,
    of_endpoint: Sequence[float],
    sizes: Iterable[str | None],
) -> Durations:
    return Durations(of_endpoint, await get_sizes(session, endpoint, {one for one in sizes if one}))


async def learn_durations(
    session: AsyncSession,
    endpoint: str,
    known: Durations,
    took: Sequence[tuple[str | None, float]],
) -> None:
    """Jobs have ended: their sizes, and how many seconds they took."""
    if not took:
        return
    await add_durations(
        session,
        endpoint,
        counts=forecast.count_durations(seconds for _, seconds in took),
        bins=forecast.BINS,
        keep=forecast.keep_share(len(took)),
    )
    of_sizes: dict[str, list[float]] = defaultdict(list)
    for size_class, seconds in took:
        if size_class is not None:
            of_sizes[size_class].append(seconds)
    await add_sizes(
        session,
        endpoint,
        [_sum_up(size_class, known, seconds) for size_class, seconds in of_sizes.items()],
    )


def _sum_up(size_class: str, known: Durations, seconds: Sequence[float]) -> SizeNews:
    before = known.by_size.get(size_class, OfSize())
    counts: Counter[int] = forecast.count_durations(seconds)
    return SizeNews(
        size_class=size_class,
        counts=[counts[bin_] for bin_ in range(forecast.BINS)],
        keep=forecast.keep_share(len(seconds)),
        gain=math.fsum(
            forecast.gain_of(one, durations=known.of_endpoint, of_size=before.durations)
            for one in seconds
        ),
        keep_gain=forecast.GAIN_KEPT ** len(seconds),
    )
