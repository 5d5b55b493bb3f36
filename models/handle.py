"""A handle: a name under which a key finds a job that it handed in before.

Clients send again what they do not know to have arrived. Two names are kept for that: the
`Idempotency-Key` of a request, for a day; and the hash of a whole request with a fixed seed, for
as long as its job is in flight. Both are taken in the transaction that enqueues the job, so of any
number of equal requests at any number of gateways one becomes a job.
"""

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy import Index, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, count_rows, word_column
from models.job import JobState

KEPT_SECONDS = 24 * 3600.0
FORGET_AT_ONCE = 5_000  # rows of one sweep


class HandleKind(enum.StrEnum):
    IDEMPOTENCY_KEY = "idempotency_key"
    SEEDED = "seeded"  # the hash of a request with a fixed seed


class Handle(Base):
    __tablename__ = "handles"
    __table_args__ = (Index("handles_by_age", "created_at"),)  # forget_handles

    key_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[HandleKind] = mapped_column(word_column(HandleKind), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
    request_hash: Mapped[str]  # of the whole request, to tell another one under the same name
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHandle:
    """A name that a job is to have, if no other has it."""

    key_id: UUID
    kind: HandleKind
    name: str
    job_id: UUID
    request_hash: str

    @property
    def full_name(self) -> tuple[UUID, HandleKind, str]:
        return self.key_id, self.kind, self.name


@dataclass(frozen=True, slots=True)
class HeldBy:
    """The job that has a name."""

    job_id: UUID
    state: JobState
    request_hash: str


# First the locks, in one order for everybody; the next statement then sees what was committed by
# whoever held them, for in a function that is VOLATILE each has a snapshot of its own.
TAKE_HANDLES = """
CREATE OR REPLACE FUNCTION take_handles(wanted jsonb, kept_seconds double precision)
RETURNS TABLE (key_id uuid, kind text, name text) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(full_name, 7305846014)) FROM (
        SELECT concat_ws(':', one.key_id, one.kind, one.name) AS full_name
        FROM jsonb_to_recordset(wanted) AS one(key_id uuid, kind text, name text)
        ORDER BY 1) AS ordered;
    RETURN QUERY
        INSERT INTO handles AS held (key_id, kind, name, job_id, request_hash)
        SELECT one.key_id, one.kind, one.name, one.job_id, one.request_hash
        FROM jsonb_to_recordset(wanted) AS one(
            key_id uuid, kind text, name text, job_id uuid, request_hash text)
        ON CONFLICT (key_id, kind, name) DO UPDATE SET
            job_id = excluded.job_id, request_hash = excluded.request_hash, created_at = now()
        WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.id = held.job_id)
           OR (held.kind = 'idempotency_key'
               AND held.created_at < now() - make_interval(secs => kept_seconds))
           OR (held.kind = 'seeded'
               AND EXISTS (SELECT FROM jobs WHERE id = held.job_id AND finished_at IS NOT NULL))
        RETURNING held.key_id, CAST(held.kind AS text), held.name;
END $$;
"""


async def take_handles(
    session: AsyncSession, handles: Sequence[NewHandle]
) -> dict[tuple[UUID, HandleKind, str], HeldBy]:
    """Give each name to its job; returns those names that other jobs have, and which.

    No name may come twice. The jobs are to be inserted in the same transaction: until it ends,
    whoever wants one of the names waits.
    """
    if not handles:
        return {}
    taken = {
        (key_id, HandleKind(kind), name)
        for key_id, kind, name in await session.execute(
            text("SELECT * FROM take_handles(CAST(:handles AS jsonb), :kept)"),
            {"handles": orjson.dumps(list(handles)).decode(), "kept": KEPT_SECONDS},
        )
    }
    return await find_held(session, [one for one in handles if one.full_name not in taken])


async def find_held(
    session: AsyncSession, handles: Sequence[NewHandle]
) -> dict[tuple[UUID, HandleKind, str], HeldBy]:
    """Those of these names that jobs have, and which; none is taken."""
    if not handles:
        return {}
    held = await session.execute(
        text("""
            SELECT handles.key_id, handles.kind, handles.name, jobs.id, jobs.state, request_hash
            FROM unnest(CAST(:keys AS uuid[]), CAST(:kinds AS text[]), CAST(:names AS text[]))
                AS wanted(key_id, kind, name)
            JOIN handles USING (key_id, kind, name)
            JOIN jobs ON jobs.id = handles.job_id
        """),
        {
            "keys": [one.key_id for one in handles],
            "kinds": [one.kind for one in handles],
            "names": [one.name for one in handles],
        },
    )
    return {
        (key_id, HandleKind(kind), name): HeldBy(job_id, JobState(state), request_hash)
        for key_id, kind, name, job_id, state, request_hash in held
    }


async def free_handles(session: AsyncSession, job_id: UUID) -> None:
    """Nothing came of the job that may have been billed: its names may be used again."""
    await session.execute(
        text(
            "DELETE FROM handles USING jobs "
            "WHERE jobs.id = :id AND handles.key_id = jobs.key_id AND handles.job_id = jobs.id"
        ),
        {"id": job_id},
    )


async def forget_handles(session: AsyncSession) -> int:
    """Delete those that nobody can be meant by any more; a few thousand at once."""
    return count_rows(
        await session.execute(
            text("""
                DELETE FROM handles WHERE ctid = ANY(ARRAY(
                    SELECT handles.ctid FROM handles LEFT JOIN jobs ON jobs.id = handles.job_id
                    WHERE handles.created_at < now() - make_interval(secs => :kept)
                      AND (kind = 'idempotency_key' OR jobs.finished_at IS NOT NULL
                           OR jobs.id IS NULL)
                    LIMIT :most))
            """),
            {"kept": KEPT_SECONDS, "most": FORGET_AT_ONCE},
        )
    )
