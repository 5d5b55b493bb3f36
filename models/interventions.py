"""What people and deadlines do to jobs, whatever stage they are in: cancel, retry, give up.

None of it takes a row from a worker that holds it: what is on its way is marked, and the stage that
holds it, or the next that claims it, acts on the mark. Each is one statement, guarded by the state.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import count_rows
from models.job import OPEN, TERMINAL, JobState, Reason
from models.reservation import settle_reservations
from models.shelf import take_back
from models.slots import is_any_limited


async def cancel_jobs(
    session: AsyncSession, *, job_ids: Sequence[UUID], states: Sequence[JobState] = OPEN
) -> dict[UUID, tuple[JobState, str]]:
    """Cancel what is queued; mark what is further on, for the cancel stage to tell the upstream of.

    Args:
        states: those that are in none of them any more are left alone.

    Returns id to (state now, endpoint) of the jobs that this call changed: a job that had ended,
    or does not exist, is not among them.
    """
    rows = await session.execute(
        text("""
            UPDATE jobs SET
                cancel_requested_at = now(),
                state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END,
                reason = CASE WHEN state = 'queued' THEN :reason ELSE reason END,
                finished_at = CASE WHEN state = 'queued' THEN now() END,
                next_at = CASE WHEN state = 'queued' THEN NULL
                    WHEN state IN ('in_queue', 'in_progress') AND lease IS NULL THEN now()
                    ELSE next_at END
            WHERE id = ANY(:ids) AND finished_at IS NULL AND state = ANY(:states)
            RETURNING id, state, endpoint
        """),
        {"ids": list(job_ids), "reason": Reason.CANCELLED, "states": list(states)},
    )
    return {job_id: (JobState(state), endpoint) for job_id, state, endpoint in rows}


async def count_states(session: AsyncSession, job_ids: Sequence[UUID]) -> dict[str, int]:
    """How many of the jobs are in each state."""
    rows = await session.execute(
        text("SELECT state, count(*) AS jobs FROM jobs WHERE id = ANY(:ids) GROUP BY state"),
        {"ids": list(job_ids)},
    )
    return {row.state: row.jobs for row in rows}


async def expire_jobs(session: AsyncSession) -> list[UUID]:
    """Give up the jobs whose deadline has passed; returns those that ended.

    What is not sent yet ends; what is further on is marked, and made due, to be cancelled. What may
    have begun since it was last asked for is asked for once more, before it is given up for that.
    """
    unsure = """
        state = 'in_queue' AND start_by <= now() AND coalesce(polled_at, submitted_at) < start_by
    """
    await session.execute(
        text(f"""
            UPDATE jobs SET next_at = now()
            WHERE {unsure} AND finished_at IS NULL AND lease IS NULL AND next_at > now()
        """)  # noqa: S608 -- a constant
    )
    rows = await session.execute(
        text(f"""
            WITH late AS (
                SELECT id, CASE
                    WHEN start_by <= now() AND state <> 'in_progress' THEN 'not_started'
                    WHEN make_interval(secs => CAST(policy ->> 'ttl' AS float) / 1000)
                        -- Of a retry the time counts from when it was asked for, a little earlier.
                        + coalesce((SELECT min(sent_at) FROM attempts WHERE retries > 0
                            AND attempts.job_id = jobs.id AND number > attempts_before), created_at)
                        <= now() THEN 'ttl_passed' ELSE 'ran_too_long' END AS reason
                FROM jobs
                WHERE (deadline_at <= now() AND finished_at IS NULL
                    OR start_by <= now() AND finished_at IS NULL AND state <> 'in_progress'
                       AND NOT ({unsure}))
                  AND cancel_requested_at IS NULL
                FOR UPDATE SKIP LOCKED
            )
            UPDATE jobs SET
                cancel_requested_at = now(),
                cancel_reason = late.reason,
                state = CASE WHEN state <> 'queued' THEN state
                    WHEN late.reason = 'not_started' AND attempt = attempts_before THEN 'rejected'
                    ELSE 'timed_out' END,
                reason = CASE WHEN state = 'queued' THEN late.reason ELSE jobs.reason END,
                finished_at = CASE WHEN state = 'queued' THEN now() END,
                next_at = CASE WHEN state = 'queued' THEN NULL
                    WHEN state IN ('in_queue', 'in_progress') AND lease IS NULL THEN now()
                    ELSE next_at END
            FROM late WHERE jobs.id = late.id
            RETURNING jobs.id, jobs.state
        """)  # noqa: S608 -- a constant
    )
    return [job_id for job_id, state in rows if state in TERMINAL]


async def retry_jobs(session: AsyncSession, *, job_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Queue jobs again that ended without a result, under their ids; what they were is dropped.

    What it cost so far stays in the ledger, beside the attempts that it was spent on.

    Returns id to endpoint of those: a job that is under way, completed, was cancelled, or does not
    exist, is not among them. Their producers will be told of the new end.
    """
    # First: whoever finds a campaign complete finds these jobs, or is waited for.
    await session.execute(
        text("""
            SELECT FROM campaigns WHERE id IN (SELECT campaign_id FROM jobs WHERE id = ANY(:ids))
            ORDER BY id FOR NO KEY UPDATE
        """),
        {"ids": list(job_ids)},
    )
    if await is_any_limited(session):  # by how they ended, which is about to be dropped
        await settle_reservations(session, job_ids=job_ids)
    await take_back(session, job_ids)
    rows = await session.execute(
        text("""
            WITH retried AS (
                UPDATE jobs SET
                    state = 'queued', virtual_start = NULL, held_by = NULL,
                    attempts_before = attempt, retries = retries + 1,
                    next_at = now(), finished_at = NULL, reason = NULL, error = NULL, deaths = 0,
                    upstream_id = NULL, submitted_at = NULL, polled_at = NULL, misses = 0,
                    cancel_requested_at = NULL, cancel_reason = NULL,
                    cancel_sent_at = NULL, cancel_tries = 0,
                    start_by = now() + make_interval(secs => start_seconds),
                    output = NULL, delay_ms = NULL, execution_ms = NULL, worker_id = NULL,
                    cost_usd = NULL, input_tokens = NULL, output_tokens = NULL, streamed = 0,
                    deadline_at = now() + make_interval(
                        secs => CAST(policy ->> 'ttl' AS float) / 1000)
                WHERE id = ANY(:ids) AND state IN ('failed', 'timed_out', 'lost', 'rejected')
                  AND route <> 'openai'
                RETURNING id, endpoint, campaign_id
            ), told AS (
                UPDATE deliveries SET state = 'waiting', tries = 0, deaths = 0, lease = NULL
                FROM retried WHERE deliveries.job_id = retried.id
            ), opened AS (
                UPDATE campaigns SET completed_at = NULL
                WHERE id IN (SELECT campaign_id FROM retried) AND completed_at IS NOT NULL
            )
            SELECT id, endpoint FROM retried
        """),
        {"ids": list(job_ids)},
    )
    return {row.id: row.endpoint for row in rows}


