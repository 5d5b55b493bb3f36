"""Keys, which tell their secret once."""

import datetime as dt
from uuid import UUID

from pydantic import BaseModel

from models.key import Scope


class KeyForm(BaseModel):
    id: UUID
    name: str
    shown: str
    scopes: list[Scope]
    requests_per_second: int | None
    result_cache: bool | None
    weight: float
    created_at: dt.datetime
    revoked_at: dt.datetime | None
    previous_until: dt.datetime | None


class Keys(BaseModel):
    keys: list[KeyForm]


class IssuedKeyForm(KeyForm):
    """With its secrets, this once."""

    key: str
    webhook_secret: str
