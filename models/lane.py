"""A lane: one stage of one endpoint, and what holds it up.

A row exists only once something was said of the lane: an operator paused it, or an answer closed
it until a time (a 429, a refused key, an upstream out of reach). An open lane has no row to read.

It is a circuit breaker, too: some calls in a row that fail close it. Once its time is over it is
half open: a claim takes one row as a probe, and the first call to be answered opens it whole.
"""

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import HELD, SUSPECT_DEATHS, SUSPECTED, Base, word_column
from models.job import KEPT_SHORTLY, TO_CANCEL, TO_POLL

CLOSE_SECONDS = 1.0  # the first time; twice as long each time after, without an answer between
CLOSE_SECONDS_MOST = 8.0  # a probe costs one call: so soon is it noticed that all is well again
BREAK_AFTER = 5  # calls in a row that failed
PROBE_SECONDS = 5.0  # until the next is let through, if the one before has not been answered


class StageName(enum.StrEnum):
    SUBMIT = "submit"
    POLL = "poll"
    CANCEL = "cancel"
    ARCHIVE = "archive"
    NOTIFY = "notify"
    WEBHOOK = "webhook"


class Lane(Base):
    __tablename__ = "lanes"

    stage: Mapped[StageName] = mapped_column(word_column(StageName), primary_key=True)
    endpoint: Mapped[str] = mapped_column(primary_key=True)
    paused: Mapped[bool] = mapped_column(server_default="false")
    paused_at: Mapped[dt.datetime | None]
    paused_until: Mapped[dt.datetime | None]  # None: until somebody resumes it
    paused_reason: Mapped[str | None]
    closed_until: Mapped[dt.datetime | None]
    closed_reason: Mapped[str | None]
    closures: Mapped[int] = mapped_column(server_default="0")  # in a row; above 0: half open
    faults: Mapped[int] = mapped_column(server_default="0")  # calls in a row that failed
    probing: Mapped[bool] = mapped_column(server_default="false")  # one was let through since
    learned: Mapped[int | None]  # calls a window, as a refusal last showed: endpoints/quota.py
    learned_at: Mapped[dt.datetime | None]


# Where each stage's due rows stand, as its claim reads them: the partial indexes serve both.
DUE_ROWS = {
    StageName.SUBMIT: "jobs WHERE state = 'queued'",
    StageName.POLL: f"jobs WHERE {TO_POLL}",
    StageName.CANCEL: f"jobs WHERE {TO_CANCEL}",
    StageName.ARCHIVE: "artifacts WHERE state = 'pending'",
    StageName.NOTIFY: "deliveries WHERE kind = 'celery' AND state = 'pending'",
    StageName.WEBHOOK: "deliveries WHERE kind = 'webhook' AND state = 'pending'",
}


class Claim(TypedDict):
    """What is to be taken, by whom; every claim takes the same."""

    endpoint: str
    limit: int
    lease: UUID  # a new one
    lease_seconds: float
    proven: bool  # it has worked for so long that its death would tell something


IN_LINE = "priority DESC, virtual_start, id"  # jobs to submit, in what order: fairness.py

# Its holders died of a row, so that it is about to be set aside: no claim takes it.
_SPARED = f"NOT ({SUSPECTED})"
# If its next holder dies, a row is set aside.
_LAST_CHANCE = f"deaths + CAST(lease IS NOT NULL AS int) >= {SUSPECT_DEATHS - 1}"


