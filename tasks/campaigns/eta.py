"""When a campaign that runs will have ended, by the limits, its pace and the forecast."""

from collections.abc import Sequence

from models.campaign import Campaign
from models.campaign_figures import Open
from models.endpoint_stats import get_durations
from tasks.submit import longest_seconds
from workers.runtime import Runtime


async def estimate_seconds_left(
    runtime: Runtime, campaign: Campaign, waiting: Sequence[Open]
) -> float | None:
    """Seconds until its last job has ended, if it has its endpoints for itself.

    None if that cannot be said: it is paused, waits for money, or all that is to come is not
    enqueued yet. What is behind others in line takes longer.
    """
    async with runtime.database.begin() as session:
        durations = {one.endpoint: await get_durations(session, one.endpoint) for one in waiting}
    if campaign.paused_at is not None or any(one.without_money for one in waiting):
        return None
    if not waiting and campaign.total is None:
        return None
    enqueued = sum(one.jobs for one in waiting)
    unexpanded = 0
    if campaign.total is None and campaign.planned is not None:
        unexpanded = campaign.planned - campaign.expanded
    seconds = 0.0
    for one in waiting:
        limit = await runtime.limit(one.endpoint, "run")
        each = limit.window_seconds / limit.per_window
        longest = longest_seconds(runtime, one.endpoint, durations[one.endpoint])
        to_send = one.queued + unexpanded * one.jobs / max(enqueued, 1)
        if campaign.max_in_flight is not None:
            each = max(each, longest / campaign.max_in_flight)
        seconds = max(seconds, max(to_send * each, one.last_due_seconds) + longest)
    return seconds
