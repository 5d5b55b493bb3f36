"""What is read of jobs, for people and for producers. Nothing here writes.

A page of a long list costs what the page is, not what the table is: jobs of an endpoint, of a key
and of a campaign stand in indexes by their state, and there the newest first. So of each state that
is asked for a page is read there, and the newest of these are the page.
"""

import datetime as dt
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, TypeVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    TableValuedAlias,
    Text,
    and_,
    any_,
    cast,
    func,
    join,
    literal,
    literal_column,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from models.attempt import Attempt
from models.campaign import Campaign
from models.endpoint_stats import EndpointStats
from models.errors import NotFound
from models.event import Event
from models.job import TERMINAL, Job, JobState, Reason, Route
from models.shelf import fetch_bulk

Table = Literal["jobs", "campaigns", "artifacts", "api_keys", "schedules", "audit"]

T = TypeVar("T")

HEALTH_SECONDS = 3600.0  # how far back ended jobs are counted
SKEW_MS = 3_600_000  # that the clock which makes ids may be off; the database says when
ID_MS_AT = 80  # bits of a UUIDv7 after its time in milliseconds
ID_MS_MOST = 2**48 - 1
PROMPT_MOST = 300  # characters of a prompt that a list shows
# Of an input `asked`, wherever its words stand; NULL if it has none.
PROMPT_ASKED = """
    coalesce(CASE jsonb_typeof(asked -> 'prompt') WHEN 'string' THEN asked ->> 'prompt' END,
        asked ->> 'text', asked -> 'messages' -> -1 ->> 'content')
"""


async def get_job(session: AsyncSession, job_id: UUID, *, owner: UUID | None = None) -> Job:
    """
    Args:
        owner: the key whose job it must be; None: any.

    Raises:
        NotFound: there is none with this id, or it is another's.
    """
    job = await session.get(Job, job_id)
    if job is None or (owner is not None and job.key_id != owner):
        raise NotFound("job", str(job_id))
    await fetch_bulk(session, [job])
    return job


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs; those that fit everything that is given."""

    states: Sequence[JobState] | None = None
    endpoint: str | None = None
    campaign_id: UUID | None = None
    job_ids: Sequence[UUID] | None = None
    owner: UUID | None = None  # the key whose jobs
    key_id: UUID | None = None  # the same, for who sees all
    routes: Sequence[Route] | None = None
    reasons: Sequence[Reason] | None = None  # that it ended for
    tag: str | None = None  # of its campaign
    not_priority: int | None = None
    cancel_asked: bool | None = None
    ended_before: dt.datetime | None = None
    created_after: dt.datetime | None = None
    created_before: dt.datetime | None = None


async def find_traces(session: AsyncSession, job_ids: Collection[UUID]) -> dict[UUID, bytes | None]:
    """What is kept of each job's trace."""
    statement = select(Job.id, Job.trace_context).where(Job.id == func.any(list(job_ids)))
    return dict((await session.execute(statement)).tuples().all())


async def list_jobs(
    session: AsyncSession,
    wanted: JobFilter | None = None,
    *,
    limit: int | None,
    before: UUID | None = None,
    brief: bool = False,
) -> Sequence[Job]:
    """Newest first.

    Args:
        before: the last one that was seen: the page after it.
        brief: without input and output, which may be megabytes.
    """
    ids = _page(wanted or JobFilter(), limit=limit, before=before)
    statement = select(Job).where(Job.id.in_(ids)).order_by(Job.id.desc())
    if brief:
        statement = statement.options(defer(Job.input), defer(Job.output), defer(Job.sealed))
    jobs = (await session.scalars(statement)).all()
    if not brief:
        await fetch_bulk(session, jobs)
    return jobs


async def list_prompts(session: AsyncSession, job_ids: Collection[UUID]) -> dict[UUID, str]:
    """The beginning of what each was asked for, of those that say it in words."""
    rows = await session.execute(
        text(f"""
            SELECT jobs.id, left({PROMPT_ASKED}, :most) AS prompt
            FROM jobs LEFT JOIN shelved_jobs ON job_id = jobs.id
            CROSS JOIN LATERAL (
                SELECT coalesce(shelved_jobs.input, jobs.input) AS asked) AS given
            WHERE jobs.id = ANY(:ids)
        """),  # noqa: S608 -- a constant
        {"ids": list(job_ids), "most": PROMPT_MOST},
    )
    return {row.id: row.prompt for row in rows if row.prompt}


async def list_job_ids(
    session: AsyncSession, wanted: JobFilter, *, limit: int, before: UUID | None = None
) -> Sequence[UUID]:
    """The same, of their ids alone."""
    return (await session.scalars(_page(wanted, limit=limit, before=before))).all()


