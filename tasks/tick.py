"""Tick: decide about the fires of schedules whose time has come, and start their campaigns.

It looks at what is, not at what happened, so missed, late and double ticks do no harm. A step is
one transaction that holds the schedule's row:

    note which runs are over; failed jobs pause a schedule that wants it so
    start what waits for a run that is over
    decide about the first fire that nothing was decided of

Whoever dies after a step has lost nothing: the sweep sends for campaigns that nobody expands, and
the next tick cancels what was to be cancelled. Times are the database's.
"""

import asyncio
import datetime as dt
from collections.abc import Sequence
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from models.budget import BudgetTaken
from models.campaign import NameTaken, close_campaign
from models.errors import DatabaseUnavailable
from models.schedule import Overlap, Schedule, hold_schedule, list_due, read_clock
from models.schedule_run import (
    OpenRun,
    RunOutcome,
    ScheduleRun,
    ask_to_cancel,
    end_run,
    find_cancellable,
    is_decided,
    list_buffered,
    list_open_runs,
)
from tasks import control
from tasks.campaigns.cron import BadCron, BadZone, Cron
from tasks.campaigns.opening import open_campaign
from tasks.campaigns.spec import CampaignSpec
from tasks.expand import send_expand
from tasks.intake import InvalidRequest, find_endpoint
from workers.runtime import Runtime

STEPS = 100  # of a schedule in one tick
CANCELLED_AT_ONCE = 500  # jobs of a transaction
CANCEL_STEPS = 20  # of a campaign in one tick

log = structlog.get_logger()


class _CannotStart(Exception):
    """Its text says why."""


async def tick_schedules(runtime: Runtime, now: dt.datetime | None = None) -> int:
    """Returns how many campaigns were started.

    Args:
        now: None: as the database's clock has it.
    """
    async with runtime.database.begin() as session:
        now = now or await read_clock(session)
        due = await list_due(session, now)
    started = 0
    for schedule_id in due:
        try:
            started += await tick_schedule(runtime, schedule_id, now)
        except DatabaseUnavailable:
            raise
        except Exception:  # one that nobody thought of must not keep all others from their time
            log.exception("schedule_not_ticked", schedule=str(schedule_id))
    return started


async def tick_schedule(runtime: Runtime, schedule_id: UUID, now: dt.datetime) -> int:
    """The same, of one; nothing, while somebody else is at it."""
    started = 0
    for _ in range(STEPS):
        async with runtime.database.begin() as session:
            schedule = await hold_schedule(session, schedule_id)
            if schedule is None:
                break
            step = _Step(runtime, session, schedule, now)
            more = await step.take()
        for campaign_id in step.cancel:
            await _cancel_some(runtime, campaign_id)
        for campaign_id in step.started:
            await asyncio.to_thread(send_expand, runtime, campaign_id)
        started += len(step.started)
        if not more:
            break
    return started


