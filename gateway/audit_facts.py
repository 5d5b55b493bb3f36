"""What the audit log keeps of things: their terms, small, and without a secret; and its lines."""

from typing import Any

from gateway.schedule_facts import describe_schedule
from models.audit import Action, AuditLine
from models.base import say_plainly
from models.budget import BudgetState
from models.key import ApiKey
from models.lane import Lane
from models.schedule import Schedule

SCHEDULE_TERMS = (
    "cron",
    "zone",
    "overlap",
    "catch_up_seconds",
    "jitter_seconds",
    "pause_on_failure",
    "paused",
    "jobs",
    "estimate_usd",
)


def describe_act(line: AuditLine) -> dict[str, Any]:
    """As JSON."""
    return {
        "id": str(line.id),
        "at": line.at.isoformat(),
        "actor": line.actor,
        "key_id": str(line.key_id) if line.key_id else None,
        "source": line.source,
        "request_id": line.request_id,
        "action": line.action,
        "target": line.target,
        "before": line.before,
        "after": line.after,
    }


def terms_of_lane(lane: Lane | None) -> dict[str, Any]:
    if lane is None or not lane.paused:
        return {"paused": False}
    until = lane.paused_until.isoformat() if lane.paused_until else None
    return {"paused": True, "reason": lane.paused_reason, "until": until}


def terms_of_key(row: ApiKey) -> dict[str, Any]:
    return {
        "name": row.name,
        "scopes": list(row.scopes),
        "requests_per_second": row.requests_per_second,
        "result_cache": row.result_cache,
        "weight": row.weight,
        "revoked": row.revoked_at is not None,
    }


def terms_of_budget(state: BudgetState) -> dict[str, Any]:
    """Of its webhook only whether there is one: the address may hold a token."""
    return {
        "name": state.name,
        "of": state.holder,
        "period": state.period.value,
        "zone": state.zone,
        "limit_usd": say_plainly(state.limit_usd),
        "warn_at": state.warn_at,
        "at_cap": state.at_cap.value,
        "webhook": state.webhook is not None,
    }


def terms_of_schedule(schedule: Schedule) -> dict[str, Any]:
    told = describe_schedule(schedule)
    return {name: told[name] for name in SCHEDULE_TERMS}


def action_on_schedule(*, changed: bool, paused: bool | None) -> Action:
    if changed or paused is None:
        return Action.SCHEDULE_EDIT
    return Action.SCHEDULE_PAUSE if paused else Action.SCHEDULE_RESUME
