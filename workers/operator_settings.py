"""Settings that operators change while the system runs: `pressroom settings set NAME VALUE`.

They are kept in Postgres, and every process reads them again after a few seconds.
"""

import asyncio
import datetime as dt
import time

from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from sqlalchemy.ext.asyncio import AsyncSession

from endpoints.catalogue import Limit, Operation, load_catalogue
from models.database import Database
from models.job import OnUnknown
from models.setting import get_settings, lock_settings, put_setting

READ_AGAIN_SECONDS = 5.0

# Our own work has limits too, so that no stage takes all threads of a worker.
DOWNLOAD = "download"
DELIVER = "deliver"
WEBHOOK = "webhook"
OWN = (DOWNLOAD, DELIVER, WEBHOOK)
DELIVERIES_AT_ONCE = 64
UNLIMITED = 1_000_000


class LimitOverride(BaseModel):
    """Takes the place of what the catalogue says; what is left out stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_10_seconds: PositiveInt | None = None
    concurrent: PositiveInt | None = None


class Maintenance(BaseModel):
    """Nothing new is submitted. See `workers/maintenance.py`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str = Field("", max_length=500)
    refuse: bool = False  # what is handed in over HTTP, instead of keeping it
    since: dt.datetime | None = None

    def __str__(self) -> str:
        return f"maintenance: {self.reason}" if self.reason else "maintenance"


class OperatorSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: int = Field(
        10,
        ge=1,
        le=20,
        description="How often a job is sent at most, whatever came of it; the README says how "
        "often for which cause.",
    )
    on_unknown: OnUnknown = Field(
        OnUnknown.RESUBMIT,
        description="When a reply to /run was lost and nothing more is heard: resubmit (what may "
        "be paid twice is counted), or fail. For jobs that do not say it themselves.",
    )
    limits: dict[str, dict[Operation, LimitOverride]] = Field(
        default_factory=dict,
        description="By endpoint and operation, as JSON: "
        '{"my-endpoint": {"run": {"per_10_seconds": 100, "concurrent": 20}}}',
    )

    downloads_at_once: PositiveInt = Field(
        32, description="Files that are fetched at once, for each endpoint."
    )

    requests_per_second: PositiveInt = Field(
        1000, description="Requests that the gateway takes of one API key, if the key says nothing."
    )
    result_cache: bool = Field(
        default=False,
        description="Answer a request with a fixed seed from the stored result of an equal one of "
        "the same key, at no cost. A key or a request may say otherwise.",
    )
    link_seconds: int = Field(
        0, ge=0, description="How long a link to a stored file opens it; 0: for good."
    )
    events_days: float = Field(
        7.0, gt=0, description="How long events (/api/v1/events, timelines) are kept."
    )
    jobs_days: float = Field(
        0.0,
        ge=0,
        description="After so many days the inputs and results of jobs that have ended go to the "
        "shelf, a table of their own, where they are found as before; 0: never.",
    )
    audit_days: float = Field(
        730.0, gt=0, le=36_500, description="How long the audit log (`pressroom audit`) is kept."
    )
    maintenance: Maintenance | None = Field(
        None,
        description="Nothing new is submitted upstream; `pressroom maintenance` sets it.",
    )

    def limit(self, endpoint: str, operation: str) -> Limit:
        """How often, and how often at once, an operation may be done for an endpoint."""
        if operation in OWN:
            at_once = self.downloads_at_once if operation == DOWNLOAD else DELIVERIES_AT_ONCE
            return Limit(per_window=UNLIMITED, window_seconds=10.0, concurrent=at_once)
        operation = Operation(operation)
        limit = load_catalogue().limit(endpoint, operation)
        if limit is None:
            raise KeyError(f"no limit is documented for {operation}")
        override = self.limits.get(endpoint, {}).get(operation, LimitOverride())
        return Limit(
            per_window=round(override.per_10_seconds * limit.window_seconds / 10)
            if override.per_10_seconds
            else limit.per_window,
            window_seconds=limit.window_seconds,
            concurrent=override.concurrent or limit.concurrent,
        )


async def override_limit(
    session: AsyncSession, endpoint: str, operation: Operation, override: LimitOverride | None
) -> tuple[LimitOverride | None, LimitOverride | None]:
    """Put a limit in place of the catalogue's, or (None) the catalogue's back; others stay.

    What `override` leaves out stays as it was, too. Returns the override before, and now.
    """
    await lock_settings(session)  # or one of two that change it at once would be lost
    limits = OperatorSettings.model_validate(await get_settings(session)).limits
    of_endpoint = dict(limits.get(endpoint, {}))
    before = of_endpoint.pop(operation, None)
    after = None
    if override is not None:
        given = override.model_dump(exclude_none=True)
        after = (before or LimitOverride()).model_copy(update=given)
        of_endpoint[operation] = after
    changed = {**limits, endpoint: of_endpoint}
    value = {
        name: {key: one.model_dump(exclude_none=True) for key, one in given.items()}
        for name, given in changed.items()
        if given
    }
    await put_setting(session, name="limits", value=value)
    return before, after


def find_beyond(endpoint: str, operation: Operation, override: LimitOverride) -> str | None:
    """By what an override goes beyond what the upstream documents; None if it does not."""
    documented = load_catalogue().limit(endpoint, operation)
    if documented is None:
        return None
    per_10_seconds = round(documented.per_window * 10 / documented.window_seconds)
    said = []
    if (override.per_10_seconds or 0) > per_10_seconds:
        said.append(f"{override.per_10_seconds:,} in 10 s came, {per_10_seconds:,} are documented")
    if documented.concurrent and (override.concurrent or 0) > documented.concurrent:
        said.append(
            f"{override.concurrent:,} at once came, {documented.concurrent:,} are documented"
        )
    return "; ".join(said) or None


class OperatorSettingsReader:
    """The settings as they are now, or were a few seconds ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_at = -READ_AGAIN_SECONDS
        self._settings = OperatorSettings()
        self._reading = asyncio.Lock()  # once, however many wait for it

    async def get(self, *, fresh: bool = False) -> OperatorSettings:
        if fresh or self._is_old():
            async with self._reading:
                if fresh or self._is_old():
                    async with self._database.begin() as session:
                        read = await get_settings(session)
                    self._settings = OperatorSettings.model_validate(read)
                    self._read_at = time.monotonic()
        return self._settings

    def _is_old(self) -> bool:
        return time.monotonic() - self._read_at >= READ_AGAIN_SECONDS
