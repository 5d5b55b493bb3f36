"""A budget: what may be spent by a key, a campaign, a tag, or altogether, in all or in each period.

It is a wall. Before a `/run` is written down its price is reserved here, in the same transaction
and under the budget's lock; what does not fit is not sent (`models/reservation.py`). Each day, week
or month of the budget's own time zone begins at nothing; what was reserved in one is settled in it.

A job comes under every budget that names its key, its campaign or a tag of that, and under those of
everybody.
"""

import datetime as dt
import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Usd, new_id, say_plainly, word_column
from models.campaign import Campaign
from models.errors import NotFound, PressroomError
from models.key import ApiKey

WARN_AT = 0.8  # of the limit, if nobody says otherwise
MOST_USD = 10_000_000
HELD_MOST = 10_000  # jobs that are looked at to say whose they are


class Period(enum.StrEnum):
    TOTAL = "total"
    DAY = "day"
    WEEK = "week"  # from Monday
    MONTH = "month"


class AtCap(enum.StrEnum):
    """What becomes of a job that does not fit."""

    PAUSE = "pause"  # it waits until there is room: more money, or the next period
    FINISH_IN_FLIGHT = "finish_in_flight"  # it is rejected; what was sent runs to its end
    STOP = "stop"  # the same, and what was sent is cancelled


class BudgetTaken(PressroomError):
    """There is one of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"name: a budget {self.name!r} is there already; another name was wanted"


class BelowSpent(PressroomError):
    """A limit under what is spent or reserved already."""

    def __init__(self, limit: Decimal, used: Decimal) -> None:
        super().__init__(limit, used)
        self.limit = limit
        self.used = used

    def __str__(self) -> str:
        return (
            f"limit: ${say_plainly(self.limit)} came; ${say_plainly(self.used)} is spent or "
            "reserved already, so at least that was wanted"
        )


class Budget(Base):
    __tablename__ = "budgets"
    __table_args__ = (
        CheckConstraint("limit_usd > 0", name="limit_is_some"),
        CheckConstraint("warn_at > 0 AND warn_at <= 1", name="warn_at_is_a_share"),
        CheckConstraint("num_nonnulls(key_id, campaign_id, tag) <= 1", name="of_one"),
        Index(
            "budgets_of_no_campaign",  # slots.is_any_limited
            "id",
            postgresql_where=text("removed_at IS NULL AND campaign_id IS NULL"),
        ),
        Index(
            "budgets_named", "name", unique=True, postgresql_where=text("removed_at IS NULL")
        ),  # BudgetTaken
        # All: reservation.reserve.
        Index(
            "budgets_of_key",
            "key_id",
            postgresql_where=text("removed_at IS NULL AND key_id IS NOT NULL"),
        ),
        Index(
            "budgets_of_campaign",
            "campaign_id",
            postgresql_where=text("removed_at IS NULL AND campaign_id IS NOT NULL"),
        ),
        Index(
            "budgets_of_tag", "tag", postgresql_where=text("removed_at IS NULL AND tag IS NOT NULL")
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    key_id: Mapped[UUID | None] = mapped_column(ForeignKey(ApiKey.id))
    campaign_id: Mapped[UUID | None] = mapped_column(ForeignKey(Campaign.id))
    tag: Mapped[str | None]  # of campaigns; none of the three: everybody's
    period: Mapped[Period] = mapped_column(word_column(Period))
    zone: Mapped[str] = mapped_column(server_default="UTC")  # where its days begin
    limit_usd: Mapped[Usd]
    warn_at: Mapped[float] = mapped_column(server_default=str(WARN_AT))  # a share of the limit
    at_cap: Mapped[AtCap] = mapped_column(word_column(AtCap), server_default=AtCap.PAUSE.value)
    webhook: Mapped[str | None]  # is told when it is nearly, and when it is, used up
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    removed_at: Mapped[dt.datetime | None]


class BudgetPeriod(Base):
    """What was reserved and spent of a budget, in one of its periods."""

    __tablename__ = "budget_periods"

    budget_id: Mapped[UUID] = mapped_column(ForeignKey("budgets.id"), primary_key=True)
    starts_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    reserved_usd: Mapped[Usd] = mapped_column(server_default="0")  # of what has not ended
    spent_usd: Mapped[Usd] = mapped_column(server_default="0")
    warned_at: Mapped[dt.datetime | None]
    capped_at: Mapped[dt.datetime | None]  # when the first job did not fit
    announced_at: Mapped[dt.datetime | None]  # when that was said


class BudgetChange(Base):
    """A limit that was set."""

    __tablename__ = "budget_changes"

    budget_id: Mapped[UUID] = mapped_column(ForeignKey("budgets.id"), primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(primary_key=True, server_default=func.now())
    limit_usd: Mapped[Usd | None]  # None: it was removed


# When the period of a row of `budgets` began that is now; the end of it.
STARTS_AT = """
    CASE budgets.period WHEN 'total' THEN budgets.created_at
        ELSE date_trunc(budgets.period, now(), budgets.zone) END
