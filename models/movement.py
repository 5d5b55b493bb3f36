"""A movement: one line of a budget's ledger. It is read from reservations and changes of limits."""

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


class MovementKind(enum.StrEnum):
    RESERVED = "reserved"
    SPENT = "spent"
    PRESUMED = "presumed"
    RELEASED = "released"
    LIMIT = "limit"  # it was set; no amount: it was removed


@dataclass(frozen=True, slots=True)
class Movement:
    """One line of a budget's ledger.

    Attributes:
        usd: reserved; spent, of a settlement; the new limit.
    """

    at: dt.datetime
    kind: MovementKind
    usd: Decimal | None
    job_id: UUID | None


async def list_movements(
    session: AsyncSession, budget_id: UUID, *, limit: int | None
) -> Sequence[Movement]:
    """Of a budget, the latest first; None: all of them."""
    rows = await session.execute(
        text("""
            SELECT * FROM (
                SELECT reserved_at AS at, 'reserved' AS kind, usd, job_id FROM reservations
                WHERE budget_id = :id
                UNION ALL
                SELECT ended_at, ended, spent_usd, job_id FROM reservations
                WHERE budget_id = :id AND ended IS NOT NULL
                UNION ALL
                SELECT at, 'limit', limit_usd, NULL FROM budget_changes WHERE budget_id = :id
            ) AS movement
            ORDER BY at DESC, kind LIMIT :limit
        """),
        {"id": budget_id, "limit": limit},
    )
    return [Movement(row.at, MovementKind(row.kind), row.usd, row.job_id) for row in rows]
