"""Schedules, and when they fire."""

import datetime as dt
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from models.schedule import Overlap
from models.schedule_run import RunOutcome


class ScheduleForm(BaseModel):
    """A campaign that is run again and again. `next_at` is null while it is paused."""

    id: UUID
    name: str
    cron: str
    zone: str
    overlap: Overlap
    catch_up_seconds: float
    jitter_seconds: float
    pause_on_failure: bool
    paused: bool
    problem: str | None
    next_at: dt.datetime | None
    jobs: int
    estimate_usd: float
    unpriced: int
    created_at: dt.datetime


class ScheduledRun(BaseModel):
    """What was decided of a fire. `buffered`: it waits for a run before it to be over."""

    due_at: dt.datetime
    outcome: RunOutcome
    campaign_id: UUID | None
    backfill: bool
    note: str | None
    decided_at: dt.datetime
    over: bool


class ListedSchedule(ScheduleForm):
    """With what came of its last fires, the last first."""

    runs: list[ScheduledRun]


class Schedules(BaseModel):
    schedules: list[ListedSchedule]


class ScheduleDetail(ScheduleForm):
    """With what it runs, and what came of its last fires."""

    specification: dict[str, Any]
    runs: list[ScheduledRun]


class FireForm(BaseModel):
    due_at: dt.datetime
    starts_at: dt.datetime


class Fires(BaseModel):
    fires: list[FireForm]


class TimetableReply(BaseModel):
    """`words` says in English when it fires."""

    words: str
    fires: list[dt.datetime]


class BackfillReply(BaseModel):
    """The fires that were not run, and how many of them now wait to be: none, if `dry_run`."""

    fires: list[dt.datetime]
    jobs: int
    estimate_usd: float
    waiting: int