"""
ENDS_AT = """
    CASE WHEN budgets.period <> 'total' THEN
        (date_trunc(budgets.period, now() AT TIME ZONE budgets.zone)
            + CAST('1 ' || budgets.period AS interval)) AT TIME ZONE budgets.zone END
"""


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget, and how much of it is left.

    Attributes:
        holder: the name of its key or campaign, or its tag; None: it is everybody's.
        ends_at: when its next period begins; None: it has but one.
        held: queued jobs that wait for room in it.
    """

    id: UUID
    name: str
    key_id: UUID | None
    campaign_id: UUID | None
    tag: str | None
    holder: str | None
    period: Period
    zone: str
    limit_usd: Decimal
    warn_at: float
    at_cap: AtCap
    webhook: str | None
    starts_at: dt.datetime
    ends_at: dt.datetime | None
    reserved_usd: Decimal
    spent_usd: Decimal
    warned: bool
    capped: bool
    held: int

    @property
    def left_usd(self) -> Decimal:
        return max(self.limit_usd - self.spent_usd - self.reserved_usd, Decimal())


async def add_budget(
    session: AsyncSession,
    *,
    name: str,
    limit_usd: Decimal,
    period: Period = Period.TOTAL,
    zone: str = "UTC",
    warn_at: float = WARN_AT,
    at_cap: AtCap = AtCap.PAUSE,
    webhook: str | None = None,
    key_id: UUID | None = None,
    campaign_id: UUID | None = None,
    tag: str | None = None,
) -> UUID:
    """
    Raises:
        BudgetTaken: the name is another's.
        NotFound: there is no such key, or campaign.
    """
    budget = Budget(
        id=new_id(),
        name=name,
        key_id=key_id,
        campaign_id=campaign_id,
        tag=tag,
        period=period,
        zone=zone,
        limit_usd=limit_usd,
        warn_at=warn_at,
        at_cap=at_cap,
        webhook=webhook,
    )
    session.add(budget)
    try:
        await session.flush()
    except IntegrityError as error:
        if "budgets_named" in str(error):
            raise BudgetTaken(name) from error
        if "key_id" in str(error):
            raise NotFound("key", str(key_id)) from error
        if "campaign_id" in str(error):
            raise NotFound("campaign", str(campaign_id)) from error
        raise
    await _note_change(session, budget.id, limit_usd)
    return budget.id


async def check_limit(session: AsyncSession, budget_id: UUID) -> None:
    """
    Raises:
        BelowSpent: of the period that is now.
    """
    [state] = await list_budgets(session, ids=[budget_id])
    used = state.spent_usd + state.reserved_usd
    if state.limit_usd < used:
        raise BelowSpent(state.limit_usd, used)


async def change_budget(
    session: AsyncSession,
    budget_id: UUID,
    *,
    limit_usd: Decimal | None = None,
    warn_at: float | None = None,
    at_cap: AtCap | None = None,
    webhook: str | None = None,
) -> None:
    """What is None stays as it is. Jobs that wait are released by whoever calls, or the sweep.

    Raises:
        NotFound: there is none, or no longer.
        BelowSpent: of the period that is now.
    """
    # The lock first: what others have just reserved is read by the statement after.
    locked = await session.scalar(
        text("SELECT id FROM budgets WHERE id = :id AND removed_at IS NULL FOR UPDATE"),
        {"id": budget_id},
    )
    if locked is None:
        raise NotFound("budget", str(budget_id))
    await session.execute(
        text("""
            UPDATE budgets SET limit_usd = coalesce(:limit_usd, limit_usd),
                warn_at = coalesce(:warn_at, warn_at), at_cap = coalesce(:at_cap, at_cap),
                webhook = coalesce(:webhook, webhook)
            WHERE id = :id
        """),
        {
            "id": budget_id,
            "limit_usd": limit_usd,
            "warn_at": warn_at,
            "at_cap": at_cap,
            "webhook": webhook,
        },
    )
    if limit_usd is not None:
        await check_limit(session, budget_id)
        await _note_change(session, budget_id, limit_usd)
        # What is to be said again if it fills up again.
        await session.execute(
            text("""
                UPDATE budget_periods SET capped_at = NULL, announced_at = NULL, warned_at = CASE
                    WHEN reserved_usd + spent_usd >= budgets.limit_usd
                        * CAST(budgets.warn_at AS numeric) THEN warned_at END
                FROM budgets WHERE budgets.id = :id AND budget_id = :id
            """),
            {"id": budget_id},
        )


