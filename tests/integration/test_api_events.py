"""Events over `/api/v1/events`: as they happen, each once, in order, and one's own alone."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from gateway import event_feed
from models.base import new_id
from models.errors import DatabaseUnavailable
from models.event import find_place, list_events
from models.key import Scope
from models.transitions import NewJob, enqueue_jobs
from tests.integration.conftest import FLUX, client_of, open_app


@dataclass
class Listening:
    """A connection to the event stream: httpx's transport would wait for its end."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    told: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[dict[str, Any]]:
        found = []
        for block in self.text.split("\n\n")[:-1]:
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "id" in lines:
                found.append({**lines, "data": json.loads(lines["data"])})
        return found

    async def until(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(15):
            while len(self.events) < count:
                self.told.clear()
                await self.told.wait()
        return self.events


@contextlib.asynccontextmanager
async def listen(app, key, *, after=None, query=b""):
    """Listen until the end of the block, once the answer has begun."""
    listening = Listening()
    gone = asyncio.Event()
    headers = [(b"authorization", f"Bearer {key}".encode())]
    if after:
        headers.append((b"last-event-id", after.encode()))

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.start":
            listening.status = message["status"]
            listening.headers = {n.decode(): v.decode() for n, v in message["headers"]}
        else:
            listening.text += message["body"].decode()
        listening.told.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/api/v1/events",
        "raw_path": b"/api/v1/events",
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "server": ("gateway.test", 80),
        "client": ("127.0.0.1", 1),
    }
    task = asyncio.create_task(app(scope, receive, send))
    feed = app.state.gateway.events
    try:
        async with asyncio.timeout(15):
            while "retry:" not in listening.text or not feed._listeners:  # noqa: SLF001
                assert not task.done(), listening.text
                await asyncio.sleep(0.01)
            while feed._place is None:  # noqa: ASYNC110, SLF001 -- from then on nothing is missed
                await asyncio.sleep(0.01)
        yield listening
    finally:
        gone.set()
        async with asyncio.timeout(15):
            await task


async def add_job(database, key_id=None):
    async with database.begin() as session:
        job = NewJob(id=new_id(), endpoint=FLUX, input={}, key_id=key_id)
        await enqueue_jobs(session, [job])
    return str(job.id)


def jobs_of(events):
    return [one["data"]["job_id"] for one in events]


async def test_a_jobs_states_are_told_as_they_come(gateway_app, issue):
    key, _ = await issue("shop", Scope.RUN)
    async with client_of(gateway_app, key) as client, listen(gateway_app, key) as listening:
        body = {"endpoint": FLUX, "input": {"prompt": "a fox"}}
        job_id = (await client.post("/api/v1/jobs", json=body)).json()["id"]
        await client.post(f"/api/v1/jobs/{job_id}/cancel")
        events = await listening.until(2)

    assert listening.status == 200
    assert listening.headers["content-type"].startswith("text/event-stream")
    assert listening.headers["cache-control"] == "no-store"
    assert [one["event"] for one in events] == ["job.queued", "job.cancelled"]
    for one in events:
        assert one["data"]["type"] == one["event"]
        assert (one["data"]["job_id"], one["data"]["endpoint"]) == (job_id, FLUX)
        assert one["data"]["at"]


async def test_after_a_break_nothing_is_lost_and_nothing_comes_twice(
    gateway_app, issue, database, monkeypatch
):
    monkeypatch.setattr(event_feed, "BATCH", 3)
    key, key_id = await issue("shop", Scope.RUN)
    ids: list[str] = []
    seen: list[dict[str, Any]] = []
    last = None
    for _ in range(4):
        async with listen(gateway_app, key, after=last) as listening:
            ids += [await add_job(database, key_id) for _ in range(5)]
            wanted = len(ids) - len(seen)
            events = await listening.until(min(wanted, 4))
            events = events[:4]  # the rest was on its way when the line broke
        seen += events
        last = seen[-1]["id"]
        ids += [await add_job(database, key_id) for _ in range(2)]
    async with listen(gateway_app, key, after=last) as listening:
        seen += await listening.until(len(ids) - len(seen))

    assert jobs_of(seen) == ids