def due_rows(stage: StageName) -> str:
    """The beginning of a claim: due rows of an open lane, which no other claim holds.

    `WITH` items, of which the last is named `due`; their parameters are :endpoint, :limit and
    :proven. States and stage stand in the text, for a generic plan cannot prove that a parameter
    matches a partial index.

    Of polls, those go first whose result the upstream keeps but a minute; then, as in every stage
    but submit, what is longest overdue: it is likeliest to be done, and nearest to being lost.

    A row whose worker died is claimed alone: if it kills the next one as well, it is known which
    it was. Whoever held it last is dead if its lease was neither given back nor extended. Its last
    chance it has with a worker that is proven (`:proven`) not to die of something else.
    """
    lane = f"lanes.stage = '{stage}' AND lanes.endpoint = :endpoint"
    if stage is StageName.SUBMIT:
        order, columns, joined = IN_LINE, "priority, virtual_start", "AND virtual_start IS NOT NULL"
    else:
        order, columns, joined = "next_at, id", "next_at", ""
    rows = f"""{DUE_ROWS[stage]} AND endpoint = :endpoint AND next_at <= now() {joined}
        AND {_SPARED} AND (:proven OR NOT {_LAST_CHANCE})"""

    def take(which: str, limit: str) -> str:
        return f"""
            SELECT id, lease, deaths, {columns} FROM {rows} {which}
              AND NOT EXISTS (
                SELECT FROM lanes WHERE {lane}
                  AND (lanes.paused OR lanes.closed_until > now()))
            ORDER BY {order} LIMIT {limit} FOR UPDATE SKIP LOCKED"""  # noqa: S608 -- the same

    most = "(SELECT rows FROM most)"
    if stage is StageName.POLL:
        rest = f"{most} - (SELECT count(*) FROM urgent)"  # noqa: S608 -- the same
        urgent = f"urgent AS MATERIALIZED ({take(f'AND {KEPT_SHORTLY}', most)}),"
        locked = f"""
            SELECT *, false AS later FROM urgent
            UNION ALL SELECT *, true FROM ({take(f"AND NOT {KEPT_SHORTLY}", rest)}) AS others"""  # noqa: S608
        places = f"later, {order}"
    else:
        urgent, locked, places = "", take("", most), order
    return f"""
        probe AS MATERIALIZED (
            -- Of several that come at once, one finds the lane still open.
            UPDATE lanes SET probing = true, closed_until = now() + make_interval(
                secs => {PROBE_SECONDS})
            WHERE {lane} AND lanes.closures > 0 AND NOT lanes.paused
              AND coalesce(lanes.closed_until, now()) <= now()
              -- Not EXISTS, which would rather read the table than the index.
              AND (SELECT true FROM {rows} ORDER BY {order} LIMIT 1)
            RETURNING 1
        ), most AS MATERIALIZED (
            SELECT CASE WHEN EXISTS (SELECT FROM lanes WHERE {lane} AND lanes.closures > 0)
                THEN least(CAST(:limit AS int), (SELECT count(*) FROM probe))
                ELSE :limit END AS rows
        ), {urgent} found AS MATERIALIZED (
            SELECT id, lease IS NOT NULL OR deaths > 0 AS suspect,
                row_number() OVER (ORDER BY {places}) AS place
            FROM ({locked}) AS locked
        ), due AS MATERIALIZED (
            SELECT id FROM found
            WHERE NOT suspect AND NOT EXISTS (SELECT FROM found WHERE place = 1 AND suspect)
               OR suspect AND place = 1
        )"""  # noqa: S608 -- built from constants of this module


async def close_lane(
    session: AsyncSession,
    stage: StageName,
    endpoint: str,
    *,
    reason: str,
    seconds: float | None = None,
) -> float:
    """Close the lane for everybody, and return for how many seconds.

    For `seconds` if the upstream named a time, else for longer each time in a row, with jitter.
    Answers of one batch that arrive together close it once: a lane already closed stays as it is,
    unless the upstream asks for longer.
    """
    statement = text("""
        INSERT INTO lanes AS lane (stage, endpoint, closed_until, closed_reason, closures)
        VALUES (:stage, :endpoint,
                now() + make_interval(secs => coalesce(:seconds, :first * (0.5 + random()))),
                :reason, 1)
        ON CONFLICT (stage, endpoint) DO UPDATE SET
            closed_until = greatest(lane.closed_until, CASE
                WHEN CAST(:seconds AS float) IS NOT NULL
                    THEN now() + make_interval(secs => :seconds)
                WHEN lane.closed_until > now() AND NOT lane.probing THEN lane.closed_until
                ELSE now() + make_interval(secs =>
                    least(:most, :first * power(2, least(lane.closures, 16)))
                    * (0.5 + 0.5 * random()))
            END),
            closed_reason = excluded.closed_reason,
            closures = lane.closures
                + CASE WHEN lane.closed_until > now() AND NOT lane.probing THEN 0 ELSE 1 END,
            probing = false
        RETURNING extract(epoch FROM lane.closed_until - now())
    """)
    values = {
        "stage": stage,
        "endpoint": endpoint,
        "reason": reason,
        "seconds": seconds,
        "first": CLOSE_SECONDS,
        "most": CLOSE_SECONDS_MOST,
    }
    return float((await session.execute(statement, values)).scalar_one())


