"""Jobs, as answers have them."""

import datetime as dt
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from gateway.api.answers.artifacts import ArtifactForm
from gateway.api.answers.problems import Problem
from gateway.waiting import Cause
from models.attempt import Answer
from models.job import JobState, Reason


class JobSummary(BaseModel):
    """A job, as far as it is. Money is in US dollars, times are ISO 8601, waits are in ms."""

    id: UUID
    endpoint: str
    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]
    state: JobState
    reason: Reason | None
    error: str | None
    why: str
    priority: int
    attempt: int
    upstream_id: str | None
    estimate_usd: float | None
    cost_usd: float | None
    delay_ms: int | None
    execution_ms: int | None
    polls: int
    input_tokens: int | None
    output_tokens: int | None
    cached_from: UUID | None
    campaign_id: UUID | None
    custom_id: str | None
    trace_id: str | None
    created_at: dt.datetime
    submitted_at: dt.datetime | None
    finished_at: dt.datetime | None
    next_at: dt.datetime | None
    start_by: dt.datetime | None
    deadline_at: dt.datetime | None


class JobForm(JobSummary):
    """A job, with its input, its result and its files."""

    input: dict[str, Any] | None
    output: Any
    artifacts: list[ArtifactForm]


class WaitingForm(BaseModel):
    """What a job waits for. `ahead` of it in line are so many, or more; forecasts in seconds."""

    cause: Cause
    until: dt.datetime | None
    ahead: int | None
    ahead_is_more: bool
    starts_in_seconds: float | None
    ends_in_seconds: float | None


class JobDetail(JobForm):
    """A job, and what it waits for: null once it waits for nothing. `key`: whose, by its name."""

    key: str | None
    waiting: WaitingForm | None


class ListedJob(JobSummary):
    """With what people know it by: the beginning of its prompt, its key's name, a small picture."""

    prompt: str | None
    key: str | None
    thumbnail_url: str | None


class JobPage(BaseModel):
    jobs: list[ListedJob]
    next: str | None


class BulkAnswer(BaseModel):
    """What became of one item: `id` and what follows if it was taken, else `error`."""

    index: int
    id: UUID | None = None
    status: str | None = None
    state: JobState | None = None
    existing: bool | None = None
    cached: bool | None = None
    error: Problem | None = None


class BulkReply(BaseModel):
    accepted: int
    refused: int
    items: list[BulkAnswer]


class WaitReply(BaseModel):
    jobs: list[JobForm]
    pending: list[UUID]
    unknown: list[UUID]


class Happening(BaseModel):
    at: dt.datetime
    what: str
    artifact_id: UUID | None = None
    number: int | None = None
    answer: Answer | None = None
    error: str | None = None


class Timeline(BaseModel):
    timeline: list[Happening]
