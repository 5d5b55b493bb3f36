"""Generations as Flower's tasks: where each job is, and nothing that is in it."""

import pickle
from uuid import UUID

import pytest
from flower.events import EventsState

from models.base import new_id
from models.campaign import add_campaign
from models.claims import claim_polls
from models.interventions import retry_jobs
from models.job import JobState, Reason
from models.transitions import (
    NewJob,
    accept,
    claim_submissions,
    end,
    enqueue_jobs,
    move_jobs,
    retry_submit,
)
from tests.integration.conftest import FLUX
from workers import flower_jobs
from workers.flower_jobs import JobFeed

PROMPT = "a heron that nobody may read of"


@pytest.fixture
def state():
    return EventsState(max_tasks_in_memory=1_000)


@pytest.fixture
def feed(database, state):
    return JobFeed(database, state, campaign_most=3)


class Floor:
    """What stages do to jobs."""

    def __init__(self, run):
        self._run = run

    async def add(self, count=1, **options):
        jobs = [
            NewJob(id=new_id(), endpoint=FLUX, input={"prompt": PROMPT}, **options)
            for _ in range(count)
        ]
        await self._run(enqueue_jobs, jobs)
        return [str(job.id) for job in jobs]

    async def submit(self, upstream_id="up-1", error=None):
        """Send the one that is due; the upstream takes it, or fails."""
        [row] = await self._run(claim_submissions, **self._claim())
        if error is None:
            move = accept(row.id, row.lease, upstream_id=upstream_id, due_in=0)
        else:
            move = retry_submit(row.id, row.lease, error=error, due_in=0)
        await self._run(move_jobs, [move])

    async def end(self, state, **facts):
        [row] = await self._run(claim_polls, **self._claim())
        await self._run(move_jobs, [end(row.id, row.lease, state=state, **facts)])

    async def fail(self):
        await self.submit()
        await self.end(JobState.FAILED, reason=Reason.UPSTREAM_FAILED, error=f"bad {PROMPT}")

    @staticmethod
    def _claim():
        return {
            "endpoint": FLUX,
            "limit": 10,
            "lease": new_id(),
            "lease_seconds": 60,
            "proven": True,
        }


@pytest.fixture
def floor(run):
    return Floor(run)


async def test_a_job_is_followed_from_being_received_to_its_end(feed, state, floor):
    await feed.catch_up()  # there was nothing yet
    [job] = await floor.add()
    await feed.catch_up()
    task = state.tasks[job]
    assert (task.name, task.state) == ("pressroom.generate", "RECEIVED")
    assert (task.args, task.worker.hostname) == (f"('{FLUX}',)", FLUX)

    await floor.submit()
    await feed.catch_up()
    assert (task.state, task.kwargs) == ("STARTED", "{'upstream_id': 'up-1', 'priority': 5}")

    await floor.end(JobState.COMPLETED, output=PROMPT, cost_usd=0.0025)
    await feed.catch_up()
    assert (task.state, task.result) == ("SUCCESS", "{'cost_usd': 0.0025}")
    assert task.runtime == pytest.approx(task.succeeded - task.started, abs=0.001)
    assert 0 <= task.runtime < 10
    assert PROMPT not in str(task.as_dict())


@pytest.mark.parametrize(
    ("ended", "shown"),
    [
        (JobState.FAILED, "FAILURE"),
        (JobState.TIMED_OUT, "FAILURE"),
        (JobState.LOST, "FAILURE"),
        (JobState.CANCELLED, "REVOKED"),
    ],
)
async def test_each_end_is_a_state_of_celerys_with_its_reason_and_no_text_of_the_upstreams(
    feed, state, floor, ended, shown
):
    [job] = await floor.add()
    await floor.submit()
    await floor.end(ended, reason=Reason.UPSTREAM_FAILED, error=f"bad {PROMPT}")

    await feed.catch_up()

    task = state.tasks[job]
    assert task.state == shown
    assert task.started is not None
    if shown == "FAILURE":
        assert task.exception == f"upstream_failed: pressroom jobs show {job}"
    assert PROMPT not in str(task.as_dict())


async def test_what_is_sent_again_is_shown_as_a_retry_and_then_as_it_goes_on(feed, state, floor):
    [job] = await floor.add()
    await floor.submit(error="HTTP 502")
    await feed.catch_up()
    task = state.tasks[job]
    assert (task.state, task.retries) == ("RETRY", 0)

    await floor.submit()
    await feed.catch_up()

    assert (task.state, task.retries) == ("STARTED", 1)


