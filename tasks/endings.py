"""What word of a job's end is made from: the delivery that asks for it, the job, its files."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

from sqlalchemy.ext.asyncio import AsyncSession

from models.artifact import Artifact, list_artifacts
from models.claims import Notice, claim_deliveries
from models.job import Job
from models.job_queries import JobFilter, list_jobs
from models.lane import Claim, StageName


@dataclass(frozen=True, slots=True)
class Ending:
    notice: Notice
    job: Job
    files: Sequence[Artifact]


async def claim_endings(
    session: AsyncSession, stage: StageName, **claim: Unpack[Claim]
) -> Sequence[Ending]:
    """Take up to `limit` due deliveries of a stage, each with all that it can tell."""
    notices = await claim_deliveries(session, stage, **claim)
    job_ids = [notice.job_id for notice in notices]
    jobs = {job.id: job for job in await list_jobs(session, JobFilter(job_ids=job_ids), limit=None)}
    files = defaultdict(list)
    for file in await list_artifacts(session, job_ids=job_ids):
        files[file.job_id].append(file)
    return [Ending(notice, jobs[notice.job_id], files[notice.job_id]) for notice in notices]
