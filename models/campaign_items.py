"""The items of a campaign as they are looked through and laid side by side: ids, in their order."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.job import JobState
from models.job_queries import PROMPT_ASKED


async def list_item_ids(
    session: AsyncSession,
    campaign_id: UUID,
    *,
    states: Collection[JobState],
    start: int,
    limit: int,
) -> Sequence[UUID]:
    """In the order in which they were enqueued.

    Args:
        states: of them; any, if there are none.
        start: so many are left out: an index alone counts them.
    """
    rows = await session.scalars(
        text("""
            SELECT id FROM jobs WHERE campaign_id = :id AND state = ANY(:states)
            ORDER BY id OFFSET :start LIMIT :limit
        """),
        {
            "id": campaign_id,
            "states": list(states or JobState),
            "start": start,
            "limit": limit,
        },
    )
    return rows.all()


@dataclass(frozen=True, slots=True)
class ItemName:
    """What tells of a job to which other it belongs."""

    id: UUID
    endpoint: str
    custom_id: str | None
    prompt: str
    seed: str | None


async def name_items(session: AsyncSession, campaign_id: UUID) -> Sequence[ItemName]:
    """Of all items of a campaign, in its order."""
    rows = await session.execute(
        text(f"""
            SELECT id, endpoint, custom_id, asked ->> 'seed' AS seed,
                coalesce({PROMPT_ASKED}, '') AS prompt
            FROM (
                SELECT id, endpoint, custom_id, position,
                    coalesce(shelved_jobs.input, jobs.input) AS asked
                FROM jobs LEFT JOIN shelved_jobs ON job_id = id
                WHERE campaign_id = :id
            ) AS item ORDER BY position, id
        """),  # noqa: S608 -- a constant
        {"id": campaign_id},
    )
    return [ItemName(row.id, row.endpoint, row.custom_id, row.prompt, row.seed) for row in rows]
