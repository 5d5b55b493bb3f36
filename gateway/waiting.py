"""Why one job is where it is, at length: what holds it up, until when, and when it goes on.

All of it is read from Postgres: no figure of Redis, and nothing that a worker remembers. What is
forecast is the line's order at the rate of its limit, and how long such jobs took: it holds while
nobody of a higher priority comes, and nothing is closed.
"""

import dataclasses
import datetime as dt
import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from endpoints import forecast
from endpoints.catalogue import Limit, Operation
from gateway.explain import SOON_SECONDS, explain, stage_of
from gateway.words import say_seconds, say_usd
from models.artifact import Artifact, ArtifactState
from models.budget import BudgetState, list_budgets
from models.campaign import Campaign, get_campaign
from models.endpoint_stats import get_durations
from models.job import TERMINAL, Job, JobState
from models.lane import COUNTED_MOST, Lane, StageName, find_learned
from models.line import count_ahead
from models.slots import count_in_flight
from tasks.durations import read_durations
from workers.maintenance import find_maintenance
from workers.operator_settings import UNLIMITED
from workers.runtime import Runtime

SOON = "what held it is over; it goes on in a moment"


class Cause(enum.StrEnum):
    """What a job waits for."""

    MAINTENANCE = "maintenance"
    LANE_PAUSED = "lane_paused"
    LANE_CLOSED = "lane_closed"  # a cooldown: the upstream refused, or does not answer
    CAMPAIGN_PAUSED = "campaign_paused"
    SLOTS = "max_in_flight"  # of its campaign
    BUDGET = "budget"
    PACE = "pace"  # of its campaign
    RETRY = "retry"  # after an attempt that failed
    START = "start"  # it was asked for a time in the future
    LINE = "line"  # its turn, within the limit
    REPLY = "reply"  # of /run
    UPSTREAM_QUEUE = "upstream_queue"
    GENERATION = "generation"
    OUTCOME = "unknown_outcome"
    FILES = "files"  # it has ended; they are not stored yet


