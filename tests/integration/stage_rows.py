"""Rows that are due for a stage, and the claim of any stage, as one call."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.claims import claim_artifacts, claim_cancels, claim_deliveries, claim_polls
from models.database import Database
from models.lane import StageName
from models.transitions import NewJob, claim_submissions, enqueue_jobs
from tests.integration.conftest import FLUX

IN_FLIGHT = """
    UPDATE jobs SET state = 'in_queue', upstream_id = 'u', submitted_at = now(),
        cancel_requested_at = CASE WHEN :cancel THEN now() END
    WHERE state = 'queued'
"""
FILES = """
    INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url, expires_at)
    SELECT gen_random_uuid(), id, 0, endpoint, 'output', 'u', now() + interval '1 h' FROM jobs
"""
DELIVERIES = """
    INSERT INTO deliveries (id, job_id, kind, endpoint, request, state, next_at)
    SELECT gen_random_uuid(), id, :kind, endpoint, '{}', 'pending', now() FROM jobs
"""
TABLES = {
    StageName.SUBMIT: "jobs",
    StageName.POLL: "jobs",
    StageName.CANCEL: "jobs",
    StageName.ARCHIVE: "artifacts",
    StageName.NOTIFY: "deliveries",
    StageName.WEBHOOK: "deliveries",
}
CLAIMS: dict[StageName, Callable[..., Any]] = {
    StageName.SUBMIT: claim_submissions,
    StageName.POLL: claim_polls,
    StageName.CANCEL: claim_cancels,
    StageName.ARCHIVE: claim_artifacts,
}
# Those whose claim is a lease alone; a submission changes its state.
LEASED = tuple(stage for stage in StageName if stage is not StageName.SUBMIT)


async def fill_stage(database: Database, stage: StageName, count: int) -> None:
    """Make rows that are due for a stage, and nothing else."""
    jobs = [NewJob(id=new_id(), endpoint=FLUX, input={"prompt": "a fox"}) for _ in range(count)]
    async with database.begin() as session:
        await enqueue_jobs(session, jobs)
        if stage in {StageName.POLL, StageName.CANCEL}:
            await session.execute(text(IN_FLIGHT), {"cancel": stage is StageName.CANCEL})
        elif stage is StageName.ARCHIVE:
            await session.execute(text(FILES))
        elif stage is not StageName.SUBMIT:
            kind = "celery" if stage is StageName.NOTIFY else "webhook"
            await session.execute(text(DELIVERIES), {"kind": kind})


async def claim_rows(
    database: Database,
    stage: StageName,
    *,
    limit: int = 10,
    lease: UUID | None = None,
    lease_seconds: float = 60.0,
    proven: bool = True,
) -> Sequence[UUID]:
    """What the stage's claim takes; with a lease of below zero, its holder is dead at once."""
    lease = lease or new_id()
    rows: Sequence[Any]
    async with database.begin() as session:
        if stage in CLAIMS:
            rows = await CLAIMS[stage](
                session,
                endpoint=FLUX,
                limit=limit,
                lease=lease,
                lease_seconds=lease_seconds,
                proven=proven,
            )
        else:
            rows = await claim_deliveries(
                session,
                stage,
                endpoint=FLUX,
                limit=limit,
                lease=lease,
                lease_seconds=lease_seconds,
                proven=proven,
            )
    return [row.id for row in rows]
