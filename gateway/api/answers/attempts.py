"""What was sent for a job, and what of it may have been billed and is not known."""

import datetime as dt
from uuid import UUID

from pydantic import BaseModel

from models.attempt import Answer, Fate


class AttemptForm(BaseModel):
    number: int
    sent_at: dt.datetime
    answered_at: dt.datetime | None
    answer: Answer | None
    http_status: int | None
    upstream_id: str | None
    error: str | None
    cost_usd: float | None
    fate: Fate | None
    risk_usd: float | None


class DoubtsForm(BaseModel):
    """Attempts that may have been billed beside another of their job, or for nothing; and in money.

    Certain are those of which word came after their job had been sent again. Those that were
    answered with a 5xx before another was taken are counted apart: by that, nothing was taken.
    """

    possibly_twice: int
    possibly_twice_usd: float
    possibly_for_nothing: int
    possibly_for_nothing_usd: float
    certainly_twice: int
    certainly_twice_usd: float
    answered_5xx: int
    answered_5xx_usd: float
    unpriced: int


class Attempts(BaseModel):
    attempts: list[AttemptForm]
    doubts: DoubtsForm


class KeyDoubts(DoubtsForm):
    key_id: UUID | None


class DoubtsReply(DoubtsForm):
    keys: list[KeyDoubts]


class DoubtfulJobs(BaseModel):
    jobs: list[UUID]
    next: str | None
