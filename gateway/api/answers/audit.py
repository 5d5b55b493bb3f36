"""What was done by whom."""

import datetime as dt
from typing import Any
from uuid import UUID

from pydantic import BaseModel


class AuditForm(BaseModel):
    """Who did what. Of `before` and `after` each kind of act has its own."""

    id: UUID
    at: dt.datetime
    actor: str
    key_id: UUID | None
    source: str | None
    request_id: str | None
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditPage(BaseModel):
    acts: list[AuditForm]
    next: str | None
