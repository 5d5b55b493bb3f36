"""When a campaign is run, and what is done about runs that meet, are missed or fail.

schedule:
  cron: "0 2 * * *"
  zone: Europe/Berlin
  overlap: skip
  catch_up: 1h
  jitter: 5m
  pause_on_failure: true
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.schedule import Overlap
from tasks.campaigns.cron import Cron, read_zone
from tasks.campaigns.span import LONGEST_SECONDS, Span

LEAST_CATCH_UP_SECONDS = 60.0  # ticks are some seconds apart, and more while a worker restarts
MOST_JITTER_SECONDS = 86_400.0


class Timetable(BaseModel):
    """When a schedule runs its campaign."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str = Field(description="Minute, hour, day of month, month, day of week.", max_length=200)
    zone: str = Field("UTC", description="Whose clock it goes by.", max_length=100)
    overlap: Overlap = Field(
        Overlap.SKIP, description="What is done about a fire while the run before it is not over."
    )
    catch_up: Annotated[Span, Field(ge=LEAST_CATCH_UP_SECONDS, le=LONGEST_SECONDS)] = Field(
        3_600.0, description="How late a fire may still start; later ones are missed."
    )
    jitter: Annotated[Span, Field(ge=0, le=MOST_JITTER_SECONDS)] = Field(
        0.0, description="Start up to so much later, each fire by an amount of its own."
    )
    pause_on_failure: bool = Field(
        default=False, description="Pause once a run of it ended with failed jobs."
    )

    @field_validator("zone")
    @classmethod
    def _check_zone(cls, zone: str) -> str:
        read_zone(zone)
        return zone

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, cron: str) -> str:
        Cron(cron, "UTC")
        return cron

    def read_cron(self) -> Cron:
        return Cron(self.cron, self.zone)
