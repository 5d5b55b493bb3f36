"""A campaign's report: how its jobs ended, what they cost and took, and the first results."""

import base64
import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from endpoints.catalogue import Kind, read_result
from gateway.reports.render import render
from gateway.words import say_prompt, say_seconds
from models.artifact import Artifact, list_artifacts
from models.budget import BudgetState, list_budgets
from models.campaign import get_campaign, list_first_jobs
from models.campaign_figures import (
    Ending,
    EndpointFigures,
    Progress,
    read_figures,
    sum_by_endpoint,
)
from models.job import JobState
from models.job_queries import get_job
from workers.runtime import Runtime
from workers.store import read

MOST_RESULTS = 400
SHOWN_CHARACTERS = 600  # of a result that is text


@dataclass(frozen=True, slots=True)
class Result:
    """One item, as the report shows it.

    Attributes:
        picture: as a data URI; None if there is none to show.
        seconds: that the upstream took.
    """

    job_id: str
    custom_id: str | None
    endpoint: str
    kind: str
    prompt: str
    state: str
    error: str | None
    picture: str | None
    text: str | None
    size: str | None
    cost_usd: Decimal | None
    seconds: float | None
    reused: bool


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """What is known of a campaign now; it may still run."""

    campaign_id: str
    name: str
    tags: Sequence[str]
    started: dt.datetime
    made: dt.datetime
    emulated: bool
    progress: Progress
    endpoints: Sequence[EndpointFigures]
    endings: Sequence[Ending]
    budgets: Sequence[BudgetState]
    results: Sequence[Result]

    @property
    def whole(self) -> int:
        """How many jobs it has, or will have."""
        known = self.progress.total if self.progress.total is not None else self.progress.planned
        return max(known or 0, self.progress.enqueued)

    def describe(self) -> dict[str, Any]:
        """As JSON, without the pictures."""
        told = asdict(self)
        for result in told["results"]:
            del result["picture"]
        return {**told, "jobs": self.whole, "settled": self.progress.settled}


async def collect_report(runtime: Runtime, campaign_id: UUID, *, results: int) -> CampaignReport:
    """
    Args:
        results: how many of the first items are shown.

    Raises:
        NotFound: there is no such campaign.
    """
    async with runtime.database.begin() as session:
        campaign = await get_campaign(session, campaign_id)
        figures = await read_figures(session, campaign_id)
        endpoints = await sum_by_endpoint(session, campaign_id)
        budgets = await list_budgets(session, campaign_id=campaign_id)
        shown = await list_first_jobs(session, campaign_id, limit=results)
    return CampaignReport(
        campaign_id=str(campaign.id),
        name=campaign.name,
        tags=(campaign.spec or {}).get("tags", []),
        started=campaign.created_at,
        made=dt.datetime.now(dt.UTC),
        emulated=runtime.settings.emulated,
        progress=figures.progress,
        endpoints=endpoints,
        endings=figures.endings,
        budgets=budgets,
        results=[await show_result(runtime, job_id) for job_id in shown],
    )


def render_html(report: CampaignReport) -> str:
    """One page that needs nothing beside it."""
    return render("campaign.html", report=report, progress=report.progress)


async def show_result(runtime: Runtime, job_id: UUID) -> Result:
    """One item, with its picture."""
    async with runtime.database.begin() as session:
        job = await get_job(session, job_id)
        files = await list_artifacts(session, job_ids=[job_id])
    listed = runtime.catalogue.find(job.endpoint)
    text = read_result(listed, job.output).text
    took = (job.delay_ms or 0) + (job.execution_ms or 0)
    return Result(
        job_id=str(job.id),
        custom_id=job.custom_id,
        endpoint=job.endpoint,
        kind=(listed.kind if listed else Kind.TEXT).value,
        prompt=say_prompt(job.input),
        state=job.state.value,
        error=job.error if job.state is not JobState.COMPLETED else None,
        picture=await _find_picture(runtime, files),
        text=text[:SHOWN_CHARACTERS] if text else None,
        size=next((said for one in files if (said := _say_size(one))), None),
        cost_usd=job.cost_usd,
        seconds=took / 1000 if took else None,
        reused=job.cached_from is not None,
    )


async def _find_picture(runtime: Runtime, files: Sequence[Artifact]) -> str | None:
    for file in files:
        if file.thumbnail_key is not None:
            try:
                content = await read(runtime.store, file.thumbnail_key)
            except FileNotFoundError:  # `artifacts verify` is who reports it
                continue
            return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
    return None


def _say_size(file: Artifact) -> str | None:
    if file.duration_seconds:
        return say_seconds(file.duration_seconds)
    return f"{file.width}x{file.height}" if file.width else None