async def has_cancel_requested(session: AsyncSession, *, job_ids: Collection[UUID]) -> bool:
    """Whether one of the jobs is in flight and to be cancelled: it is due at once."""
    statement = text("""
        SELECT EXISTS (SELECT FROM jobs WHERE id = ANY(:ids) AND cancel_requested_at IS NOT NULL
                       AND finished_at IS NULL)
    """)
    return bool(await session.scalar(statement, {"ids": list(job_ids)}))


async def hasten_polls(session: AsyncSession, *, job_ids: Sequence[UUID]) -> None:
    """Jobs in flight that are likely to have ended: they are due now."""
    await session.execute(
        text("""
            UPDATE jobs SET next_at = now()
            WHERE id = ANY(:ids) AND state IN ('in_queue', 'in_progress') AND lease IS NULL
              AND next_at > now()
        """),
        {"ids": list(job_ids)},
    )


async def begin_streaming(session: AsyncSession, job_id: UUID, *, pieces: int) -> bool:
    """Take so many pieces to hand out, unless some were handed out before; whether it was done."""
    statement = text("UPDATE jobs SET streamed = :pieces WHERE id = :id AND streamed = 0")
    return count_rows(await session.execute(statement, {"id": job_id, "pieces": pieces})) > 0


async def count_streamed(session: AsyncSession, job_id: UUID, *, pieces: int) -> None:
    """So many pieces of its output were handed out."""
    await session.execute(
        text("UPDATE jobs SET streamed = streamed + :pieces WHERE id = :id"),
        {"id": job_id, "pieces": pieces},
    )


async def find_purgeable(session: AsyncSession, *, endpoint: str, owner: UUID | None) -> list[UUID]:
    """The jobs of an endpoint that wait, here or in the upstream's queue: what a purge removes."""
    return list(
        await session.scalars(
            text("""
                SELECT id FROM jobs
                WHERE endpoint = :endpoint AND finished_at IS NULL
                  AND state IN ('queued', 'submitting', 'in_queue') AND cancel_requested_at IS NULL
                  AND (CAST(:owner AS uuid) IS NULL OR key_id = :owner)
            """),
            {"endpoint": endpoint, "owner": owner},
        )
    )


async def reject_held(
    session: AsyncSession, budget_id: UUID, *, name: str, limit: int
) -> dict[UUID, str]:
    """End queued jobs that a budget holds under which none waits; returns id to endpoint."""
    rows = await session.execute(
        text("""
            UPDATE jobs SET state = CASE WHEN attempt = attempts_before THEN 'rejected'
                    ELSE 'failed' END,
                reason = 'over_budget', finished_at = now(), next_at = NULL, held_by = NULL,
                error = concat_ws('; ', 'the budget ' || CAST(:name AS text) || ' is used up',
                    error)
            WHERE id IN (
                SELECT id FROM jobs WHERE state = 'queued' AND held_by = :id
                ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
            RETURNING id, endpoint
        """),
        {"id": budget_id, "name": name, "limit": limit},
    )
    return {row.id: row.endpoint for row in rows}
