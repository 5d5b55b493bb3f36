"""Acts on many jobs: cancel, retry or re-prioritise all that fit a filter, batch by batch.

Each batch is a transaction of its own, with its line in the audit log. Whoever dies between two
leaves the rest as it was, and the same again goes on: what is done fits the filter no more. A job
that was retried and has failed anew does fit again; `ended_before` of a run, given to the next,
leaves it out. The walk is from the newest job to the oldest, so that one walk meets each job once;
of priorities the other way, so that jobs of one producer join their new line in the order that they
had.
"""

import dataclasses
import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models.audit import Actor
from models.base import Json
from models.job import OPEN, RETRIABLE, JobState, Route
from models.job_queries import (
    JobFilter,
    Sum,
    list_job_ids,
    list_oldest_ids,
    sum_filtered_jobs,
)
from models.schedule import read_clock
from tasks import control
from workers.runtime import Runtime

AT_ONCE = 500  # jobs a transaction
SAMPLE = 5  # jobs that a preview names
RETRIED = (Route.RUN, Route.RUNSYNC)  # nobody waits any more for a text that was streamed


class Verb(enum.StrEnum):
    CANCEL = "cancel"
    RETRY = "retry"
    PRIORITIZE = "prioritize"


REACHED: dict[Verb, Sequence[JobState]] = {
    Verb.CANCEL: OPEN,
    Verb.RETRY: tuple(RETRIABLE),
    Verb.PRIORITIZE: (JobState.QUEUED,),
}


@dataclass(frozen=True, slots=True)
class Bulk:
    """What is to be done to which jobs.

    Attributes:
        wanted: as `narrow` made it: what is done, or cannot be, does not fit.
        priority: that they get.
        asked: the filter as it was given, for the audit log.
    """

    verb: Verb
    wanted: JobFilter
    priority: int | None = None
    asked: Json | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    total: Sum
    sample: Sequence[UUID]  # the first that are reached
    ended_before: dt.datetime  # now, by the database


@dataclass(frozen=True, slots=True)
class Step:
    """A batch that was done; `last` is where the next begins, None if there is none."""

    done: int
    last: UUID | None


def narrow(verb: Verb, wanted: JobFilter, *, priority: int | None = None) -> JobFilter:
    """The filter, without what is done already and what the act cannot reach."""
    states = [state for state in REACHED[verb] if wanted.states is None or state in wanted.states]
    narrowed = dataclasses.replace(wanted, states=states)
    match verb:
        case Verb.CANCEL:
            return dataclasses.replace(narrowed, cancel_asked=False)
        case Verb.RETRY:
            return dataclasses.replace(narrowed, routes=RETRIED)
        case Verb.PRIORITIZE:
            return dataclasses.replace(narrowed, not_priority=priority)


async def preview(runtime: Runtime, bulk: Bulk) -> Preview:
    """How many it is, what it may cost, and some of them; nothing is done."""
    async with runtime.database.begin() as session:
        total = await sum_filtered_jobs(session, bulk.wanted)
        sample = await list_next(session, bulk, limit=SAMPLE, after=None)
        return Preview(total, sample, await read_clock(session))


async def step(runtime: Runtime, bulk: Bulk, *, after: UUID | None, by: Actor) -> Step:
    """Do the next batch."""
    async with runtime.database.begin() as session:
        ids = await list_next(session, bulk, limit=AT_ONCE, after=after)
    if not ids:
        return Step(0, None)
    done = 0
    match bulk.verb:
        case Verb.CANCEL:
            states = bulk.wanted.states or OPEN  # what was sent since is another matter
            cancelled = await control.cancel(runtime, ids, by=by, asked=bulk.asked, states=states)
            done = len(cancelled)
        case Verb.RETRY:
            done = len(await control.retry(runtime, ids, by=by, asked=bulk.asked))
        case Verb.PRIORITIZE if bulk.priority is not None:
            moved = await control.prioritize(
                runtime, ids, priority=bulk.priority, by=by, asked=bulk.asked
            )
            done = len(moved)
    return Step(done, ids[-1] if len(ids) == AT_ONCE else None)


async def list_next(
    session: AsyncSession, bulk: Bulk, *, limit: int, after: UUID | None
) -> Sequence[UUID]:
    if bulk.verb is Verb.PRIORITIZE:
        return await list_oldest_ids(session, bulk.wanted, limit=limit, after=after)
    return await list_job_ids(session, bulk.wanted, limit=limit, before=after)
