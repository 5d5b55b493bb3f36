"""Pause a campaign, and let it go on: its queued jobs follow, some thousands in one transaction.

Whoever dies on the way, the sweep does the rest. What was sent runs on.
"""

from uuid import UUID

from models.audit import Action, Actor, note_act
from models.campaign import get_campaign
from models.hold import (
    hold_jobs,
    list_unsettled,
    lock_campaign,
    release_jobs,
    set_campaign_paused,
    settle,
)
from models.lane import StageName
from tasks.campaigns.spec import CampaignSpec
from workers.runtime import Runtime

AT_ONCE = 5_000  # jobs a transaction
STEPS_OF_A_SWEEP = 4


async def pause(runtime: Runtime, campaign_id: UUID, *, by: Actor | None = None) -> bool:
    """Whether it was not paused before; once this returns, none of its jobs waits in line.

    Raises:
        NotFound: there is no such campaign.
    """
    async with runtime.database.begin() as session:
        changed = await set_campaign_paused(session, campaign_id, paused=True)
        if by:
            told = {"before": {"paused": not changed}, "after": {"paused": True}}
            await note_act(session, by, Action.CAMPAIGN_PAUSE, campaign_id, **told)
    while await _hold_some(runtime, campaign_id):
        pass
    return changed


async def resume(runtime: Runtime, campaign_id: UUID, *, by: Actor | None = None) -> bool:
    """Whether it was paused before; a pace goes on from where it was.

    Raises:
        NotFound: there is no such campaign.
    """
    async with runtime.database.begin() as session:
        changed = await set_campaign_paused(session, campaign_id, paused=False)
        if by:
            told = {"before": {"paused": changed}, "after": {"paused": False}}
            await note_act(session, by, Action.CAMPAIGN_RESUME, campaign_id, **told)
    while await _release_some(runtime, campaign_id):
        pass
    return changed


async def settle_campaigns(runtime: Runtime) -> None:
    """Go on with what was left undone: the sweep's part."""
    async with runtime.database.begin() as session:
        unsettled = await list_unsettled(session)
    for one in unsettled:
        step = _hold_some if one.paused else _release_some
        for _ in range(STEPS_OF_A_SWEEP):
            if not await step(runtime, one.id):
                break


async def _hold_some(runtime: Runtime, campaign_id: UUID) -> bool:
    """Whether there may be more."""
    async with runtime.database.begin() as session:
        held = await hold_jobs(session, campaign_id, limit=AT_ONCE)
        if held == 0:
            await settle(session, campaign_id, paused=True)
    return held > 0


async def _release_some(runtime: Runtime, campaign_id: UUID) -> bool:
    """The same."""
    async with runtime.database.begin() as session:
        # Whoever is just holding a job has said so by then, or says so after this.
        await lock_campaign(session, campaign_id)
        campaign = await get_campaign(session, campaign_id)
        spec = CampaignSpec.model_validate(campaign.spec) if campaign.spec else None
        gap = spec.gap_seconds(campaign.paced_items) if spec else 0.0
        released = await release_jobs(session, campaign_id, limit=AT_ONCE, gap_seconds=gap)
        if not released:
            await settle(session, campaign_id, paused=False)
    await runtime.bells.ring_each(StageName.SUBMIT, set(released))
    return len(released) > 0