CAUSES = {
    JobState.SUBMITTING: Cause.REPLY,
    JobState.UNKNOWN: Cause.OUTCOME,
    JobState.IN_QUEUE: Cause.UPSTREAM_QUEUE,
    JobState.IN_PROGRESS: Cause.GENERATION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """
    Attributes:
        why: all of it, in a sentence.
        cause: None: it has ended, and waits for nothing.
        until: when the cause ends, where that is known.
        ahead: jobs before it in line, at most COUNTED_MOST; None: it is in no line.
        starts_in_seconds: forecast, until its `/run`; None where that cannot be said.
        ends_in_seconds: forecast, of a job in flight.
    """

    why: str
    cause: Cause | None = None
    until: dt.datetime | None = None
    ahead: int | None = None
    starts_in_seconds: float | None = None
    ends_in_seconds: float | None = None

    def describe(self) -> dict[str, Any]:
        """As JSON: `why`, and `waiting`, which is null of what has ended."""
        waiting = {
            "cause": self.cause,
            "until": self.until.isoformat() if self.until else None,
            "ahead": self.ahead,
            "ahead_is_more": self.ahead is not None and self.ahead >= COUNTED_MOST,
            "starts_in_seconds": _rounded(self.starts_in_seconds),
            "ends_in_seconds": _rounded(self.ends_in_seconds),
        }
        return {"why": self.why, "waiting": waiting if self.cause else None}


async def find_waiting(
    runtime: Runtime,
    session: AsyncSession,
    job: Job,
    files: Sequence[Artifact],
    *,
    owner: UUID | None = None,
) -> Waiting:
    """
    Args:
        files: of the job.
        owner: the key that asks, which is told no figures of budgets that are not its own; None:
            an operator.
    """
    if job.state in TERMINAL:
        return _after_end(job, files)
    lane = await session.get(Lane, (stage_of(job), job.endpoint))
    if job.state is not JobState.QUEUED:
        return _with_lane(await _in_flight(runtime, session, job), lane)
    own = await (_held(session, job, owner) if job.held else _due(runtime, session, job))
    return _with_turn(await _with_maintenance(session, _with_lane(own, lane)))


def _after_end(job: Job, files: Sequence[Artifact]) -> Waiting:
    why = explain(job, [], {})
    pending = [file for file in files if file.state is ArtifactState.PENDING]
    if not pending:
        return Waiting(why=why)
    tried = [f" ({file.error})" for file in pending if file.error][:1]
    stored = f"files yet to be stored: {len(pending)} of {len(files)}{''.join(tried)}"
    return Waiting(
        why=f"{why}; {stored}",
        cause=Cause.FILES,
        until=min((file.next_at for file in pending if file.next_at), default=None),
    )


async def _due(runtime: Runtime, session: AsyncSession, job: Job) -> Waiting:
    due_seconds = max(_seconds_to(job.next_at), 0.0)
    if due_seconds > SOON_SECONDS:
        return _not_due(job, due_seconds)
    learned = await find_learned(session, StageName.SUBMIT, job.endpoint)
    limit = await runtime.limit(job.endpoint, Operation.RUN)
    taught = learned is not None and learned < limit.per_window
    if learned is not None and taught:
        limit = dataclasses.replace(limit, per_window=learned)
    return _in_line(limit, await count_ahead(session, job), taught=taught)


def _not_due(job: Job, due_seconds: float) -> Waiting:
    when = f"at {_say_time(job.next_at)}, in {say_seconds(due_seconds)}"
    if job.attempt > job.attempts_before:
        cause, why = Cause.RETRY, f"attempt {job.attempt} failed ({job.error}); it is sent again"
    elif job.campaign_id is not None:
        cause, why = Cause.PACE, "its campaign is spread over time; its turn comes"
    else:
        cause, why = Cause.START, "it was asked to be sent"
    return Waiting(
        why=f"{why} {when}", cause=cause, until=job.next_at, starts_in_seconds=due_seconds
    )


def _in_line(limit: Limit, ahead: int | None, *, taught: bool) -> Waiting:
    if ahead is None:
        return Waiting(why="it is about to join the line", cause=Cause.LINE)
    if not ahead:
        return Waiting(
            why="it is the next in line", cause=Cause.LINE, ahead=0, starts_in_seconds=0.0
        )
    more = ahead >= COUNTED_MOST
    before = f"{ahead:,}{' or more' if more else ''} are before it in line"
    if limit.per_window >= UNLIMITED:
        return Waiting(why=before, cause=Cause.LINE, ahead=ahead)
    source = ", which refusals taught" if taught else ""
    return Waiting(
        why=f"{before}, of which {limit.per_window:,} may be sent in {limit.window_seconds:g} s"
        f"{source}",
        cause=Cause.LINE,
        ahead=ahead,
        starts_in_seconds=None if more else ahead * limit.window_seconds / limit.per_window,
    )


def _with_turn(waiting: Waiting) -> Waiting:
    if not waiting.ahead or waiting.starts_in_seconds is None:
        return waiting
    turn = f"its turn comes in about {say_seconds(waiting.starts_in_seconds)}"
    return dataclasses.replace(waiting, why=f"{waiting.why}: {turn}")


async def _held(session: AsyncSession, job: Job, owner: UUID | None) -> Waiting:
    campaign = await get_campaign(session, job.campaign_id) if job.campaign_id else None
    if job.held_by is None:
        return Waiting(why=_say_paused(campaign), cause=Cause.CAMPAIGN_PAUSED)
    if campaign is not None and job.held_by == campaign.id:
        most = campaign.max_in_flight
        flying = await count_in_flight(session, campaign.id)
        why = f"{flying:,} jobs of its campaign {campaign.name} are in flight, which wants "
        return Waiting(why=f"{why}{most:,} at most" if most else SOON, cause=Cause.SLOTS)
    budgets = await list_budgets(session, ids=[job.held_by])
    if not budgets:
        return Waiting(why=SOON, cause=Cause.BUDGET)
    [budget] = budgets
    if owner is not None and budget.key_id != owner:
        why = f"the budget {budget.name} has not enough left for it"
        return Waiting(why=why, cause=Cause.BUDGET, until=budget.ends_at)
    return Waiting(why=_say_budget(job, budget), cause=Cause.BUDGET, until=budget.ends_at)


def _say_paused(campaign: Campaign | None) -> str:
    if campaign is None or campaign.paused_at is None:
        return SOON
    return f"its campaign {campaign.name} is paused since {_say_time(campaign.paused_at)}"


def _say_budget(job: Job, budget: BudgetState) -> str:
    price = "" if job.estimate_usd is None else f", and it costs {say_usd(job.estimate_usd)}"
    until = ""
    if budget.ends_at is not None:
        ends = budget.ends_at.astimezone(ZoneInfo(budget.zone))
        until = f"; its next {budget.period} begins {ends:%Y-%m-%d %H:%M} {budget.zone}"
    left, whole = say_usd(budget.left_usd), say_usd(budget.limit_usd)
    return f"the budget {budget.name} has {left} of {whole} left{price}{until}"


async def _in_flight(runtime: Runtime, session: AsyncSession, job: Job) -> Waiting:
    waiting = Waiting(why=explain(job, [], {}), cause=CAUSES[job.state], until=job.next_at)
    if waiting.cause not in {Cause.UPSTREAM_QUEUE, Cause.GENERATION} or job.submitted_at is None:
        return waiting
    learned = await get_durations(session, job.endpoint)
    durations = await read_durations(session, job.endpoint, learned, [job.size_class])
    age = -_seconds_to(job.submitted_at)
    left = forecast.likely_left(
        durations.of(job.size_class),
        age_seconds=age,
        typical_seconds=runtime.typical_seconds(job.endpoint),
    )
    sent = f"{waiting.why}; it was sent {say_seconds(age)} ago"
    if left is None:
        why = f"{sent}, and no job was seen to take so long"
    else:
        why = f"{sent}, and is likely to end in {say_seconds(left)}"
    return dataclasses.replace(waiting, why=why, until=None, ends_in_seconds=left)


async def _with_maintenance(session: AsyncSession, waiting: Waiting) -> Waiting:
    """Before all else: nothing is submitted while it lasts, and nobody knows how long."""
    maintenance = await find_maintenance(session)
    if maintenance is None:
        return waiting
    why = f"nothing is submitted: {maintenance}"
    return dataclasses.replace(
        waiting,
        why=f"{why}; and {waiting.why}" if _counts(waiting) else why,
        cause=Cause.MAINTENANCE,
        until=None,
        starts_in_seconds=None,
    )


def _with_lane(waiting: Waiting, lane: Lane | None) -> Waiting:
    """What holds up all of the lane is said first: until that is over, nothing else matters."""
    if lane is None:
        return waiting
    until = lane.paused_until if lane.paused else lane.closed_until
    seconds = _seconds_to(until)
    if lane.paused:
        cause = Cause.LANE_PAUSED
        held_up = "paused" + (f" until {_say_time(until)}" if until else "")
        held_up += f": {lane.paused_reason}" if lane.paused_reason else ""
    elif seconds > 0:
        cause, held_up = Cause.LANE_CLOSED, f"closed for {seconds:.1f} s more: {lane.closed_reason}"
    else:
        return waiting
    why = f"the {lane.stage} lane of {lane.endpoint} is {held_up}"
    starts = waiting.starts_in_seconds if until is not None else None
    if starts is not None:  # the line stands still meanwhile; a time that was set does not
        starts = seconds + starts if waiting.cause is Cause.LINE else max(seconds, starts)
    return dataclasses.replace(
        waiting,
        why=f"{why}; and {waiting.why}" if _counts(waiting) else why,
        cause=cause,
        until=until,
        starts_in_seconds=starts,
    )


def _counts(waiting: Waiting) -> bool:
    """Whether it would wait if nothing held up its lane."""
    return waiting.cause is not Cause.LINE or bool(waiting.ahead)


def _seconds_to(moment: dt.datetime | None) -> float:
    return 0.0 if moment is None else (moment - dt.datetime.now(dt.UTC)).total_seconds()


def _say_time(moment: dt.datetime | None) -> str:
    if moment is None:
        return "-"
    utc = moment.astimezone(dt.UTC)
    today = utc.date() == dt.datetime.now(dt.UTC).date()
    return f"{utc:%H:%M:%S} UTC" if today else f"{utc:%Y-%m-%d %H:%M} UTC"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else math.ceil(seconds * 10) / 10
