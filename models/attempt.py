"""An attempt: one row for every `/run` ever sent. The sum over it is what the bill should say.

The row is written in the transaction that claims the job, before anything is sent, and each of its
facts is filled in once. A trigger refuses deletes and changes, so no bug can rewrite it.
"""

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Usd, word_column


class Answer(enum.StrEnum):
    ACCEPTED = "accepted"
    BUSY = "busy"  # told to wait: no attempt is used
    REFUSED = "refused"
    FAULT = "fault"  # the upstream answered that it failed
    UNSENT = "unsent"  # it is sure that nothing reached the upstream
    UNKNOWN = "unknown"  # no answer, or one that does not say


class Fate(enum.StrEnum):
    """What was concluded of one that came to nothing, when the job was decided on."""

    ABSENT = "absent"  # webhooks of others came since, and none of it: it was never taken
    DOUBTFUL = "doubtful"  # it may have been taken, and billed
    GONE = "gone"  # it was taken, and the upstream no longer knows it; it may have been billed


class Attempt(Base):
    __tablename__ = "attempts"
    __table_args__ = (
        Index("attempts_recently_sent", "endpoint", "sent_at"),  # claims.find_recent_submits
        # They come in the order of their time, and are never moved: some kilobytes will do.
        Index("attempts_by_time", "sent_at", postgresql_using="brin"),  # spend.sum_spend
        Index(
            "attempts_in_doubt",  # doubt.py
            "job_id",
            postgresql_where=text("fate IN ('doubtful', 'gone')"),
        ),
        Index("attempts_at_fault", "job_id", postgresql_where=text("answer = 'fault'")),  # the same
        Index(
            "attempts_heard_of",  # the same
            "job_id",
            postgresql_where=text("upstream_id IS NOT NULL AND answer IS DISTINCT FROM 'accepted'"),
        ),
    )

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    lease: Mapped[UUID] = mapped_column(primary_key=True)  # of the claim that sent it
    number: Mapped[int]
    endpoint: Mapped[str]
    sent_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    answered_at: Mapped[dt.datetime | None]
    answer: Mapped[Answer | None] = mapped_column(word_column(Answer))
    http_status: Mapped[int | None]
    upstream_id: Mapped[str | None]
    error: Mapped[str | None]
    cost_usd: Mapped[Usd | None]
    fate: Mapped[Fate | None] = mapped_column(word_column(Fate))
    risk_usd: Mapped[Usd | None]  # what it would have cost, of one that may have been billed


# Facts are filled in once: null may become a value, a value may not change; but what was concluded
# of an attempt without word of it gives way if it is known later to have been taken, and forgotten.
REFUSE_LEDGER_CHANGE = """
CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'the attempts ledger is append-only: no row is deleted';
    END IF;
    IF (OLD.job_id, OLD.lease, OLD.number, OLD.endpoint, OLD.sent_at)
            IS DISTINCT FROM (NEW.job_id, NEW.lease, NEW.number, NEW.endpoint, NEW.sent_at)
        OR (OLD.answered_at IS NOT NULL AND NEW.answered_at IS DISTINCT FROM OLD.answered_at)
        OR (OLD.answer IS NOT NULL AND NEW.answer IS DISTINCT FROM OLD.answer)
        OR (OLD.http_status IS NOT NULL AND NEW.http_status IS DISTINCT FROM OLD.http_status)
        OR (OLD.upstream_id IS NOT NULL AND NEW.upstream_id IS DISTINCT FROM OLD.upstream_id)
        OR (OLD.error IS NOT NULL AND NEW.error IS DISTINCT FROM OLD.error)
        OR (OLD.cost_usd IS NOT NULL AND NEW.cost_usd IS DISTINCT FROM OLD.cost_usd)
        OR (OLD.fate IS NOT NULL AND NEW.fate IS DISTINCT FROM OLD.fate
            AND (OLD.upstream_id IS NULL OR NEW.fate IS DISTINCT FROM 'gone'))
        OR (OLD.risk_usd IS NOT NULL AND NEW.risk_usd IS DISTINCT FROM OLD.risk_usd)
    THEN
        RAISE EXCEPTION 'the attempts ledger is append-only: a fact once written stays';
    END IF;
    RETURN NEW;
END $$;
"""
APPEND_ONLY_TRIGGER = """
CREATE TRIGGER attempts_append_only BEFORE UPDATE OR DELETE ON attempts
    FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change();
"""


# An attempt of a job that the upstream was heard to have taken, and still has; the latest.
HEARD_OF = """
    SELECT upstream_id, sent_at FROM attempts
    WHERE attempts.job_id = {job}.id AND number > {job}.attempts_before
      AND upstream_id IS NOT NULL AND fate IS DISTINCT FROM 'gone'
    ORDER BY sent_at DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """What was answered to one `/run`."""

    job_id: UUID
    lease: UUID
    answer: Answer
    http_status: int | None = None
    upstream_id: str | None = None
    error: str | None = None


async def answer_attempts(session: AsyncSession, ends: Sequence[AttemptEnd]) -> None:
    """Fill in the answers. No lease of the job is asked for: what was answered stays true."""
    await session.execute(
        text("""
            UPDATE attempts SET
                answered_at = now(),
                answer = ended.answer,
                http_status = ended.http_status,
                upstream_id = coalesce(attempts.upstream_id, ended.upstream_id),
                error = ended.error
            FROM jsonb_to_recordset(CAST(:ends AS jsonb)) AS ended(
                job_id uuid, lease uuid, answer text, http_status int, upstream_id text, error text)
            WHERE attempts.job_id = ended.job_id AND attempts.lease = ended.lease
              AND attempts.answer IS NULL
        """),
        {"ends": orjson.dumps(list(ends)).decode()},
    )


async def settle_attempts(session: AsyncSession, *, job_ids: Sequence[UUID]) -> None:
    """Write the jobs' costs into the ledger, each beside the attempt that led to it."""
    await session.execute(
        text("""
            UPDATE attempts SET cost_usd = jobs.cost_usd
            FROM jobs
            WHERE jobs.id = ANY(:ids) AND jobs.cost_usd IS NOT NULL
              AND attempts.job_id = jobs.id AND attempts.cost_usd IS NULL
              -- Texts may come without an id; what is sent again has one.
              AND attempts.upstream_id IS NOT DISTINCT FROM jobs.upstream_id
        """),
        {"ids": list(job_ids)},
    )
