"""What is revoked, wherever it is: a job, no job yet, or on its way to be one."""

import asyncio

import pytest
from celery.worker.state import revoked

from models.base import new_id
from models.job import JobState
from models.transitions import NewJob, enqueue_jobs
from tasks.generate import KEPT, take_in
from tasks.intake import Request
from tasks.revoke import cancel_revoked
from tests.integration.conftest import FLUX, find_job

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Celery does


async def test_jobs_are_cancelled_and_what_is_none_is_marked_at_once(runtime, run):
    job_id, unknown, odd = new_id(), str(new_id()), "order-17"
    await run(enqueue_jobs, [NewJob(id=job_id, endpoint=FLUX, input={})])

    for _worker in range(2):  # each hears it
        await cancel_revoked(runtime, {str(job_id), unknown, odd})

    assert (await find_job(runtime, job_id)).state is JobState.CANCELLED
    states = [
        await asyncio.to_thread(runtime.app.backend.get_state, task_id)
        for task_id in (str(job_id), unknown, odd)
    ]
    assert states == ["PENDING", "REVOKED", "REVOKED"]  # of the job's end it is told


async def test_a_request_that_is_revoked_while_it_is_taken_in_is_cancelled(runtime):
    job_id = new_id()
    request = Request(endpoint=FLUX, input={"prompt": "a fox"}, id=job_id)
    revoked.add(str(job_id))

    await take_in(runtime, request, dict.fromkeys(KEPT) | {"id": str(job_id)})

    assert (await find_job(runtime, job_id)).state is JobState.CANCELLED
