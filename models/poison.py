"""Rows that workers die of: whatever holds them is gone before it can say so.

A claim counts the deaths of a row's holders, in a row (`models/lane.py`: suspects are claimed
alone). After the third, a file or a delivery is set aside here, a job in flight by
`transitions.set_aside_jobs`, and one that was being sent by `transitions.resolve_unknown`.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import SUSPECTED, count_rows


async def set_aside_rows(session: AsyncSession) -> int:
    """Give up files and deliveries of which workers died; returns how many there were."""
    found = 0
    for table, said in (("artifacts", "fetched it"), ("deliveries", "sent it")):
        result = await session.execute(
            text(f"""
                UPDATE {table} SET state = 'failed', lease = NULL, deaths = deaths + 1,
                    error = 'the last ' || deaths + 1 || ' workers that {said} died of it'
                WHERE {SUSPECTED} AND next_at <= now() AND state = 'pending'
            """)  # noqa: S608 -- constants
        )
        found += count_rows(result)
    return found
