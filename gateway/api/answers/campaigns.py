"""Campaigns: figures, items, comparisons, plans."""

import datetime as dt
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from gateway.api.answers.artifacts import ArtifactForm
from gateway.api.answers.budgets import BudgetForm
from models.job import JobState, Reason


class EndingForm(BaseModel):
    state: JobState
    reason: Reason | None
    jobs: int
    error: str | None


class HeldForm(BaseModel):
    """A budget, whosever it is, that jobs wait for."""

    budget: str
    jobs: int
    left_usd: float


class CampaignForm(BaseModel):
    """`seconds_left`: by limits, pace and forecast; null if it waits for somebody, has ended, or
    nothing of it is enqueued yet.
    """

    campaign_id: UUID
    name: str
    endpoint: str | None
    tags: list[str]
    created_at: dt.datetime
    completed_at: dt.datetime | None
    max_in_flight: int | None
    jobs: int
    problem: str | None
    paused: bool
    queued: int
    running: int
    completed: int
    failed: int
    cancelled: int
    artifacts: int
    artifacts_pending: int
    artifacts_expired: int
    bytes: int
    estimate_usd: float
    cost_usd: float
    seconds: float
    jobs_per_second: float
    polls_per_job: float
    seconds_left: float | None
    failures: list[EndingForm]
    budgets: list[BudgetForm]
    held_by: list[HeldForm]


class CampaignName(BaseModel):
    campaign_id: UUID
    name: str
    created_at: dt.datetime
    completed_at: dt.datetime | None


class CampaignNames(BaseModel):
    campaigns: list[CampaignName]
    next: str | None


class CampaignPage(BaseModel):
    campaigns: list[CampaignForm]
    next: str | None


class RowsForm(BaseModel):
    """A file of prompts that is kept: `rows` names it to the campaign that is made of it."""

    rows: str
    name: str
    bytes: int
    columns: list[str]


class ItemForm(BaseModel):
    """An item of a campaign: its first file, and how its prompt begins."""

    job_id: UUID
    custom_id: str | None
    endpoint: str
    state: JobState
    prompt: str
    seed: int | float | str | None
    cost_usd: float | None
    artifact: ArtifactForm | None


class ItemPage(BaseModel):
    items: list[ItemForm]
    start: int


class EndpointShare(BaseModel):
    """A campaign's jobs on one endpoint; times are those that the upstream names."""

    endpoint: str
    jobs: int
    completed: int
    failed: int
    cancelled: int
    estimate_usd: float
    cost_usd: float
    p50_seconds: float | None
    p95_seconds: float | None


class EndpointShares(BaseModel):
    endpoints: list[EndpointShare]


class SideForm(BaseModel):
    """`alone`: jobs for which the other side has none."""

    name: str
    jobs: int
    completed: int
    failed: int
    alone: int
    bytes: int
    cost_usd: float
    usd_per_result: float | None


class ComparisonForm(BaseModel):
    """`matched_by`: what tells which items belong together. Of `pairs` a page is in `shown`."""

    matched_by: str
    sides: tuple[SideForm, SideForm]
    pairs: int
    start: int
    shown: list[tuple[ItemForm, ItemForm]]


class PlannedItem(BaseModel):
    place: str
    endpoint: str
    input: dict[str, Any]
    custom_id: str | None


class PlanForm(BaseModel):
    """`estimate_usd` is exact, or a bound, if that is said; null if no price is known."""

    jobs: int
    per_endpoint: dict[str, int]
    estimate_usd: float | None
    exact: bool
    bound: bool
    unpriced: int
    repeated: int
    least_seconds: float
    unused_columns: list[str]
    first: PlannedItem | None
    last: PlannedItem | None
    campaign_id: UUID | None
