"""All that lives, in one answer; workers; maintenance; whether all is well."""

import datetime as dt
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from gateway.api.answers.lanes import LaneForm
from models.budget import Period


class FloorLane(LaneForm):
    """`in_flight`: jobs of its endpoint that were sent and have not ended; of other lanes, none."""

    in_flight: int
    closed_until: dt.datetime | None
    paused_until: dt.datetime | None


class WorkerForm(BaseModel):
    """As it last said of itself. `silent`: it has not for 30 s; after ten minutes it is gone."""

    node: str
    state: Literal["well", "silent", "troubled"]
    seen_seconds: float
    problem: str | None


class Workers(BaseModel):
    workers: list[WorkerForm]


class AlarmForm(BaseModel):
    """What is wrong now, and what is to be done; `runbook` names the page that says more."""

    severity: Literal["critical", "warning"]
    says: str
    do: str
    runbook: str | None


class WaitForm(BaseModel):
    """The job that was handed in first of those that wait at an endpoint."""

    job_id: UUID
    endpoint: str
    created_at: dt.datetime
    why: str


class FloorBudget(BaseModel):
    name: str
    period: Period
    limit_usd: float
    left_usd: float
    reached: bool


class FloorMoney(BaseModel):
    """`hour_usd`: of what was sent since the hour began; `last_60_minutes_usd`: of late."""

    hour_usd: float
    last_60_minutes_usd: float
    may_be_billed_usd: float
    budgets: list[FloorBudget]


class Floor(BaseModel):
    """What runs, what waits and why. `workers` is null while Redis does not answer."""

    lanes: list[FloorLane]
    workers: list[WorkerForm] | None
    alarms: list[AlarmForm]
    waits: list[WaitForm]
    money: FloorMoney
    maintenance: "MaintenanceForm"
    emulated: bool


class MaintenanceForm(BaseModel):
    on: bool
    reason: str | None
    refuse: bool
    since: dt.datetime | None


class Readiness(BaseModel):
    """Each part is "ok", or what is wrong with it."""

    ready: bool
    parts: dict[str, str]
    problems: list[str]
