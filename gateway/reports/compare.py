"""Two sides of the same prompts: two campaigns, or two endpoints of one, result beside result."""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from gateway.reports.collect import Result, show_result
from gateway.reports.render import render
from models.artifact import sum_bytes
from models.campaign import get_campaign
from models.campaign_figures import EndpointFigures, sum_by_endpoint
from models.campaign_items import ItemName, name_items
from models.errors import PressroomError
from workers.runtime import Runtime

Key = tuple[object, ...]


class NothingToCompare(PressroomError):
    """Its text says what came and what was wanted."""


@dataclass(frozen=True, slots=True)
class Side:
    """
    Attributes:
        name: the campaign's; of one of several endpoints, the endpoint's.
        alone: jobs for which the other side has none.
    """

    name: str
    figures: Sequence[EndpointFigures]
    bytes: int
    alone: int

    @property
    def jobs(self) -> int:
        return sum(one.jobs for one in self.figures)

    @property
    def completed(self) -> int:
        return sum(one.completed for one in self.figures)

    @property
    def failed(self) -> int:
        return sum(one.failed for one in self.figures)

    @property
    def cost_usd(self) -> Decimal:
        return sum((one.cost_usd for one in self.figures), Decimal())

    @property
    def usd_per_result(self) -> Decimal | None:
        return self.cost_usd / self.completed if self.completed else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    Attributes:
        matched_by: what tells which results belong together.
        pairs: how many there are; `shown` are the first of them.
    """

    made: dt.datetime
    emulated: bool
    matched_by: str
    sides: tuple[Side, Side]
    pairs: int
    shown: Sequence[tuple[Result, Result]]

    @property
    def of_campaigns(self) -> bool:
        """Not of two endpoints of one."""
        return any([one.endpoint for one in side.figures] != [side.name] for side in self.sides)

    def describe(self) -> dict[str, Any]:
        """As JSON, without the pictures."""
        sides = [
            {
                **asdict(side),
                "jobs": side.jobs,
                "completed": side.completed,
                "failed": side.failed,
                "cost_usd": side.cost_usd,
                "usd_per_result": side.usd_per_result,
            }
            for side in self.sides
        ]
        shown = [[asdict(one) for one in pair] for pair in self.shown]
        for pair in shown:
            for one in pair:
                del one["picture"]
        return {
            "made": self.made,
            "emulated": self.emulated,
            "matched_by": self.matched_by,
            "sides": sides,
            "pairs": self.pairs,
            "shown": shown,
        }


@dataclass(frozen=True, slots=True)
class Matched:
    """
    Attributes:
        pairs: jobs that belong together, in the order of the first side.
    """

    matched_by: str
    sides: tuple[Side, Side]
    pairs: Sequence[tuple[UUID, UUID]]


async def compare_campaigns(
    runtime: Runtime, first: UUID, second: UUID | None, *, results: int
) -> Comparison:
    """
    Args:
        second: None: the two endpoints of the first.
        results: how many pairs are shown, the first ones.

    Raises:
        NotFound: there is no such campaign.
        NothingToCompare: one campaign of other than two endpoints; or nothing belongs together.
    """
    matched = await match_campaigns(runtime, first, second)
    return Comparison(
        made=dt.datetime.now(dt.UTC),
        emulated=runtime.settings.emulated,
        matched_by=matched.matched_by,
        sides=matched.sides,
        pairs=len(matched.pairs),
        shown=[
            (await show_result(runtime, one), await show_result(runtime, other))
            for one, other in matched.pairs[:results]
        ],
    )


async def match_campaigns(
    runtime: Runtime, first: UUID, second: UUID | None, *, owner: UUID | None = None
) -> Matched:
    """
    Args:
        second: None: the two endpoints of the first.
        owner: a key whose own they must be; None: anybody's.

    Raises:
        NotFound, NothingToCompare: as above.
    """
    sides = [await _read_side(runtime, first, None, owner=owner)]
    if second is not None:
        sides.append(await _read_side(runtime, second, None, owner=owner))
    else:
        endpoints = [one.endpoint for one in sides[0].figures]
        if len(endpoints) != 2:  # noqa: PLR2004 -- sides
            said = ", ".join(endpoints) or "nothing yet"
            raise NothingToCompare(
                f"a second campaign was wanted, or one of two endpoints; it ran on {said}"
            )
        sides = [await _read_side(runtime, first, one, owner=owner) for one in endpoints]
    matched_by, pairs = await asyncio.to_thread(
        _match, sides[0].items, sides[1].items, same=second is None
    )
    if not pairs:
        raise NothingToCompare("no item of one has the id or the prompt of an item of the other")
    return Matched(matched_by, (_count(sides[0], len(pairs)), _count(sides[1], len(pairs))), pairs)


def render_comparison(comparison: Comparison) -> str:
    """One page that needs nothing beside it."""
    return render("compare.html", comparison=comparison)


@dataclass(frozen=True, slots=True)
class _Read:
    name: str
    figures: Sequence[EndpointFigures]
    bytes: int
    items: Sequence[ItemName]


async def _read_side(
    runtime: Runtime, campaign_id: UUID, endpoint: str | None, *, owner: UUID | None
) -> _Read:
    async with runtime.database.begin() as session:
        campaign = await get_campaign(session, campaign_id, owner=owner)
        figures = await sum_by_endpoint(session, campaign_id)
        size = await sum_bytes(session, campaign_id, endpoint=endpoint)
        items = await name_items(session, campaign_id)
    return _Read(
        endpoint or campaign.name,
        [one for one in figures if endpoint in {None, one.endpoint}],
        size,
        [one for one in items if endpoint in {None, one.endpoint}],
    )


def _match(
    first: Sequence[ItemName], second: Sequence[ItemName], *, same: bool
) -> tuple[str, list[tuple[UUID, UUID]]]:
    """In the order of the first.

    Args:
        same: both are of one campaign, in which an id is of one item alone.
    """
    tried = ["prompt and seed", "prompt"] if same else ["id", "prompt and seed", "prompt"]
    for name in tried:
        others = dict(_number(second, name))
        pairs = [(one, others[key]) for key, one in _number(first, name) if key in others]
        if pairs:
            return name, pairs
    return "prompt", []


def _number(items: Sequence[ItemName], name: str) -> Iterator[tuple[Key, UUID]]:
    """What an item is known by; of several that are alike, the first is the other side's first."""
    seen: Counter[Key] = Counter()
    for item in items:
        key: Key
        if name == "id":
            if item.custom_id is None:
                continue
            key = (item.custom_id,)
        else:
            key = (item.prompt, item.seed) if name == "prompt and seed" else (item.prompt,)
        yield (*key, seen[key]), item.id
        seen[key] += 1


def _count(side: _Read, pairs: int) -> Side:
    return Side(side.name, side.figures, side.bytes, len(side.items) - pairs)
