"""What may have been billed for nothing, or twice: attempts of which nobody knows.

An attempt is in doubt if its outcome was never learned and webhooks do not show that the upstream
never had it, or if the upstream forgot what it had taken (`attempts.fate`). If another attempt of
its job was taken later, it may have been a double charge. If word came of one that had not been
answered so, after its job had been sent again, it was one for certain, and is counted apart.

So are those that were answered with a 5xx: by its own word the upstream took nothing. Should it
have done so all the same, this is what it comes to.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class Doubts:
    """Counts of attempts, and what they would have cost, in USD, as far as prices are known.

    Attributes:
        key_id: whose jobs; None: of no gateway's key, or of everybody.
        twice: may have been charged beside another attempt of the same job.
        unused: may have been charged, and no other attempt was taken.
        certain: known to have been taken beside another.
        denied: answered with a 5xx, and another attempt was taken later.
        unpriced: of all these, those whose price is not known.
    """

    key_id: UUID | None
    twice: int
    twice_usd: Decimal
    unused: int
    unused_usd: Decimal
    certain: int
    certain_usd: Decimal
    denied: int
    denied_usd: Decimal
    unpriced: int


# An attempt beside which another may have been taken: sent later, and answered so, or not at all.
_JUDGED = """
    SELECT jobs.id, jobs.key_id, coalesce(attempts.risk_usd, jobs.estimate_usd) AS usd,
        attempts.upstream_id IS NOT NULL AND answer IS DISTINCT FROM 'accepted'
            AND fate IS DISTINCT FROM 'gone' AS heard_of,
        answer IS NOT DISTINCT FROM 'fault' AND attempts.upstream_id IS NULL AS denied,
        EXISTS (SELECT FROM attempts AS other
                WHERE other.job_id = attempts.job_id AND other.sent_at > attempts.sent_at
                  AND (other.upstream_id IS NOT NULL
                       OR coalesce(other.answer, 'unknown') = 'unknown')
        ) AS again
    FROM attempts JOIN jobs ON jobs.id = attempts.job_id
    WHERE (fate IN ('doubtful', 'gone') OR answer = 'fault'
           OR attempts.upstream_id IS NOT NULL AND answer IS DISTINCT FROM 'accepted')
      -- Forgotten, found again, and done: it was paid for, and for something.
      AND NOT (jobs.state = 'completed'
               AND jobs.upstream_id IS NOT DISTINCT FROM attempts.upstream_id)
      AND (CAST(:owner AS uuid) IS NULL OR jobs.key_id = :owner)
      AND (CAST(:job AS uuid) IS NULL OR jobs.id = :job)
      AND (CAST(:since AS timestamptz) IS NULL OR attempts.sent_at >= :since)
"""

_SUMS = """
    count(*) FILTER (WHERE again AND NOT heard_of AND NOT denied) AS twice,
    coalesce(sum(usd) FILTER (WHERE again AND NOT heard_of AND NOT denied), 0) AS twice_usd,
    count(*) FILTER (WHERE NOT again AND NOT heard_of AND NOT denied) AS unused,
    coalesce(sum(usd) FILTER (WHERE NOT again AND NOT heard_of AND NOT denied), 0) AS unused_usd,
    count(*) FILTER (WHERE again AND heard_of) AS certain,
    coalesce(sum(usd) FILTER (WHERE again AND heard_of), 0) AS certain_usd,
    count(*) FILTER (WHERE again AND denied) AS denied,
    coalesce(sum(usd) FILTER (WHERE again AND denied), 0) AS denied_usd,
    count(*) FILTER (WHERE usd IS NULL AND (again OR NOT heard_of AND NOT denied)) AS unpriced
"""


async def sum_doubts(
    session: AsyncSession,
    *,
    owner: UUID | None = None,
    job_id: UUID | None = None,
    since: dt.datetime | None = None,
) -> Doubts:
    """Of everybody, of one key's jobs, or of one job; `since`: of what was sent from then on."""
    row = (
        await session.execute(
            text(f"WITH judged AS ({_JUDGED}) SELECT {_SUMS} FROM judged"),  # noqa: S608 -- constants
            {"owner": owner, "job": job_id, "since": since},
        )
    ).one()
    return Doubts(owner, **row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for it


async def sum_doubts_by_key(session: AsyncSession) -> Sequence[Doubts]:
    """Of each key of whose jobs there are any; those of no key under None."""
    rows = await session.execute(
        text(f"""
            WITH judged AS ({_JUDGED})
            SELECT key_id, {_SUMS} FROM judged GROUP BY key_id ORDER BY key_id
        """),  # noqa: S608 -- constants
        {"owner": None, "job": None, "since": None},
    )
    return [Doubts(**row._mapping) for row in rows]  # noqa: SLF001


async def list_doubtful_jobs(
    session: AsyncSession, *, owner: UUID | None, before: UUID | None = None, limit: int
) -> Sequence[UUID]:
    """The jobs whose attempts these are, the newest first; `before`: the last one that was seen."""
    return list(
        await session.scalars(
            text(f"""
                WITH judged AS ({_JUDGED})
                SELECT DISTINCT id FROM judged
                WHERE NOT denied AND (again OR NOT heard_of)
                  AND (CAST(:before AS uuid) IS NULL OR id < :before)
                ORDER BY id DESC LIMIT :limit
            """),  # noqa: S608 -- constants
            {"owner": owner, "job": None, "since": None, "before": before, "limit": limit},
        )
    )
