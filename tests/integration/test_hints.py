"""Webhooks of the upstream: followed, never believed, and harmless whatever they say."""

import asyncio

import httpx
import pytest

from gateway.app import make_gateway
from gateway.hints import HintCollector, Listening, read_upstream_id
from models.attempt import Answer, AttemptEnd, answer_attempts
from models.base import new_id
from models.endpoint_stats import EndpointStats
from models.errors import DatabaseUnavailable
from models.job import JobState
from models.job_queries import get_job, list_attempts
from models.lane import StageName, seconds_until_due
from models.pulse import LISTENING, Pulse
from models.transitions import (
    NewJob,
    accept,
    claim_submissions,
    enqueue_jobs,
    follow_hints,
    lose_sight,
    move_jobs,
)
from workers.runtime import hint_token

FLUX = "black-forest-labs-flux-1-schnell"
UPSTREAM_ID = "0f3c9a52-6d1e-4b7a-8f54-2a1f6f0f7c11-u1"


@pytest.fixture
async def gateway(settings):
    """The gateway, as a client of it."""
    app = make_gateway(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client,
    ):
        yield client


@pytest.fixture
async def submission(database):
    """A job whose `/run` was sent, and not answered yet."""
    async with database.begin() as session:
        await enqueue_jobs(session, [NewJob(id=new_id(), endpoint=FLUX, input={})])
        [claimed] = await claim_submissions(
            session, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
        )
    return claimed


async def record(database, move, answer, **facts):
    async with database.begin() as session:
        assert await move_jobs(session, [move]) == {move.job_id}
        end = AttemptEnd(job_id=move.job_id, lease=move.lease, answer=answer, **facts)
        await answer_attempts(session, [end])


def hint_path(settings, submission, *, token=None):
    token = token or hint_token(settings, submission.id, submission.lease)
    return f"/hints/{submission.id}/{submission.lease}/{token}"


async def hint(gateway, settings, submission, *, body=None):
    body = {"id": UPSTREAM_ID, "status": "COMPLETED", "output": {}} if body is None else body
    return await gateway.post(hint_path(settings, submission), json=body)


async def find_job(database, job_id):
    async with database.begin() as session:
        return await get_job(session, job_id)


async def wait_until(database, job_id, is_so):
    """The job, once `is_so` of it."""
    async with asyncio.timeout(5):
        while True:
            job = await find_job(database, job_id)
            if is_so(job):
                return job
            await asyncio.sleep(0.01)


async def due_in(database, stage=StageName.POLL):
    async with database.begin() as session:
        return await seconds_until_due(session, stage, FLUX)


async def test_a_hint_of_a_job_in_flight_makes_it_due_now_and_rings(
    gateway, settings, database, runtime, submission
):
    accepted = accept(submission.id, submission.lease, upstream_id=UPSTREAM_ID, due_in=600)
    await record(database, accepted, Answer.ACCEPTED, upstream_id=UPSTREAM_ID)
    waited = await due_in(database)

    response = await hint(gateway, settings, submission)

    assert response.status_code == 200
    assert waited > 500
    async with asyncio.timeout(5):
        bell = f"{settings.redis_prefix}bell:poll:{FLUX}"
        while not await runtime.redis.exists(bell):  # noqa: ASYNC110 -- another connection's write
            await asyncio.sleep(0.01)
    assert await due_in(database) == 0
    job = await find_job(database, submission.id)
    assert (job.state, job.output) == (JobState.IN_QUEUE, None)  # what it says is not believed


async def test_a_hint_finds_the_job_whose_reply_was_lost(gateway, settings, database, submission):
    lost = lose_sight(submission.id, submission.lease, error="no reply", due_in=600)
    await record(database, lost, Answer.UNKNOWN)

    await hint(gateway, settings, submission)

    job = await wait_until(database, submission.id, lambda job: job.state is JobState.IN_QUEUE)
    async with database.begin() as session:
        [attempt] = await list_attempts(session, submission.id)
    assert (job.upstream_id, attempt.upstream_id) == (UPSTREAM_ID, UPSTREAM_ID)
    assert job.submitted_at == attempt.sent_at


async def test_a_hint_that_comes_before_the_reply_costs_the_worker_its_lease_and_no_more(
    gateway, settings, database, submission
):
    await hint(gateway, settings, submission)
    await wait_until(database, submission.id, lambda job: job.state is JobState.IN_QUEUE)

    accepted = accept(submission.id, submission.lease, upstream_id=UPSTREAM_ID, due_in=600)
    async with database.begin() as session:
        moved = await move_jobs(session, [accepted])

    job = await find_job(database, submission.id)
    assert moved == set()
    assert (job.state, job.upstream_id) == (JobState.IN_QUEUE, UPSTREAM_ID)


async def test_a_storm_of_the_same_hint_is_one_job_made_due(
    gateway, settings, database, submission
):
    responses = await asyncio.gather(*(hint(gateway, settings, submission) for _ in range(100)))

    assert {response.status_code for response in responses} == {200}
    job = await wait_until(database, submission.id, lambda job: job.state is JobState.IN_QUEUE)
    assert job.upstream_id == UPSTREAM_ID


async def test_that_hints_come_at_all_is_noted_of_the_endpoint(
    gateway, settings, database, submission
):
    await hint(gateway, settings, submission)
    await wait_until(database, submission.id, lambda job: job.state is JobState.IN_QUEUE)

    async with database.begin() as session:
        stats = await session.get(EndpointStats, FLUX)
    assert stats is not None
    assert stats.hinted_at is not None


