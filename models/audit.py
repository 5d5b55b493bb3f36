"""The audit log: who did what, when, and how it was before and after.

A line is written in the transaction of the act that it tells of: neither is there without the
other. Lines are never changed, which a trigger sees to; the sweep forgets those that are older than
`audit_days`. They hold states, limits and counts, and no secret, prompt or input.

Only what people and programs of theirs ask for is noted, by those who know who asks (the gateway
its key, the command line its user): what workers do by themselves stands in `events`.
"""

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Index, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, count_rows, new_id
from models.errors import NotFound

FORGOTTEN_MOST = 10_000  # lines, at once


class Action(enum.StrEnum):
    """What was done: a kind of thing, and a verb."""

    LANE_PAUSE = "lane.pause"
    LANE_RESUME = "lane.resume"
    LANE_DRAIN = "lane.drain"
    LANE_LIMIT = "lane.limit"
    JOBS_CANCEL = "jobs.cancel"
    JOBS_RETRY = "jobs.retry"
    JOBS_PRIORITIZE = "jobs.prioritize"
    CAMPAIGN_START = "campaign.start"
    CAMPAIGN_PAUSE = "campaign.pause"
    CAMPAIGN_RESUME = "campaign.resume"
    CAMPAIGN_PACE = "campaign.pace"
    CAMPAIGN_CANCEL = "campaign.cancel"
    SCHEDULE_CREATE = "schedule.create"
    SCHEDULE_EDIT = "schedule.edit"
    SCHEDULE_PAUSE = "schedule.pause"
    SCHEDULE_RESUME = "schedule.resume"
    SCHEDULE_RUN = "schedule.run"
    SCHEDULE_BACKFILL = "schedule.backfill"
    SCHEDULE_REMOVE = "schedule.remove"
    BUDGET_SET = "budget.set"
    BUDGET_REMOVE = "budget.remove"
    KEY_CREATE = "key.create"
    KEY_WEIGH = "key.weigh"
    KEY_LIMIT = "key.limit"
    KEY_ROTATE = "key.rotate"
    KEY_REVOKE = "key.revoke"
    SETTING_SET = "setting.set"
    SETTING_UNSET = "setting.unset"
    MAINTENANCE_ON = "maintenance.on"
    MAINTENANCE_OFF = "maintenance.off"
    ARTIFACT_REFETCH = "artifact.refetch"
    DELIVERY_REPLAY = "delivery.replay"
    DATABASE_RESTORE = "database.restore"
    WORKER_DRAIN = "worker.drain"
    WORKER_RESUME = "worker.resume"
    WORKER_RESTART = "worker.restart"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    Attributes:
        name: of the key, or `cli:USER@HOST`.
        key_id: None: nobody with a key.
        source: the address that it came from, or the command.
        request_id: as its caller named it (X-Request-ID).
    """

    name: str
    key_id: UUID | None = None
    source: str | None = None
    request_id: str | None = None


class AuditLine(Base):
    __tablename__ = "audit"
    __table_args__ = (Index("audit_by_time", "at"),)  # forget_acts

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    key_id: Mapped[UUID | None]
    source: Mapped[str | None]
    request_id: Mapped[str | None]
    action: Mapped[str]
    target: Mapped[str]  # its id or name; of a lane, stage/endpoint
    before: Mapped[Json | None]  # None: there was nothing, or nothing of interest
    after: Mapped[Json | None]


AUDIT_TRIGGER: Final = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a line of the audit log is never changed';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE ON audit
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
"""


async def note_act(
    session: AsyncSession,
    actor: Actor,
    action: Action,
    target: object,
    *,
    before: Json | None = None,
    after: Json | None = None,
) -> None:
    """Write down an act, in its own transaction."""
    session.add(
        AuditLine(
            id=new_id(),
            actor=actor.name,
            key_id=actor.key_id,
            source=actor.source,
            request_id=actor.request_id,
            action=action.value,
            target=str(target),
            before=before,
            after=after,
        )
    )
    await session.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which lines; those that fit everything that is given."""

    action: str | None = None  # or how it begins: `lane`
    actor: str | None = None  # a part of it
    key_id: UUID | None = None
    target: str | None = None  # or how it ends: the end of an id, an endpoint
    since: dt.datetime | None = None
    until: dt.datetime | None = None


async def list_acts(
    session: AsyncSession, wanted: AuditFilter, *, limit: int, before: UUID | None = None
) -> Sequence[AuditLine]:
    """The latest first.

    Args:
        before: the last one that was seen: the page after it.
    """
    statement = select(AuditLine).order_by(AuditLine.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(AuditLine.id < before)
    if wanted.action is not None:
        statement = statement.where(AuditLine.action.startswith(wanted.action, autoescape=True))
    if wanted.actor is not None:
        statement = statement.where(AuditLine.actor.contains(wanted.actor, autoescape=True))
    if wanted.key_id is not None:
        statement = statement.where(AuditLine.key_id == wanted.key_id)
    if wanted.target is not None:
        statement = statement.where(AuditLine.target.endswith(wanted.target, autoescape=True))
    if wanted.since is not None:
        statement = statement.where(AuditLine.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(AuditLine.at < wanted.until)
    return (await session.scalars(statement)).all()


async def get_act(session: AsyncSession, act_id: UUID) -> AuditLine:
    """
    Raises:
        NotFound: there is none with this id.
    """
    line = await session.get(AuditLine, act_id)
    if line is None:
        raise NotFound("audit", str(act_id))
    return line


async def forget_acts(session: AsyncSession, *, older_than_seconds: float) -> int:
    """Delete what is older; returns how many lines, at most `FORGOTTEN_MOST`."""
    return count_rows(
        await session.execute(
            text(f"""
                DELETE FROM audit WHERE id IN (
                    SELECT id FROM audit WHERE at < now() - make_interval(secs => :seconds)
                    LIMIT {FORGOTTEN_MOST} FOR UPDATE SKIP LOCKED)
            """),  # noqa: S608 -- a constant
            {"seconds": older_than_seconds},
        )
    )
