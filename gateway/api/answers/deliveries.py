"""Word of ended jobs, as answers have it."""

import datetime as dt
from uuid import UUID

from pydantic import BaseModel

from models.delivery import DeliveryKind, DeliveryState


class DeliveryForm(BaseModel):
    """Word of a job's end: `failed` was tried for a day, and is given up until it is replayed."""

    id: UUID
    webhook_id: str
    job_id: UUID
    kind: DeliveryKind
    url: str | None
    state: DeliveryState
    tries: int
    http_status: int | None
    error: str | None
    next_at: dt.datetime | None
    delivered_at: dt.datetime | None


class Deliveries(BaseModel):
    deliveries: list[DeliveryForm]


class DeliveryPage(Deliveries):
    next: str | None
