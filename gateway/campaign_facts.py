"""A campaign as command line and API show it."""

from typing import Any
from uuid import UUID

from gateway.budget_facts import describe_budget
from gateway.settled import SettledFigures
from models.budget import list_budgets
from models.campaign import Campaign, get_campaign
from models.campaign_figures import Ending, Progress, read_figures
from tasks.campaigns.eta import estimate_seconds_left
from workers.runtime import Runtime


async def summarize(
    runtime: Runtime,
    campaign_id: UUID,
    *,
    owner: UUID | None = None,
    settled: SettledFigures | None = None,
) -> dict[str, Any]:
    """The figures of a campaign, as JSON.

    Args:
        owner: a key whose own it must be; None: anybody's.
        settled: who asks again and again has them keep what seldom changes.

    Raises:
        NotFound: there is none with this id.
    """
    async with runtime.database.begin() as session:
        campaign = await get_campaign(session, campaign_id, owner=owner)
        if settled is None:
            figures = await read_figures(session, campaign_id)
        else:
            figures = await settled.read(session, campaign)
        budgets = await list_budgets(session, campaign_id=campaign_id)
        holding = await list_budgets(session, holding=campaign_id)
    left = None
    if not figures.progress.settled:
        left = await estimate_seconds_left(runtime, campaign, figures.open)
    return {
        **_describe(campaign, figures.progress),
        "seconds_left": None if left is None else round(left, 1),
        "failures": [_describe_ending(ending) for ending in figures.endings],
        "budgets": [describe_budget(budget) for budget in budgets],
        "held_by": [
            {"budget": one.name, "jobs": one.held, "left_usd": float(one.left_usd)}
            for one in holding
        ],
    }


def count_whole(progress: Progress) -> int:
    """How many jobs it has, or will have."""
    if progress.total is not None:
        return progress.total
    return max(progress.planned or 0, progress.enqueued)


def _describe(campaign: Campaign, progress: Progress) -> dict[str, Any]:
    seconds = progress.seconds
    return {
        "campaign_id": str(campaign.id),
        "name": campaign.name,
        "endpoint": campaign.endpoint,
        "tags": campaign.tags,
        "created_at": campaign.created_at.isoformat(),
        "completed_at": campaign.completed_at.isoformat() if campaign.completed_at else None,
        "max_in_flight": campaign.max_in_flight,
        "jobs": count_whole(progress),
        "problem": progress.problem,
        "paused": progress.paused,
        "queued": progress.queued,
        "running": progress.running,
        "completed": progress.completed,
        "failed": progress.failed,
        "cancelled": progress.cancelled,
        "artifacts": progress.files_stored,
        "artifacts_pending": progress.files_pending,
        "artifacts_expired": progress.files_expired,
        "bytes": progress.bytes_stored,
        "estimate_usd": float(progress.estimate_usd),
        "cost_usd": float(progress.spent_usd),
        "seconds": round(seconds, 2),
        "jobs_per_second": round(progress.ended / seconds, 2) if seconds else 0.0,
        "polls_per_job": round(progress.polls / progress.enqueued, 3) if progress.enqueued else 0.0,
    }


def _describe_ending(ending: Ending) -> dict[str, Any]:
    return {
        "state": ending.state,
        "reason": ending.reason,
        "jobs": ending.jobs,
        "error": ending.error,
    }
