"""Which files are listed, and in which order."""

import pytest
from sqlalchemy import text

from models.artifact import list_artifacts
from models.base import new_id
from models.campaign import add_campaign
from models.transitions import NewJob, enqueue_jobs
from tests.integration.conftest import FLUX


@pytest.fixture
async def made(database, run):
    """Two jobs of a campaign and one of none, each with two files; the second job's came first."""
    campaign_id = await run(add_campaign, name="c", endpoint=FLUX)
    jobs = [
        NewJob(id=new_id(), endpoint=FLUX, input={}, campaign_id=campaign, position=position)
        for campaign, position in ((campaign_id, 0), (campaign_id, 1), (None, None))
    ]
    await run(enqueue_jobs, jobs)
    files = [
        {"id": new_id(), "job_id": jobs[job].id, "position": position}
        for job in (1, 0, 2)
        for position in (1, 0)
    ]
    async with database.begin() as session:
        await session.execute(
            text("""
                INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url,
                    expires_at)
                VALUES (:id, :job_id, :position, 'e', 'f', 'u', now())
            """),
            files,
        )
    return campaign_id, [job.id for job in jobs], [file["id"] for file in files]


async def test_files_are_listed_newest_first(made, run):
    _, _, files = made

    assert [one.id for one in await run(list_artifacts)] == files[::-1]
    assert [one.id for one in await run(list_artifacts, before=files[2], limit=1)] == [files[1]]


async def test_those_of_a_campaign_come_in_the_order_of_its_jobs_and_no_others(made, run):
    campaign_id, jobs, files = made

    found = await run(list_artifacts, campaign_id=campaign_id)
    newest = await run(list_artifacts, campaign_id=campaign_id, newest_first=True)

    assert [(one.job_id, one.position) for one in found] == [
        (job, position) for job in jobs[:2] for position in (0, 1)
    ]
    assert [one.id for one in newest] == files[3::-1]


async def test_those_of_given_jobs_come_in_the_order_of_their_jobs(made, run):
    _, jobs, _ = made

    found = await run(list_artifacts, job_ids=[jobs[2], jobs[0]])

    assert [(one.job_id, one.position) for one in found] == [
        (job, position) for job in (jobs[0], jobs[2]) for position in (0, 1)
    ]