async def note_lane_works(session: AsyncSession, stage: StageName, endpoint: str) -> bool:
    """A call was answered: forget failures and closures; whether that opened the lane.

    Writes nothing if there were none. While the lane is closed and nothing was let through since,
    it is the answer to an earlier call, and says nothing.
    """
    opened = await session.scalar(
        text("""
            WITH before AS (
                SELECT closures FROM lanes
                WHERE stage = :stage AND endpoint = :endpoint AND (closures > 0 OR faults > 0)
                  AND (coalesce(closed_until, now()) <= now() OR probing)
                FOR UPDATE
            )
            UPDATE lanes SET closures = 0, faults = 0, probing = false,
                closed_until = NULL, closed_reason = NULL
            FROM before WHERE stage = :stage AND endpoint = :endpoint
            RETURNING before.closures > 0
        """),
        {"stage": stage, "endpoint": endpoint},
    )
    return bool(opened)


async def note_lane_fails(
    session: AsyncSession, stage: StageName, endpoint: str, *, calls: int, reason: str
) -> float | None:
    """So many calls failed, and none was answered: seconds for which that closes the lane, or None.

    It takes `BREAK_AFTER` in a row; of a lane that is half open, one.
    """
    broken = await session.scalar(
        text("""
            INSERT INTO lanes AS lane (stage, endpoint, faults) VALUES (:stage, :endpoint, :calls)
            ON CONFLICT (stage, endpoint) DO UPDATE SET faults = lane.faults + :calls
            RETURNING faults >= :most OR closures > 0
        """),
        {"stage": stage, "endpoint": endpoint, "calls": calls, "most": BREAK_AFTER},
    )
    if not broken:
        return None
    return await close_lane(session, stage, endpoint, reason=reason)


async def note_learned(
    session: AsyncSession, stage: StageName, endpoint: str, *, learned: int
) -> None:
    """A refusal showed that the limit is so many calls a window; Redis may forget it."""
    await session.execute(
        text("""
            INSERT INTO lanes (stage, endpoint, learned, learned_at)
            VALUES (:stage, :endpoint, :learned, now())
            ON CONFLICT (stage, endpoint) DO UPDATE SET
                learned = excluded.learned, learned_at = excluded.learned_at
        """),
        {"stage": stage, "endpoint": endpoint, "learned": learned},
    )


async def find_learned(session: AsyncSession, stage: StageName, endpoint: str) -> int | None:
    """What was learned within the last hour, if anything was; older than that it is worth nothing.

    It has risen since: Redis alone knows how far.
    """
    learned = await session.scalar(
        text("""
            SELECT learned FROM lanes WHERE stage = :stage AND endpoint = :endpoint
                AND learned_at > now() - interval '1 hour'
        """),
        {"stage": stage, "endpoint": endpoint},
    )
    return None if learned is None else int(learned)


async def set_paused(
    session: AsyncSession,
    stage: StageName,
    endpoint: str,
    *,
    paused: bool,
    reason: str | None = None,
    seconds: float | None = None,
) -> dt.datetime | None:
    """Returns until when it is paused; None: it is not, or until somebody resumes it.

    Args:
        seconds: after which the sweep lets it go on; None: until somebody resumes it.
    """
    until: dt.datetime | None = await session.scalar(
        text("""
            INSERT INTO lanes AS lane
                (stage, endpoint, paused, paused_at, paused_until, paused_reason)
            VALUES (:stage, :endpoint, :paused, CASE WHEN :paused THEN now() END,
                CASE WHEN :paused THEN now() + make_interval(secs => :seconds) END,
                CASE WHEN :paused THEN :reason END)
            ON CONFLICT (stage, endpoint) DO UPDATE SET
                paused = excluded.paused,
                paused_at = CASE WHEN lane.paused AND excluded.paused
                    THEN lane.paused_at ELSE excluded.paused_at END,
                -- A hold without an end is not given one by the way: it is resumed first.
                paused_until = CASE WHEN lane.paused AND excluded.paused
                    AND lane.paused_until IS NULL THEN NULL ELSE excluded.paused_until END,
                paused_reason = CASE WHEN excluded.paused
                    THEN coalesce(excluded.paused_reason, lane.paused_reason) END
            RETURNING paused_until
        """),
        {
            "stage": stage,
            "endpoint": endpoint,
            "paused": paused,
            "reason": reason,
            "seconds": seconds,
        },
    )
    return until


async def resume_lanes(session: AsyncSession) -> None:
    """Let those go on that were paused until a time that has come."""
    await session.execute(
        text("""
            UPDATE lanes SET paused = false, paused_at = NULL, paused_until = NULL,
                paused_reason = NULL
            WHERE paused AND paused_until <= now()
        """)
    )


