"""Budgets and their ledgers as command line and API show them, and what is asked of one."""

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from models.budget import MOST_USD, BudgetState, Held
from models.errors import PressroomError
from models.movement import Movement
from models.spend import Spend
from tasks.campaigns import cron
from tasks.campaigns.span import parse_span


class BadBudget(PressroomError):
    """A budget that cannot be; its text says what came and what was wanted."""


def describe_budget(state: BudgetState) -> dict[str, Any]:
    """As JSON."""
    return {
        "id": str(state.id),
        "name": state.name,
        "key_id": _text(state.key_id),
        "campaign_id": _text(state.campaign_id),
        "tag": state.tag,
        "of": state.holder,
        "period": state.period.value,
        "zone": state.zone,
        "limit_usd": float(state.limit_usd),
        "spent_usd": float(state.spent_usd),
        "reserved_usd": float(state.reserved_usd),
        "left_usd": float(state.left_usd),
        "warn_at": state.warn_at,
        "at_cap": state.at_cap.value,
        "webhook": state.webhook,
        "starts_at": state.starts_at.isoformat(),
        "ends_at": state.ends_at.isoformat() if state.ends_at else None,
        "warned": state.warned,
        "capped": state.capped,
        "jobs_held": state.held,
    }


def describe_movement(movement: Movement) -> dict[str, Any]:
    """As JSON."""
    return {
        "at": movement.at.isoformat(),
        "kind": movement.kind.value,
        "usd": None if movement.usd is None else float(movement.usd),
        "job_id": _text(movement.job_id),
    }


def describe_held(held: Held) -> dict[str, Any]:
    """As JSON."""
    return {
        "key_id": _text(held.key_id),
        "key": held.key,
        "campaign_id": _text(held.campaign_id),
        "campaign": held.campaign,
        "jobs": held.jobs,
        "estimate_usd": float(held.estimate_usd),
    }


def describe_spend(spend: Spend) -> dict[str, Any]:
    """As JSON."""
    return {
        "name": spend.name,
        "jobs": spend.jobs,
        "usd": float(spend.usd),
        "may_be_billed_usd": float(spend.risk_usd),
    }


def say_holder(state: BudgetState) -> str:
    """Whose it is, for a person."""
    if state.key_id:
        return f"key {state.holder}"
    if state.campaign_id:
        return f"campaign {state.holder}"
    return f"tag {state.tag}" if state.tag else "everybody"


def say_period(state: BudgetState) -> str:
    """How long it is for, and when it begins anew in its own zone."""
    if state.ends_at is None:
        return "in all"
    ends = state.ends_at.astimezone(ZoneInfo(state.zone))
    return f"a {state.period.value}, until {ends:%Y-%m-%d %H:%M} {state.zone}"


def read_usd(given: str) -> Decimal:
    """
    Raises:
        BadBudget: it is no amount above nothing.
    """
    try:
        usd = Decimal(given.removeprefix("$"))
    except InvalidOperation:
        usd = Decimal()
    if not usd.is_finite() or not 0 < usd <= MOST_USD:
        raise BadBudget(f"usd: {given} came; an amount above 0, up to {MOST_USD:,}, was wanted")
    return usd


def read_zone(given: str) -> ZoneInfo:
    """
    Raises:
        BadBudget: there is no such zone.
    """
    try:
        return cron.read_zone(given)
    except cron.BadZone as error:
        raise BadBudget(f"zone: {error}") from error


def read_moment(field: str, given: str, *, now: dt.datetime) -> dt.datetime:
    """A day, a time with its zone, or how long ago: 30d, 12h.

    Args:
        field: what to call it in messages.

    Raises:
        BadBudget: it is none of them.
    """
    try:
        read = dt.datetime.fromisoformat(given)
    except ValueError:
        try:
            return now - dt.timedelta(seconds=parse_span(given))
        except (ValueError, OverflowError):
            raise BadBudget(
                f"{field}: a day (2026-11-28), a time, or how long ago (30d) was wanted, "
                f"{given!r} came"
            ) from None
    return read if read.tzinfo else read.replace(tzinfo=now.tzinfo)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
