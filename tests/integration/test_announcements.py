"""Word of campaigns that are complete, and of budgets: once it is true, until it is taken."""

import asyncio
import contextlib

import orjson
import pytest
from aiohttp import web
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook

from models.announcement import (
    AnnouncementType,
    announce,
    claim_announcements,
    record_announcements,
)
from models.base import new_id
from models.campaign import add_campaign, close_campaign, get_campaign
from models.event import find_place, list_events
from models.interventions import retry_jobs
from models.job import JobState
from models.key import Scope
from models.transitions import NewJob, claim_submissions, end, enqueue_jobs, move_jobs
from tasks.announce import announce_campaigns, send_announcements
from tests.integration.conftest import FLUX


@pytest.fixture
async def settings(settings, receiver):
    return settings.model_copy(update={"allowed_hosts": (receiver.host,)})


@pytest.fixture
def add(run):
    """A campaign with so many jobs, all of them enqueued; its id."""

    async def add_one(jobs=2, **on_complete):
        spec = {"name": "shoot", "endpoint": FLUX, "on_complete": on_complete}
        campaign_id = await run(add_campaign, name="shoot", endpoint=FLUX, spec=spec, planned=jobs)
        new = [
            NewJob(id=new_id(), endpoint=FLUX, input={}, campaign_id=campaign_id, position=n)
            for n in range(jobs)
        ]
        await run(enqueue_jobs, new)
        await run(set_total, campaign_id)
        return campaign_id

    return add_one


async def set_total(session, campaign_id):
    await session.execute(
        text("UPDATE campaigns SET total = planned WHERE id = :id"), {"id": campaign_id}
    )


@pytest.fixture
def finish(run):
    """Ends so many of its jobs."""

    async def finish_some(jobs=100, state=JobState.COMPLETED):
        rows = await run(
            claim_submissions,
            endpoint=FLUX,
            limit=jobs,
            lease=new_id(),
            lease_seconds=60,
            proven=True,
        )
        await run(move_jobs, [end(row.id, row.lease, state=state) for row in rows])
        return [row.id for row in rows]

    return finish_some


async def make_due(session):
    await session.execute(text("UPDATE announcements SET next_at = now()"))


async def test_whoever_asked_is_told_signed_once_all_has_ended(runtime, run, receiver, add, finish):
    campaign_id = await add(webhook=receiver.url)
    await finish(1)
    await announce_campaigns(runtime)
    await send_announcements(runtime)
    assert receiver.requests == []

    await finish()
    for _ in range(2):
        await announce_campaigns(runtime)
        await send_announcements(runtime)

    [(headers, body)] = receiver.requests
    Webhook(runtime.secret.announcement_secret()).verify(body, headers)
    told = orjson.loads(body)
    assert (told["type"], told["campaign_id"]) == ("campaign.completed", str(campaign_id))
    assert (told["jobs"], told["completed"], told["failed"]) == (2, 2, 0)
    assert (await run(get_campaign, campaign_id)).completed_at is not None


async def test_a_file_that_is_still_to_be_stored_is_waited_for(run, runtime, receiver, add, finish):
    await add(1, webhook=receiver.url)
    [job] = await finish()

    async def add_file(session):
        await session.execute(
            text("""
                INSERT INTO artifacts
                    (id, job_id, position, endpoint, field, source_url, expires_at)
                VALUES (uuidv7(), :job, 0, :endpoint, 'image_url', 'http://x', now())
            """),
            {"job": job, "endpoint": FLUX},
        )

    await run(add_file)
    await announce_campaigns(runtime)
    await send_announcements(runtime)

    assert receiver.requests == []


async def test_what_is_not_taken_is_sent_again_with_the_same_id(
    runtime, run, receiver, add, finish
):
    await add(webhook=receiver.url)
    await finish()
    receiver.answer = lambda _request: web.Response(status=500)
    await announce_campaigns(runtime)
    await send_announcements(runtime)
    await send_announcements(runtime)
    assert len(receiver.requests) == 1  # the next is due later

    receiver.answer = lambda _request: web.Response()
    await run(make_due)
    await send_announcements(runtime)
    await run(make_due)
    await send_announcements(runtime)

    assert len(receiver.requests) == 2
    assert len(set(receiver.ids())) == 1


async def test_it_is_given_up_after_a_day(runtime, run, receiver, add, finish, *, database):
    await add(webhook=receiver.url)
    await finish()
    receiver.answer = lambda _request: web.Response(status=500)
    await announce_campaigns(runtime)

    async def age(session):
        await session.execute(
            text("UPDATE announcements SET created_at = now() - interval '25 hours'")
        )

    await run(age)
    await send_announcements(runtime)
    await run(make_due)
    await send_announcements(runtime)

    assert len(receiver.requests) == 1
    async with database.begin() as session:
        row = (await session.execute(text("SELECT state, error FROM announcements"))).one()
    assert tuple(row) == ("failed", "HTTP 500")