async def list_oldest_ids(
    session: AsyncSession, wanted: JobFilter, *, limit: int, after: UUID | None = None
) -> Sequence[UUID]:
    """Of jobs that have not ended, the oldest first; `after` is the last one that was seen."""
    ids = select(Job.id).where(Job.finished_at.is_(None)).order_by(Job.id).limit(limit)
    if after is not None:
        ids = ids.where(Job.id > after)
    return (await session.scalars(_where(ids, wanted))).all()


@dataclass(frozen=True, slots=True)
class Sum:
    """What some jobs come to."""

    jobs: int
    estimate_usd: Decimal  # of those whose price is known
    unpriced: int


async def sum_filtered_jobs(session: AsyncSession, wanted: JobFilter) -> Sum:
    """How many jobs fit, and what it would cost to send each of them once."""
    fitting = _where(select(Job.estimate_usd), wanted).subquery()
    price = fitting.c.estimate_usd
    jobs = text("count(*)")
    statement = select(jobs, func.coalesce(func.sum(price), 0), func.count(price))
    row = (await session.execute(statement.select_from(fitting))).one()
    return Sum(row[0], row[1], row[0] - row[2])


async def count_filtered_jobs(session: AsyncSession, wanted: JobFilter) -> int:
    subquery = _where(select(Job.id), wanted).subquery()
    return int(await session.scalar(select(text("count(*)")).select_from(subquery)) or 0)


def _page(wanted: JobFilter, *, limit: int | None, before: UUID | None) -> Select[UUID]:
    """The ids of a page."""
    # In the text, so that any plan knows how little it is.
    most = None if limit is None else literal_column(str(limit), Integer)
    ids = select(Job.id).order_by(Job.id.desc()).limit(most)
    if before is not None:
        ids = ids.where(Job.id < before)
    if limit is None or wanted.job_ids is not None:
        return _where(ids, wanted)
    chosen = list(JobState if wanted.states is None else wanted.states)
    if wanted.campaign_id is not None or wanted.owner is not None or wanted.key_id is not None:
        states = _unnest(chosen)
        of_state = _where(ids, replace(wanted, states=None)).where(Job.state == states.c.state)
        page = of_state.lateral("page")
        newest = select(page.c.id).select_from(states.join(page, true())).subquery("newest")
    elif wanted.states is not None or wanted.endpoint is not None:
        newest = _page_of_endpoints(ids, wanted, chosen).subquery("newest")
    else:
        return _where(ids, wanted)
    return select(newest.c.id).order_by(newest.c.id.desc()).limit(most)


def _page_of_endpoints(
    ids: Select[UUID], wanted: JobFilter, chosen: Sequence[JobState]
) -> CompoundSelect[UUID]:
    """The page of each state of each endpoint, or of one."""
    ids = _where(ids, replace(wanted, states=None, endpoint=None))
    ended = [state for state in chosen if state in TERMINAL]
    not_ended = [state for state in chosen if state not in TERMINAL]
    parts = []
    # The two have an index each, which the claims do not see: they ask for no `finished_at`.
    for of_them, when in (
        (ended, Job.finished_at.is_not(None)),
        (not_ended, Job.finished_at.is_(None)),
    ):
        states = _unnest(of_them)
        of_part = ids.where(
            when, Job.state == states.c.state, Job.endpoint == EndpointStats.endpoint
        )
        page = of_part.lateral("page")
        part = select(page.c.id).select_from(join(EndpointStats, states, true()).join(page, true()))
        if wanted.endpoint is not None:
            part = part.where(EndpointStats.endpoint == wanted.endpoint)
        parts.append(part)
    return union_all(*parts)


def _unnest(states: Sequence[JobState]) -> TableValuedAlias:
    unnested = func.unnest(cast(list(states), ARRAY(Text)))
    return unnested.table_valued("state").render_derived(name="states")


def _where(statement: Select[T], wanted: JobFilter) -> Select[T]:
    asked = Job.cancel_requested_at
    conditions: Sequence[tuple[Any, Callable[[Any], ColumnElement[bool]]]] = (
        (wanted.states, Job.state.in_),
        (wanted.endpoint, lambda value: Job.endpoint == value),
        (wanted.campaign_id, lambda value: Job.campaign_id == value),
        (wanted.job_ids, Job.id.in_),
        (wanted.owner, lambda value: Job.key_id == value),
        (wanted.key_id, lambda value: Job.key_id == value),
        (wanted.routes, Job.route.in_),
        (wanted.reasons, Job.reason.in_),
        (wanted.tag, lambda value: Job.campaign_id.in_(_tagged(value))),
        (wanted.not_priority, lambda value: Job.priority != value),
        (wanted.cancel_asked, lambda value: asked.is_not(None) if value else asked.is_(None)),
        (wanted.ended_before, lambda value: Job.finished_at < value),
        # Ids sort by the time they were made, so that the list begins where these jobs do.
        (
            wanted.created_after,
            lambda value: and_(Job.created_at >= value, Job.id >= _first_id(value, -SKEW_MS)),
        ),
        (
            wanted.created_before,
            lambda value: and_(Job.created_at < value, Job.id < _first_id(value, SKEW_MS)),
        ),
    )
    for value, fits in conditions:
        if value is not None:
            statement = statement.where(fits(value))
    return statement


