"""Give a campaign that runs another pace; what was sent stays as it is."""

import enum
from typing import Final
from uuid import UUID

from models.audit import Action, Actor, note_act
from models.campaign import get_campaign
from models.errors import PressroomError
from models.lane import StageName
from models.pace import begin_pace, set_slots, spread_jobs
from tasks.campaigns.spec import CampaignSpec
from tasks.limits import release
from workers.runtime import Runtime

AT_ONCE = 5_000  # jobs a transaction


class NoSpecification(PressroomError):
    """A campaign whose jobs were enqueued one by one, from a file."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name} was not started from a specification: how many of it are in flight can "
            "be changed, the time that it takes cannot"
        )


class Kept(enum.Enum):
    """In place of a value that stays as it is: None is one, without a limit."""

    KEPT = enum.auto()


KEPT: Final = Kept.KEPT


async def repace(
    runtime: Runtime,
    campaign_id: UUID,
    *,
    by: Actor | None = None,
    over_seconds: float | Kept | None = KEPT,
    max_in_flight: int | Kept | None = KEPT,
) -> int:
    """Spread what waits evenly over a time from now; returns how many jobs have another time.

    If it dies half-way, some keep the time that they had: it may be done again.

    Args:
        over_seconds: None: they are due at once.
        max_in_flight: None: as many as the endpoints let.

    Raises:
        NotFound: there is no such campaign.
        NoSpecification: its jobs cannot be spread.
    """
    async with runtime.database.begin() as session:
        campaign = await get_campaign(session, campaign_id)
        slots_before = campaign.max_in_flight
        if over_seconds is not KEPT and campaign.spec is None:
            raise NoSpecification(campaign.name)
        if max_in_flight is not KEPT:
            await set_slots(session, campaign_id, most=max_in_flight)
        if over_seconds is not KEPT:
            await begin_pace(session, campaign_id, over=over_seconds)
        if by:
            told = {"over_seconds": over_seconds, "max_in_flight": max_in_flight}
            after = {name: value for name, value in told.items() if value is not KEPT}
            before = {"max_in_flight": slots_before}
            await note_act(
                session, by, Action.CAMPAIGN_PACE, campaign_id, before=before, after=after
            )
    spread = 0
    if over_seconds is not KEPT:
        spread = await _spread(runtime, campaign_id)
    await release(runtime, [campaign_id])
    return spread


async def _spread(runtime: Runtime, campaign_id: UUID) -> int:
    async with runtime.database.begin() as session:
        campaign = await get_campaign(session, campaign_id)
    gap = CampaignSpec.model_validate(campaign.spec).gap_seconds(campaign.paced_items)
    spread, after = 0, -1
    while True:
        async with runtime.database.begin() as session:
            step = await spread_jobs(
                session, campaign_id, gap_seconds=gap, after=after, done=spread, limit=AT_ONCE
            )
        await runtime.bells.ring_each(StageName.SUBMIT, set(step.endpoints))
        if step.last is None:
            return spread
        spread, after = spread + len(step.endpoints), step.last
