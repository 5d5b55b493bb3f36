"""What the answers of a flush say of their lane: it works, it is to be held, or it fails."""

from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from endpoints.outcomes import Busy, Fault, PollOutcome, SubmitOutcome, Unknown
from models.lane import StageName, close_lane, note_lane_fails, note_lane_works

log = structlog.get_logger()


async def note_answers(
    session: AsyncSession,
    stage: StageName,
    endpoint: str,
    outcomes: Sequence[SubmitOutcome | PollOutcome],
) -> float | None:
    """Hold, break or open the lane; if this did so, seconds until it has work: 0 if it opened.

    Told to wait: it is closed at once, for as long as the upstream said. A fault, or no answer, may
    be one call's: it takes a few in a row.
    """
    busy = [outcome for outcome in outcomes if isinstance(outcome, Busy)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Fault | Unknown)]
    seconds: float | None = None
    if busy:
        longest = max(busy, key=lambda outcome: outcome.retry_after_seconds or 0)
        cause = longest.cause.name.lower()
        reason = f"{longest.cause}: {longest.detail}"
        seconds = await close_lane(
            session, stage, endpoint, reason=reason, seconds=longest.retry_after_seconds
        )
    elif len(failed) == len(outcomes):
        cause = "calls_failed"
        reason = f"calls in a row that failed: {failed[-1].error}"
        seconds = await note_lane_fails(session, stage, endpoint, calls=len(failed), reason=reason)
    elif await note_lane_works(session, stage, endpoint):
        log.info("lane_opened", stage=stage, endpoint=endpoint)
        return 0.0
    if seconds is not None:
        log.warning(
            "lane_closed", stage=stage, endpoint=endpoint, cause=cause, said=reason, seconds=seconds
        )
    return seconds