async def remove_budget(session: AsyncSession, budget_id: UUID) -> None:
    """It holds nothing up from now on; what was spent under it stays in the books.

    Raises:
        NotFound: there is none, or no longer.
    """
    removed = await session.scalar(
        text("""
            UPDATE budgets SET removed_at = now() WHERE id = :id AND removed_at IS NULL
            RETURNING id
        """),
        {"id": budget_id},
    )
    if removed is None:
        raise NotFound("budget", str(budget_id))
    await _note_change(session, budget_id, None)


async def _note_change(session: AsyncSession, budget_id: UUID, limit_usd: Decimal | None) -> None:
    await session.execute(
        text("""
            INSERT INTO budget_changes (budget_id, limit_usd) VALUES (:id, :limit_usd)
            ON CONFLICT (budget_id, at) DO UPDATE SET limit_usd = excluded.limit_usd
        """),
        {"id": budget_id, "limit_usd": limit_usd},
    )


async def list_budgets(
    session: AsyncSession,
    *,
    ids: Collection[UUID] | None = None,
    campaign_id: UUID | None = None,
    owner: UUID | None = None,
    ended: bool = True,
    holding: UUID | None = None,
) -> Sequence[BudgetState]:
    """By name, those that were not removed.

    Args:
        holding: those that hold jobs of this campaign, whosever they are; `held` is of it alone.
        ended: of campaigns that are complete, too.
        owner: a key whose own they are; None: everybody's.
    """
    rows = await session.execute(
        text(f"""
            SELECT budgets.*, {STARTS_AT} AS starts_at, {ENDS_AT} AS ends_at,
                coalesce(api_keys.name, campaigns.name, budgets.tag) AS holder,
                coalesce(reserved_usd, 0) AS reserved_usd, coalesce(spent_usd, 0) AS spent_usd,
                warned_at IS NOT NULL AS warned, capped_at IS NOT NULL AS capped,
                (SELECT count(*) FROM jobs
                 WHERE state = 'queued' AND held_by = budgets.id
                   AND (CAST(:holding AS uuid) IS NULL OR jobs.campaign_id = :holding)) AS held
            FROM budgets
            LEFT JOIN budget_periods
                ON budget_periods.budget_id = budgets.id AND starts_at = {STARTS_AT}
            LEFT JOIN api_keys ON api_keys.id = budgets.key_id
            LEFT JOIN campaigns ON campaigns.id = budgets.campaign_id
            WHERE removed_at IS NULL
              AND (CAST(:ids AS uuid[]) IS NULL OR budgets.id = ANY(:ids))
              AND (CAST(:campaign_id AS uuid) IS NULL OR budgets.campaign_id = :campaign_id)
              AND (CAST(:owner AS uuid) IS NULL OR budgets.key_id = :owner)
              AND (:ended OR campaigns.completed_at IS NULL)
              AND (CAST(:holding AS uuid) IS NULL OR EXISTS (
                SELECT FROM jobs WHERE state = 'queued' AND held_by = budgets.id
                  AND jobs.campaign_id = :holding))
            ORDER BY budgets.name
        """),  # noqa: S608 -- constants
        {
            "ids": None if ids is None else list(ids),
            "campaign_id": campaign_id,
            "owner": owner,
            "ended": ended,
            "holding": holding,
        },
    )
    return [
        BudgetState(
            id=row.id,
            name=row.name,
            key_id=row.key_id,
            campaign_id=row.campaign_id,
            tag=row.tag,
            holder=row.holder,
            period=Period(row.period),
            zone=row.zone,
            limit_usd=row.limit_usd,
            warn_at=row.warn_at,
            at_cap=AtCap(row.at_cap),
            webhook=row.webhook,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            reserved_usd=row.reserved_usd,
            spent_usd=row.spent_usd,
            warned=row.warned,
            capped=row.capped,
            held=row.held,
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Held:
    """Whose queued jobs wait for room in a budget.

    Attributes:
        key_id, campaign_id: None: they are of none.
        estimate_usd: of those whose price is known.
    """

    key_id: UUID | None
    key: str | None
    campaign_id: UUID | None
    campaign: str | None
    jobs: int
    estimate_usd: Decimal


async def list_held(session: AsyncSession, budget_id: UUID) -> tuple[Sequence[Held], bool]:
    """Whom the budget holds, those with the most jobs first; and whether there are more jobs than
    were looked at: the `HELD_MOST` cheapest, which would be let go on first.
    """
    rows = await session.execute(
        text(f"""
            WITH held AS (
                SELECT key_id, campaign_id, estimate_usd FROM jobs
                WHERE state = 'queued' AND held_by = :id
                ORDER BY coalesce(estimate_usd, 0), id LIMIT {HELD_MOST + 1}
            )
            SELECT held.key_id, api_keys.name AS key, held.campaign_id, campaigns.name AS campaign,
                count(*) AS jobs, coalesce(sum(estimate_usd), 0) AS estimate_usd
            FROM held
            LEFT JOIN api_keys ON api_keys.id = held.key_id
            LEFT JOIN campaigns ON campaigns.id = held.campaign_id
            GROUP BY held.key_id, api_keys.name, held.campaign_id, campaigns.name
            ORDER BY jobs DESC, campaign, key
        """),  # noqa: S608 -- a constant
        {"id": budget_id},
    )
    held = [Held(**row._mapping) for row in rows]  # noqa: SLF001 -- SQLAlchemy's public name for it
    return held, sum(one.jobs for one in held) > HELD_MOST


async def find_budget(session: AsyncSession, name: str, *, removed: bool = False) -> UUID:
    """
    Args:
        removed: one that was removed will do, the newest of them.

    Raises:
        NotFound: there is none of this name.
    """
    statement = select(Budget.id).where(Budget.name == name)
    if not removed:
        statement = statement.where(Budget.removed_at.is_(None))
    statement = statement.order_by(Budget.removed_at.desc().nulls_first(), Budget.id.desc())
    found: UUID | None = await session.scalar(statement.limit(1))
    if found is None:
        raise NotFound("budget", name)
    return found


async def note_capped(session: AsyncSession, budget_id: UUID) -> None:
    """A job did not fit, and the transaction in which that was found is not committed."""
    await session.execute(
        text(f"""
            INSERT INTO budget_periods AS period (budget_id, starts_at, capped_at)
            SELECT id, {STARTS_AT}, now() FROM budgets WHERE id = :id
            ON CONFLICT (budget_id, starts_at) DO UPDATE SET
                capped_at = coalesce(period.capped_at, excluded.capped_at)
        """),  # noqa: S608 -- a constant
        {"id": budget_id},
    )


async def name_budgets(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, str]:
    """Of those that there are."""
    if not ids:
        return {}
    rows = await session.execute(select(Budget.id, Budget.name).where(Budget.id.in_(ids)))
    return {row.id: row.name for row in rows}


async def is_of_campaign(session: AsyncSession, holder: UUID, campaign_id: UUID) -> bool:
    """Whether what holds a job is its campaign, or a budget of that alone."""
    statement = select(Budget.campaign_id).where(Budget.id == holder)
    return holder == campaign_id or await session.scalar(statement) == campaign_id


@dataclass(frozen=True, slots=True)
class Alarm:
    """A budget that is nearly used up, or (`capped`) of which a job did not fit any more."""

    budget_id: UUID
    capped: bool


async def raise_alarms(session: AsyncSession) -> Sequence[Alarm]:
    """Those of which nobody was told in this period; whoever asks is the only one who tells."""
    rows = await session.execute(
        text(f"""
            UPDATE budget_periods SET
                warned_at = coalesce(warned_at, now()),
                announced_at = CASE WHEN capped_at IS NOT NULL
                    THEN coalesce(announced_at, now()) END
            FROM (
                SELECT budget_id, starts_at,
                    capped_at IS NOT NULL AND announced_at IS NULL AS capped
                FROM budgets JOIN budget_periods ON budget_periods.budget_id = budgets.id
                WHERE removed_at IS NULL AND (
                    -- Also of a period that has just come to its end.
                    capped_at IS NOT NULL AND announced_at IS NULL
                    OR starts_at = {STARTS_AT} AND warned_at IS NULL
                        AND reserved_usd + spent_usd >= limit_usd * CAST(warn_at AS numeric))
                ORDER BY budget_id FOR UPDATE OF budget_periods SKIP LOCKED
            ) AS due
            WHERE budget_periods.budget_id = due.budget_id
              AND budget_periods.starts_at = due.starts_at
            RETURNING due.budget_id, due.capped
        """)  # noqa: S608 -- a constant
    )
    return [Alarm(row.budget_id, row.capped) for row in rows]
