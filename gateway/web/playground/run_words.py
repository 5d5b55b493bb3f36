"""What is said of a run in more than one place."""

from typing import Any

from gateway.words import say_usd

STATES = {  # of a run, as one asks for them, and the states of its job
    "running": ("queued", "submitting", "in_queue", "in_progress", "unknown"),
    "done": ("completed",),
    "failed": ("failed", "timed_out", "lost", "rejected"),
    "cancelled": ("cancelled",),
}


def say_cost(job: dict[str, Any]) -> str:
    """What it cost, or may cost while nobody knows."""
    if job["cost_usd"] is not None:
        return say_usd(job["cost_usd"])
    if job["finished_at"] is None and job["estimate_usd"] is not None:
        return f"about {say_usd(job['estimate_usd'])}"
    return "no price"


def has_ended(job: dict[str, Any]) -> bool:
    """It, and the storing of its files."""
    if job["finished_at"] is None:
        return False
    return all(one["state"] != "pending" for one in job.get("artifacts", ()))