async def test_what_commits_late_is_told_in_its_place_and_not_passed_over(
    gateway_app, issue, database
):
    """A transaction that began first and commits last: its numbers are lower than those told."""
    key, key_id = await issue("shop", Scope.RUN)
    late = NewJob(id=new_id(), endpoint=FLUX, input={}, key_id=key_id)
    await add_job(database)  # an endpoint that is new is waited for until it is committed
    async with listen(gateway_app, key) as first, listen(gateway_app, key) as second:
        async with database.begin() as slow:
            await enqueue_jobs(slow, [late])
            early = [await add_job(database, key_id) for _ in range(3)]
            # A reader that resumes now must not jump over the open one, either.
            async with listen(gateway_app, key, after="0-0") as third:
                await asyncio.sleep(3 * event_feed.READ_SECONDS)
                during = [list(one.events) for one in (first, second, third)]
                await slow.commit()
                told = [await one.until(4) for one in (first, second, third)]
        after = [await add_job(database, key_id)]
        told_after = await first.until(5)

    assert during == [[], [], []]
    for events in told:
        assert jobs_of(events) == [str(late.id), *early]
        places = [tuple(map(int, one["id"].split("-"))) for one in events]
        assert places == sorted(places)
    assert jobs_of(told_after)[-1:] == after


async def test_many_writers_at_once_are_told_whole_to_a_listener_that_keeps_breaking(
    gateway_app, issue, database
):
    key, key_id = await issue("shop", Scope.RUN)
    async with database.begin() as session:
        start = str(await find_place(session))
    written: list[str] = []

    async def write(pauses):
        for pause in pauses:
            async with database.begin() as session:
                jobs = [
                    NewJob(id=new_id(), endpoint=FLUX, input={}, key_id=key_id) for _ in range(2)
                ]
                for job in jobs:
                    await enqueue_jobs(session, [job])
                    await asyncio.sleep(pause)
                written.extend(str(job.id) for job in jobs)

    writers = [asyncio.create_task(write([0.01 * (n % 5) for n in range(10)])) for _ in range(6)]
    seen: list[dict[str, Any]] = []
    while not all(writer.done() for writer in writers) or len(seen) < len(written):
        last = seen[-1]["id"] if seen else start
        async with listen(gateway_app, key, after=last) as listening:
            seen += await listening.until(1)

    await asyncio.gather(*writers)
    assert len(written) == 120
    assert sorted(jobs_of(seen)) == sorted(written)


async def test_a_key_hears_of_its_own_jobs_and_an_operator_of_all(gateway_app, issue, database):
    mine, my_id = await issue("mine", Scope.READ)
    others, other_id = await issue("others", Scope.RUN)
    operator, _ = await issue("operator", Scope.OPERATE)
    async with (
        listen(gateway_app, mine) as of_mine,
        listen(gateway_app, others) as of_others,
        listen(gateway_app, operator) as of_all,
    ):
        ids = [await add_job(database, owner) for owner in (my_id, other_id, None, my_id)]
        everything = await of_all.until(4)
        await of_mine.until(2)
        await of_others.until(1)
    async with listen(gateway_app, mine, after="0-0") as again:
        from_the_start = await again.until(2)

    assert jobs_of(everything) == ids
    assert jobs_of(of_mine.events) == [ids[0], ids[3]]
    assert jobs_of(of_others.events) == [ids[1]]
    assert jobs_of(from_the_start) == [ids[0], ids[3]]


async def test_one_job_alone_is_listened_to(gateway_app, issue, database):
    key, key_id = await issue("shop", Scope.RUN)
    first, second = await add_job(database, key_id), await add_job(database, key_id)

    async with listen(gateway_app, key, query=f"job={second}&after=0-0".encode()) as listening:
        events = await listening.until(1)

    assert first
    assert jobs_of(events) == [second]


