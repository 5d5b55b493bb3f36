"""What is read of jobs, for people and for producers. Nothing here writes."""

import re
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.attempt import Attempt
from models.errors import NotFound
from models.job import Job, JobState

Table = Literal["jobs", "campaigns", "artifacts"]


async def get_job(session: AsyncSession, job_id: UUID) -> Job:
    """
    Raises:
        NotFound: there is none with this id.
    """
    job = await session.get(Job, job_id)
    if job is None:
        raise NotFound("job", str(job_id))
    return job


async def list_jobs(
    session: AsyncSession,
    *,
    limit: int | None,
    state: JobState | None = None,
    endpoint: str | None = None,
    campaign_id: UUID | None = None,
    job_ids: Sequence[UUID] | None = None,
) -> Sequence[Job]:
    """Newest first; the filters given are all applied."""
    statement = select(Job)
    if state is not None:
        statement = statement.where(Job.state == state)
    if endpoint is not None:
        statement = statement.where(Job.endpoint == endpoint)
    if campaign_id is not None:
        statement = statement.where(Job.campaign_id == campaign_id)
    if job_ids is not None:
        statement = statement.where(Job.id.in_(job_ids))
    return (await session.scalars(statement.order_by(Job.id.desc()).limit(limit))).all()


async def list_attempts(session: AsyncSession, job_id: UUID) -> Sequence[Attempt]:
    """Every `/run` that was sent for the job, in order."""
    return (
        await session.scalars(
            select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.sent_at)
        )
    ).all()


async def find_ids(session: AsyncSession, table: Table, part: str) -> list[UUID]:
    """The ids that are, begin with or end with `part`; three at most.

    Jobs made together begin alike, so that their ends tell them apart. Reads the whole table for
    a part, and one row for a whole id.

    Raises:
        NotFound: there is none.
    """
    noun = table.removesuffix("s")
    try:
        whole = UUID(part)
    except ValueError:
        if not re.fullmatch(r"[0-9a-fA-F-]{4,36}", part):
            raise NotFound(noun, part) from None
        where = "CAST(id AS text) LIKE :value || '%' OR CAST(id AS text) LIKE '%' || :value"
        value = part.lower()
    else:
        where, value = "id = CAST(:value AS uuid)", str(whole)
    statement = text(f"SELECT id FROM {table} WHERE {where} LIMIT 3")  # noqa: S608 -- constants
    found = list(await session.scalars(statement, {"value": value}))
    if not found:
        raise NotFound(noun, part)
    return found
