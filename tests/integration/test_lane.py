"""The stages, run one by one on real servers against the emulator, without Celery."""

import asyncio
import hashlib

import pytest

from endpoints import quota
from models.artifact import ArtifactState, list_artifacts
from models.attempt import Answer, Fate
from models.base import new_id
from models.claims import hand_back
from models.errors import DatabaseUnavailable
from models.interventions import cancel_jobs, hasten_polls
from models.job import TERMINAL, JobState, OnUnknown, Reason
from models.job_queries import get_job, list_attempts
from models.lane import StageName, find_lanes
from models.setting import put_setting
from models.transitions import claim_submissions, follow_hints
from tasks import retry_policy
from tasks.archive import ARCHIVE
from tasks.cancel import CANCEL
from tasks.intake import InvalidRequest, Request, check_request, enqueue
from tasks.poll import POLL
from tasks.submit import SUBMIT
from tasks.sweep import sweep_lanes
from workers.lane import LaneRun
from workers.store import read

FLUX = "black-forest-labs-flux-1-schnell"


async def add_job(runtime, *, endpoint=FLUX, prompt="a fox", **options):
    request = Request(endpoint=endpoint, input={"prompt": prompt}, **options)
    job = check_request(runtime.catalogue, request, on_unknown=OnUnknown.RESUBMIT).job
    await enqueue(runtime, [job])
    return job.id


async def find_job(runtime, job_id):
    async with runtime.database.begin() as session:
        return await get_job(session, job_id)


async def find_attempts(runtime, job_id):
    async with runtime.database.begin() as session:
        return await list_attempts(session, job_id)


async def run_until(runtime, stages, job_id, states, *, endpoint=FLUX):
    """Run a stage, or several, as they come due until the job is in one of `states`."""
    stages = stages if isinstance(stages, list) else [stages]
    async with asyncio.timeout(20):
        while (job := await find_job(runtime, job_id)).state not in states:
            for stage in stages:
                await LaneRun(runtime, stage, endpoint).run()
            await asyncio.sleep(0.02)
    return job


async def fault(emulator, kind, **options):
    response = await emulator.post("/admin/faults", json={"kind": kind, **options})
    assert response.is_success, response.text


async def billed(emulator):
    return (await emulator.get("/admin/ledger")).json()


async def first_bill(emulator):
    """The first entry of the emulator's ledger, once there is one."""
    async with asyncio.timeout(10):
        while not (await billed(emulator))["jobs"]:  # noqa: ASYNC110 -- another process's news
            await asyncio.sleep(0.02)
    return (await emulator.get("/admin/ledger", params={"entries": 1})).json()["entries"][0]


async def test_a_job_is_submitted_polled_archived_and_billed_once(runtime, emulator):
    job_id = await add_job(runtime)

    await LaneRun(runtime, SUBMIT, FLUX).run()
    job = await run_until(runtime, POLL, job_id, {JobState.COMPLETED})
    assert await LaneRun(runtime, ARCHIVE, FLUX).run() == 1
    asked = (await emulator.get("/admin/stats")).json()["endpoints"][FLUX]["status"]["requests"]
    assert job.polls == asked

    async with runtime.database.begin() as session:
        [artifact] = await list_artifacts(session, job_ids=[job_id])
    assert artifact.store_key is not None
    stored = await read(runtime.store, artifact.store_key)
    assert hashlib.sha256(stored).hexdigest() == artifact.sha256
    assert (artifact.state, artifact.media_type) == (ArtifactState.STORED, "image/jpeg")
    assert (artifact.width, artifact.height) == (1024, 1024)
    assert artifact.thumbnail_key is not None
    [attempt] = await find_attempts(runtime, job_id)
    assert (attempt.answer, attempt.upstream_id) == (Answer.ACCEPTED, job.upstream_id)
    ledger = await billed(emulator)
    assert float(ledger["total_usd"]) == float(job.cost_usd) == float(attempt.cost_usd)


async def test_a_429_closes_the_lane_and_spends_no_attempt(runtime, emulator):
    await fault(emulator, "busy", count=1, retry_after=30)
    job_id = await add_job(runtime)

    await LaneRun(runtime, SUBMIT, FLUX).run()

    job = await find_job(runtime, job_id)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    async with runtime.database.begin() as session:
        [lane] = [one for one in await find_lanes(session) if one.stage is StageName.SUBMIT]
    assert lane.closed_seconds == pytest.approx(30, abs=5)
    assert "429" in str(lane.closed_reason)
    assert await LaneRun(runtime, SUBMIT, FLUX).run() == 0  # closed: it claims nothing


