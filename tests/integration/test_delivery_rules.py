"""Word of an end: told once, when it is due, and of its own job."""

import pytest
from sqlalchemy import text

from models.artifact import DownloadEnd, record_downloads
from models.base import new_id
from models.delivery import (
    DeliveryKind,
    NewDelivery,
    add_deliveries,
    hasten_deliveries,
    redeliver,
    wake_deliveries,
)
from models.transitions import NewJob, enqueue_jobs
from tests.integration.conftest import FLUX


@pytest.fixture
def make(run, execute):
    """Makes a job that has ended, with a delivery in a state; returns the job's id."""

    async def make_one(state):
        job_id = new_id()
        await run(enqueue_jobs, [NewJob(id=job_id, endpoint=FLUX, input={})])
        await execute(
            "UPDATE jobs SET state = 'completed', finished_at = now(), next_at = NULL "
            "WHERE id = :id",
            id=job_id,
        )
        new = NewDelivery(job_id=job_id, endpoint=FLUX, kind=DeliveryKind.CELERY, request={})
        await run(add_deliveries, [new])
        await execute(
            "UPDATE deliveries SET state = CAST(:state AS text), "
            "next_at = now() + interval '30 s' WHERE job_id = :id",
            state=state,
            id=job_id,
        )
        return job_id

    return make_one


@pytest.fixture
def read(run):
    """The state of a job's delivery, and whether it is due."""

    async def look(session, job_id):
        row = await session.execute(
            text("SELECT state, next_at <= now() AS due FROM deliveries WHERE job_id = :id"),
            {"id": job_id},
        )
        return tuple(row.one())

    return lambda job_id: run(look, job_id)


@pytest.fixture
def add_file(execute):
    """A file of a job, in a state; returns its id."""

    async def add(job_id, state, **facts):
        artifact_id = new_id()
        values = {"lease": None, "size": None, "kind": None, **facts}
        await execute(
            """
            INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url, expires_at,
                state, lease, next_at, size_bytes, media_type, sha256, store_key)
            SELECT :id, :job, count(*), 'e', 'output', 'u', now() + interval '1 h',
                CAST(:state AS text), :lease, now(), :size, CAST(:kind AS text),
                CASE WHEN :state = 'stored' THEN 'a' END, CASE WHEN :state = 'stored' THEN 'b' END
            FROM artifacts WHERE job_id = :job
            """,
            id=artifact_id,
            job=job_id,
            state=state,
            **values,
        )
        return artifact_id

    return add


async def test_what_was_told_is_not_told_again_because_its_job_ends(run, make, read):
    told, waiting = await make("delivered"), await make("waiting")

    await run(wake_deliveries, ended=[told, waiting], hold_seconds=0)

    assert (await read(told))[0] == "delivered"
    assert await read(waiting) == ("pending", True)


async def test_asked_for_again_is_only_what_was_told(run, make, read):
    told, waiting = await make("delivered"), await make("waiting")

    for job_id in (told, waiting):
        await run(redeliver, job_id=job_id)

    assert await read(told) == ("pending", True)
    assert (await read(waiting))[0] == "waiting"


async def test_word_waits_for_the_files_of_its_own_job_and_for_no_others(run, make, read, add_file):
    whole, part = await make("pending"), await make("pending")
    files = [await add_file(whole, "stored"), await add_file(part, "stored")]
    await add_file(part, "pending")

    await run(hasten_deliveries, artifact_ids=files)

    assert await read(whole) == ("pending", True)
    assert await read(part) == ("pending", False)


async def test_what_was_known_of_a_lost_file_is_known_while_it_is_fetched_again(
    run, make, add_file
):
    lease = new_id()
    file = await add_file(await make("delivered"), "pending", lease=lease, size=5, kind="image/png")

    await run(record_downloads, [DownloadEnd(id=file, lease=lease, error="503", retry_in=5.0)])

    async def look(session):
        found = await session.execute(text("SELECT size_bytes, media_type, error FROM artifacts"))
        return tuple(found.one())

    assert await run(look) == (5, "image/png", "503")
