"""Generations as Flower's tasks: their true state, read from Postgres and not from messages.

Flower knows tasks by their Celery events. A generation is no task that runs: its stages are, and
each takes some hundreds. So one reader of the table of events tells Flower of each job as of a task
`pressroom.generate`, whose id is the job's and whose worker is the endpoint. It costs the workers
nothing, misses nothing while Flower is down, and tells no prompt, key or result. Flower takes a
tenth of a millisecond for each event: the reader rests in proportion, and what it then finds to
have begun and ended meanwhile is one event.

    RECEIVED   it waits with us            STARTED   the upstream has it, or may have
    RETRY      it is to be sent again      SUCCESS | FAILURE | REVOKED | REJECTED   its end
"""

import asyncio
import datetime as dt
import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import structlog
from celery import states
from celery.utils.time import utcoffset
from flower.events import EventsState

from models.database import Database
from models.errors import DatabaseUnavailable
from models.event import Place, find_moved, find_place
from models.job import JobState
from models.job_news import JobNews, list_job_news, list_latest_news

GENERATE = "pressroom.generate"
READ_SECONDS = 0.5
READ_AGAIN_SECONDS = 2.0  # while Postgres is away
RESTS = 19.0  # times as long as it worked: a twentieth of a core at most
BATCH = 5_000  # events; of jobs that move fast each is told of once
AT_ONCE = 100  # jobs
LATE_SECONDS = 60.0  # so far behind it goes on with the latest
LATEST = 2_000  # jobs that are shown as Flower starts

# The event that brings a task to the state, and the state.
SHOWN = {
    JobState.QUEUED: ("task-received", states.RECEIVED),
    JobState.SUBMITTING: ("task-started", states.STARTED),
    JobState.UNKNOWN: ("task-started", states.STARTED),
    JobState.IN_QUEUE: ("task-started", states.STARTED),
    JobState.IN_PROGRESS: ("task-started", states.STARTED),
    JobState.COMPLETED: ("task-succeeded", states.SUCCESS),
    JobState.FAILED: ("task-failed", states.FAILURE),
    JobState.TIMED_OUT: ("task-failed", states.FAILURE),
    JobState.LOST: ("task-failed", states.FAILURE),
    JobState.CANCELLED: ("task-revoked", states.REVOKED),
    JobState.REJECTED: ("task-rejected", states.REJECTED),
}

log = structlog.get_logger()


class JobFeed:
    """Keeps Flower's state up to date with the jobs; runs on Flower's loop.

    Args:
        campaign_most: jobs of campaigns of more are left out.
    """

    def __init__(self, database: Database, state: EventsState, *, campaign_most: int) -> None:
        self._database = database
        self._state = state
        self._campaign_most = campaign_most
        self._place: Place | None = None  # of the last event that was told

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            pause, worked = READ_SECONDS, time.thread_time()
            try:
                await self.catch_up()
            except DatabaseUnavailable as error:
                log.warning("jobs_not_read", error=str(error))
                pause = READ_AGAIN_SECONDS
            await asyncio.sleep(max(pause, RESTS * (time.thread_time() - worked)))

    async def catch_up(self) -> None:
        """Tell what has happened since the last time; the first time, where the latest jobs are.

        Raises:
            DatabaseUnavailable: nothing was told; the next time all is.
        """
        self._place = await (self._begin() if self._place is None else self._read_on(self._place))

    async def _begin(self) -> Place:
        """The latest, and those that a state that was kept holds for running."""
        running = [
            UUID(task.uuid)
            for task in self._state.tasks.values()
            if task.name == GENERATE and not task.ready
        ]
        async with self._database.begin() as session:
            place = await find_place(session)  # what comes after it is read again: no gap
            known = await list_job_news(session, running, campaign_most=self._campaign_most)
            latest = await list_latest_news(
                session, limit=LATEST, campaign_most=self._campaign_most
            )
        await self._show([*known, *latest])
        return place

    async def _read_on(self, place: Place) -> Place:
        while True:
            worked = time.thread_time()
            async with self._database.begin() as session:
                moved = await find_moved(session, after=place, limit=BATCH)
                if moved is None:
                    return place
                news = await list_job_news(
                    session, moved.job_ids, campaign_most=self._campaign_most
                )
            await self._show(news)
            place = moved.place
            if moved.events < BATCH:
                return place
            if _now() - moved.at > dt.timedelta(seconds=LATE_SECONDS):
                return await self._begin()
            await asyncio.sleep(RESTS * (time.thread_time() - worked))

    async def _show(self, news: Sequence[JobNews]) -> None:
        for place, job in enumerate(news):
            if place % AT_ONCE == 0:
                await asyncio.sleep(0)  # its pages are answered between
            for event in self._events(job):
                self._state.event(event)

    def _events(self, job: JobNews) -> Iterator[dict[str, Any]]:
        """What brings the task to where the job is."""
        type_, state = SHOWN[job.state]
        task = self._state.tasks.get(str(job.id))
        known = task.state if task is not None else None
        # What was sent and has ended since is told by its end; Flower counts what else waits.
        if known is None and (state not in states.READY_STATES or job.submitted_at is None):
            yield self._event(job, "task-received", job.created_at)
            known = states.RECEIVED
        if job.state is JobState.QUEUED and job.attempt > 0:
            state = states.RETRY
        ended_otherwise = known in states.READY_STATES and known != state
        if known != states.RETRY and (state == states.RETRY or ended_otherwise):
            yield self._event(job, "task-retried", _now())
            known = states.RETRY
        if state in {known, states.RECEIVED}:
            return
        if known is not None and states.STARTED not in {state, known} and job.submitted_at:
            yield self._event(job, "task-started", job.submitted_at)
        at = job.submitted_at if state == states.STARTED else job.finished_at
        yield self._event(job, type_, at or _now())

    def _event(self, job: JobNews, type_: str, at: dt.datetime) -> dict[str, Any]:
        return {
            "type": type_,
            "uuid": str(job.id),
            "name": GENERATE,
            "hostname": job.endpoint,
            "pid": 0,
            "clock": 0,
            "timestamp": at.timestamp(),
            "utcoffset": utcoffset(),
            "local_received": None,  # else Flower would take the endpoint for a worker that lives
            "args": repr((job.endpoint,)),
            "kwargs": repr(_describe(job)),
            "retries": max(job.attempt - 1, 0),
            "received": job.created_at.timestamp(),
            **({"started": job.submitted_at.timestamp()} if job.submitted_at else {}),
            **_describe_end(job, type_),
        }


def _describe(job: JobNews) -> dict[str, Any]:
    told = {
        "upstream_id": job.upstream_id,
        "campaign": job.campaign,
        "priority": job.priority,
    }
    return {name: value for name, value in told.items() if value is not None}


def _describe_end(job: JobNews, type_: str) -> dict[str, Any]:
    if type_ == "task-succeeded":
        cost = None if job.cost_usd is None else float(job.cost_usd)
        return {"result": repr({"cost_usd": cost}), "runtime": _runtime(job)}
    if type_ == "task-failed":
        said = f"{job.reason}: pressroom jobs show {job.id}"
        return {"exception": said, "traceback": None, "runtime": _runtime(job)}
    if type_ == "task-revoked":
        return {"terminated": job.submitted_at is not None, "signum": None, "expired": False}
    return {"exception": "it is to be sent again"} if type_ == "task-retried" else {}


def _runtime(job: JobNews) -> float | None:
    """Seconds, from its `/run` to its end."""
    if job.submitted_at is None or job.finished_at is None:
        return None
    return (job.finished_at - job.submitted_at).total_seconds()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
