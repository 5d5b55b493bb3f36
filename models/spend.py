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


_NAMES = {
    SpendBy.DAY: "to_char(sent_at AT TIME ZONE :zone, 'YYYY-MM-DD')",
    SpendBy.KEY: "api_keys.name",
    SpendBy.CAMPAIGN: "campaigns.name",
    SpendBy.ENDPOINT: "attempts.endpoint",
    SpendBy.TAG: "tag",
}


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
    tags = "LEFT JOIN LATERAL unnest(campaigns.tags) AS tag ON true" if by is SpendBy.TAG else ""
    order = "name" if by is SpendBy.DAY else "usd DESC, risk_usd DESC, name"
    rows = await session.execute(
        text(f"""
            SELECT {_NAMES[by]} AS name, count(DISTINCT job_id) AS jobs,
                coalesce(sum(attempts.cost_usd), 0) AS usd,
                coalesce(sum(risk_usd) FILTER (WHERE attempts.cost_usd IS NULL), 0) AS risk_usd
            FROM attempts JOIN jobs ON jobs.id = attempts.job_id
            LEFT JOIN api_keys ON api_keys.id = jobs.key_id
            LEFT JOIN campaigns ON campaigns.id = jobs.campaign_id {tags}
            WHERE sent_at >= :since AND sent_at < :until
              AND (attempts.cost_usd IS NOT NULL OR risk_usd IS NOT NULL)
              AND (CAST(:owner AS uuid) IS NULL OR jobs.key_id = :owner)
            GROUP BY 1 ORDER BY {order}
        """),  # noqa: S608 -- constants
        {"since": since, "until": until, "owner": owner}
        | ({"zone": zone} if by is SpendBy.DAY else {}),
    )
    return [Spend(row.name, row.jobs, row.usd, row.risk_usd) for row in rows]