async def test_what_has_not_gone_when_a_call_is_told_to_wait_goes_back_unsent_to_its_place(
    runtime, emulator, monkeypatch
):
    """The turns of calls are apart once the limit is in use: here, a second."""
    monkeypatch.setattr(quota, "AHEAD_SECONDS", 3.0)
    await put_limit(runtime, {"per_10_seconds": 10})
    await use_up(runtime, SUBMIT)
    await take_at_most(emulator, 1)
    job_ids = [await add_job(runtime, prompt=f"fox {number}") for number in range(6)]

    claimed = await LaneRun(runtime, SUBMIT, FLUX).run()

    jobs = [await find_job(runtime, job_id) for job_id in job_ids]
    attempts = [await find_attempts(runtime, job_id) for job_id in job_ids]
    answers = [attempt.answer for of_job in attempts for attempt in of_job]
    assert claimed == len(answers) >= 3
    assert answers[:2] == [Answer.ACCEPTED, Answer.BUSY]
    assert set(answers[2:]) == {Answer.UNSENT}
    assert [job.state for job in jobs] == [JobState.IN_QUEUE, *[JobState.QUEUED] * 5]
    assert [job.attempt for job in jobs] == [1, 0, 0, 0, 0, 0]
    assert [job.virtual_start for job in jobs] == sorted(job.virtual_start for job in jobs)


@pytest.mark.usefixtures("emulator")
async def test_what_has_not_gone_when_another_run_of_the_lane_is_refused_does_not_go_either(
    runtime, monkeypatch
):
    monkeypatch.setattr(quota, "AHEAD_SECONDS", 6.0)
    await put_limit(runtime, {"per_10_seconds": 5})
    await use_up(runtime, SUBMIT)
    job_ids = [await add_job(runtime, prompt=f"fox {number}") for number in range(4)]

    run = asyncio.create_task(LaneRun(runtime, SUBMIT, FLUX).run())
    async with asyncio.timeout(10):
        while (await find_job(runtime, job_ids[0])).upstream_id is None:  # noqa: ASYNC110 -- a row
            await asyncio.sleep(0.02)
    limit = await runtime.limit(FLUX, SUBMIT.operation)
    monkeypatch.setattr(quota, "HOLD_SECONDS", 30.0)
    await runtime.quota.refused(SUBMIT.operation, FLUX, limit=limit)
    claimed = await run

    states = [(await find_job(runtime, job_id)).state for job_id in job_ids]
    assert claimed >= 2
    assert states == [JobState.IN_QUEUE, *[JobState.QUEUED] * 3]


@pytest.mark.usefixtures("emulator")
async def test_a_worker_whose_loop_is_late_begins_little_and_goes_on_with_what_is_under_way(
    runtime,
):
    limit = await runtime.limit(FLUX, POLL.operation)
    await runtime.quota.restore(POLL.operation, FLUX, limit=limit, answered_seconds_ago=[])
    job_ids = [await add_job(runtime, prompt=f"fox {number}") for number in range(30)]
    runtime.lag.seconds = 1.0

    first = await LaneRun(runtime, SUBMIT, FLUX).run()
    runtime.lag.seconds = 1000.0
    second = await LaneRun(runtime, SUBMIT, FLUX).run()
    async with runtime.database.begin() as session:
        await hasten_polls(session, job_ids=job_ids)
    polled = await LaneRun(runtime, POLL, FLUX).run()
    runtime.lag.seconds = 0.0
    rest = await LaneRun(runtime, SUBMIT, FLUX).run()

    assert (first, second, polled, rest) == (10, 1, 11, 19)


async def test_what_has_not_gone_is_handed_back_although_postgres_is_away_for_a_moment(
    runtime, emulator, monkeypatch
):
    monkeypatch.setattr(quota, "AHEAD_SECONDS", 3.0)
    await put_limit(runtime, {"per_10_seconds": 10})
    await use_up(runtime, SUBMIT)
    await take_at_most(emulator, 1)
    job_ids = [await add_job(runtime, prompt=f"fox {number}") for number in range(4)]
    failures = iter([DatabaseUnavailable("it restarts")] * 2)

    async def fail_twice(*arguments, **options):
        if failure := next(failures, None):
            raise failure
        return await hand_back(*arguments, **options)

    monkeypatch.setattr("workers.lane.hand_back", fail_twice)

    await LaneRun(runtime, SUBMIT, FLUX).run()

    states = [(await find_job(runtime, job_id)).state for job_id in job_ids]
    assert states == [JobState.IN_QUEUE, *[JobState.QUEUED] * 3]