async def seconds_until_due(session: AsyncSession, stage: StageName, endpoint: str) -> float | None:
    """How long until the lane has something to do: 0 if it has; None if nothing waits.

    A closed lane is not due before it opens; a paused one never.
    """
    statement = text(f"""
        SELECT CASE WHEN coalesce(lane.paused, false) THEN NULL ELSE
            greatest(0, extract(epoch FROM
                greatest(row.next_at, lane.closed_until) - now())) END
        FROM (SELECT next_at FROM {DUE_ROWS[stage]} AND endpoint = :endpoint
                AND NOT {HELD} AND NOT {_LAST_CHANCE}  -- for those the sweep rings
              ORDER BY next_at LIMIT 1) row
        LEFT JOIN lanes lane ON lane.stage = :stage AND lane.endpoint = :endpoint
    """)  # noqa: S608 -- DUE_ROWS is a constant of this module
    seconds = await session.scalar(statement, {"stage": stage, "endpoint": endpoint})
    return None if seconds is None else float(seconds)


SWEEP_LOCK = 7_305_846_013


async def try_sweep_lock(session: AsyncSession) -> bool:
    """Whether this transaction, until its end, is the one that sweeps."""
    statement = text("SELECT pg_try_advisory_xact_lock(:lock)")
    return bool(await session.scalar(statement, {"lock": SWEEP_LOCK}))


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane as an operator sees it."""

    stage: StageName
    endpoint: str
    due: bool
    paused: bool
    closed_seconds: float | None
    closed_reason: str | None
    paused_reason: str | None = None
    maintenance: str | None = None  # why nothing is submitted at all: workers/maintenance.py

    @property
    def held_up(self) -> str | None:
        """What keeps it from beginning anything, in words that follow its name."""
        if self.maintenance is not None:
            return f"submits nothing: {self.maintenance}"
        reason = self.paused_reason if self.paused else self.closed_reason
        return f"{self.stopped}: {reason}" if self.stopped and reason else self.stopped

    @property
    def stopped(self) -> str | None:
        """Whether it is paused or closed, without the words of others: for who shows no key."""
        if self.paused:
            return "is paused"
        if self.closed_seconds is not None:
            return f"is closed for {self.closed_seconds:.0f} s more"
        return None


# Why, if the stack is in maintenance; NULL if it is not.
MAINTENANCE = """
    (SELECT concat_ws(': ', 'maintenance', nullif(value ->> 'reason', ''))
     FROM settings WHERE name = 'maintenance' AND jsonb_typeof(value) = 'object')