@pytest.mark.parametrize("token", ["0" * 32, "x", "%C3%BC", "%ED%A0%80", "a%00b"])
async def test_a_hint_without_our_token_is_not_found(
    gateway, settings, database, submission, token
):
    response = await gateway.post(
        hint_path(settings, submission, token=token), json={"id": UPSTREAM_ID}
    )

    assert response.status_code == 404
    assert (await find_job(database, submission.id)).state is JobState.SUBMITTING


async def test_the_token_of_one_attempt_opens_no_other(gateway, settings, submission):
    others = hint_token(settings, submission.id, new_id())

    response = await gateway.post(
        hint_path(settings, submission, token=others), json={"id": UPSTREAM_ID}
    )

    assert response.status_code == 404


@pytest.mark.parametrize("body", [b"", b"nonsense", b"null", b"[]", b"{}", b'{"id": 7}'])
async def test_a_hint_that_names_no_job_is_refused(gateway, settings, submission, body):
    response = await gateway.post(
        hint_path(settings, submission), content=body, headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 422


@pytest.mark.parametrize(
    "upstream_id", ["a\x00b", "\ud800", "ü", "a\nb", "", "x" * 200, None, 7, ["a"]]
)
def test_only_plain_text_is_an_upstream_id(upstream_id):
    assert read_upstream_id({"id": upstream_id}) is None


async def test_after_a_hint_of_nothing_we_know_the_next_is_followed(
    gateway, settings, database, submission
):
    job_id, lease = new_id(), new_id()
    stray = f"/hints/{job_id}/{lease}/{hint_token(settings, job_id, lease)}"

    response = await gateway.post(stray, json={"id": "stray"})
    await hint(gateway, settings, submission)

    assert response.status_code == 200
    await wait_until(database, submission.id, lambda job: job.state is JobState.IN_QUEUE)


async def test_a_hint_is_thanked_for_once_it_is_written_down(
    gateway, settings, database, submission
):
    response = await hint(gateway, settings, submission)

    assert response.status_code == 200
    assert (await find_job(database, submission.id)).state is JobState.IN_QUEUE


@pytest.mark.parametrize("comes_back", [False, True])
async def test_a_hint_that_cannot_be_written_is_to_come_again_and_followed_all_the_same(
    gateway, settings, database, submission, *, monkeypatch, comes_back
):
    monkeypatch.setattr("gateway.hints.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("gateway.hints.ANSWER_SECONDS", 5.0 if comes_back else 0.3)
    away = asyncio.Event()

    async def follow(*args):
        if not away.is_set():
            raise DatabaseUnavailable("PostgreSQL is away")
        return await follow_hints(*args)

    monkeypatch.setattr("gateway.hints.follow_hints", follow)
    if comes_back:
        asyncio.get_running_loop().call_later(0.3, away.set)

    response = await hint(gateway, settings, submission)

    assert response.status_code == (200 if comes_back else 503)
    assert (await find_job(database, submission.id)).state is (
        JobState.IN_QUEUE if comes_back else JobState.SUBMITTING
    )
    away.set()  # it was kept, whatever was answered
    await wait_until(database, submission.id, lambda job: job.state is JobState.IN_QUEUE)


async def test_a_redis_that_hangs_keeps_no_hint_from_being_written(runtime, monkeypatch):
    rings = []

    async def hang(*_args):
        rings.append(1)
        await asyncio.Event().wait()

    monkeypatch.setattr(type(runtime.bells), "ring_each", hang)
    collector = HintCollector(runtime)
    running = asyncio.create_task(collector.run())

    for _ in range(3):
        written = collector.add((new_id(), new_id(), UPSTREAM_ID))
        assert written is not None
        await asyncio.wait_for(written.wait(), 5)

    async with asyncio.timeout(5):
        while len(rings) < 3:  # noqa: ASYNC110 -- tasks of their own
            await asyncio.sleep(0.01)
    running.cancel()


@pytest.mark.usefixtures("gateway")
async def test_a_gateway_that_is_up_says_that_it_listens(database):
    async with asyncio.timeout(10):
        while True:
            async with database.begin() as session:
                heard = await session.get(Pulse, LISTENING)
            if heard is not None:
                break
            await asyncio.sleep(0.02)

    assert heard.since <= heard.at


async def test_a_gateway_goes_on_beating_and_since_stays(runtime, database, monkeypatch):
    monkeypatch.setattr("gateway.hints.BEAT_SECONDS", 0.01)
    beating = asyncio.create_task(Listening(runtime).run())

    async def read():
        async with database.begin() as session:
            return await session.get(Pulse, LISTENING)

    async with asyncio.timeout(10):
        while not (first := await read()):  # noqa: ASYNC110 -- another task's write
            await asyncio.sleep(0.01)
        while (last := await read()).at == first.at:  # noqa: ASYNC110 -- the same
            await asyncio.sleep(0.01)
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)

    assert last.since == first.since


async def test_hints_beyond_what_can_wait_are_turned_away(runtime, monkeypatch):
    monkeypatch.setattr("gateway.hints.WAITING_MOST", 2)
    collector = HintCollector(runtime)

    added = [collector.add((new_id(), new_id(), UPSTREAM_ID)) for _ in range(3)]

    assert [written is not None for written in added] == [True, True, False]


async def test_the_gateway_says_that_it_is_up(gateway):
    response = await gateway.get("/healthz")

    assert response.json() == {"status": "ok"}