async def test_a_refusal_teaches_a_limit_that_outlives_redis(runtime, emulator):
    await put_limit(runtime, {"per_10_seconds": 20})
    job_ids = [await add_job(runtime, prompt=f"fox {number}") for number in range(12)]
    await take_at_most(emulator, 11)
    assert await LaneRun(runtime, SUBMIT, FLUX).run() == len(job_ids)
    learned = (await runtime.quota.usage("run", FLUX)).learned
    await runtime.redis.flushall()

    await LaneRun(runtime, SUBMIT, FLUX).run()

    assert learned == 6
    assert (await runtime.quota.usage("run", FLUX)).learned == learned


@pytest.fixture
def rung(runtime, monkeypatch):
    """The bells of submits, in order: how soon each is to ring."""
    rung = []
    ring = runtime.bells.ring

    async def note(stage, endpoint, *, in_seconds=0.0):
        if stage is StageName.SUBMIT:
            rung.append(in_seconds)
        return await ring(stage, endpoint, in_seconds=in_seconds)

    monkeypatch.setattr(runtime.bells, "ring", note)
    return rung


async def test_while_as_many_are_under_way_as_may_be_nobody_is_rung_for_in_vain(
    runtime, emulator, rung
):
    await put_limit(runtime, {"per_10_seconds": 100, "concurrent": 2})
    await use_up(runtime, SUBMIT)
    for number in range(5):
        await add_job(runtime, prompt=f"fox {number}")
    rung.clear()
    await fault(emulator, "slow", seconds=0.5, count=2)

    run = asyncio.create_task(LaneRun(runtime, SUBMIT, FLUX).run())
    await asyncio.sleep(0.25)
    meanwhile = list(rung)
    claimed = await run

    assert claimed == 2
    assert meanwhile == []
    assert all(seconds <= 0 for seconds in rung)  # a place is free, and more waits
    assert 1 <= len(rung) <= 2


@pytest.mark.usefixtures("emulator")
async def test_what_the_rate_does_not_allow_yet_is_rung_for_when_it_does(runtime, rung):
    await put_limit(runtime, {"per_10_seconds": 10})
    await use_up(runtime, SUBMIT)
    for number in range(5):
        await add_job(runtime, prompt=f"fox {number}")
    rung.clear()

    claimed = await LaneRun(runtime, SUBMIT, FLUX).run()

    assert claimed < 5
    assert rung
    assert all(seconds > 0.3 for seconds in rung)  # one goes a second; nobody asks before


async def take_at_most(emulator, count):
    """Have the emulator take so many `/run` in ten seconds."""
    limit = {"operation": "run", "per_window": count, "concurrent": None}
    assert (await emulator.post("/admin/limits", json=limit)).is_success


async def put_limit(runtime, limit):
    async with runtime.database.begin() as session:
        await put_setting(session, name="limits", value={FLUX: {"run": limit}})
    await runtime.operator.get(fresh=True)


async def use_up(runtime, stage):
    """Find the window full once; then let it be empty again."""
    limit = await runtime.limit(FLUX, stage.operation)
    lease = new_id()
    await runtime.quota.restore(stage.operation, FLUX, limit=limit, answered_seconds_ago=[])
    for _ in range(2):
        await runtime.quota.take(
            stage.operation, FLUX, lease=lease, want=1000, limit=limit, lease_seconds=5
        )
    for part in ("window", "flight", "counts"):
        await runtime.redis.delete(
            f"{runtime.settings.redis_prefix}quota:{stage.operation}:{{{FLUX}}}:{part}"
        )


async def test_a_refused_key_holds_the_lane_and_says_so(runtime, emulator):
    await fault(emulator, "error", status=401, count=1)
    job_id = await add_job(runtime)

    await LaneRun(runtime, SUBMIT, FLUX).run()

    job = await find_job(runtime, job_id)
    assert job.state is JobState.QUEUED
    assert "refused the key" in job.error


async def test_an_upstream_out_of_reach_holds_the_lane_and_spends_no_attempt(runtime):
    job_id = await add_job(runtime)

    await LaneRun(runtime, SUBMIT, FLUX).run()

    job = await find_job(runtime, job_id)
    [attempt] = await find_attempts(runtime, job_id)
    assert (job.state, job.attempt, attempt.answer) == (JobState.QUEUED, 0, Answer.UNSENT)
    assert "cannot be reached" in job.error