def _first_id(moment: dt.datetime, offset_ms: int) -> UUID:
    """Before every id that was made so long after a time."""
    made_ms = int(moment.timestamp() * 1000) + offset_ms
    return UUID(int=min(max(made_ms, 0), ID_MS_MOST) << ID_MS_AT)


def _tagged(tag: str) -> Select[UUID]:
    return select(Campaign.id).where(literal(tag) == any_(Campaign.tags))


@dataclass(frozen=True, slots=True)
class EndedJob:
    """One that somebody waits for: that it has ended, and whether all its files are stored."""

    id: UUID
    settled: bool


async def find_ended(session: AsyncSession, job_ids: Sequence[UUID]) -> list[EndedJob]:
    """Which of those jobs have ended."""
    rows = await session.execute(
        text("""
            SELECT id, NOT EXISTS (SELECT FROM artifacts WHERE artifacts.job_id = jobs.id
                                   AND artifacts.state = 'pending') AS settled
            FROM jobs WHERE id = ANY(:ids) AND finished_at IS NOT NULL
        """),
        {"ids": list(job_ids)},
    )
    return [EndedJob(row.id, row.settled) for row in rows]


@dataclass(frozen=True, slots=True)
class JobCounts:
    """An endpoint's jobs, of one key or of everybody."""

    in_queue: int
    in_progress: int
    completed: int  # of the last hour, as the rest
    failed: int
    retried: int


async def count_jobs_of(session: AsyncSession, *, endpoint: str, owner: UUID | None) -> JobCounts:
    """What waits and runs now, and what ended in the last hour."""
    mine = "AND (CAST(:owner AS uuid) IS NULL OR key_id = :owner)"
    row = (
        await session.execute(
            text(f"""
                SELECT open.*, ended.* FROM (
                    SELECT count(*) FILTER (WHERE state <> 'in_progress') AS in_queue,
                        count(*) FILTER (WHERE state = 'in_progress') AS in_progress
                    FROM jobs WHERE endpoint = :endpoint AND finished_at IS NULL {mine}
                ) AS open CROSS JOIN (
                    SELECT count(*) FILTER (WHERE state = 'completed') AS completed,
                        count(*) FILTER (WHERE state NOT IN ('completed', 'cancelled')) AS failed,
                        coalesce(sum(retries), 0) AS retried
                    FROM jobs WHERE endpoint = :endpoint AND finished_at IS NOT NULL {mine}
                      AND finished_at > now() - make_interval(secs => :seconds)
                ) AS ended
            """),  # noqa: S608 -- a constant
            {"endpoint": endpoint, "owner": owner, "seconds": HEALTH_SECONDS},
        )
    ).one()
    return JobCounts(
        in_queue=row.in_queue,
        in_progress=row.in_progress,
        completed=row.completed,
        failed=row.failed,
        retried=int(row.retried),
    )


async def list_attempts(session: AsyncSession, job_id: UUID) -> Sequence[Attempt]:
    """Every `/run` that was sent for the job, in order."""
    return (
        await session.scalars(
            select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.sent_at)
        )
    ).all()


async def list_timeline(session: AsyncSession, job_id: UUID) -> Sequence[Event]:
    """What happened to the job and its files, in order, as far back as events are kept."""
    return (
        await session.scalars(
            select(Event)
            .where(Event.job_id == job_id)
            .order_by(Event.at, Event.transaction, Event.number)
        )
    ).all()


async def find_ids(session: AsyncSession, table: Table, part: str) -> list[UUID]:
    """The ids that are, begin with or end with `part`; three at most.

    Jobs made together begin alike, so that their ends tell them apart. Reads the whole table for
    a part, and one row for a whole id.

    Raises:
        NotFound: there is none.
    """
    noun = table.removesuffix("s").removeprefix("api_")
    try:
        whole = UUID(part)
    except ValueError:
        if not re.fullmatch(r"[0-9a-fA-F-]{4,36}", part):
            raise NotFound(noun, part) from None
        where = "CAST(id AS text) LIKE :value || '%' OR CAST(id AS text) LIKE '%' || :value"
        value = part.lower()
    else:
        where, value = "id = CAST(:value AS uuid)", str(whole)
    statement = text(f"SELECT id FROM {table} WHERE {where} LIMIT 3")  # noqa: S608 -- constants
    found = list(await session.scalars(statement, {"value": value}))
    if not found:
        raise NotFound(noun, part)
    return found