async def test_a_listener_that_is_slow_hears_all_the_same(
    gateway_app, issue, database, monkeypatch
):
    monkeypatch.setattr(event_feed, "BEHIND_MOST", 3)
    key, key_id = await issue("shop", Scope.RUN)
    feed = gateway_app.state.gateway.events
    stream = feed.listen(owner=key_id, after=None)
    next_one = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(10):
        while feed._place is None:  # noqa: ASYNC110, SLF001
            await asyncio.sleep(0.01)
    [queue] = feed._listeners  # noqa: SLF001

    ids = [await add_job(database, key_id) for _ in range(10)]
    heard = [await next_one]
    async with asyncio.timeout(10):
        while queue in feed._listeners:  # noqa: ASYNC110, SLF001 -- until it is too far behind
            await asyncio.sleep(0.01)
        while len([one for one in heard if one]) < 10:
            heard.append(await anext(stream))
    await stream.aclose()

    assert key
    assert [str(one.job_id) for one in heard if one] == ids


async def test_an_outage_in_the_middle_of_reading_loses_nothing(
    gateway_app, issue, database, monkeypatch
):
    monkeypatch.setattr(event_feed, "BATCH", 2)
    monkeypatch.setattr(event_feed, "READ_AGAIN_SECONDS", 0.05)
    key, key_id = await issue("shop", Scope.RUN)
    calls = 0

    async with listen(gateway_app, key) as listening:

        async def failing(session, **options):
            nonlocal calls
            batch = await list_events(session, **options)
            calls += bool(batch)
            if calls == 2:
                calls += 1
                raise DatabaseUnavailable("gone for a moment")
            return batch

        async with database.begin() as session:  # all of them at once, in three batches
            jobs = [NewJob(id=new_id(), endpoint=FLUX, input={}, key_id=key_id) for _ in range(5)]
            monkeypatch.setattr(event_feed, "list_events", failing)
            await enqueue_jobs(session, jobs)
        events = await listening.until(5)

    assert calls > 2
    assert jobs_of(events) == [str(job.id) for job in jobs]


async def test_one_who_begins_beside_another_takes_nothing_from_it(
    gateway_app, issue, database, monkeypatch
):
    monkeypatch.setattr(event_feed, "READ_SECONDS", 1.0)
    _, key_id = await issue("shop", Scope.RUN)
    feed = gateway_app.state.gateway.events
    now, both, release, asked = feed._now, asyncio.Event(), asyncio.Event(), 0  # noqa: SLF001

    async def slow_for_the_second():
        """The first two calls say from where each hears; the next two where to begin to read."""
        nonlocal asked
        asked += 1
        if asked == 4:
            both.set()
            await release.wait()
        elif asked == 3:
            await both.wait()
        return await now()

    monkeypatch.setattr(feed, "_now", slow_for_the_second)
    first, second = (feed.listen(owner=key_id, after=None) for _ in range(2))
    waiting = [asyncio.ensure_future(anext(one)) for one in (first, second)]
    async with asyncio.timeout(10):
        while feed._place is None or asked < 4:  # noqa: ASYNC110, SLF001
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.3)  # the common reader has looked, and looks again in a second
    job_id = await add_job(database, key_id)
    release.set()
    async with asyncio.timeout(10):
        heard = await waiting[0]
        while heard is None:
            heard = await anext(first)
        await waiting[1]

    assert str(heard.job_id) == job_id
    for one in (first, second):
        await one.aclose()


@pytest.mark.parametrize(
    "given", ["x", "1", "-", "1-", "-1-1", "1-x", "1.0-1", "٣-٣", "9" * 20 + "-1"]
)
async def test_an_id_that_is_none_is_refused(client, given):
    response = await client.get("/api/v1/events", params={"after": given})

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["Last-Event-ID", "after"])
async def test_an_id_that_is_too_long_is_refused(client, name):
    options = {"params": {name: "1" * 65}} if name == "after" else {"headers": {name: "1" * 65}}

    assert (await client.get("/api/v1/events", **options)).status_code == 422


async def test_a_gateway_that_stops_lets_its_listeners_go(settings):
    async with open_app(settings) as app:
        stream = app.state.gateway.events.listen(owner=None, after=None)
        assert await anext(stream) is None
        app.state.gateway.events.stop()
        async with asyncio.timeout(10):
            rest = [one async for one in stream]

    assert rest == []


async def test_events_are_kept_with_their_jobs_ids(database, issue):
    _, key_id = await issue("shop", Scope.RUN)
    job_id = await add_job(database, key_id)

    async with database.begin() as session:
        [row] = await session.execute(text("SELECT job_id, key_id, type FROM events"))
    assert tuple(row) == (UUID(job_id), key_id, "job.queued")