"""


async def find_lanes(session: AsyncSession) -> Sequence[LaneView]:
    """Every lane that has due work, or that something holds up.

    One index probe for each stage of each endpoint ever used, whatever the number of jobs.
    """
    # Not EXISTS, which is planned as a join, and with so many rows for parallel workers.
    due = " UNION ALL ".join(
        f"""SELECT '{stage.value}' AS stage, endpoint FROM endpoint_stats
            WHERE (SELECT true FROM {rows} AND endpoint = endpoint_stats.endpoint
                   AND next_at <= now() AND {_SPARED} ORDER BY next_at LIMIT 1)"""  # noqa: S608 -- constants of this module
        for stage, rows in DUE_ROWS.items()
    )
    statement = text(f"""
        SELECT coalesce(due.stage, lane.stage), coalesce(due.endpoint, lane.endpoint),
               due.stage IS NOT NULL, coalesce(lane.paused, false),
               CASE WHEN lane.closed_until > now()
                    THEN extract(epoch FROM lane.closed_until - now()) END,
               CASE WHEN lane.closed_until > now() THEN lane.closed_reason END,
               CASE WHEN lane.paused THEN lane.paused_reason END,
               CASE WHEN coalesce(due.stage, lane.stage) = '{StageName.SUBMIT.value}'
                    THEN {MAINTENANCE} END
        FROM ({due}) due
        FULL JOIN lanes lane ON lane.stage = due.stage AND lane.endpoint = due.endpoint
        WHERE due.stage IS NOT NULL OR lane.paused OR lane.closed_until > now()
        ORDER BY 2, 1
    """)  # noqa: S608 -- built from constants of this module
    rows = await session.execute(statement)
    return [
        LaneView(
            stage=StageName(stage),
            endpoint=endpoint,
            due=due,
            paused=paused,
            closed_seconds=None if seconds is None else float(seconds),
            closed_reason=reason,
            paused_reason=paused_reason,
            maintenance=maintenance,
        )
        for stage, endpoint, due, paused, seconds, reason, paused_reason, maintenance in rows
    ]


COUNTED_MOST = 10_000  # waiting rows of a lane: beyond it nobody needs to know how many


@dataclass(frozen=True, slots=True)
class LaneState:
    """All of a lane: what waits in it, and what holds it up."""

    stage: StageName
    endpoint: str
    waiting: int  # at most COUNTED_MOST
    due_seconds: float | None  # until the first is due; negative: since when; None: none waits
    paused: bool
    closed_seconds: float | None
    closed_reason: str | None
    closures: int
    paused_reason: str | None = None
    paused_seconds: float | None = None  # until it goes on; None: until somebody resumes it
    faults: int = 0  # calls in a row that failed
    probing: bool = False


async def list_lane_states(
    session: AsyncSession,
    *,
    stage: StageName | None = None,
    endpoint: str | None = None,
    quiet: bool = False,
) -> Sequence[LaneState]:
    """Of every lane in which something waits, or that something holds up; or of one alone.

    Args:
        quiet: of all others, too, at endpoints that were ever used.
    """
    stages = [stage] if stage else list(StageName)
    waiting = " UNION ALL ".join(
        f"""SELECT '{name.value}' AS stage, endpoint_stats.endpoint, found.* FROM endpoint_stats
            CROSS JOIN LATERAL (
                SELECT count(*) AS waiting, min(next_at) AS next_at FROM (
                    SELECT next_at FROM {DUE_ROWS[name]} AND endpoint = endpoint_stats.endpoint
                        AND NOT {HELD}
                    ORDER BY next_at LIMIT {COUNTED_MOST}) AS row
            ) AS found
            WHERE CAST(:endpoint AS text) IS NULL OR endpoint_stats.endpoint = :endpoint"""  # noqa: S608 -- constants of this module
        for name in stages
    )
    rows = await session.execute(
        text(f"""
            SELECT coalesce(found.stage, lane.stage), coalesce(found.endpoint, lane.endpoint),
                coalesce(waiting, 0), extract(epoch FROM next_at - now()),
                coalesce(lane.paused, false),
                CASE WHEN lane.closed_until > now()
                    THEN extract(epoch FROM lane.closed_until - now()) END,
                CASE WHEN lane.closed_until > now() THEN lane.closed_reason END,
                coalesce(lane.closures, 0), CASE WHEN lane.paused THEN lane.paused_reason END,
                CASE WHEN lane.paused THEN extract(epoch FROM lane.paused_until - now()) END,
                coalesce(lane.faults, 0), coalesce(lane.probing, false)
            FROM ({waiting}) AS found
            FULL JOIN (
                SELECT * FROM lanes
                WHERE (CAST(:stage AS text) IS NULL OR stage = :stage)
                  AND (CAST(:endpoint AS text) IS NULL OR endpoint = :endpoint)
            ) AS lane ON lane.stage = found.stage AND lane.endpoint = found.endpoint
            WHERE waiting > 0 OR lane.paused OR lane.closed_until > now()
                OR CAST(:endpoint AS text) IS NOT NULL OR :quiet
            ORDER BY 2, 1
        """),  # noqa: S608 -- built from constants of this module
        {"stage": stage, "endpoint": endpoint, "quiet": quiet},
    )
    return [
        LaneState(
            stage=StageName(found_stage),
            endpoint=found_endpoint,
            waiting=waiting_count,
            due_seconds=None if due is None else float(due),
            paused=paused,
            closed_seconds=None if closed is None else float(closed),
            closed_reason=reason,
            closures=closures,
            paused_reason=paused_reason,
            paused_seconds=None if paused_seconds is None else float(paused_seconds),
            faults=faults,
            probing=probing,
        )
        for (
            found_stage,
            found_endpoint,
            waiting_count,
            due,
            paused,
            closed,
            reason,
            closures,
            paused_reason,
            paused_seconds,
            faults,
            probing,
        ) in rows
    ]


async def reopen_lane(session: AsyncSession, stage: StageName, endpoint: str) -> None:
    """Forget that it was closed: it is tried now."""
    await session.execute(
        text("""
            UPDATE lanes SET closures = 0, faults = 0, probing = false,
                closed_until = NULL, closed_reason = NULL
            WHERE stage = :stage AND endpoint = :endpoint
        """),
        {"stage": stage, "endpoint": endpoint},
    )
