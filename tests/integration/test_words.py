"""What is told of an end, and what comes of telling it: the records of `notify` and `webhook`."""

import datetime as dt

import pytest
from celery import Celery
from sqlalchemy import text

from models.artifact import DownloadEnd
from models.base import new_id
from models.claims import Notice
from models.lane import StageName
from tasks import archive as archive_stage
from tasks import notify as notify_stage
from tasks import webhook as webhook_stage
from tasks.completion import complete_task
from tasks.notify import Told
from tasks.webhook import GIVE_UP_SECONDS, WAITS_SECONDS, Sent
from tests.integration.conftest import FLUX
from tests.integration.stage_rows import DELIVERIES, claim_rows, fill_stage

RESULT = {"id": "job", "state": "completed", "reason": None, "error": None}


def notice(*, tries=1, pending_seconds=0.0):
    """A delivery that is claimed."""
    return Notice(
        id=new_id(),
        lease=new_id(),
        endpoint=FLUX,
        job_id=new_id(),
        request={},
        tries=tries,
        pending_seconds=pending_seconds,
        now=dt.datetime.now(dt.UTC),
    )


def test_the_rest_of_a_chain_goes_with_its_next_link(monkeypatch):
    app = Celery("tests", broker="memory://", backend="cache+memory://")
    links = [app.signature(name).clone() for name in ("last", "middle", "next")]
    callback = app.signature("callback")
    request = {"id": "job", "root_id": "root", "callbacks": [callback], "chain": links}
    sent = []

    def send(link, args, **options):
        sent.append((link.task, args, options))
        return app.AsyncResult(link.task)

    monkeypatch.setattr("celery.canvas.Signature.apply_async", send)

    complete_task(app, request, RESULT)

    family = {"parent_id": "job", "root_id": "root"}
    assert sent == [
        ("callback", (RESULT,), family),
        ("next", (RESULT,), {"chain": links[:2], **family}),
    ]
    assert app.AsyncResult("job").get(timeout=1) == RESULT


@pytest.mark.parametrize(
    ("tries", "seconds"), [(1, 4.0), (2, 8.0), (3, 16.0), (8, 300.0), (2000, 300.0)]
)
async def test_word_to_celery_is_sent_again_later_each_time_and_never_given_up(
    runtime, monkeypatch, tries, seconds
):
    monkeypatch.setattr("tasks.notify.random.uniform", lambda low, high: (low + high) / 2)
    delivered, failed = notice(), notice(tries=tries)

    told = [Told(delivered, None), Told(failed, "Redis is away")]
    chain = await notify_stage.record(runtime, FLUX, told)

    assert chain == {StageName.NOTIFY: seconds}


async def test_what_was_told_rings_for_nothing(runtime):
    assert await notify_stage.record(runtime, FLUX, [Told(notice(), None)]) == {}
    assert await webhook_stage.record(runtime, FLUX, [Sent(notice(), http_status=200)]) == {}


@pytest.mark.parametrize(
    ("tries", "wait"),
    [(1, WAITS_SECONDS[0]), (2, WAITS_SECONDS[1]), (7, WAITS_SECONDS[-1]), (8, WAITS_SECONDS[-1])],
)
async def test_a_webhook_is_sent_again_as_the_table_of_waits_says(
    runtime, monkeypatch, tries, wait
):
    monkeypatch.setattr("tasks.webhook.random.uniform", lambda low, high: (low + high) / 2)
    sent = [Sent(notice(tries=8), "HTTP 500", 500), Sent(notice(tries=tries), "HTTP 500", 500)]

    assert await webhook_stage.record(runtime, FLUX, sent) == {StageName.WEBHOOK: wait}


@pytest.mark.parametrize(("left", "chain"), [(4.0, set()), (6.1, {StageName.WEBHOOK})])
async def test_a_webhook_is_given_up_if_its_next_try_would_be_after_a_day(
    runtime, monkeypatch, left, chain
):
    monkeypatch.setattr("tasks.webhook.random.uniform", lambda low, high: (low + high) / 2)
    late = Sent(notice(pending_seconds=GIVE_UP_SECONDS - left), "HTTP 500", 500)

    assert set(await webhook_stage.record(runtime, FLUX, [late])) == chain


async def test_word_of_a_job_is_due_once_the_last_of_its_files_is_settled(runtime, database):
    await fill_stage(database, StageName.ARCHIVE, 1)
    async with database.begin() as session:
        await session.execute(text(DELIVERIES), {"kind": "celery"})
        await session.execute(text("UPDATE deliveries SET next_at = now() + interval '1 min'"))
    lease = new_id()
    [file_id] = await claim_rows(database, StageName.ARCHIVE, lease=lease)
    dead = DownloadEnd(id=file_id, lease=lease, error="HTTP 404", retry_in=None)

    assert await archive_stage.record(runtime, FLUX, [dead]) == {StageName.NOTIFY: 0.0}
