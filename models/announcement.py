"""An announcement: word of a campaign or a budget, sent to an address, or as a Celery task.

It is written in the transaction that makes it true, with an event of the same type, and sent until
it is taken, for a day at most. It may come twice; its id is the same each time.
"""

import datetime as dt
import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Index, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, new_id, word_column

GIVE_UP_SECONDS = 24 * 3600.0
FIRST_SECONDS = 5.0  # until it is sent again; twice as long each time after
LONGEST_SECONDS = 3600.0


class AnnouncementType(enum.StrEnum):
    CAMPAIGN_COMPLETED = "campaign.completed"
    BUDGET_WARNED = "budget.warned"
    BUDGET_REACHED = "budget.reached"


class AnnouncementState(enum.StrEnum):
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"  # tried for a day


class Announcement(Base):
    __tablename__ = "announcements"
    __table_args__ = (
        Index(
            "announcements_to_send",  # claim_announcements
            "next_at",
            postgresql_where=text("state = 'pending'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[AnnouncementType] = mapped_column(word_column(AnnouncementType))
    url: Mapped[str | None]  # one of the two
    task: Mapped[Json | None]  # name and queue of a Celery task
    body: Mapped[Json]
    state: Mapped[AnnouncementState] = mapped_column(
        word_column(AnnouncementState), server_default=AnnouncementState.PENDING.value
    )
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    next_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    tries: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None]


@dataclass(frozen=True, slots=True)
class DueAnnouncement:
    """One to be sent; `now`: by the database's clock."""

    id: UUID
    type: AnnouncementType
    url: str | None
    task: Mapping[str, Any] | None
    body: Mapping[str, Any]
    now: dt.datetime


def announce(
    session: AsyncSession,
    kind: AnnouncementType,
    body: Json,
    *,
    url: str | None = None,
    task: Json | None = None,
) -> None:
    """Have it sent once this transaction has been committed, if there is anybody to send it to."""
    for to in ({"url": url}, {"task": task}):
        if any(to.values()):
            session.add(Announcement(id=new_id(), type=kind, body=body, **to))


async def claim_announcements(
    session: AsyncSession, *, limit: int, lease_seconds: float
) -> Sequence[DueAnnouncement]:
    """Due ones; nobody else is given them for so long."""
    rows = await session.execute(
        text("""
            UPDATE announcements SET tries = tries + 1,
                next_at = now() + make_interval(secs => :lease)
            WHERE id IN (
                SELECT id FROM announcements WHERE state = 'pending' AND next_at <= now()
                ORDER BY next_at LIMIT :limit FOR UPDATE SKIP LOCKED)
            RETURNING id, type, url, task, body, now() AS now
        """),
        {"limit": limit, "lease": lease_seconds},
    )
    return [
        DueAnnouncement(row.id, AnnouncementType(row.type), row.url, row.task, row.body, row.now)
        for row in rows
    ]


async def record_announcements(
    session: AsyncSession, *, sent: Collection[UUID], failed: Mapping[UUID, str]
) -> None:
    """Those that were taken are done; the others are sent again, for a day."""
    await session.execute(
        text("UPDATE announcements SET state = 'sent', error = NULL WHERE id = ANY(:ids)"),
        {"ids": list(sent)},
    )
    await session.execute(
        text("""
            UPDATE announcements SET error = failed.error,
                state = CASE WHEN created_at < now() - make_interval(secs => :most)
                    THEN 'failed' ELSE 'pending' END,
                next_at = now() + make_interval(secs =>
                    least(:longest, :first * power(2, least(tries - 1, 16))))
            FROM unnest(CAST(:ids AS uuid[]), CAST(:errors AS text[])) AS failed(id, error)
            WHERE announcements.id = failed.id AND state = 'pending'  -- nobody else sent it
        """),
        {
            "ids": list(failed),
            "errors": list(failed.values()),
            "most": GIVE_UP_SECONDS,
            "first": FIRST_SECONDS,
            "longest": LONGEST_SECONDS,
        },
    )


async def has_announcements(session: AsyncSession) -> bool:
    statement = text("""
        SELECT EXISTS (SELECT FROM announcements WHERE state = 'pending' AND next_at <= now())
    """)
    return bool(await session.scalar(statement))


async def note_event(
    session: AsyncSession,
    kind: AnnouncementType,
    *,
    campaign_id: UUID | None = None,
    budget_id: UUID | None = None,
    key_id: UUID | None = None,
) -> None:
    """Those who listen to events are told of it, too."""
    await session.execute(
        text("""
            INSERT INTO events (type, campaign_id, budget_id, key_id, state)
            VALUES (:type, :campaign_id, :budget_id, :key_id, split_part(:type, '.', 2))
        """),
        {
            "type": kind,
            "campaign_id": campaign_id,
            "budget_id": budget_id,
            "key_id": key_id,
        },
    )
