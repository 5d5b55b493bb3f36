"""Ids as people type them: whole, or any part that fits one alone."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.cli.inputs import BadInput
from models.job_queries import Table, find_ids
from models.schedule import find_schedule


class AmbiguousId(BadInput):
    """A part of an id that fits several."""

    def __init__(self, given: str, found: list[UUID]) -> None:
        super().__init__(given, found)
        self.given = given
        self.found = found

    def __str__(self) -> str:
        return f"{self.given!r} fits several: {', '.join(map(str, self.found))}"


async def resolve_id(session: AsyncSession, table: Table, given: str) -> UUID:
    """The id that `given` is, or begins or ends.

    Raises:
        NotFound: none fits.
        AmbiguousId: several do.
    """
    found = await find_ids(session, table, given)
    if len(found) > 1:
        raise AmbiguousId(given, found)
    return found[0]


async def resolve_schedule(session: AsyncSession, given: str) -> UUID:
    """The id of the schedule of that name, or as `resolve_id`.

    Raises:
        NotFound, AmbiguousId: the same.
    """
    return await find_schedule(session, given) or await resolve_id(session, "schedules", given)