class _Step:
    """One transaction.

    Attributes:
        started, cancel: campaigns to be expanded, and to be cancelled, once it is committed.
    """

    def __init__(
        self, runtime: Runtime, session: AsyncSession, schedule: Schedule, now: dt.datetime
    ) -> None:
        self.started: list[UUID] = []
        self.cancel: list[UUID] = []
        self._catalogue = runtime.catalogue
        self._session = session
        self._schedule = schedule
        self._now = now
        self._log = log.bind(schedule=schedule.name)

    async def take(self) -> bool:
        """Whether there may be more to decide."""
        schedule = self._schedule
        try:
            cron = Cron(schedule.cron, schedule.zone)
        except (BadCron, BadZone) as error:  # what was taken is taken no longer
            self._pause(str(error))
            return False
        running = await self._look_at_runs(cron)
        waiting = await list_buffered(self._session, schedule.id)
        if (chosen := self._choose(waiting, running)) is not None:
            await self._start(chosen, cron)
            return True
        if schedule.paused_at is None and schedule.starts_at <= self._now:
            await self._decide(
                cron,
                [run for run in running if not run.backfill],
                queued=any(not run.backfill for run in waiting),
            )
            return True
        return False

    async def _look_at_runs(self, cron: Cron) -> Sequence[OpenRun]:
        """Those that are not over."""
        running = []
        for run in await list_open_runs(self._session, self._schedule.id):
            if not run.ended:
                running.append(run)
                if run.cancel_asked:
                    self.cancel.append(run.campaign_id)
                continue
            await end_run(self._session, self._schedule.id, run.due_at)
            said = [f"{run.failed:,} jobs failed"] if run.failed else []
            said += [f"it was cut off: {run.problem}"] if run.problem else []
            if said:
                self._note_failure(f"the run of {cron.say(run.due_at)}: {'; '.join(said)}")
        return running

    def _choose(
        self, waiting: Sequence[ScheduleRun], running: Sequence[OpenRun]
    ) -> ScheduleRun | None:
        """The first that need not wait longer."""
        busy = {run.backfill for run in running}
        paused = self._schedule.paused_at is not None
        for run in waiting:
            if run.at_once or (not paused and run.backfill not in busy):
                return run
        return None

    async def _decide(self, cron: Cron, running: Sequence[OpenRun], *, queued: bool) -> None:
        """About the fire at `due_at`; the next is then the first that nothing was decided of.

        Args:
            running: runs of fires before it.
            queued: another waits for them.
        """
        schedule = self._schedule
        window = dt.timedelta(seconds=schedule.catch_up_seconds)
        after = due = schedule.due_at
        late = self._now - schedule.starts_at > window
        if late:  # those after it that are as late are passed over, however many
            after = max(due, self._now - window - dt.timedelta(seconds=schedule.jitter_seconds))
        following = cron.find_fire(schedule.id, after=after, jitter_seconds=schedule.jitter_seconds)
        # However far the jitter reaches, none starts before the one before it.
        schedule.due_at = following.due_at
        schedule.starts_at = max(schedule.starts_at, following.starts_at)
        if await is_decided(self._session, schedule.id, due):
            return  # it was backfilled
        run = ScheduleRun(schedule_id=schedule.id, due_at=due)
        if late:
            run.outcome = RunOutcome.MISSED
            run.note = (
                "nothing looked within its catch-up window; "
                f"the first after it that may start is that of {cron.say(following.due_at)}"
            )
        elif running and schedule.overlap in {Overlap.SKIP, Overlap.BUFFER_ONE}:
            run.note = f"the run of {cron.say(running[-1].due_at)} was not over"
            waits = schedule.overlap is Overlap.BUFFER_ONE and not queued
            run.outcome = RunOutcome.BUFFERED if waits else RunOutcome.SKIPPED
        else:
            await self._start(run, cron)
            if schedule.overlap is Overlap.CANCEL_OTHER and run.campaign_id:
                await self._give_up(running)
        self._session.add(run)
        self._log.info("fire_decided", due=cron.say(due), outcome=run.outcome, said=run.note)

    async def _start(self, run: ScheduleRun, cron: Cron) -> None:
        try:
            run.campaign_id = await self._add_campaign(
                f"{self._schedule.name} {cron.say(run.due_at)}"
            )
        except _CannotStart as error:
            run.outcome, run.note = RunOutcome.FAILED, str(error)
            self._note_failure(f"the run of {cron.say(run.due_at)}: {error}")
        else:
            run.outcome = RunOutcome.STARTED
            self.started.append(run.campaign_id)

    async def _add_campaign(self, name: str) -> UUID:
        """
        Raises:
            _CannotStart: nothing was added.
        """
        schedule = self._schedule
        try:
            spec = CampaignSpec.model_validate(schedule.spec)
            names = {str(one["endpoint"]) for one in spec.combinations()}
            found = {one: find_endpoint(self._catalogue, one) for one in names}
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"]
            raise _CannotStart(f"its specification is taken no longer: {said}") from error
        except InvalidRequest as error:
            raise _CannotStart(str(error)) from error
        endpoints = {listed.id if listed else one for one, listed in found.items()}
        try:
            async with self._session.begin_nested():
                return await open_campaign(
                    self._session,
                    spec,
                    name=name,
                    endpoint=endpoints.pop() if len(endpoints) == 1 else None,
                    rows_key=schedule.rows_key,
                    planned=schedule.planned,
                )
        except (NameTaken, BudgetTaken) as error:
            raise _CannotStart(str(error)) from error

    async def _give_up(self, running: Sequence[OpenRun]) -> None:
        for run in running:
            await ask_to_cancel(self._session, self._schedule.id, run.due_at)
            await close_campaign(self._session, run.campaign_id)
            self.cancel.append(run.campaign_id)

    def _note_failure(self, said: str) -> None:
        if self._schedule.pause_on_failure and self._schedule.paused_at is None:
            self._pause(said)

    def _pause(self, problem: str) -> None:
        self._schedule.paused_at, self._schedule.problem = self._now, problem
        self._log.warning("schedule_paused", said=problem)


async def _cancel_some(runtime: Runtime, campaign_id: UUID) -> None:
    for _ in range(CANCEL_STEPS):
        async with runtime.database.begin() as session:
            jobs = await find_cancellable(session, campaign_id, limit=CANCELLED_AT_ONCE)
        if not jobs:
            break
        await control.cancel(runtime, jobs)