@pytest.mark.usefixtures("without_waits")
@pytest.mark.parametrize(("allowed", "sends"), [(None, retry_policy.FAULT.sends), (3, 3), (1, 1)])
async def test_faults_are_tried_again_until_the_attempts_are_used_up(
    runtime, emulator, allowed, sends
):
    if allowed is not None:
        async with runtime.database.begin() as session:
            await put_setting(session, name="max_attempts", value=allowed)
    await fault(emulator, "error", status=500, operation="run")
    job_id = await add_job(runtime)

    job = await run_until(runtime, SUBMIT, job_id, {JobState.FAILED})

    attempts = await find_attempts(runtime, job_id)
    assert (job.reason, job.attempt) == (Reason.UPSTREAM_FAULT, sends)
    assert [attempt.answer for attempt in attempts] == [Answer.FAULT] * sends
    assert (await billed(emulator))["jobs"] == 0


async def test_a_refused_input_fails_for_good_with_the_upstreams_words(runtime, emulator):
    await fault(emulator, "error", status=400, count=1, body='{"error": "no such style"}')
    job_id = await add_job(runtime)

    job = await run_until(runtime, SUBMIT, job_id, {JobState.FAILED})

    assert job.reason is Reason.UPSTREAM_REFUSED
    assert "no such style" in job.error


async def test_a_lost_reply_is_unknown_and_a_hint_finds_the_job_again(runtime, emulator):
    await fault(emulator, "reset_after", count=1)
    job_id = await add_job(runtime)
    await LaneRun(runtime, SUBMIT, FLUX).run()
    unknown = await find_job(runtime, job_id)
    [attempt] = await find_attempts(runtime, job_id)
    entry = await first_bill(emulator)

    async with runtime.database.begin() as session:
        await follow_hints(session, [(job_id, attempt.lease, entry["id"])])
    job = await run_until(runtime, POLL, job_id, {JobState.COMPLETED})

    assert unknown.state is JobState.UNKNOWN
    assert (job.attempt, (await billed(emulator))["jobs"]) == (1, 1)


@pytest.mark.parametrize(
    ("on_unknown", "state"),
    [(OnUnknown.FAIL, JobState.FAILED), (OnUnknown.RESUBMIT, JobState.QUEUED)],
)
async def test_an_unknown_job_of_which_nothing_is_heard_is_decided_by_its_policy(
    runtime, emulator, monkeypatch, on_unknown, state
):
    monkeypatch.setattr("tasks.submit.HINT_SECONDS", -1000.0)
    await fault(emulator, "reset_after", count=1)
    job_id = await add_job(runtime, on_unknown=on_unknown)
    await LaneRun(runtime, SUBMIT, FLUX).run()

    await sweep_lanes(runtime)

    assert (await find_job(runtime, job_id)).state is state


@pytest.mark.usefixtures("without_waits")
@pytest.mark.parametrize(
    ("on_unknown", "forgotten", "state", "sends"),
    [
        (OnUnknown.RESUBMIT, 1, JobState.COMPLETED, 2),
        (OnUnknown.RESUBMIT, None, JobState.LOST, retry_policy.VANISHED.sends),
        (OnUnknown.FAIL, None, JobState.LOST, 1),
    ],
)
async def test_a_job_that_the_upstream_forgot_is_sent_again_if_it_may_and_else_lost(
    runtime, emulator, *, on_unknown, forgotten, state, sends
):
    await fault(emulator, "lose_job", count=forgotten)
    job_id = await add_job(runtime, on_unknown=on_unknown)

    job = await run_until(runtime, [SUBMIT, POLL], job_id, set(TERMINAL))

    attempts = await find_attempts(runtime, job_id)
    gone = [Fate.GONE] * (sends - (state is JobState.COMPLETED))
    assert (job.state, len(attempts)) == (state, sends)
    assert [one.fate for one in attempts if one.fate] == gone
    assert {one.risk_usd for one in attempts if one.fate} == {job.estimate_usd}
    if state is JobState.LOST:
        assert (job.reason, job.misses) == (Reason.VANISHED, 0)
        assert "404" in job.error


@pytest.mark.usefixtures("without_waits")
async def test_a_job_that_the_upstream_denies_once_is_asked_for_again(runtime, emulator):
    job_id = await add_job(runtime)
    await LaneRun(runtime, SUBMIT, FLUX).run()
    await fault(emulator, "not_found", count=1)

    await run_until(runtime, POLL, job_id, {JobState.COMPLETED})

    [attempt] = await find_attempts(runtime, job_id)
    assert attempt.fate is None


