"""A batch: requests to one endpoint that a client collects, and then hands in together.

    DRAFT -> FINALIZED -> CANCELLED | FAILED
    DRAFT -> CANCELLED

A request is a job to be: its id is the id that its job will have, and its input stands here until
that job has it. So a request of a finalized batch that still has an input is yet to be enqueued.
How far a batch is, is read from its jobs. Who changes a batch holds its row: `get_batch`.
"""

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ForeignKey, Index, Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, defer, mapped_column

from models.base import Base, Json, count_rows, new_id, word_column
from models.errors import NotFound
from models.job import Job
from models.shelf import fetch_bulk


class BatchState(enum.StrEnum):
    DRAFT = "draft"  # requests come and go
    FINALIZED = "finalized"  # its requests are, or soon will be, jobs
    FAILED = "failed"  # a request of it could not be enqueued
    CANCELLED = "cancelled"  # what waited was dropped; what ran may run still


class Batch(Base):
    __tablename__ = "batches"
    __table_args__ = (
        Index("batches_of_key", "endpoint", "key_id", "id"),  # summarize_batches, count_active
        Index(
            "batches_to_enqueue",  # find_unfinished
            "id",
            postgresql_where=text("state = 'finalized' AND finalized_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    key_id: Mapped[UUID] = mapped_column(ForeignKey("api_keys.id"))
    endpoint: Mapped[str]
    name: Mapped[str | None]
    state: Mapped[BatchState] = mapped_column(
        word_column(BatchState), server_default=BatchState.DRAFT.value
    )
    error: Mapped[str | None]  # why it failed
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    finalized_at: Mapped[dt.datetime | None]  # when the last of its requests was a job


class BatchRequest(Base):
    __tablename__ = "batch_requests"
    __table_args__ = (Index("requests_of_batch", "batch_id", "position", unique=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True)  # its job's, too
    batch_id: Mapped[UUID] = mapped_column(ForeignKey("batches.id"))
    position: Mapped[int]
    input: Mapped[Json | None]  # None: its job has it


async def get_batch(
    session: AsyncSession, given: str, *, endpoint: str, owner: UUID | None, hold: bool = True
) -> Batch:
    """
    Args:
        owner: the key whose batch it must be; None: any.
        hold: against every other change, until the transaction ends.

    Raises:
        NotFound: there is none with this id, or it is another's.
    """
    try:
        batch = await session.get(Batch, UUID(given), with_for_update=hold or None)
    except ValueError:
        batch = None
    if batch is None or batch.endpoint != endpoint or owner not in {None, batch.key_id}:
        raise NotFound("batch", given[:100])
    return batch


async def count_active(session: AsyncSession, *, key_id: UUID, endpoint: str) -> int:
    """Batches with work to do. Whoever else would count them waits until the transaction ends."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 4210973385))"),
        {"name": f"{key_id}:{endpoint}"},
    )
    statement = text("""
        SELECT count(*) FROM batches
        WHERE key_id = :key AND endpoint = :endpoint AND (
            state = 'draft' OR (state = 'finalized' AND finalized_at IS NULL)
            OR id IN (SELECT batch_id FROM batch_requests JOIN jobs USING (id)
                      WHERE key_id = :key AND endpoint = :endpoint AND finished_at IS NULL))
    """)
    return int(await session.scalar(statement, {"key": key_id, "endpoint": endpoint}) or 0)


async def summarize_batches(
    session: AsyncSession,
    *,
    batch_id: UUID | None = None,
    endpoint: str | None = None,
    owner: UUID | None = None,
    offset: int = 0,
    limit: int = 1,
) -> Sequence[Row[Any]]:
    """Batches that fit what is given, newest first, with counts of their requests, and `status`:
    cancelled ones are finalized until the last of their jobs has ended.
    """
    statement = text("""
        SELECT batches.*, counts.*,
            CASE WHEN state = 'cancelled' AND completed + failed < total
                THEN 'finalized' ELSE state END AS status
        FROM (
            SELECT * FROM batches
            WHERE (CAST(:id AS uuid) IS NULL OR id = :id)
              AND (CAST(:endpoint AS text) IS NULL OR endpoint = :endpoint)
              AND (CAST(:owner AS uuid) IS NULL OR key_id = :owner)
            ORDER BY id DESC OFFSET :offset LIMIT :limit
        ) AS batches CROSS JOIN LATERAL (
            SELECT count(*) AS total,
                count(*) FILTER (WHERE jobs.state = 'in_progress') AS in_progress,
                count(*) FILTER (WHERE jobs.state = 'completed') AS completed,
                count(*) FILTER (WHERE (finished_at IS NOT NULL AND jobs.state <> 'completed')
                    OR (jobs.id IS NULL AND batches.state IN ('failed', 'cancelled'))) AS failed
            FROM batch_requests LEFT JOIN jobs USING (id) WHERE batch_id = batches.id
        ) AS counts
        ORDER BY batches.id DESC
    """)
    given = {"id": batch_id, "endpoint": endpoint, "owner": owner, "offset": offset, "limit": limit}
    return (await session.execute(statement, given)).all()


async def add_requests(
    session: AsyncSession, batch_id: UUID, inputs: Sequence[Mapping[str, Any]]
) -> None:
    """Append to a draft."""
    numbered = enumerate(inputs, 1)
    rows = [{"id": new_id(), "number": number, "input": values} for number, values in numbered]
    await session.execute(
        text("""
            INSERT INTO batch_requests (id, batch_id, position, input)
            SELECT id, :batch, number + (SELECT coalesce(max(position), 0) FROM batch_requests
                                         WHERE batch_id = :batch), input
            FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row(id uuid, number int, input jsonb)
        """),
        {"batch": batch_id, "rows": orjson.dumps(rows).decode()},
    )


async def remove_request(session: AsyncSession, batch_id: UUID, request_id: str) -> bool:
    """Take one out of a draft; whether it was there."""
    statement = text(
        "DELETE FROM batch_requests WHERE batch_id = :batch AND CAST(id AS text) = :id"
    )
    removed = await session.execute(statement, {"batch": batch_id, "id": request_id.lower()})
    return count_rows(removed) > 0


async def list_requests(
    session: AsyncSession, batch_id: UUID, *, offset: int, limit: int
) -> list[tuple[UUID, Job | None]]:
    """Ids in the order in which they were added, with their jobs where there are any."""
    statement = (
        select(BatchRequest.id, Job)
        .outerjoin(Job, Job.id == BatchRequest.id)
        .options(defer(Job.input), defer(Job.sealed))
        .where(BatchRequest.batch_id == batch_id)
    )
    page = statement.order_by(BatchRequest.position).offset(offset).limit(limit)
    found: list[tuple[UUID, Job | None]] = [
        (request_id, job) for request_id, job in await session.execute(page)
    ]
    await fetch_bulk(session, [job for _, job in found if job is not None])
    return found


async def find_inputs(
    session: AsyncSession, batch_id: UUID, *, most: int, enough_bytes: int
) -> Sequence[Row[UUID, Json]]:
    """Ids and inputs of the next that are no jobs yet; none more once their inputs are enough."""
    statement = text("""
        SELECT id, input FROM (
            SELECT id, input, sum(octet_length(CAST(input AS text))) OVER (ORDER BY position)
                - octet_length(CAST(input AS text)) AS bytes_before
            FROM batch_requests WHERE batch_id = :batch AND input IS NOT NULL
            ORDER BY position LIMIT :most
        ) AS waiting WHERE bytes_before < :enough_bytes
    """)
    given = {"batch": batch_id, "most": most, "enough_bytes": enough_bytes}
    return (await session.execute(statement, given)).all()


async def drop_inputs(session: AsyncSession, request_ids: Sequence[UUID]) -> None:
    """Their jobs, inserted in the same transaction, have them."""
    statement = text("UPDATE batch_requests SET input = NULL WHERE id = ANY(:ids)")
    await session.execute(statement, {"ids": list(request_ids)})


async def find_unfinished(session: AsyncSession) -> Sequence[UUID]:
    """Finalized, and being enqueued or left half-way."""
    statement = text("SELECT id FROM batches WHERE state = 'finalized' AND finalized_at IS NULL")
    return (await session.scalars(statement)).all()


async def find_waiting_jobs(session: AsyncSession, batch_id: UUID) -> Sequence[UUID]:
    """Its jobs that wait, here or in the upstream's queue."""
    statement = text("""
        SELECT jobs.id FROM batch_requests JOIN jobs USING (id) WHERE batch_id = :id
          AND state IN ('queued', 'submitting', 'in_queue') AND cancel_requested_at IS NULL
    """)
    return (await session.scalars(statement, {"id": batch_id})).all()
