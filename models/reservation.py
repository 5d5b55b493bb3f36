"""A reservation: the price of one `/run` under one budget, from before it is sent until it ended.

    (none) -> SPENT      the upstream said what it cost
           -> PRESUMED   it does not say, and may have billed it: its price counts as spent
           -> RELEASED   it was not taken, or is not billed
    PRESUMED, RELEASED -> SPENT   a cost was told after all
    RELEASED -> PRESUMED          it was taken after all, and ended so that it may be billed

Whoever claims jobs locks their budgets, one after the other in the order of their ids, and writes
reservations and attempts in one transaction. Settling is level-triggered: it looks at the attempt
and at its job, so that it may be done late, twice, and by anybody; the sweep does what was left.

A job without a known price reserves nothing, and is sent as long as there is anything left: such
jobs overshoot by no more than those that are in flight.
"""

import datetime as dt
import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import orjson
from sqlalchemy import ForeignKeyConstraint, Index, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Usd, word_column
from models.budget import STARTS_AT
from models.errors import PressroomError

SETTLED_MOST = 20_000  # by one sweep


class ReservationEnd(enum.StrEnum):
    SPENT = "spent"
    PRESUMED = "presumed"
    RELEASED = "released"


class Reservation(Base):
    __tablename__ = "reservations"
    __table_args__ = (
        ForeignKeyConstraint(
            ["job_id", "lease"],
            ["attempts.job_id", "attempts.lease"],
            # The attempt is written when it is known that its price is there.
            deferrable=True,
            initially="DEFERRED",
        ),
        ForeignKeyConstraint(
            ["budget_id", "starts_at"], ["budget_periods.budget_id", "budget_periods.starts_at"]
        ),
        Index("reservations_of_budget", "budget_id", "reserved_at"),  # list_movements
        Index("reservations_open", "budget_id", postgresql_where=text("ended IS NULL")),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    lease: Mapped[UUID] = mapped_column(primary_key=True)  # of the attempt
    budget_id: Mapped[UUID] = mapped_column(primary_key=True)
    starts_at: Mapped[dt.datetime]  # of the period that it counts in
    usd: Mapped[Usd]
    reserved_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    ended: Mapped[ReservationEnd | None] = mapped_column(word_column(ReservationEnd))
    ended_at: Mapped[dt.datetime | None]
    spent_usd: Mapped[Usd | None]


class OverBudget(PressroomError):
    """A job that cannot wait does not fit under a budget."""

    def __init__(self, budget_id: UUID, name: str) -> None:
        super().__init__(budget_id, name)
        self.budget_id = budget_id
        self.name = name

    def __str__(self) -> str:
        return f"the budget {self.name!r} has not enough left for it; nothing was sent"


@dataclass(slots=True)
class _Room:
    """What is left of a budget while its lock is held; `starts_at`: of its period."""

    starts_at: dt.datetime
    left: Decimal

    def takes(self, usd: Decimal | None) -> bool:
        return self.left > 0 if usd is None else self.left >= usd


async def reserve(
    session: AsyncSession, *, lease: UUID, job_ids: Sequence[UUID]
) -> Mapping[UUID, UUID]:
    """Reserve the price of each job under all its budgets; what does not fit is returned.

    The caller, who holds the jobs, writes the attempts of the others in this transaction.

    Args:
        job_ids: in the order in which they are served. One that does not fit gives way to smaller
            ones behind it.

    Returns:
        Of each job that does not fit, which budget refuses it.
    """
    wanted = await _find_budgets(session, job_ids)
    if not wanted:
        return {}
    rooms = await _lock_rooms(session, {budget for one in wanted for budget in one.budget_ids})
    refused: dict[UUID, UUID] = {}
    made = []
    for one in wanted:
        budgets = [budget for budget in one.budget_ids if budget in rooms]
        full = next((budget for budget in budgets if not rooms[budget].takes(one.usd)), None)
        if full is not None:
            refused[one.job_id] = full
            continue
        usd = one.usd or Decimal()
        for budget in budgets:
            rooms[budget].left -= usd
            made.append(
                {
                    "job_id": one.job_id,
                    "budget_id": budget,
                    "starts_at": rooms[budget].starts_at,
                    "usd": str(usd),
                }
            )
    await _write(session, lease, made, capped=set(refused.values()))
    return refused


@dataclass(frozen=True, slots=True)
class _Wanted:
    job_id: UUID
    usd: Decimal | None
    budget_ids: Sequence[UUID]


async def _find_budgets(session: AsyncSession, job_ids: Sequence[UUID]) -> Sequence[_Wanted]:
    """The jobs that come under budgets, in their order, each with the ids of those in order."""
    rows = await session.execute(
        text("""
            SELECT jobs.id, jobs.estimate_usd, array_agg(found.id ORDER BY found.id) AS budget_ids
            FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS asked(id, place)
            JOIN jobs ON jobs.id = asked.id
            LEFT JOIN campaigns ON campaigns.id = jobs.campaign_id
            CROSS JOIN LATERAL (
                SELECT id FROM budgets
                WHERE removed_at IS NULL AND key_id IS NULL AND campaign_id IS NULL AND tag IS NULL
                UNION ALL SELECT id FROM budgets
                WHERE removed_at IS NULL AND key_id IS NOT NULL AND key_id = jobs.key_id
                UNION ALL SELECT id FROM budgets
                WHERE removed_at IS NULL AND campaign_id IS NOT NULL
                  AND campaign_id = jobs.campaign_id
                UNION ALL SELECT id FROM budgets
                WHERE removed_at IS NULL AND tag IS NOT NULL AND tag = ANY(campaigns.tags)
            ) AS found
            GROUP BY jobs.id, jobs.estimate_usd, asked.place ORDER BY asked.place
        """),
        {"ids": list(job_ids)},
    )
    return [_Wanted(row.id, row.estimate_usd, row.budget_ids) for row in rows]


async def _lock_rooms(session: AsyncSession, budget_ids: Collection[UUID]) -> dict[UUID, _Room]:
    """Of those that have not been removed meanwhile."""
    # A statement of its own: what is read beside a lock was read before the wait for it.
    await session.execute(
        text("SELECT FROM budgets WHERE id = ANY(:ids) ORDER BY id FOR UPDATE"),
        {"ids": list(budget_ids)},
    )
    rows = await session.execute(
        text(f"""
            SELECT budgets.id, {STARTS_AT} AS starts_at,
                limit_usd - coalesce(reserved_usd + spent_usd, 0) AS left_usd
            FROM budgets LEFT JOIN budget_periods
                ON budget_periods.budget_id = budgets.id AND starts_at = {STARTS_AT}
            WHERE budgets.id = ANY(:ids) AND removed_at IS NULL
        """),  # noqa: S608 -- constants
        {"ids": list(budget_ids)},
    )
    return {row.id: _Room(row.starts_at, row.left_usd) for row in rows}


async def _write(
    session: AsyncSession,
    lease: UUID,
    made: Sequence[Mapping[str, object]],
    *,
    capped: Collection[UUID],
) -> None:
    await session.execute(
        text(f"""
            WITH made AS (
                SELECT * FROM jsonb_to_recordset(CAST(:made AS jsonb)) AS made(
                    job_id uuid, budget_id uuid, starts_at timestamptz, usd numeric)
            ), moved AS (
                SELECT budget_id, starts_at, sum(usd) AS usd, CAST(NULL AS timestamptz) AS capped_at
                FROM made GROUP BY budget_id, starts_at
                UNION ALL
                SELECT id, {STARTS_AT}, 0, now() FROM budgets WHERE id = ANY(:capped)
            ), periods AS (
                INSERT INTO budget_periods AS period (budget_id, starts_at, reserved_usd, capped_at)
                SELECT budget_id, starts_at, sum(usd), max(capped_at)
                FROM moved GROUP BY budget_id, starts_at ORDER BY budget_id
                ON CONFLICT (budget_id, starts_at) DO UPDATE SET
                    reserved_usd = period.reserved_usd + excluded.reserved_usd,
                    capped_at = coalesce(period.capped_at, excluded.capped_at)
            )
            INSERT INTO reservations (job_id, lease, budget_id, starts_at, usd)
            SELECT job_id, :lease, budget_id, starts_at, usd FROM made
        """),  # noqa: S608 -- constants
        {
            "made": orjson.dumps(list(made)).decode(),
            "lease": lease,
            "capped": list(capped),
        },
    )


# How a reservation has ended that ended so `before` (null: it is open); null: not, or not anew.
_END = """
    CASE WHEN attempts.cost_usd IS NOT NULL THEN 'spent'
        -- It was taken after all, and came to an end that may be billed.
        WHEN {before} = 'released' AND attempts.upstream_id = jobs.upstream_id
            AND jobs.finished_at IS NOT NULL
            AND jobs.reason IS DISTINCT FROM 'upstream_failed' THEN 'presumed'
        WHEN {before} IS NOT NULL THEN NULL
        WHEN attempts.answer IN ('busy', 'refused', 'unsent') OR attempts.fate = 'absent'
            OR attempts.answer = 'fault' AND attempts.upstream_id IS NULL THEN 'released'
        WHEN attempts.fate IS NOT NULL THEN 'presumed'
        -- Of an earlier run, or another attempt than the one that the job came to its end by.
        WHEN attempts.number <= jobs.attempts_before
            OR attempts.upstream_id IS DISTINCT FROM jobs.upstream_id THEN {earlier}
        WHEN jobs.finished_at IS NULL THEN NULL
        -- A generation that fails is not billed; of one that was stopped nobody says.
        WHEN jobs.state = 'failed' AND jobs.reason = 'upstream_failed' THEN 'released'
        ELSE 'presumed' END
"""
_SETTLED = _END.format(before="reservations.ended", earlier="'presumed'")
# Most of those that were sent again had failed, which is free.
_CAME_BEFORE = _END.format(before="CAST(NULL AS text)", earlier="'released'")


async def settle_reservations(
    session: AsyncSession, *, job_ids: Collection[UUID] | None = None
) -> set[UUID]:
    """Settle what is decided; returns the budgets that have more room for it.

    Args:
        job_ids: of these alone; None: of all, as the sweep does.
    """
    of_jobs = "ended IS NULL" if job_ids is None else "reservations.job_id = ANY(:ids)"
    rows = await session.execute(
        text(f"""
            WITH decided AS MATERIALIZED (
                SELECT reservations.*, {_SETTLED} AS end_now, attempts.cost_usd
                FROM reservations
                JOIN attempts USING (job_id, lease)
                JOIN jobs ON jobs.id = reservations.job_id
                WHERE ended IS DISTINCT FROM 'spent' AND {_SETTLED} IS NOT NULL AND {of_jobs}
                LIMIT {SETTLED_MOST}
                FOR UPDATE OF reservations SKIP LOCKED
            ), settled AS (
                UPDATE reservations SET ended = end_now, ended_at = now(),
                    spent_usd = CASE end_now WHEN 'spent' THEN decided.cost_usd
                        WHEN 'presumed' THEN decided.usd ELSE 0 END
                FROM decided
                WHERE reservations.job_id = decided.job_id AND reservations.lease = decided.lease
                  AND reservations.budget_id = decided.budget_id
                RETURNING decided.budget_id, decided.starts_at,
                    CASE WHEN decided.ended IS NULL THEN decided.usd ELSE 0 END AS freed,
                    reservations.spent_usd - coalesce(decided.spent_usd, 0) AS spent
            ), moved AS MATERIALIZED (
                SELECT budget_id, starts_at, sum(freed) AS freed, sum(spent) AS spent
                FROM settled GROUP BY budget_id, starts_at
            ), locked AS MATERIALIZED (
                SELECT budget_id, starts_at FROM budget_periods
                WHERE (budget_id, starts_at) IN (SELECT budget_id, starts_at FROM moved)
                ORDER BY budget_id, starts_at FOR UPDATE
            )
            UPDATE budget_periods SET reserved_usd = reserved_usd - freed,
                spent_usd = spent_usd + spent
            FROM locked JOIN moved USING (budget_id, starts_at)
            WHERE budget_periods.budget_id = locked.budget_id
              AND budget_periods.starts_at = locked.starts_at
            RETURNING budget_periods.budget_id, freed > spent
        """),  # noqa: S608 -- constants
        {} if job_ids is None else {"ids": list(job_ids)},
    )
    return {budget_id for budget_id, more in rows if more}


async def take_over(session: AsyncSession, budget_id: UUID) -> None:
    """A budget is new: what its jobs have spent in this period counts, what is in flight as well.

    Of one that is for all time, all that they ever spent.
    """
    await session.execute(
        text(f"""
            WITH mine AS MATERIALIZED (
                SELECT attempts.job_id, attempts.lease, attempts.cost_usd,
                    coalesce(jobs.estimate_usd, 0) AS usd, {_CAME_BEFORE} AS ended
                FROM budgets
                JOIN jobs ON budgets.key_id IS NULL OR budgets.key_id = jobs.key_id
                LEFT JOIN campaigns ON campaigns.id = jobs.campaign_id
                JOIN attempts ON attempts.job_id = jobs.id
                WHERE budgets.id = :id
                  AND (budgets.campaign_id IS NULL OR budgets.campaign_id = jobs.campaign_id)
                  AND (budgets.tag IS NULL OR budgets.tag = ANY(campaigns.tags))
                  AND (budgets.period = 'total' OR attempts.sent_at >= {STARTS_AT})
            ), period AS (
                INSERT INTO budget_periods (budget_id, starts_at, reserved_usd, spent_usd)
                SELECT id, {STARTS_AT},
                    (SELECT coalesce(sum(usd), 0) FROM mine WHERE ended IS NULL),
                    (SELECT coalesce(sum(CASE ended WHEN 'spent' THEN cost_usd
                        WHEN 'presumed' THEN usd END), 0) FROM mine)
                FROM budgets WHERE id = :id
            )
            INSERT INTO reservations (job_id, lease, budget_id, starts_at, usd)
            SELECT job_id, lease, budgets.id, {STARTS_AT}, usd FROM mine, budgets
            WHERE budgets.id = :id AND mine.ended IS NULL
        """),  # noqa: S608 -- constants
        {"id": budget_id},
    )


async def list_in_flight(session: AsyncSession, budget_id: UUID) -> Sequence[UUID]:
    """Jobs that were sent under a budget and have not ended, unless they are to be cancelled."""
    return list(
        await session.scalars(
            text("""
                SELECT DISTINCT jobs.id FROM reservations JOIN jobs ON jobs.id = job_id
                WHERE budget_id = :id AND ended IS NULL
                  AND finished_at IS NULL AND cancel_requested_at IS NULL
            """),
            {"id": budget_id},
        )
    )
