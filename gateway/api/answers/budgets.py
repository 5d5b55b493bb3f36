"""Budgets, what moved them, whom they hold, and what was spent."""

import datetime as dt
from uuid import UUID

from pydantic import BaseModel

from models.budget import AtCap, Period
from models.movement import MovementKind
from models.spend import SpendBy


class BudgetForm(BaseModel):
    """`left_usd` is what is neither spent nor reserved for jobs that run."""

    id: UUID
    name: str
    key_id: UUID | None
    campaign_id: UUID | None
    tag: str | None
    of: str | None
    period: Period
    zone: str
    limit_usd: float
    spent_usd: float
    reserved_usd: float
    left_usd: float
    warn_at: float
    at_cap: AtCap
    webhook: str | None
    starts_at: dt.datetime
    ends_at: dt.datetime | None
    warned: bool
    capped: bool
    jobs_held: int


class Budgets(BaseModel):
    budgets: list[BudgetForm]


class MovementForm(BaseModel):
    """`usd` of a limit that is null: it was removed."""

    at: dt.datetime
    kind: MovementKind
    usd: float | None
    job_id: UUID | None


class Movements(BaseModel):
    movements: list[MovementForm]


class WaitsForm(BaseModel):
    """Jobs of a key, or of a campaign of its, that wait for room in the budget."""

    key_id: UUID | None
    key: str | None
    campaign_id: UUID | None
    campaign: str | None
    jobs: int
    estimate_usd: float


class Waits(BaseModel):
    """`more`: there are more jobs than were looked at, which are the cheapest 10,000."""

    held: list[WaitsForm]
    more: bool


class SpendForm(BaseModel):
    """`name` is null of what has no key, campaign or tag."""

    name: str | None
    jobs: int
    usd: float
    may_be_billed_usd: float


class Spending(BaseModel):
    by: SpendBy
    since: dt.datetime
    until: dt.datetime
    spend: list[SpendForm]
