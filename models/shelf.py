"""The shelf: where the bulk of jobs that ended long ago is kept, out of everybody's way.

A job's row stays for good, and with it all that counts: its state, its costs, whose it is; so do
its attempts and its files. What is large of it, its input, its output and what came with them, goes
to a table of its own some days after its end (`jobs_days`). Who reads a job whole finds it there;
who retries it takes it back. Nothing is dropped.

Whole rows could have moved instead. But each stage reads a partial index of its own live rows, so
it costs them nothing that others have ended; and the ledger, files, deliveries and batches hold on
to the row by foreign keys, and judge by it: doubts, budgets and counts would have to look twice.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm.attributes import set_committed_value

from models.base import Base, Json, count_rows
from models.job import Job

SHELVE_AT_ONCE = 500  # jobs of one transaction: a sweep each two seconds moves 20 million a day


class ShelvedJob(Base):
    __tablename__ = "shelved_jobs"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    input: Mapped[Json]
    output: Mapped[Any | None]
    policy: Mapped[Json | None]
    sealed: Mapped[bytes | None]
    shelved_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())


# What stands in both tables.
BULK = ("input", "output", "policy", "sealed")


async def shelve_jobs(session: AsyncSession, *, older_than_seconds: float) -> int:
    """Move the bulk of jobs that ended so long ago; some hundreds at once. Returns how many.

    What somebody holds just now is left to the next time.
    """
    return count_rows(
        await session.execute(
            text("""
                WITH found AS MATERIALIZED (
                    SELECT id, input, output, policy, sealed FROM jobs
                    WHERE finished_at < now() - make_interval(secs => :age)
                      AND finished_at IS NOT NULL AND shelved_at IS NULL
                    ORDER BY finished_at LIMIT :most
                    FOR UPDATE SKIP LOCKED
                ), shelved AS (
                    INSERT INTO shelved_jobs (job_id, input, output, policy, sealed)
                    SELECT id, input, output, policy, sealed FROM found
                )
                UPDATE jobs SET shelved_at = now(), input = '{}', output = NULL, policy = NULL,
                    sealed = NULL
                FROM found WHERE jobs.id = found.id
            """),
            {"age": older_than_seconds, "most": SHELVE_AT_ONCE},
        )
    )


async def take_back(session: AsyncSession, job_ids: Sequence[UUID]) -> None:
    """Give jobs their bulk again, and hold them until the transaction ends."""
    # A statement of its own: the next sees what whoever held them has done.
    await session.execute(
        text("SELECT FROM jobs WHERE id = ANY(:ids) ORDER BY id FOR UPDATE"), {"ids": list(job_ids)}
    )
    await session.execute(
        text("""
            WITH back AS (DELETE FROM shelved_jobs WHERE job_id = ANY(:ids) RETURNING *)
            UPDATE jobs SET shelved_at = NULL, input = back.input, output = back.output,
                policy = back.policy, sealed = back.sealed
            FROM back WHERE jobs.id = back.job_id
        """),
        {"ids": list(job_ids)},
    )


async def fetch_bulk(session: AsyncSession, jobs: Sequence[Job]) -> None:
    """Complete jobs that were read: what is on the shelf is filled in, and not written."""
    shelved = {job.id: job for job in jobs if job.shelved_at is not None}
    if not shelved:
        return
    rows = await session.scalars(
        select(ShelvedJob)
        .where(ShelvedJob.job_id == func.any(list(shelved)))
        .execution_options(populate_existing=True)
    )
    for row in rows:
        job = shelved.pop(row.job_id)
        for name in BULK:
            set_committed_value(job, name, getattr(row, name))
    for job in shelved.values():  # taken back since it was read
        await session.refresh(job)
