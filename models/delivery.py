"""A delivery: one message to a producer that its job has ended.

    WAITING -> PENDING -> DELIVERED

The row is written with the job and made pending in the transaction that ends it, so that no end
goes untold. A delivery may happen twice (a crash just after it); what receives it must not mind.
"""

import datetime as dt
import enum
from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, new_id, word_column


class DeliveryState(enum.StrEnum):
    WAITING = "waiting"  # its job has not ended
    PENDING = "pending"
    DELIVERED = "delivered"


class Delivery(Base):
    __tablename__ = "deliveries"
    __table_args__ = (
        Index("deliveries_of_job", "job_id"),
        Index(
            "deliveries_to_send",  # claims.claim_deliveries, lanes.find_due_lanes
            "endpoint",
            "next_at",
            "id",
            postgresql_where=text("state = 'pending'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    endpoint: Mapped[str]
    request: Mapped[Json]  # the Celery request to complete: callbacks, chain, chord, group
    state: Mapped[DeliveryState] = mapped_column(
        word_column(DeliveryState), server_default=DeliveryState.WAITING.value
    )
    lease: Mapped[UUID | None]
    next_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    tries: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None]
    delivered_at: Mapped[dt.datetime | None]


async def add_delivery(
    session: AsyncSession, *, job_id: UUID, endpoint: str, request: Json
) -> None:
    """Promise word of the job's end, in the transaction that enqueues the job."""
    session.add(Delivery(id=new_id(), job_id=job_id, endpoint=endpoint, request=request))
    await session.flush()


async def wake_deliveries(
    session: AsyncSession, *, ended: Collection[UUID], hold_seconds: float
) -> float | None:
    """Make the deliveries of those jobs that ended due; seconds to the first, None without any.

    Those of jobs with files yet to be stored are held for `hold_seconds` at most, so that a
    result tells of files that are in our keeping; `hasten_deliveries` ends the wait.
    """
    waits = await session.scalars(
        text("""
            UPDATE deliveries SET state = 'pending', next_at = now() + CASE
                WHEN EXISTS (SELECT FROM artifacts WHERE artifacts.job_id = deliveries.job_id
                             AND artifacts.state = 'pending')
                THEN make_interval(secs => :hold) ELSE make_interval() END
            WHERE job_id = ANY(:ended) AND state = 'waiting'
              AND EXISTS (SELECT FROM jobs WHERE jobs.id = job_id AND finished_at IS NOT NULL)
            RETURNING extract(epoch FROM next_at - now())
        """),
        {"ended": list(ended), "hold": hold_seconds},
    )
    return min(map(float, waits), default=None)


async def hasten_deliveries(session: AsyncSession, *, artifact_ids: Collection[UUID]) -> bool:
    """Files were stored, or given up: word of a job with none left waits no longer.

    Returns whether any is now due.
    """
    hastened = await session.scalars(
        text("""
            UPDATE deliveries SET next_at = now()
            FROM artifacts
            WHERE artifacts.id = ANY(:ids) AND deliveries.job_id = artifacts.job_id
              AND deliveries.state = 'pending' AND deliveries.tries = 0
              AND NOT EXISTS (SELECT FROM artifacts AS other
                              WHERE other.job_id = deliveries.job_id AND other.state = 'pending')
            RETURNING deliveries.id
        """),
        {"ids": list(artifact_ids)},
    )
    return bool(hastened.all())


async def redeliver(session: AsyncSession, *, job_id: UUID) -> None:
    """The producer asked again for a job whose end it was told: tell it once more."""
    await session.execute(
        text("""
            UPDATE deliveries SET state = 'pending', next_at = now(), tries = 0
            WHERE job_id = :job_id AND state = 'delivered'
        """),
        {"job_id": job_id},
    )


async def record_deliveries(
    session: AsyncSession,
    *,
    lease: UUID,
    ids: Collection[UUID],
    failed: Mapping[UUID, tuple[str, float]],
) -> None:
    """Write what came of claimed deliveries: `failed` maps id to (error, seconds to wait)."""
    await session.execute(
        text("""
            UPDATE deliveries SET
                lease = NULL,
                state = CASE WHEN failure.id IS NULL THEN 'delivered' ELSE 'pending' END,
                delivered_at = CASE WHEN failure.id IS NULL THEN now() END,
                error = failure.error,
                next_at = now() + make_interval(secs => coalesce(failure.wait, 0))
            FROM unnest(CAST(:ids AS uuid[])) AS told(id)
            LEFT JOIN unnest(CAST(:failed AS uuid[]), CAST(:errors AS text[]),
                             CAST(:waits AS float[])) AS failure(id, error, wait) USING (id)
            WHERE deliveries.id = told.id AND deliveries.lease = :lease
              AND deliveries.state = 'pending'
        """),
        {
            "lease": lease,
            "ids": list(ids),
            "failed": list(failed),
            "errors": [error for error, _ in failed.values()],
            "waits": [wait for _, wait in failed.values()],
        },
    )