async def test_of_an_answer_no_more_is_read_than_is_shown(runtime, receiver, add, finish, database):
    async def answer_without_end(request):
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * 100_000)
        return response

    await add(webhook=receiver.url)
    await finish()
    receiver.answer = answer_without_end
    await announce_campaigns(runtime)

    async with asyncio.timeout(5):
        await send_announcements(runtime)

    async with database.begin() as session:
        error = await session.scalar(text("SELECT error FROM announcements"))
    assert error == "HTTP 500: " + "x" * 200


async def test_who_comes_late_with_a_failure_does_not_have_it_sent_again(
    runtime, run, receiver, add, finish, *, database
):
    await add(webhook=receiver.url)
    await finish()
    await announce_campaigns(runtime)
    [late] = await run(claim_announcements, limit=1, lease_seconds=0)
    await send_announcements(runtime)

    await run(record_announcements, sent=[], failed={late.id: "no answer"})

    async with database.begin() as session:
        assert await session.scalar(text("SELECT state FROM announcements")) == "sent"
    assert len(receiver.requests) == 1


async def test_two_that_send_at_once_send_it_once(runtime, receiver, add, finish):
    await add(webhook=receiver.url)
    await finish()
    await announce_campaigns(runtime)

    await asyncio.gather(*(send_announcements(runtime) for _ in range(4)))

    assert len(receiver.requests) == 1


async def test_a_celery_task_is_sent_under_the_announcements_id(
    runtime, add, finish, monkeypatch, database
):
    sent = []

    def send_task(name, **options):
        sent.append((name, options))

    monkeypatch.setattr(runtime.app, "send_task", send_task)
    await add(celery={"task": "shop.done", "queue": "shop"})
    await finish()
    await announce_campaigns(runtime)
    await send_announcements(runtime)

    [(name, options)] = [one for one in sent if one[0] != "pressroom.announce"]
    async with database.begin() as session:
        row = await session.scalar(text("SELECT id FROM announcements"))
    assert (name, options["queue"], options["task_id"]) == ("shop.done", "shop", str(row))
    assert options["args"][0]["completed"] == 2


async def test_what_is_retried_is_told_of_again(runtime, run, receiver, add, finish):
    await add(webhook=receiver.url)
    failed = await finish(state=JobState.FAILED)
    await announce_campaigns(runtime)
    await send_announcements(runtime)

    await run(retry_jobs, job_ids=failed)
    await announce_campaigns(runtime)
    await finish()
    await announce_campaigns(runtime)
    await send_announcements(runtime)

    told = [orjson.loads(body) for _, body in receiver.requests]
    assert [(one["failed"], one["completed"]) for one in told] == [(2, 0), (0, 2)]
    assert len(set(receiver.ids())) == 2


async def test_a_campaign_of_which_jobs_are_just_being_retried_is_not_complete(
    runtime, run, add, finish, database
):
    campaign_id = await add()
    failed = await finish(state=JobState.FAILED)
    async with database.begin() as session:
        await retry_jobs(session, job_ids=failed)
        await announce_campaigns(runtime)

    assert (await run(get_campaign, campaign_id)).completed_at is None
    await finish()
    await announce_campaigns(runtime)
    assert (await run(get_campaign, campaign_id)).completed_at is not None


async def test_those_who_listen_are_told_too_its_own_key_among_them(
    runtime, run, add, finish, issue
):
    _, key = await issue("studio", Scope.RUN)
    campaign_id = await add()

    async def give(session):
        await session.execute(text("UPDATE campaigns SET key_id = :key"), {"key": key})

    await run(give)
    before = await run(find_place)
    await finish()
    await announce_campaigns(runtime)

    events = await run(list_events, after=before, limit=100, owner=key)

    assert [(one.type, one.campaign_id) for one in events] == [("campaign.completed", campaign_id)]


async def test_one_without_a_specification_is_complete_once_it_is_closed(runtime, run, finish):
    campaign_id = await run(add_campaign, name="file", endpoint=FLUX)
    job = NewJob(id=new_id(), endpoint=FLUX, input={}, campaign_id=campaign_id, position=0)
    await run(enqueue_jobs, [job])
    await finish()
    await announce_campaigns(runtime)
    assert (await run(get_campaign, campaign_id)).completed_at is None

    await run(close_campaign, campaign_id)
    await announce_campaigns(runtime)

    assert (await run(get_campaign, campaign_id)).completed_at is not None


async def test_an_address_of_this_network_is_not_reached(runtime, run, database):
    async def write(session):
        announce(session, AnnouncementType.BUDGET_WARNED, {"a": 1}, url="http://10.0.0.1/hook")
        announce(session, AnnouncementType.BUDGET_WARNED, {"a": 1})  # for nobody

    await run(write)
    await send_announcements(runtime)

    async with database.begin() as session:
        rows = (await session.execute(text("SELECT state, error FROM announcements"))).all()
    [(state, error)] = rows
    assert state == "pending"
    assert "10.0.0.1" in error
