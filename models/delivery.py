"""A delivery: one message to a producer that its job has ended.

    WAITING -> PENDING -> DELIVERED | FAILED (given up after a day)

The row is written with the job and made pending in the transaction that ends it, so that no end
goes untold. A delivery may happen twice (a crash just after it); what receives it must not mind:
each resend has the same id.
"""

import datetime as dt
import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy import ForeignKey, Index, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SUSPECTED, Base, Json, new_id, word_column
from models.errors import NotFound
from models.job import Job
from models.lane import StageName


class DeliveryKind(enum.StrEnum):
    CELERY = "celery"  # completes the Celery task that asked for the job
    WEBHOOK = "webhook"  # a signed POST


class DeliveryState(enum.StrEnum):
    WAITING = "waiting"  # its job has not ended
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  # tried for a day; may be replayed


STAGES = {DeliveryKind.CELERY: StageName.NOTIFY, DeliveryKind.WEBHOOK: StageName.WEBHOOK}


class Delivery(Base):
    __tablename__ = "deliveries"
    __table_args__ = (
        Index("deliveries_of_job", "job_id"),
        Index(
            "deliveries_to_send",  # claims.claim_deliveries, lane.find_lanes
            "endpoint",
            "next_at",
            "id",
            postgresql_where=text("kind = 'celery' AND state = 'pending'"),
        ),
        Index(
            "webhooks_to_send",  # the same
            "endpoint",
            "next_at",
            "id",
            postgresql_where=text("kind = 'webhook' AND state = 'pending'"),
        ),
        Index(
            "deliveries_given_up",  # delivery.count_given_up
            "next_at",
            postgresql_where=text("state = 'failed'"),
        ),
        Index(
            "deliveries_suspected",  # poison.set_aside_rows
            "next_at",
            postgresql_where=text(SUSPECTED),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    endpoint: Mapped[str]
    kind: Mapped[DeliveryKind] = mapped_column(
        word_column(DeliveryKind), server_default=DeliveryKind.CELERY.value
    )
    # Of Celery the request to complete: callbacks, chain, chord, group. Of a webhook its `url`.
    request: Mapped[Json]
    state: Mapped[DeliveryState] = mapped_column(
        word_column(DeliveryState), server_default=DeliveryState.WAITING.value
    )
    lease: Mapped[UUID | None]
    next_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    deaths: Mapped[int] = mapped_column(server_default="0")  # of workers that held it, in a row
    tries: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None]
    http_status: Mapped[int | None]  # of the last answer to a webhook
    pending_at: Mapped[dt.datetime | None]  # since when it is tried
    delivered_at: Mapped[dt.datetime | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """Word of a job's end that was asked for."""

    job_id: UUID
    endpoint: str
    kind: DeliveryKind
    request: Json


async def add_deliveries(session: AsyncSession, deliveries: Sequence[NewDelivery]) -> None:
    """Promise word of the jobs' ends, in the transaction that enqueues them."""
    if not deliveries:
        return
    rows = [
        {
            "id": new_id(),
            "job_id": one.job_id,
            "endpoint": one.endpoint,
            "kind": one.kind,
            "request": one.request,
        }
        for one in deliveries
    ]
    await session.execute(
        text("""
            INSERT INTO deliveries (id, job_id, endpoint, kind, request)
            SELECT id, job_id, endpoint, kind, request
            FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS delivery(
                id uuid, job_id uuid, endpoint text, kind text, request jsonb)
        """),
        {"rows": orjson.dumps(rows).decode()},
    )


async def wake_deliveries(
    session: AsyncSession, *, ended: Collection[UUID], hold_seconds: float
) -> dict[StageName, float]:
    """Make the deliveries of those jobs that ended due; the stages to ring, with seconds.

    Those of jobs with files yet to be stored are held for `hold_seconds` at most, so that a
    result tells of files that are in our keeping; `hasten_deliveries` ends the wait.
    """
    rows = await session.execute(
        text("""
            UPDATE deliveries SET state = 'pending', pending_at = now(), next_at = now() + CASE
                WHEN EXISTS (SELECT FROM artifacts WHERE artifacts.job_id = deliveries.job_id
                             AND artifacts.state = 'pending')
                THEN make_interval(secs => :hold) ELSE make_interval() END
            WHERE job_id = ANY(:ended) AND state = 'waiting'
              AND EXISTS (SELECT FROM jobs WHERE jobs.id = job_id AND finished_at IS NOT NULL)
            RETURNING kind, extract(epoch FROM next_at - now())
        """),
        {"ended": list(ended), "hold": hold_seconds},
    )
    waits: dict[StageName, float] = {}
    for kind, seconds in rows:
        stage = STAGES[DeliveryKind(kind)]
        waits[stage] = min(waits.get(stage, float(seconds)), float(seconds))
    return waits


async def hasten_deliveries(
    session: AsyncSession, *, artifact_ids: Collection[UUID]
) -> set[StageName]:
    """Files were stored, or given up: word of a job with none left waits no longer.

    Returns the stages that now have due work.
    """
    hastened = await session.scalars(
        text("""
            UPDATE deliveries SET next_at = now()
            FROM artifacts
            WHERE artifacts.id = ANY(:ids) AND deliveries.job_id = artifacts.job_id
              AND deliveries.state = 'pending' AND deliveries.tries = 0
              AND NOT EXISTS (SELECT FROM artifacts AS other
                              WHERE other.job_id = deliveries.job_id AND other.state = 'pending')
            RETURNING deliveries.kind
        """),
        {"ids": list(artifact_ids)},
    )
    return {STAGES[DeliveryKind(kind)] for kind in hastened}


async def redeliver(session: AsyncSession, *, job_id: UUID) -> None:
    """The producer asked again for a job whose end it was told: tell it once more."""
    await session.execute(
        text("""
            UPDATE deliveries SET state = 'pending', next_at = now(), pending_at = now(), tries = 0,
                deaths = 0, lease = NULL
            WHERE job_id = :job_id AND kind = 'celery'
              -- One that is just being told may have been told before it was asked for again.
              AND (state = 'delivered' OR state = 'pending' AND lease IS NOT NULL)
        """),
        {"job_id": job_id},
    )


async def replay_delivery(session: AsyncSession, delivery_id: UUID) -> Delivery | None:
    """Send it again, for another day; None if its job has not ended, so that there is no word yet.

    Raises:
        NotFound: there is none with this id.
    """
    replayed = await session.scalar(
        text("""
            UPDATE deliveries SET state = 'pending', next_at = now(), pending_at = now(), tries = 0,
                deaths = 0, error = NULL, http_status = NULL, delivered_at = NULL
            WHERE id = :id AND lease IS NULL AND state <> 'waiting' RETURNING id
        """),
        {"id": delivery_id},
    )
    delivery = await session.get(Delivery, delivery_id)
    if delivery is None:
        raise NotFound("delivery", str(delivery_id))
    if replayed is None and delivery.state is DeliveryState.WAITING:
        return None
    return delivery


async def find_owner_of_delivery(session: AsyncSession, delivery_id: UUID) -> UUID | None:
    """The key whose job it is of.

    Raises:
        NotFound: there is none with this id.
    """
    row = (
        await session.execute(
            select(Job.key_id)
            .join(Delivery, Delivery.job_id == Job.id)
            .where(Delivery.id == delivery_id)
        )
    ).one_or_none()
    if row is None:
        raise NotFound("delivery", str(delivery_id))
    key_id: UUID | None = row[0]
    return key_id


async def list_deliveries(
    session: AsyncSession,
    *,
    limit: int,
    job_id: UUID | None = None,
    owner: UUID | None = None,
    state: DeliveryState | None = None,
    before: UUID | None = None,
) -> Sequence[Delivery]:
    """Newest first; of one key's jobs, or (None) of everybody's. `before`: the last one seen."""
    statement = select(Delivery).order_by(Delivery.id.desc()).limit(limit)
    if job_id is not None:
        statement = statement.where(Delivery.job_id == job_id)
    if owner is not None:
        statement = statement.join(Job, Job.id == Delivery.job_id).where(Job.key_id == owner)
    if state is not None:
        statement = statement.where(Delivery.state == state)
    if before is not None:
        statement = statement.where(Delivery.id < before)
    return (await session.scalars(statement)).all()


async def count_given_up(session: AsyncSession, *, hours: float) -> int:
    """How many were given up so lately, and were not replayed since."""
    statement = text("""
        SELECT count(*) FROM deliveries
        WHERE state = 'failed' AND next_at > now() - make_interval(secs => :seconds)
    """)
    return int(await session.scalar(statement, {"seconds": hours * 3600}) or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFailure:
    """Why one did not get through, and when it is tried again (None: it is given up)."""

    error: str
    retry_in: float | None  # seconds


async def record_deliveries(
    session: AsyncSession,
    *,
    lease: UUID,
    ids: Collection[UUID],
    failed: Mapping[UUID, DeliveryFailure],
    http_statuses: Mapping[UUID, int] | None = None,
) -> None:
    """Write what came of claimed deliveries; those not in `failed` got through."""
    statuses = http_statuses or {}
    await session.execute(
        text("""
            UPDATE deliveries SET
                lease = NULL,
                deaths = 0,
                state = CASE WHEN failure.id IS NULL THEN 'delivered'
                    WHEN failure.wait IS NULL THEN 'failed' ELSE 'pending' END,
                delivered_at = CASE WHEN failure.id IS NULL THEN now() END,
                error = failure.error,
                http_status = told.http_status,
                next_at = now() + make_interval(secs => coalesce(failure.wait, 0))
            FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS int[])) AS told(id, http_status)
            LEFT JOIN unnest(CAST(:failed AS uuid[]), CAST(:errors AS text[]),
                             CAST(:waits AS float[])) AS failure(id, error, wait) USING (id)
            WHERE deliveries.id = told.id AND deliveries.lease = :lease
              AND deliveries.state = 'pending'
        """),
        {
            "lease": lease,
            "ids": list(ids),
            "statuses": [statuses.get(one) for one in ids],
            "failed": list(failed),
            "errors": [one.error for one in failed.values()],
            "waits": [one.retry_in for one in failed.values()],
        },
    )
