"""Files, as answers have them."""

import datetime as dt
from uuid import UUID

from pydantic import BaseModel

from models.artifact import ArtifactState


class ArtifactForm(BaseModel):
    """A file of a result. `url` opens without a key; it is null until the file is stored."""

    id: UUID
    job_id: UUID
    endpoint: str
    state: ArtifactState
    field: str
    url: str | None
    thumbnail_url: str | None
    source_url: str
    expires_at: dt.datetime
    tries: int
    error: str | None
    sha256: str | None
    size_bytes: int | None
    media_type: str | None
    width: int | None
    height: int | None
    duration_seconds: float | None
    store_key: str | None
    thumbnail_key: str | None


class ArtifactPage(BaseModel):
    artifacts: list[ArtifactForm]
    next: str | None


class LinkForm(BaseModel):
    url: str | None
    expires_seconds: int
