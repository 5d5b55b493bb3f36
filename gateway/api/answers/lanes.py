"""Lanes, as answers have them: limits, breaker, who waits."""

import datetime as dt
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from gateway.api.answers.endpoints import LimitForm
from models.lane import StageName


class QuotaForm(LimitForm):
    """`used_...` and what was learned are null while Redis does not answer."""

    operation: str
    learned_per_window: int | None  # if refusals showed it to be less than documented
    used_in_window: int | None
    used_at_once: int | None


class Breaker(BaseModel):
    failed_in_a_row: int
    breaks_after: int
    half_open: bool
    probing: bool


class LaneForm(BaseModel):
    stage: StageName
    endpoint: str
    state: Literal["open", "paused", "closed", "maintenance"]
    waiting: int
    waiting_is_more: bool
    due_seconds: float | None
    closed_seconds: float | None
    closed_reason: str | None
    closures: int
    paused_reason: str | None
    paused_seconds: float | None  # until it goes on; null: until somebody resumes it
    breaker: Breaker
    quota: QuotaForm
    why: str


class LanePlaces(BaseModel):
    """How many jobs of its endpoint are where; of queued and held ones at most 10,000."""

    queued: int
    held: int
    in_flight: int
    to_store: int
    to_send: int


class BoundForm(BaseModel):
    per_10_seconds: int | None
    concurrent: int | None


class LaneLimits(BaseModel):
    """`learned`: calls a window, as a refusal last showed."""

    documented: BoundForm | None
    operator: BoundForm
    learned: int | None
    learned_at: dt.datetime | None


class ShareForm(BaseModel):
    """What a producer has in line; `first` is the place of its first job."""

    key_id: UUID | None
    campaign_id: UUID | None
    name: str | None
    priority: int
    weight: float
    jobs: int
    first: int


class LaneDetail(LaneForm):
    places: LanePlaces
    limits: LaneLimits
    paused_at: dt.datetime | None
    shares: list[ShareForm]


class Lanes(BaseModel):
    lanes: list[LaneForm]
