"""An event: a job or a file has come to a new state. Written by triggers, so that none is missed.

Those of campaigns and budgets are written with what they tell of: `announcement.py`.

Its place is (`transaction`, `number`). A reader that reads only what is older than every
transaction still under way can go on after the last place that it saw, and will have missed
nothing: numbers alone do not tell, for they are drawn before they are committed.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, count_rows

FORGET_AT_ONCE = 20_000  # rows of one sweep


class Event(Base):
    __tablename__ = "events"
    __table_args__ = (
        Index("events_by_age", "at"),  # forget_events
        Index("events_of_job", "job_id"),  # job_queries.list_timeline
    )

    transaction: Mapped[int] = mapped_column(
        BigInteger,
        primary_key=True,
        autoincrement=False,
        server_default=text("CAST(CAST(pg_current_xact_id() AS text) AS bigint)"),
    )
    number: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    type: Mapped[str]  # "job.completed", "artifact.stored", "campaign.completed", "budget.warned"
    job_id: Mapped[UUID | None]
    artifact_id: Mapped[UUID | None]
    campaign_id: Mapped[UUID | None]  # of an event of the campaign itself
    budget_id: Mapped[UUID | None]
    key_id: Mapped[UUID | None]
    endpoint: Mapped[str | None]
    state: Mapped[str]


# A claim, and its undoing, are no news: a job is queued once.
EVENT_TRIGGERS = """
CREATE OR REPLACE FUNCTION note_job_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (type, job_id, key_id, endpoint, state)
    VALUES ('job.' || NEW.state, NEW.id, NEW.key_id, NEW.endpoint, NEW.state);
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_added AFTER INSERT ON jobs
    FOR EACH ROW EXECUTE FUNCTION note_job_event();
CREATE TRIGGER jobs_moved AFTER UPDATE OF state ON jobs
    FOR EACH ROW
    WHEN (NEW.state <> OLD.state AND NEW.state <> 'submitting'
          AND NOT (OLD.state = 'submitting' AND NEW.state = 'queued'))
    EXECUTE FUNCTION note_job_event();
CREATE OR REPLACE FUNCTION note_artifact_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (type, job_id, artifact_id, key_id, endpoint, state)
    SELECT 'artifact.' || NEW.state, NEW.job_id, NEW.id, jobs.key_id, NEW.endpoint, NEW.state
    FROM jobs WHERE jobs.id = NEW.job_id;
    RETURN NULL;
END $$;
CREATE TRIGGER artifacts_moved AFTER UPDATE OF state ON artifacts
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION note_artifact_event();
"""


# Before it everything has been committed, or never will be.
_HORIZON = "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in the events a reader is: after this one."""

    transaction: int
    number: int

    def __str__(self) -> str:
        return f"{self.transaction}-{self.number}"

    @classmethod
    def parse(cls, given: str) -> "Place":
        """
        Raises:
            ValueError: it is no place.
        """
        transaction, dash, number = given.partition("-")
        if not (dash and transaction.isdecimal() and number.isdecimal() and given.isascii()):
            raise ValueError(f"{given!r} is no event id: two numbers and a dash were wanted")
        place = cls(int(transaction), int(number))
        if max(place.transaction, place.number) >= 2**63:
            raise ValueError(f"{given!r} is no event id: it is too large")
        return place


async def find_place(session: AsyncSession) -> Place:
    """Before everything that is still to come."""
    horizon = await session.scalar(text(f"SELECT {_HORIZON}"))
    return Place(int(horizon or 0), 0)


async def list_events(
    session: AsyncSession, *, after: Place, limit: int, owner: UUID | None = None
) -> Sequence[Event]:
    """In order, those after a place; of one key's jobs, or (None) of everybody's."""
    place = tuple_(Event.transaction, Event.number)
    statement = select(Event).where(
        place > tuple_(after.transaction, after.number), Event.transaction < text(_HORIZON)
    )
    if owner is not None:
        statement = statement.where(Event.key_id == owner)
    ordered = statement.order_by(Event.transaction, Event.number).limit(limit)
    return (await session.scalars(ordered)).all()


@dataclass(frozen=True, slots=True)
class Moved:
    """Of which jobs some events tell.

    Attributes:
        place: of the last of them.
        at: when that was.
    """

    job_ids: Sequence[UUID]
    events: int
    place: Place
    at: dt.datetime


async def find_moved(session: AsyncSession, *, after: Place, limit: int) -> Moved | None:
    """Each job once, of up to `limit` events after a place; None: there are none."""
    row = (
        await session.execute(
            text(f"""
                WITH following AS MATERIALIZED (
                    SELECT transaction, number, job_id, at FROM events
                    WHERE (transaction, number) > (:transaction, :number)
                        AND transaction < {_HORIZON}
                    ORDER BY transaction, number LIMIT :limit
                )
                SELECT transaction, number, at, (SELECT count(*) FROM following) AS events,
                    ARRAY(SELECT DISTINCT job_id FROM following WHERE job_id IS NOT NULL) AS job_ids
                FROM following ORDER BY transaction DESC, number DESC LIMIT 1
            """),  # noqa: S608 -- a constant
            {"transaction": after.transaction, "number": after.number, "limit": limit},
        )
    ).one_or_none()
    if row is None:
        return None
    return Moved(row.job_ids, row.events, Place(row.transaction, row.number), row.at)


async def forget_events(session: AsyncSession, *, older_than_seconds: float) -> int:
    """Delete old ones; some thousands at once."""
    return count_rows(
        await session.execute(
            text("""
                DELETE FROM events WHERE ctid = ANY(ARRAY(
                    SELECT ctid FROM events WHERE at < now() - make_interval(secs => :age)
                    ORDER BY at LIMIT :most))
            """),
            {"age": older_than_seconds, "most": FORGET_AT_ONCE},
        )
    )
