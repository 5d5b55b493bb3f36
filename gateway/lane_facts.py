"""A lane as JSON: what waits in it, why, and how much of its quota is used."""

import datetime as dt
from typing import Any

from redis.exceptions import RedisError

from endpoints.catalogue import Operation, load_catalogue
from models.lane import BREAK_AFTER, COUNTED_MOST, Lane, LaneState, StageName, list_lane_states
from models.lane_detail import Share, count_places, find_lane, list_shares
from workers.operator_settings import (
    DELIVER,
    DOWNLOAD,
    OWN,
    WEBHOOK,
    LimitOverride,
    Maintenance,
)
from workers.runtime import Runtime

OPERATIONS: dict[StageName, str] = {
    StageName.SUBMIT: Operation.RUN,
    StageName.POLL: Operation.STATUS,
    StageName.CANCEL: Operation.CANCEL,
    StageName.ARCHIVE: DOWNLOAD,
    StageName.NOTIFY: DELIVER,
    StageName.WEBHOOK: WEBHOOK,
}
FULL_SHARE = 0.9  # of a limit: its calls are spread, so that it is seldom full to the last


async def describe_lane(runtime: Runtime, lane: LaneState) -> dict[str, Any]:
    operation = OPERATIONS[lane.stage]
    operator = await runtime.operator_settings()
    limit = operator.limit(lane.endpoint, operation)
    maintenance = operator.maintenance if lane.stage is StageName.SUBMIT else None
    try:
        usage = await runtime.quota.usage(operation, lane.endpoint)
    except RedisError:
        usage = None
    quota = {
        "operation": operation,
        "per_window": limit.per_window,
        "window_seconds": limit.window_seconds,
        "concurrent": limit.concurrent,
        "learned_per_window": usage.learned if usage else None,
        "used_in_window": usage.in_window if usage else None,
        "used_at_once": usage.at_once if usage else None,
    }
    return {
        "stage": lane.stage,
        "endpoint": lane.endpoint,
        "state": _say_state(lane, maintenance),
        "waiting": lane.waiting,
        "waiting_is_more": lane.waiting >= COUNTED_MOST,
        "due_seconds": lane.due_seconds,
        "closed_seconds": lane.closed_seconds,
        "closed_reason": lane.closed_reason,
        "closures": lane.closures,
        "paused_reason": lane.paused_reason,
        "paused_seconds": lane.paused_seconds,
        "breaker": {
            "failed_in_a_row": lane.faults,
            "breaks_after": BREAK_AFTER,
            "half_open": lane.closures > 0,
            "probing": lane.probing,
        },
        "quota": quota,
        "why": _explain(lane, quota, maintenance),
    }


async def inspect_lane(runtime: Runtime, stage: StageName, endpoint: str) -> dict[str, Any]:
    """The same, and all else that is known of it."""
    async with runtime.database.begin() as session:
        states = await list_lane_states(session, stage=stage, endpoint=endpoint)
        row = await find_lane(session, stage, endpoint)
        places = await count_places(session, endpoint)
        shares = await list_shares(session, endpoint) if stage is StageName.SUBMIT else []
    return {
        **await describe_lane(runtime, states[0] if states else make_empty(stage, endpoint)),
        "places": dict(places),
        "limits": await _describe_limits(runtime, stage, endpoint, row),
        "paused_at": row.paused_at.isoformat() if row and row.paused_at else None,
        "shares": [_describe_share(one) for one in shares],
    }


async def _describe_limits(
    runtime: Runtime, stage: StageName, endpoint: str, row: Lane | None
) -> dict[str, Any]:
    """Per 10 s and at once: what is documented, what an operator said, what refusals taught."""
    operation = OPERATIONS[stage]
    operator = await runtime.operator_settings()
    documented = (
        None if operation in OWN else load_catalogue().limit(endpoint, Operation(operation))
    )
    override = LimitOverride()
    if documented is not None:
        override = operator.limits.get(endpoint, {}).get(Operation(operation), override)
    return {
        "documented": documented
        and {
            "per_10_seconds": round(documented.per_window * 10 / documented.window_seconds),
            "concurrent": documented.concurrent,
        },
        "operator": override.model_dump(),
        "learned": row.learned if row else None,
        "learned_at": row.learned_at.isoformat() if row and row.learned_at else None,
    }


def make_empty(stage: StageName, endpoint: str) -> LaneState:
    """A lane of which nothing was said, and in which nothing waits."""
    return LaneState(
        stage=stage,
        endpoint=endpoint,
        waiting=0,
        due_seconds=None,
        paused=False,
        closed_seconds=None,
        closed_reason=None,
        closures=0,
    )


def _describe_share(share: Share) -> dict[str, Any]:
    return {
        "key_id": share.key_id,
        "campaign_id": share.campaign_id,
        "name": share.name,
        "priority": share.priority,
        "weight": share.weight,
        "jobs": share.jobs,
        "first": share.first,
    }


def _say_state(lane: LaneState, maintenance: Maintenance | None) -> str:
    if lane.paused:
        return "paused"
    if maintenance is not None:
        return "maintenance"
    return "closed" if lane.closed_seconds else "open"


def _explain(lane: LaneState, quota: dict[str, Any], maintenance: Maintenance | None) -> str:
    """Why what waits in it waits, in a sentence."""
    if lane.paused:
        return _explain_pause(lane)
    if maintenance is not None:
        return str(maintenance)
    if lane.closed_seconds:
        return f"it is closed for {lane.closed_seconds:.0f} s more: {lane.closed_reason}"
    if not lane.waiting or lane.due_seconds is None:
        return "nothing waits"
    if lane.due_seconds > 0:
        return f"the next is due in {lane.due_seconds:.1f} s"
    return _explain_pace(quota)


def _explain_pause(lane: LaneState) -> str:
    until = ""
    if lane.paused_seconds is not None:
        left = dt.timedelta(seconds=round(max(lane.paused_seconds, 0)))
        until = f" for {left} more"
    return f"it is paused{until}" + (f": {lane.paused_reason}" if lane.paused_reason else "")


def _explain_pace(quota: dict[str, Any]) -> str:
    used, most = quota["used_in_window"], quota["learned_per_window"] or quota["per_window"]
    at_once, most_at_once = quota["used_at_once"], quota["concurrent"]
    if used is not None and used >= FULL_SHARE * most:
        source = ", which refusals taught" if quota["learned_per_window"] else ""
        return f"it goes at the limit of {most:,} in {quota['window_seconds']:g} s{source}"
    if at_once is not None and most_at_once and at_once >= most_at_once:
        return f"the limit of {most_at_once:,} at once is used up"
    return "it is being worked on"
