"""What an act on jobs came to."""

import datetime as dt
from uuid import UUID

from pydantic import BaseModel


class Count(BaseModel):
    count: int
    dry_run: bool


class RetryCount(Count):
    estimate_usd: float


class ManyReply(Count):
    """`count`: those that fit, or (not `dry_run`) that were reached. If there is a `next`, the same
    request goes on with it as `cursor`; `left` is how many still fit.
    """

    left: int
    next: UUID | None
    estimate_usd: float | None  # of a retry
    unpriced: int | None
    sample: list[UUID]
    ended_before: dt.datetime
