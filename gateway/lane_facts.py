"""A lane as JSON: what waits in it, why, and how much of its quota is used."""

from typing import Any

from redis.exceptions import RedisError

from endpoints.catalogue import Operation
from models.lane import COUNTED_MOST, LaneState, StageName
from workers.operator_settings import DELIVER, DOWNLOAD, WEBHOOK
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
    limit = await runtime.limit(lane.endpoint, operation)
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
        "state": "paused" if lane.paused else "closed" if lane.closed_seconds else "open",
        "waiting": lane.waiting,
        "waiting_is_more": lane.waiting >= COUNTED_MOST,
        "due_seconds": lane.due_seconds,
        "closed_seconds": lane.closed_seconds,
        "closed_reason": lane.closed_reason,
        "closures": lane.closures,
        "quota": quota,
        "why": _explain(lane, quota),
    }


def _explain(lane: LaneState, quota: dict[str, Any]) -> str:
    """Why what waits in it waits, in a sentence."""
    if lane.paused:
        return "it is paused"
    if lane.closed_seconds:
        return f"it is closed for {lane.closed_seconds:.0f} s more: {lane.closed_reason}"
    if not lane.waiting or lane.due_seconds is None:
        return "nothing waits"
    if lane.due_seconds > 0:
        return f"the next is due in {lane.due_seconds:.1f} s"
    return _explain_pace(quota)


def _explain_pace(quota: dict[str, Any]) -> str:
    used, most = quota["used_in_window"], quota["learned_per_window"] or quota["per_window"]
    at_once, most_at_once = quota["used_at_once"], quota["concurrent"]
    if used is not None and used >= FULL_SHARE * most:
        source = ", which refusals taught" if quota["learned_per_window"] else ""
        return f"it goes at the limit of {most:,} in {quota['window_seconds']:g} s{source}"
    if at_once is not None and most_at_once and at_once >= most_at_once:
        return f"the limit of {most_at_once:,} at once is used up"
    return "it is being worked on"
