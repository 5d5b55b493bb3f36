"""Who is served next: the line of queued jobs of an endpoint, shared fairly between producers.

Start-time fair queueing (Goyal, Vin and Cheng, 1996). Each job that joins the line is given a
virtual start: the line's own time, or the end of what its producer has in line before it, if that
is later; and its producer's end is then one job further on, divided by the producer's weight. The
line's time is the virtual start of whoever is first. So a producer of one job joins at the head,
whatever others have queued, and of two that both have many in line, each is served by its weight.
A higher priority is a line of its own, and goes first.

A producer is an API key; of jobs of no key, the campaign; and what has neither is one producer.

A job joins when it is due. One that is due later (a paced campaign's, another attempt's) has no
virtual start until then, so that the head of the line is always of jobs that may be sent. Another
attempt joins at the line's time: its producer has been charged for it.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import HELD_UNTIL, Base

LOWEST, USUAL, HIGHEST = 0, 5, 9  # priorities
WEIGHTS = (0.01, 100.0)  # least and most
JOINING_MOST = 500  # jobs that one claim lets join

# Of a row with a campaign_id, or none.
PAUSED: Final = """
    coalesce((SELECT paused_at IS NOT NULL FROM campaigns WHERE campaigns.id = campaign_id), false)
"""
# Of a job that goes back to the queue: none if it is to be held, which is seen to as it joins.
PLACE_KEPT: Final = f"CASE WHEN NOT {PAUSED} THEN virtual_start END"


class Flow(Base):
    """What a producer has had in the line of an endpoint."""

    __tablename__ = "flows"
    __table_args__ = (CheckConstraint("finish >= 0", name="finish_counts_up"),)

    endpoint: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[int] = mapped_column(primary_key=True)
    producer: Mapped[UUID] = mapped_column(primary_key=True)
    finish: Mapped[float]  # of its last, in virtual time


class Charge(Base):
    """What is to be added to a flow that was in another transaction's hands."""

    __tablename__ = "charges"
    __table_args__ = (Index("charges_of_flow", "endpoint", "priority", "producer"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    endpoint: Mapped[str]
    priority: Mapped[int]
    producer: Mapped[UUID]
    cost: Mapped[float]


# `WITH` items that give rows of `joining` their places: the last is `placed (id, virtual_start)`.
# `joining` has id, endpoint, priority, key_id, campaign_id, and `again`: it had a place before.
#
# Nobody waits for anybody: a transaction that is held up must not hold up all of its producer's.
# Who finds the flow in another's hands leaves a charge, for the next one that has it to add.
PLACES: Final = """
    cost AS (
        SELECT joining.id, endpoint, priority, again,
            coalesce(key_id, campaign_id, '00000000-0000-0000-0000-000000000000') AS producer,
            1 / coalesce(api_keys.weight, 1) AS cost
        FROM joining LEFT JOIN api_keys ON api_keys.id = joining.key_id
    ), line AS (
        SELECT endpoint, priority, coalesce(
            (SELECT virtual_start FROM jobs WHERE state = 'queued' AND virtual_start IS NOT NULL
                AND jobs.endpoint = asked.endpoint AND jobs.priority = asked.priority
             ORDER BY virtual_start LIMIT 1),
            -- Nobody is in line, so all are even.
            (SELECT max(finish) FROM flows
             WHERE flows.endpoint = asked.endpoint AND flows.priority = asked.priority),
            0) AS now
        FROM (SELECT DISTINCT endpoint, priority FROM joining) AS asked
    ), bill AS MATERIALIZED (
        SELECT endpoint, priority, producer, line.now, sum(cost) AS cost,
            coalesce((SELECT finish FROM flows WHERE flows.endpoint = cost.endpoint
                AND flows.priority = cost.priority AND flows.producer = cost.producer), 0)
            + coalesce((SELECT sum(charges.cost) FROM charges
                WHERE charges.endpoint = cost.endpoint AND charges.priority = cost.priority
                AND charges.producer = cost.producer), 0) AS finish,
            pg_try_advisory_xact_lock(hashtextextended(
                concat_ws(' ', 'flow', endpoint, priority, producer), 0)) AS mine
        FROM cost JOIN line USING (endpoint, priority)
        WHERE NOT again
        GROUP BY endpoint, priority, producer, line.now
    ), paid AS (
        DELETE FROM charges USING bill
        WHERE mine AND charges.endpoint = bill.endpoint AND charges.priority = bill.priority
            AND charges.producer = bill.producer
        RETURNING charges.endpoint, charges.priority, charges.producer, charges.cost
    ), charged AS (
        INSERT INTO flows AS flow (endpoint, priority, producer, finish)
        SELECT endpoint, priority, producer, now + cost FROM bill WHERE mine
        ON CONFLICT (endpoint, priority, producer) DO UPDATE SET finish = excluded.finish
            -- What it has in line already.
            + greatest(0, flow.finish
                + coalesce((SELECT sum(paid.cost) FROM paid
                    WHERE paid.endpoint = flow.endpoint AND paid.priority = flow.priority
                        AND paid.producer = flow.producer), 0)
                - (SELECT now FROM line
                    WHERE line.endpoint = flow.endpoint AND line.priority = flow.priority))
        RETURNING endpoint, priority, producer, finish
    ), owed AS (
        INSERT INTO charges (endpoint, priority, producer, cost)
        SELECT endpoint, priority, producer, cost FROM bill WHERE NOT mine
    ), placed AS (
        SELECT cost.id, CASE WHEN again THEN line.now
            ELSE coalesce(charged.finish, greatest(bill.finish, bill.now) + bill.cost)
                - sum(cost.cost) FILTER (WHERE NOT again) OVER (
                    PARTITION BY endpoint, priority, producer ORDER BY cost.id DESC)
            END AS virtual_start
        FROM cost JOIN line USING (endpoint, priority)
            LEFT JOIN bill USING (endpoint, priority, producer)
            LEFT JOIN charged USING (endpoint, priority, producer)
    )
"""

_JOIN = text(f"""
    WITH due AS MATERIALIZED (
        SELECT id, endpoint, priority, key_id, campaign_id,
            attempt > attempts_before AS again,
            {PAUSED} AS paused
        FROM jobs
        WHERE state = 'queued' AND virtual_start IS NULL AND endpoint = :endpoint
            AND next_at <= now()
        ORDER BY next_at LIMIT {JOINING_MOST}
        FOR UPDATE SKIP LOCKED
    ), held AS (
        UPDATE jobs SET next_at = {HELD_UNTIL} FROM due WHERE jobs.id = due.id AND due.paused
    ), told AS (
        -- If it has been resumed since this statement began, the sweep releases them.
        UPDATE campaigns SET unsettled = true FROM due
        WHERE due.paused AND campaigns.id = due.campaign_id
    ), joining AS MATERIALIZED (
        SELECT id, endpoint, priority, key_id, campaign_id, again FROM due WHERE NOT paused
    ), {PLACES}
    UPDATE jobs SET virtual_start = placed.virtual_start FROM placed WHERE jobs.id = placed.id
""")  # noqa: S608 -- built from constants


async def join_line(session: AsyncSession, endpoint: str) -> None:
    """Let queued jobs join that have come due; those of a campaign that is paused are held."""
    await session.execute(_JOIN, {"endpoint": endpoint})
