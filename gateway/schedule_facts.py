"""A schedule as JSON: what it runs, when, and what came of its fires. Times are its zone's."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from models.schedule import Schedule
from models.schedule_run import ScheduleRun
from tasks.campaigns.cron import Fire, read_zone


def say_time(schedule: Schedule, moment: dt.datetime) -> str:
    """By the clock of its zone; RFC 3339, which wants the seconds."""
    return moment.astimezone(read_zone(schedule.zone)).isoformat(timespec="seconds")


def describe_schedule(schedule: Schedule) -> dict[str, Any]:
    paused = schedule.paused_at is not None
    return {
        "id": str(schedule.id),
        "name": schedule.name,
        "cron": schedule.cron,
        "zone": schedule.zone,
        "overlap": schedule.overlap.value,
        "catch_up_seconds": schedule.catch_up_seconds,
        "jitter_seconds": schedule.jitter_seconds,
        "pause_on_failure": schedule.pause_on_failure,
        "paused": paused,
        "problem": schedule.problem,
        "next_at": None if paused else say_time(schedule, schedule.starts_at),
        "jobs": schedule.planned,
        "estimate_usd": float(schedule.estimate_usd),
        "unpriced": schedule.unpriced,
        "created_at": schedule.created_at.isoformat(),
    }


def describe_runs(schedule: Schedule, runs: Sequence[ScheduleRun]) -> list[dict[str, Any]]:
    return [
        {
            "due_at": say_time(schedule, run.due_at),
            "outcome": run.outcome.value,
            "campaign_id": str(run.campaign_id) if run.campaign_id else None,
            "backfill": run.backfill,
            "note": run.note,
            "decided_at": run.decided_at.isoformat(),
            "over": run.ended_at is not None,
        }
        for run in runs
    ]


def describe_fires(schedule: Schedule, fires: Sequence[Fire]) -> list[dict[str, str]]:
    return [
        {"due_at": say_time(schedule, fire.due_at), "starts_at": say_time(schedule, fire.starts_at)}
        for fire in fires
    ]