async def test_one_that_had_failed_and_is_run_again_is_not_shown_as_failed(feed, state, floor, run):
    [job] = await floor.add()
    await floor.fail()
    await feed.catch_up()
    assert state.tasks[job].state == "FAILURE"

    await run(retry_jobs, job_ids=[UUID(job)])
    await feed.catch_up()
    assert state.tasks[job].state == "RETRY"

    await floor.fail()
    await feed.catch_up()
    assert state.tasks[job].state == "FAILURE"


async def test_one_that_was_run_again_and_ended_between_two_looks_is_shown_as_it_ended(
    feed, state, floor, run
):
    [job] = await floor.add()
    await floor.fail()
    await feed.catch_up()
    await run(retry_jobs, job_ids=[UUID(job)])
    await floor.submit()
    await floor.end(JobState.COMPLETED)

    await feed.catch_up()

    assert state.tasks[job].state == "SUCCESS"


async def test_jobs_of_a_large_campaign_are_not_shown_and_those_of_a_small_one_are(
    feed, state, floor, run, execute
):
    await feed.catch_up()
    large = await run(add_campaign, name="large", endpoint=FLUX)
    small = await run(add_campaign, name="small", endpoint=FLUX)
    await execute("UPDATE campaigns SET total = CASE name WHEN 'large' THEN 4 ELSE 3 END")
    await floor.add(4, campaign_id=large)
    shown = await floor.add(3, campaign_id=small)

    await feed.catch_up()

    assert set(state.tasks) == set(shown)
    assert "'campaign': 'small'" in state.tasks[shown[0]].kwargs


async def test_what_happened_while_flower_was_down_is_shown_once_it_is_back(
    database, state, feed, floor
):
    [job] = await floor.add()
    await floor.submit()
    await feed.catch_up()
    kept = pickle.dumps(state)
    await floor.end(JobState.COMPLETED)
    later = await floor.add(5)

    back = pickle.loads(kept)
    await JobFeed(database, back, campaign_most=3).catch_up()

    assert back.tasks[job].state == "SUCCESS"
    assert {back.tasks[one].state for one in later} == {"RECEIVED"}


async def test_one_that_is_not_among_the_latest_is_corrected_all_the_same(
    database, state, feed, floor, monkeypatch
):
    [job] = await floor.add()
    await floor.submit()
    await feed.catch_up()
    kept = pickle.dumps(state)
    await floor.end(JobState.CANCELLED)
    await floor.add(3)
    monkeypatch.setattr(flower_jobs, "LATEST", 2)

    back = pickle.loads(kept)
    await JobFeed(database, back, campaign_most=3).catch_up()

    assert back.tasks[job].state == "REVOKED"
    assert len(back.tasks) == 3


async def test_more_events_than_are_read_at_once_are_all_told(feed, state, floor, monkeypatch):
    await feed.catch_up()
    monkeypatch.setattr(flower_jobs, "BATCH", 4)
    jobs = await floor.add(11)

    await feed.catch_up()

    assert set(state.tasks) == set(jobs)


async def test_what_began_and_ended_between_two_looks_is_one_event(feed, state, floor):
    await feed.catch_up()
    [job] = await floor.add()
    await floor.submit()
    await floor.end(JobState.COMPLETED)

    await feed.catch_up()

    task = state.tasks[job]
    assert state.counter[FLUX] == {"task-succeeded": 1}
    assert task.received <= task.started <= task.succeeded


async def test_what_was_seen_waiting_is_counted_as_begun_before_it_is_as_ended(feed, state, floor):
    await floor.add()
    await feed.catch_up()
    await floor.submit()
    await floor.end(JobState.COMPLETED)

    await feed.catch_up()

    assert state.counter[FLUX] == {"task-received": 1, "task-started": 1, "task-succeeded": 1}


async def test_one_that_is_far_behind_goes_on_with_the_latest(feed, state, floor, monkeypatch):
    await feed.catch_up()
    for name, value in (("BATCH", 4), ("LATE_SECONDS", -1.0), ("LATEST", 3)):
        monkeypatch.setattr(flower_jobs, name, value)
    jobs = await floor.add(11)

    await feed.catch_up()

    assert set(state.tasks) == {*jobs[:4], *jobs[-3:]}
    [later] = await floor.add()
    await feed.catch_up()
    assert later in state.tasks


async def test_an_endpoint_is_not_taken_for_a_worker_that_lives(feed, state, floor):
    await floor.add()
    await feed.catch_up()

    assert not state.workers[FLUX].alive