@pytest.mark.usefixtures("emulator")
async def test_a_cancel_reaches_a_job_in_flight(runtime):
    video = "vidu-q3-t2v"  # takes seconds here
    job_id = await add_job(runtime, endpoint=video)
    await LaneRun(runtime, SUBMIT, video).run()

    async with runtime.database.begin() as session:
        await cancel_jobs(session, job_ids=[job_id])
    job = await run_until(
        runtime,
        [CANCEL, POLL],
        job_id,
        {JobState.CANCELLED, JobState.COMPLETED},
        endpoint=video,
    )

    assert (job.state, job.reason) == (JobState.CANCELLED, Reason.CANCELLED)


async def test_a_broken_download_is_seen_and_tried_again(runtime, emulator):
    await fault(emulator, "broken_file", count=1)
    job_id = await add_job(runtime)
    await LaneRun(runtime, SUBMIT, FLUX).run()
    await run_until(runtime, POLL, job_id, {JobState.COMPLETED})

    await LaneRun(runtime, ARCHIVE, FLUX).run()

    async with runtime.database.begin() as session:
        [broken] = await list_artifacts(session, job_ids=[job_id])
    assert (broken.state, broken.tries) == (ArtifactState.PENDING, 1)
    assert broken.error
    async with asyncio.timeout(10):
        while not await LaneRun(runtime, ARCHIVE, FLUX).run():  # noqa: ASYNC110 -- by the server's clock
            await asyncio.sleep(0.05)
    async with runtime.database.begin() as session:
        [stored] = await list_artifacts(session, job_ids=[job_id])
    assert stored.state is ArtifactState.STORED


async def test_speech_whose_reply_names_no_cost_is_priced_by_its_file(runtime, emulator):
    speech = "chatterbox-turbo"
    job_id = await add_job(runtime, endpoint=speech, prompt="The tide is out.")
    await LaneRun(runtime, SUBMIT, speech).run()
    await run_until(runtime, POLL, job_id, {JobState.COMPLETED}, endpoint=speech)

    await LaneRun(runtime, ARCHIVE, speech).run()

    job = await find_job(runtime, job_id)
    assert float(job.cost_usd) == pytest.approx(float((await billed(emulator))["total_usd"]))


async def test_a_stopping_worker_hands_back_what_it_has_not_sent(runtime, emulator):
    job_id = await add_job(runtime)
    runtime.stopping.set()

    await LaneRun(runtime, SUBMIT, FLUX).run()

    job = await find_job(runtime, job_id)
    [attempt] = await find_attempts(runtime, job_id)
    assert (job.state, job.attempt, attempt.answer) == (JobState.QUEUED, 0, Answer.UNSENT)
    assert (await emulator.get("/admin/stats")).json()["jobs"]["accepted"] == 0


async def test_a_dead_workers_submissions_become_unknown_and_are_not_sent_again(runtime):
    job_id = await add_job(runtime)
    async with runtime.database.begin() as session:
        await claim_submissions(
            session, endpoint=FLUX, limit=10, lease=new_id(), lease_seconds=-1.0, proven=True
        )

    await sweep_lanes(runtime)

    assert (await find_job(runtime, job_id)).state is JobState.UNKNOWN
    assert await LaneRun(runtime, SUBMIT, FLUX).run() == 0


async def test_an_endpoint_that_nobody_listed_works_without_schema_and_price(runtime, emulator):
    await emulator.post("/admin/custom", json={"endpoint": "my-own"})
    job_id = await add_job(runtime, endpoint="my-own")

    await LaneRun(runtime, SUBMIT, "my-own").run()
    job = await run_until(runtime, POLL, job_id, {JobState.COMPLETED}, endpoint="my-own")

    assert job.estimate_usd is None
    assert job.output is not None


async def test_a_bad_request_names_every_problem_and_leaves_nothing(runtime):
    request = Request(endpoint=FLUX, input={"width": 1000, "promt": "a fox"})

    with pytest.raises(InvalidRequest) as caught:
        check_request(runtime.catalogue, request, on_unknown=OnUnknown.RESUBMIT)

    text = str(caught.value)
    assert "prompt" in text
    assert "64" in text
    assert "did you mean" in text


async def test_a_sweep_does_not_hold_up_a_process_that_is_to_end(runtime, monkeypatch):
    done = []

    async def first(runtime):
        done.append("first")
        runtime.stopping.set()

    async def second(_runtime):
        done.append("second")

    monkeypatch.setattr("tasks.sweep.STEPS", (first, second))

    await sweep_lanes(runtime)

    assert done == ["first"]
