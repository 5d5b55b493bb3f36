"""What operators do to lanes, each with its line in the audit log, in one transaction."""

from sqlalchemy.ext.asyncio import AsyncSession

from endpoints.catalogue import Operation
from gateway.audit_facts import terms_of_lane
from gateway.lane_facts import OPERATIONS
from models.audit import Action, Actor, note_act
from models.lane import StageName, reopen_lane, set_paused
from models.lane_detail import find_lane
from workers.operator_settings import OWN, LimitOverride, override_limit

DRAINED = "drained"


async def pause_lane(
    session: AsyncSession,
    actor: Actor,
    stage: StageName,
    endpoint: str,
    *,
    reason: str | None = None,
    seconds: float | None = None,
    drain: bool = False,
) -> bool:
    """Whether it goes on by itself: a hold without an end, if there was one, is given none.

    Args:
        seconds: after which it goes on by itself.
        drain: what is in flight is waited for, by whoever asks.
    """
    before = terms_of_lane(await find_lane(session, stage, endpoint))
    why = reason or (DRAINED if drain else None)
    until = await set_paused(session, stage, endpoint, paused=True, reason=why, seconds=seconds)
    await note_act(
        session,
        actor,
        Action.LANE_DRAIN if drain else Action.LANE_PAUSE,
        f"{stage}/{endpoint}",
        before=before,
        after={"paused": True, "reason": why, "for_seconds": seconds if until else None},
    )
    return until is not None


async def resume_lane(session: AsyncSession, actor: Actor, stage: StageName, endpoint: str) -> None:
    """Let it go on, and forget what had closed it: it is tried now."""
    before = terms_of_lane(await find_lane(session, stage, endpoint))
    await set_paused(session, stage, endpoint, paused=False)
    await reopen_lane(session, stage, endpoint)
    await note_act(
        session,
        actor,
        Action.LANE_RESUME,
        f"{stage}/{endpoint}",
        before=before,
        after={"paused": False},
    )


async def limit_lane(
    session: AsyncSession,
    actor: Actor,
    stage: StageName,
    endpoint: str,
    override: LimitOverride | None,
) -> None:
    """Put a limit in place of the documented one, or (None) that one back."""
    before, after = await override_limit(session, endpoint, Operation(OPERATIONS[stage]), override)
    await note_act(
        session,
        actor,
        Action.LANE_LIMIT,
        f"{stage}/{endpoint}",
        before=before.model_dump() if before else None,
        after=after.model_dump() if after else None,
    )


def has_limit(stage: StageName) -> bool:
    """Whether the stage calls an operation of the upstream."""
    return OPERATIONS[stage] not in OWN
