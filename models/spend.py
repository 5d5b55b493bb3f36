"""Spend: what the ledger of attempts says was paid, by day, key, campaign, endpoint or tag."""

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


class SpendBy(enum.StrEnum):
    DAY = "day"
    KEY = "key"
    CAMPAIGN = "campaign"
    ENDPOINT = "endpoint"
    TAG = "tag"  # of a campaign; what has two counts under both


@dataclass(frozen=True, slots=True)
class Spend:
    """
    Attributes:
        name: the day, key, campaign, endpoint or tag; None: of none.
        jobs: of which an attempt was paid for, or may have been.
        usd: as the upstream named it, in the period in which it was sent.
        risk_usd: of attempts that may have been billed, at their price: what became of them the
            upstream did not say.
    """

    name: str | None
    jobs: int
    usd: Decimal
    risk_usd: Decimal


# What a job's attempts belong to, read from an index that holds it: the rows themselves are many.
_OWNED = """
    LEFT JOIN (SELECT id, {column} FROM jobs WHERE {column} IS NOT NULL) AS owned
        ON owned.id = job_id
    LEFT JOIN {table} ON {table}.id = owned.{column}
"""
_OF_KEY = _OWNED.format(column="key_id", table="api_keys")
_OF_CAMPAIGN = _OWNED.format(column="campaign_id", table="campaigns")
# The name, and what it is read from beside the attempts.
_NAMES = {
    SpendBy.DAY: ("CAST(attempts.sent_at AT TIME ZONE :zone AS date)", ""),
    SpendBy.KEY: ("api_keys.name", _OF_KEY),
    SpendBy.CAMPAIGN: ("campaigns.name", _OF_CAMPAIGN),
    SpendBy.ENDPOINT: ("attempts.endpoint", ""),
    SpendBy.TAG: (
        "tag",
        f"{_OF_CAMPAIGN} LEFT JOIN LATERAL unnest(campaigns.tags) AS tag ON true",
    ),
}
# A job counts once, with the first of its attempts that does; nearly all have but one.
_FIRST = """
    attempts.number = 1 OR NOT EXISTS (
        SELECT FROM attempts AS earlier
        WHERE earlier.job_id = attempts.job_id
          AND (earlier.number, earlier.lease) < (attempts.number, attempts.lease)
          AND (earlier.cost_usd IS NOT NULL OR earlier.risk_usd IS NOT NULL)
          AND earlier.sent_at >= :since {same_day})
"""
_SAME_DAY = """
    AND CAST(earlier.sent_at AT TIME ZONE :zone AS date)
        = CAST(attempts.sent_at AT TIME ZONE :zone AS date)
"""
_OWN = "JOIN (SELECT id FROM jobs WHERE key_id = :owner) AS own ON own.id = job_id"


async def sum_spend(
    session: AsyncSession,
    by: SpendBy,
    *,
    since: dt.datetime,
    until: dt.datetime,
    zone: str = "UTC",
    owner: UUID | None = None,
) -> Sequence[Spend]:
    """Days in their order, all else the dearest first.

    Args:
        since, until: when it was sent; `until` is not within.
        zone: where days begin.
        owner: a key, of whose jobs alone; None: of everybody's.
    """
    name, joins = _NAMES[by]
    first = _FIRST.format(same_day=_SAME_DAY if by is SpendBy.DAY else "")
    order = "name" if by is SpendBy.DAY else "usd DESC, risk_usd DESC, name"
    rows = await session.execute(
        text(f"""
            SELECT {name} AS name, count(*) FILTER (WHERE {first}) AS jobs,
                coalesce(sum(attempts.cost_usd), 0) AS usd,
                coalesce(sum(risk_usd) FILTER (WHERE attempts.cost_usd IS NULL), 0) AS risk_usd
            FROM attempts {joins} {"" if owner is None else _OWN}
            WHERE attempts.sent_at >= :since AND attempts.sent_at < :until
              AND (attempts.cost_usd IS NOT NULL OR attempts.risk_usd IS NOT NULL)
            GROUP BY 1 ORDER BY {order}
        """),  # noqa: S608 -- constants
        {"since": since, "until": until}
        | ({"zone": zone} if by is SpendBy.DAY else {})
        | ({} if owner is None else {"owner": owner}),
    )
    return [
        Spend(None if row.name is None else str(row.name), row.jobs, row.usd, row.risk_usd)
        for row in rows
    ]
