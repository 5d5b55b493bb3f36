"""Why a job is where it is, in brief, for each of many; `waiting.py` has it at length, for one."""

import datetime as dt
from collections.abc import Mapping, Sequence
from uuid import UUID

from models.job import TERMINAL, Job, JobState, OnUnknown
from models.lane import LaneView, StageName

SOON_SECONDS = 1.0


def explain(job: Job, lanes: Sequence[LaneView], budgets: Mapping[UUID, str]) -> str:
    """Why a job is where it is, in words.

    Args:
        budgets: names of those that hold jobs.
    """
    if job.state is JobState.COMPLETED:
        return "it is done"
    if job.state in TERMINAL:
        return f"{job.reason}: {job.error}" if job.error else str(job.reason)
    if said := _say_lane(job, lanes):
        return said
    if job.state is JobState.QUEUED and job.held:
        return _say_holder(job, budgets)
    due = max((job.next_at - dt.datetime.now(dt.UTC)).total_seconds(), 0) if job.next_at else 0
    words = {
        JobState.QUEUED: "waits for its turn in the quota"
        if due <= SOON_SECONDS
        else f"is to be sent in {due:,.0f} s, and not before",
        JobState.SUBMITTING: "a /run is on its way",
        JobState.IN_QUEUE: f"in the upstream's queue; asked for again in {due:.1f} s",
        JobState.IN_PROGRESS: f"being generated; asked for again in {due:.1f} s",
        JobState.UNKNOWN: f"the reply to /run was lost ({job.error}); if nothing is heard of it, "
        f"in {due:.0f} s it is {_AFTER_UNKNOWN[job.on_unknown]}",
    }
    asked = ""
    if job.cancel_sent_at:
        asked = ", and told to stop"
    elif job.cancel_requested_at:
        asked = ", to be cancelled"
    return words[job.state] + asked


def _say_lane(job: Job, lanes: Sequence[LaneView]) -> str | None:
    stage = stage_of(job)
    for lane in lanes:
        if (lane.stage, lane.endpoint) == (stage, job.endpoint) and lane.held_up is not None:
            return f"the {stage} lane of {job.endpoint} {lane.held_up}"
    return None


def _say_holder(job: Job, budgets: Mapping[UUID, str]) -> str:
    if job.held_by is None:
        return "its campaign is paused"
    if job.held_by == job.campaign_id:
        return "as many jobs of its campaign are in flight as it wants"
    return f"the budget {budgets.get(job.held_by, job.held_by)!s} has not enough left for it"


_AFTER_UNKNOWN = {OnUnknown.RESUBMIT: "sent again", OnUnknown.FAIL: "given up"}


def stage_of(job: Job) -> StageName:
    """Which stage has it next, of a job that has not ended."""
    if job.state is JobState.QUEUED:
        return StageName.SUBMIT
    return (
        StageName.CANCEL if job.cancel_requested_at and not job.cancel_sent_at else StageName.POLL
    )
