"""What is read of a campaign's jobs: how they ended, what they cost, which may be sent again."""

from decimal import Decimal

import pytest

from models.base import new_id
from models.campaign import add_campaign, find_retriable
from models.campaign_figures import count_jobs, read_figures
from models.job import JobState, Reason
from models.transitions import NewJob, enqueue_jobs
from tests.integration.conftest import FLUX

FAILED = [JobState.FAILED, JobState.TIMED_OUT, JobState.LOST, JobState.REJECTED]


@pytest.fixture
async def campaign_id(run):
    return await run(add_campaign, name="shoot", endpoint=FLUX)


@pytest.fixture
def add(run, execute, campaign_id):
    """Adds a job that ended so; its id."""
    places = iter(range(100))

    async def add_one(state, *, reason=None, cost=None, estimate="0.5", earlier=()):
        job_id = new_id()
        job = NewJob(
            id=job_id,
            endpoint=FLUX,
            input={},
            campaign_id=campaign_id,
            position=next(places),
            estimate_usd=estimate,
        )
        await run(enqueue_jobs, [job])
        attempts = [*earlier, cost]
        for number, usd in enumerate(attempts, start=1):
            await execute(
                "INSERT INTO attempts (job_id, lease, number, endpoint, cost_usd)"
                " VALUES (:id, gen_random_uuid(), :number, :endpoint, CAST(:usd AS numeric))",
                id=job_id,
                number=number,
                endpoint=FLUX,
                usd=usd,
            )
        if state is not JobState.QUEUED:
            await execute(
                "UPDATE jobs SET state = :state, reason = :reason, finished_at = now(),"
                " next_at = NULL, virtual_start = NULL, attempt = :attempt,"
                " cost_usd = CAST(:cost AS numeric) WHERE id = :id",
                id=job_id,
                state=state,
                reason=reason,
                attempt=len(attempts),
                cost=cost,
            )
        return job_id

    return add_one


async def test_what_was_cancelled_did_not_fail(run, add, campaign_id):
    for state in (*FAILED, JobState.CANCELLED, JobState.CANCELLED, JobState.COMPLETED):
        await add(state)
    await add(JobState.QUEUED)

    progress = await run(count_jobs, campaign_id)

    assert (progress.completed, progress.failed, progress.cancelled) == (1, 4, 2)
    assert (progress.ended, progress.queued) == (7, 1)


async def test_what_was_spent_is_that_of_every_attempt(run, add, campaign_id):
    await add(JobState.COMPLETED, cost="0.10")
    await add(JobState.COMPLETED, cost="0.20", earlier=["0.03", None])
    await add(JobState.FAILED, earlier=["0.04"])

    progress = await run(count_jobs, campaign_id)

    assert progress.spent_usd == Decimal("0.37")
    assert progress.estimate_usd == Decimal("1.5")


async def test_ends_alike_on_two_endpoints_are_one_ending_and_the_most_come_first(
    run, add, execute, campaign_id
):
    [elsewhere, *_] = [
        await add(JobState.FAILED, reason=Reason.UPSTREAM_FAILED),
        await add(JobState.FAILED, reason=Reason.UPSTREAM_FAILED),
        await add(JobState.LOST, reason=Reason.VANISHED),
        await add(JobState.COMPLETED),
    ]
    await execute("UPDATE jobs SET endpoint = 'other', error = 'bad' WHERE id = :id", id=elsewhere)

    figures = await run(read_figures, campaign_id)

    told = [(one.state, one.reason, one.jobs, one.error) for one in figures.endings]
    assert told == [
        (JobState.FAILED, Reason.UPSTREAM_FAILED, 2, "bad"),
        (JobState.LOST, Reason.VANISHED, 1, None),
    ]
    assert figures.open == []


async def test_what_is_open_is_told_by_endpoint(run, add, execute, campaign_id):
    await add(JobState.COMPLETED)
    await add(JobState.QUEUED)
    elsewhere = await add(JobState.QUEUED)
    await execute(
        "UPDATE jobs SET endpoint = 'other', next_at = now() + interval '1 hour' WHERE id = :id",
        id=elsewhere,
    )

    told = {one.endpoint: one for one in (await run(read_figures, campaign_id)).open}

    assert {name: (one.jobs, one.queued) for name, one in told.items()} == {
        FLUX: (2, 1),
        "other": (1, 1),
    }
    assert told[FLUX].last_due_seconds == 0
    assert told["other"].last_due_seconds == pytest.approx(3600, abs=60)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ((FAILED, []), [0, 1, 2]),
        (([JobState.FAILED], []), [0, 1]),
        ((FAILED, [Reason.UPSTREAM_FAULT]), [1]),
        (([JobState.LOST], [Reason.UPSTREAM_FAULT]), []),
        ((FAILED, [Reason.VANISHED, Reason.UPSTREAM_FAILED]), [0, 2]),
    ],
)
async def test_jobs_to_send_again_are_found_by_how_and_why_they_ended(
    run, add, campaign_id, wanted, found
):
    states, reasons = wanted
    jobs = [
        await add(JobState.FAILED, reason=Reason.UPSTREAM_FAILED),
        await add(JobState.FAILED, reason=Reason.UPSTREAM_FAULT, estimate=None),
        await add(JobState.LOST, reason=Reason.VANISHED),
        await add(JobState.COMPLETED),
        await add(JobState.CANCELLED, reason=Reason.CANCELLED),
        await add(JobState.QUEUED),
    ]
    await run(enqueue_jobs, [NewJob(id=new_id(), endpoint=FLUX, input={})])

    retriable = await run(find_retriable, campaign_id, states=states, reasons=reasons)

    assert [one.id for one in retriable] == [jobs[place] for place in found]
    assert all((one.estimate_usd is None) is (one.id == jobs[1]) for one in retriable)
