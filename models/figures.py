"""Figures of the whole system, for Prometheus: what waits and how long, what ended, what was spent.

Each is read from indexes of live rows, or from what is new: ended jobs cost nothing, however many
there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import SUSPECTED
from models.budget import STARTS_AT
from models.job import TERMINAL, JobState
from models.lane import DUE_ROWS, StageName


@dataclass(frozen=True, slots=True)
class OpenJobs:
    """Jobs of an endpoint that stand in one state, none of them an end."""

    endpoint: str
    state: JobState
    jobs: int


async def count_open_jobs(session: AsyncSession) -> Sequence[OpenJobs]:
    """By endpoint and state, from the index of what has not ended."""
    rows = await session.execute(
        text("""
            SELECT endpoint, state, count(*) AS jobs FROM jobs
            WHERE finished_at IS NULL GROUP BY endpoint, state
        """)
    )
    return [OpenJobs(row.endpoint, JobState(row.state), row.jobs) for row in rows]


@dataclass(frozen=True, slots=True)
class Moved:
    """Jobs of an endpoint that came to one state, and what they cost."""

    endpoint: str
    state: JobState
    jobs: int
    usd: Decimal


async def count_moves(session: AsyncSession, *, since: int, until: int) -> Sequence[Moved]:
    """Jobs that were queued, or ended, in the transactions from `since` on, before `until`.

    Both as `event.find_place` tells them: everything before one is committed, or never will be.
    """
    rows = await session.execute(
        text("""
            SELECT events.endpoint, events.state, count(*) AS jobs,
                coalesce(sum(jobs.cost_usd), 0) AS usd
            FROM events
            LEFT JOIN jobs ON jobs.id = events.job_id AND events.state <> 'queued'
            WHERE events.transaction >= :since AND events.transaction < :until
              AND events.type = 'job.' || events.state AND events.state = ANY(:states)
            GROUP BY events.endpoint, events.state
        """),
        {"since": since, "until": until, "states": [JobState.QUEUED, *TERMINAL]},
    )
    return [Moved(row.endpoint, JobState(row.state), row.jobs, row.usd) for row in rows]


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """A lane with due work, or that was closed.

    Attributes:
        due_seconds: for how long its first row has been due; None: nothing is.
        paused: by an operator.
        closed: no call was answered since it was closed, whether or not one is tried now.
        closed_seconds: until the next call may be tried; 0: now.
    """

    stage: StageName
    endpoint: str
    due_seconds: float | None
    paused: bool
    closed: bool
    closed_seconds: float


async def measure_lanes(session: AsyncSession) -> Sequence[LaneFigures]:
    """One index probe for each stage of each endpoint ever used."""
    due = " UNION ALL ".join(
        f"""SELECT '{stage.value}' AS stage, endpoint, (
                SELECT next_at FROM {rows} AND endpoint = endpoint_stats.endpoint
                    AND next_at <= now() AND NOT ({SUSPECTED}) ORDER BY next_at LIMIT 1) AS next_at
            FROM endpoint_stats"""  # noqa: S608 -- constants
        for stage, rows in DUE_ROWS.items()
    )
    rows = await session.execute(
        text(f"""
            SELECT coalesce(due.stage, lane.stage) AS stage,
                coalesce(due.endpoint, lane.endpoint) AS endpoint,
                extract(epoch FROM now() - due.next_at) AS due_seconds,
                coalesce(lane.paused, false) AS paused,
                coalesce(lane.closures > 0, false) AS closed,
                coalesce(greatest(extract(epoch FROM lane.closed_until - now()), 0), 0)
                    AS closed_seconds
            FROM (SELECT * FROM ({due}) AS found WHERE next_at IS NOT NULL) AS due
            FULL JOIN (SELECT * FROM lanes WHERE paused OR closures > 0 OR closed_until > now())
                AS lane ON lane.stage = due.stage AND lane.endpoint = due.endpoint
        """)  # noqa: S608 -- constants
    )
    return [
        LaneFigures(
            stage=StageName(row.stage),
            endpoint=row.endpoint,
            due_seconds=None if row.due_seconds is None else float(row.due_seconds),
            paused=row.paused,
            closed=row.closed,
            closed_seconds=float(row.closed_seconds),
        )
        for row in rows
    ]


async def find_last_sent(session: AsyncSession, endpoints: Sequence[str]) -> dict[str, float]:
    """Seconds since a `/run` was last written down, of those of which one ever was."""
    rows = await session.execute(
        text("""
            SELECT endpoint, extract(epoch FROM now() - last.sent_at) AS ago
            FROM unnest(CAST(:endpoints AS text[])) AS endpoint
            CROSS JOIN LATERAL (
                SELECT sent_at FROM attempts WHERE attempts.endpoint = endpoint.endpoint
                ORDER BY sent_at DESC LIMIT 1) AS last
        """),
        {"endpoints": list(endpoints)},
    )
    return {row.endpoint: float(row.ago) for row in rows}


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """A budget in the period that is now; `reached`: a job did not fit."""

    name: str
    limit_usd: Decimal
    left_usd: Decimal
    reached: bool


async def measure_budgets(session: AsyncSession, *, limit: int) -> Sequence[BudgetFigures]:
    """Those of no campaign, the fullest first: campaigns are many, and tell of their own."""
    rows = await session.execute(
        text(f"""
            SELECT name, limit_usd, reached,
                greatest(limit_usd - used_usd, 0) AS left_usd
            FROM (
                SELECT name, limit_usd, capped_at IS NOT NULL AS reached,
                    coalesce(reserved_usd + spent_usd, 0) AS used_usd
                FROM budgets LEFT JOIN budget_periods
                    ON budget_periods.budget_id = budgets.id AND starts_at = {STARTS_AT}
                WHERE removed_at IS NULL AND campaign_id IS NULL
            ) AS budget
            ORDER BY used_usd / limit_usd DESC, name LIMIT :limit
        """),  # noqa: S608 -- a constant
        {"limit": limit},
    )
    return [BudgetFigures(row.name, row.limit_usd, row.left_usd, row.reached) for row in rows]
