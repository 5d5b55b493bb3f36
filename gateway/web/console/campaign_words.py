"""How campaigns are said: in a word, a share, an amount."""

from typing import Any

from gateway.words import say_seconds, say_usd

Campaign = dict[str, Any]


def say_campaign(one: Campaign) -> tuple[str, str]:
    """How it stands, in a word and a tone."""
    if one["problem"]:
        return "broken off", "bad"
    if one["completed_at"] or (_ended(one) >= one["jobs"] and not one["artifacts_pending"]):
        return _say_end(one)
    if one["paused"]:
        return "paused", "warn"
    if one["held_by"]:
        return "waits for money", "warn"
    return "running", "busy"


def _say_end(one: Campaign) -> tuple[str, str]:
    if one["failed"]:
        return "done, some failed", "warn"
    return ("cancelled", "plain") if one["cancelled"] else ("done", "good")


def say_progress(one: Campaign) -> str:
    failed = f", {one['failed']:,} failed" if one["failed"] else ""
    return f"{one['completed']:,} of {one['jobs']:,}{failed}"


def share_of(one: Campaign) -> float:
    return _ended(one) / one["jobs"] if one["jobs"] else 0.0


def say_money(one: Campaign) -> str:
    return f"{say_usd(one['cost_usd'])} of about {say_usd(one['estimate_usd'])}"


def say_left(one: Campaign) -> str:
    return "-" if one["seconds_left"] is None else f"about {say_seconds(one['seconds_left'])}"


def runs_on(one: Campaign) -> bool:
    return _ended(one) < one["jobs"] and not one["completed_at"]


def _ended(one: Campaign) -> int:
    return int(one["completed"] + one["failed"] + one["cancelled"])
