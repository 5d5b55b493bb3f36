"""A campaign: jobs handed in together, from a file, and followed as one. It is counted, not kept:
how far it is, and what it cost, is read from its jobs.

One that has a specification is expanded by workers, in order: `expanded` says how many of its items
there are, and is written together with them, so that none is there twice or left out whatever dies.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, Text, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, new_id
from models.errors import NotFound, PressroomError
from models.job import OPEN, JobState, Reason
from models.key import ApiKey

# States of jobs that have not ended, as an index of the campaign's jobs has them.
_OPEN = ", ".join(f"'{state.value}'" for state in OPEN)


class NameTaken(PressroomError):
    """There is a campaign of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"name: a campaign {self.name!r} is there already; another name was wanted"


class Campaign(Base):
    __tablename__ = "campaigns"
    __table_args__ = (
        Index(
            "campaigns_named",  # NameTaken
            "name",
            unique=True,
            postgresql_where=text("spec IS NOT NULL"),
        ),
        Index(
            "campaigns_to_expand",  # claim_unexpanded
            "expanded_at",
            postgresql_where=text("spec IS NOT NULL AND total IS NULL AND problem IS NULL"),
        ),
        Index("campaigns_unsettled", "id", postgresql_where=text("unsettled")),  # hold.py
        CheckConstraint("max_in_flight > 0", name="some_in_flight"),
        Index(
            "campaigns_open",  # complete_campaigns, slots.is_any_limited
            "id",
            postgresql_where=text("completed_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    endpoint: Mapped[str | None]  # None if its jobs run on several
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    total: Mapped[int | None]  # None until all of its file is enqueued
    spec: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    rows_key: Mapped[str | None]  # of its file, in the store: as it was when it was started
    planned: Mapped[int | None]  # items of it, as they were counted before it was started
    expanded: Mapped[int] = mapped_column(server_default="0")  # items that are enqueued
    expanded_at: Mapped[dt.datetime | None]  # when the last of them were, or somebody was sent for
    problem: Mapped[str | None]  # why it is not expanded further
    paused_at: Mapped[dt.datetime | None]
    unsettled: Mapped[bool] = mapped_column(server_default="false")  # its jobs are not so yet
    key_id: Mapped[UUID | None] = mapped_column(ForeignKey(ApiKey.id))  # whose jobs they are
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    max_in_flight: Mapped[int | None]  # jobs of it: slots.py
    pace_from: Mapped[int] = mapped_column(server_default="0")  # the position that it begins with
    paced_at: Mapped[dt.datetime | None]  # and when; None: as it was created
    completed_at: Mapped[dt.datetime | None]  # when all of it had ended, and its files were stored

    @property
    def paced_items(self) -> int | None:
        """How many are spread over its time, if it is paced."""
        return None if self.planned is None else self.planned - self.pace_from


async def add_campaign(
    session: AsyncSession,
    *,
    name: str,
    endpoint: str | None,
    spec: dict[str, Any] | None = None,
    rows_key: str | None = None,
    planned: int | None = None,
    tags: Collection[str] = (),
    max_in_flight: int | None = None,
    key_id: UUID | None = None,
) -> UUID:
    """
    Args:
        spec: to be expanded by workers; without one, whoever adds it enqueues its jobs.
        rows_key: of the specification's file, in the store.
        planned: how many items it has.

    Raises:
        NameTaken: another that has a specification has this name.
    """
    campaign = Campaign(
        id=new_id(),
        name=name,
        endpoint=endpoint,
        spec=spec,
        rows_key=rows_key,
        planned=planned,
        tags=sorted(set(tags)),
        max_in_flight=max_in_flight,
        key_id=key_id,
    )
    session.add(campaign)
    try:
        await session.flush()
    except IntegrityError as error:
        if "campaigns_named" in str(error):
            raise NameTaken(name) from error
        raise
    return campaign.id


async def claim_unexpanded(session: AsyncSession, *, idle_seconds: float) -> Sequence[UUID]:
    """Those of which items are left to be enqueued, and nobody has enqueued any for so long.

    Whoever asks goes on with them: for as long again nobody else is told.
    """
    return (
        await session.scalars(
            text("""
                UPDATE campaigns SET expanded_at = now()
                WHERE spec IS NOT NULL AND total IS NULL AND problem IS NULL AND paused_at IS NULL
                  AND coalesce(expanded_at, created_at) < now() - make_interval(secs => :idle)
                RETURNING id
            """),
            {"idle": idle_seconds},
        )
    ).all()


async def advance(
    session: AsyncSession, campaign_id: UUID, *, start: int, end: int, paced_at: dt.datetime | None
) -> bool:
    """Items from `start` up to `end` are enqueued in this transaction; False: somebody else did.

    The same if it has another pace by now than the one that began at `paced_at`.

    Two that expand the same campaign at once: the second waits for the first, and then gives way.
    """
    moved = await session.execute(
        text("""
            UPDATE campaigns SET expanded = :end, expanded_at = now()
            WHERE id = :id AND expanded = :start AND total IS NULL AND problem IS NULL
              AND paused_at IS NULL AND paced_at IS NOT DISTINCT FROM :paced_at
            RETURNING id
        """),
        {"id": campaign_id, "start": start, "end": end, "paced_at": paced_at},
    )
    return moved.first() is not None


async def give_up_expanding(session: AsyncSession, campaign_id: UUID, problem: str) -> None:
    """The rest of its items cannot be enqueued; those that are run on."""
    await session.execute(
        text("""
            UPDATE campaigns SET problem = :problem, total = expanded
            WHERE id = :id AND total IS NULL
        """),
        {"id": campaign_id, "problem": problem},
    )


async def complete_campaigns(session: AsyncSession) -> Sequence[Campaign]:
    """Those that have come to their end since somebody last asked.

    All their jobs have ended, and every file is stored or given up; whoever asks tells of it.
    """
    # A statement of its own: jobs that are just being retried are seen by the one after it.
    open_ones = await session.scalars(
        text("""
            SELECT id FROM campaigns WHERE completed_at IS NULL AND total IS NOT NULL
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        """)
    )
    rows = await session.scalars(
        text(f"""
            UPDATE campaigns SET completed_at = now()
            WHERE id = ANY(:ids)
              AND NOT EXISTS (
                SELECT FROM jobs WHERE campaign_id = campaigns.id AND state IN ({_OPEN}))
              AND NOT EXISTS (
                SELECT FROM artifacts JOIN jobs ON jobs.id = job_id
                WHERE artifacts.state = 'pending' AND campaign_id = campaigns.id)
            RETURNING id
        """),  # noqa: S608 -- a constant
        {"ids": open_ones.all()},
    )
    ids = rows.all()
    return (await session.scalars(select(Campaign).where(Campaign.id.in_(ids)))).all()


async def close_campaign(session: AsyncSession, campaign_id: UUID) -> int:
    """All of it is enqueued: fix its total, which is returned."""
    statement = text("""
        UPDATE campaigns SET total = (SELECT count(*) FROM jobs WHERE campaign_id = :id)
        WHERE id = :id RETURNING total
    """)
    return int((await session.execute(statement, {"id": campaign_id})).scalar_one())


async def get_campaign(
    session: AsyncSession, campaign_id: UUID, *, owner: UUID | None = None
) -> Campaign:
    """
    Args:
        owner: a key whose own it must be; None: anybody's.

    Raises:
        NotFound: there is none with this id.
    """
    campaign = await session.get(Campaign, campaign_id)
    if campaign is None or owner not in {None, campaign.key_id}:
        raise NotFound("campaign", str(campaign_id))
    return campaign


async def list_campaigns(
    session: AsyncSession,
    *,
    limit: int,
    owner: UUID | None = None,
    before: UUID | None = None,
) -> Sequence[Campaign]:
    """Newest first, of one key or (None) of everybody; those older than `before`."""
    statement = select(Campaign).order_by(Campaign.id.desc()).limit(limit)
    if owner is not None:
        statement = statement.where(Campaign.key_id == owner)
    if before is not None:
        statement = statement.where(Campaign.id < before)
    return (await session.scalars(statement)).all()


async def find_last_position(session: AsyncSession, campaign_id: UUID) -> int:
    """The line of its file up to which it is enqueued; 0 if none is."""
    return int(
        await session.scalar(
            text("SELECT coalesce(max(position), 0) FROM jobs WHERE campaign_id = :id"),
            {"id": campaign_id},
        )
        or 0
    )


async def find_unended_jobs(session: AsyncSession, campaign_id: UUID) -> list[UUID]:
    """The ids of its jobs that a cancel would still reach."""
    return list(
        await session.scalars(
            text("SELECT id FROM jobs WHERE campaign_id = :id AND finished_at IS NULL"),
            {"id": campaign_id},
        )
    )


@dataclass(frozen=True, slots=True)
class Retriable:
    """A job that ended without a result, and what another try may cost."""

    id: UUID
    estimate_usd: Decimal | None


async def find_retriable(
    session: AsyncSession,
    campaign_id: UUID,
    *,
    states: Collection[JobState],
    reasons: Collection[Reason],
) -> Sequence[Retriable]:
    """Jobs of the campaign that ended so, in its order.

    Args:
        states: of those that may be sent again.
        reasons: for which they ended; any, if there are none.
    """
    rows = await session.execute(
        text("""
            SELECT id, estimate_usd FROM jobs
            WHERE campaign_id = :id AND state = ANY(:states)
              AND (cardinality(CAST(:reasons AS text[])) = 0 OR reason = ANY(:reasons))
            ORDER BY position
        """),
        {"id": campaign_id, "states": list(states), "reasons": list(reasons)},
    )
    return [Retriable(row.id, row.estimate_usd) for row in rows]


async def list_first_jobs(
    session: AsyncSession, campaign_id: UUID, *, limit: int | None
) -> list[UUID]:
    """The ids of its first items, or (None) of all, in its order."""
    return list(
        await session.scalars(
            text("""
                SELECT id FROM jobs WHERE campaign_id = :id ORDER BY position, id LIMIT :limit
            """),
            {"id": campaign_id, "limit": limit},
        )
    )
