"""Settings that operators change while the system runs: `pressroom settings set NAME VALUE`.

They are kept in Postgres, and every process reads them again after a few seconds.
"""

import time

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from endpoints.catalogue import Limit, Operation, load_catalogue
from models.database import Database
from models.job import OnUnknown
from models.setting import get_settings

READ_AGAIN_SECONDS = 5.0

# Our own work has limits too, so that no stage takes all threads of a worker.
DOWNLOAD = "download"
DELIVER = "deliver"
OWN = (DOWNLOAD, DELIVER)
DELIVERIES_AT_ONCE = 64
UNLIMITED = 1_000_000


class LimitOverride(BaseModel):
    """Takes the place of what the catalogue says; what is left out stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_10_seconds: PositiveInt | None = None
    concurrent: PositiveInt | None = None


class OperatorSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: int = Field(
        3, ge=1, le=20, description="How often a job is sent if the upstream fails to take it."
    )
    on_unknown: OnUnknown = Field(
        OnUnknown.AUTO,
        description="When a reply to /run was lost and nothing more is heard: fail, resubmit "
        "(and maybe pay twice), or auto: resubmit if the upstream's webhooks show that it does "
        "not have the job. For jobs that do not say it themselves.",
    )
    limits: dict[str, dict[Operation, LimitOverride]] = Field(
        default_factory=dict,
        description="By endpoint and operation, as JSON: "
        '{"my-endpoint": {"run": {"per_10_seconds": 100, "concurrent": 20}}}',
    )

    downloads_at_once: PositiveInt = Field(
        32, description="Files that are fetched at once, for each endpoint."
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


class OperatorSettingsReader:
    """The settings as they are now, or were a few seconds ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_at = -READ_AGAIN_SECONDS
        self._settings = OperatorSettings()

    async def get(self) -> OperatorSettings:
        if time.monotonic() - self._read_at >= READ_AGAIN_SECONDS:
            async with self._database.begin() as session:
                self._settings = OperatorSettings.model_validate(await get_settings(session))
            self._read_at = time.monotonic()
        return self._settings
