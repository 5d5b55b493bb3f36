"""The gateway in this process, keys to it, and the stages that serve it, run without Celery."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from aiohttp import web
from fastapi import FastAPI
from sqlalchemy import text

from gateway.app import make_gateway
from models.base import new_id
from models.database import Database
from models.job import TERMINAL, Job, JobState
from models.job_queries import get_job
from models.key import Scope, issue_key
from models.transitions import claim_submissions
from tasks import retry_policy
from tasks.archive import ARCHIVE
from tasks.cancel import CANCEL
from tasks.poll import POLL
from tasks.submit import SUBMIT
from workers.lane import LaneRun, Stage
from workers.runtime import Runtime
from workers.settings import Settings

FLUX = "black-forest-labs-flux-1-schnell"

Issue = Callable[..., Awaitable[tuple[str, UUID]]]


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[FastAPI]:
    """A gateway of its own, started."""
    app = make_gateway(settings)
    async with app.router.lifespan_context(app):
        yield app


def client_of(app: FastAPI, key: str | None = None) -> httpx.AsyncClient:
    """A client of a gateway in this process; an error that no handler took is raised here."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(
        transport=transport, base_url="http://gateway.test", headers=headers, timeout=30
    )


@pytest.fixture
async def gateway_app(settings: Settings) -> AsyncIterator[FastAPI]:
    async with open_app(settings) as app:
        yield app


@pytest.fixture
async def gateway(gateway_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway, without a key."""
    async with client_of(gateway_app) as client:
        yield client


@pytest.fixture
def issue(database: Database) -> Issue:
    """Makes keys: a name, scopes and what else a key has, to (key, its id)."""

    async def issue_one(name: str, *scopes: Scope, **options: object) -> tuple[str, UUID]:
        async with database.begin() as session:
            issued = await issue_key(session, name=name, scopes=scopes, **options)  # type: ignore[arg-type]
        return issued.secret, issued.row.id

    return issue_one


@pytest.fixture
async def client(gateway_app: FastAPI, issue: Issue) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway whose key may run jobs, and sees its own alone."""
    key, _ = await issue("tests", Scope.RUN)
    async with client_of(gateway_app, key) as client:
        yield client


@pytest.fixture
def run(database: Database) -> Callable[..., Awaitable[Any]]:
    """Calls one function of the models in a transaction of its own."""

    async def call(function: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        async with database.begin() as session:
            return await function(session, *args, **options)

    return call


@pytest.fixture
def claim(run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Claims so many jobs of FLUX to be submitted, as a worker does."""

    async def claim_some(limit: int = 100) -> Any:
        return await run(
            claim_submissions,
            endpoint=FLUX,
            limit=limit,
            lease=new_id(),
            lease_seconds=60,
            proven=True,
        )

    return claim_some


@pytest.fixture
def read_waits(database: Database) -> Callable[[], Awaitable[list[float]]]:
    """Seconds until each queued job is due, in the order of their positions."""

    async def read() -> list[float]:
        async with database.begin() as session:
            due = await session.scalars(
                text("""
                    SELECT extract(epoch FROM next_at - now()) FROM jobs
                    WHERE state = 'queued' ORDER BY position
                """)
            )
            return [float(one) for one in due]

    return read


@pytest.fixture
def execute(database: Database) -> Callable[..., Awaitable[None]]:
    """Executes one statement in a transaction of its own."""

    async def call(statement: str, **values: Any) -> None:
        async with database.begin() as session:
            await session.execute(text(statement), values)

    return call


class Receiver:
    """A producer's own server on this machine, and what it was sent."""

    def __init__(self):
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answer = lambda _request: web.Response()
        self.received = asyncio.Event()
        self.url = ""
        self.host = ""

    async def handle(self, request):
        body = await request.read()
        self.requests.append((dict(request.headers), body))
        self.received.set()
        answer = self.answer(request)
        return await answer if asyncio.iscoroutine(answer) else answer

    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.requests]


@pytest.fixture
async def receiver():
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.host = f"127.0.0.1:{port}"
    receiver.url = f"http://{receiver.host}/hook"
    yield receiver
    await runner.cleanup()


async def find_job(runtime: Runtime, job_id: str | UUID) -> Job:
    async with runtime.database.begin() as session:
        return await get_job(session, UUID(str(job_id)))


async def run_until(
    runtime: Runtime,
    job_id: str | UUID,
    states: Collection[JobState] = TERMINAL,
    *,
    endpoint: str = FLUX,
    stages: Collection[Stage] = (SUBMIT, CANCEL, POLL),  # type: ignore[type-arg]
) -> Job:
    """Run stages as a worker would until the job is in one of `states`."""
    async with asyncio.timeout(30):
        while (job := await find_job(runtime, job_id)).state not in states:
            for stage in stages:
                await LaneRun(runtime, stage, endpoint).run()
            await asyncio.sleep(0.02)
    return job


async def complete(runtime: Runtime, job_id: str | UUID, *, endpoint: str = FLUX) -> Job:
    """Run the job to its end, and store its files."""
    job = await run_until(runtime, job_id, endpoint=endpoint)
    await LaneRun(runtime, ARCHIVE, endpoint).run()
    return job


@pytest.fixture
def without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent again is sent at once, no lane breaks, and two 404s are believed."""
    for name in ("FAULT", "VANISHED"):
        policy = dataclasses.replace(getattr(retry_policy, name), first_seconds=0.0)
        monkeypatch.setattr(retry_policy, name, policy)
    monkeypatch.setattr("models.lane.BREAK_AFTER", 1000)
    monkeypatch.setattr("tasks.poll.MISSES_ALLOWED", 1)
