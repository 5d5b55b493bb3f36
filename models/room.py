"""Room: what has ended makes room for what budgets, and campaigns with slots, hold."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.hold import list_holders, release_for_money, release_for_slots
from models.reservation import settle_reservations
from models.slots import is_any_limited


async def make_room(session: AsyncSession, job_ids: Collection[UUID]) -> set[str]:
    """These jobs have ended, or are to be sent anew: settle them, and release what fits.

    Returns the endpoints of what was released.
    """
    if not job_ids or not await is_any_limited(session):
        return set()
    released: set[str] = set()
    if freed := await settle_reservations(session, job_ids=job_ids):
        released |= set(await release_for_money(session, freed))
    if campaigns := await _find_slotted(session, job_ids):
        released |= set(await release_for_slots(session, campaigns))
    return released


async def make_all_room(session: AsyncSession) -> set[str]:
    """The sweep's part: settle and release what nobody did."""
    await settle_reservations(session)
    holders = await list_holders(session)
    if not holders:
        return set()
    released = set(await release_for_money(session, holders))
    return released | set(await release_for_slots(session, holders))


async def _find_slotted(session: AsyncSession, job_ids: Collection[UUID]) -> set[UUID]:
    return set(
        await session.scalars(
            text("""
                SELECT DISTINCT campaigns.id FROM jobs JOIN campaigns ON campaigns.id = campaign_id
                WHERE jobs.id = ANY(:ids) AND max_in_flight IS NOT NULL
            """),
            {"ids": list(job_ids)},
        )
    )
