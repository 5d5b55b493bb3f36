"""What a process holds for its whole life: settings, database, Redis, the upstream, the store."""

import asyncio
import hashlib
import hmac
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import redis.asyncio
import structlog
from celery import Celery
from obstore.store import ObjectStore

from endpoints.catalogue import Catalogue, Limit, bill, load_catalogue
from endpoints.client import UpstreamClient, open_transport
from endpoints.guard import Guard, open_guarded_http
from endpoints.quota import Quota
from models.database import Database
from workers.bell import Bells
from workers.links import Links
from workers.loop import LoopThread
from workers.loop_lag import LoopLag
from workers.metrics import note_call, watch_lag
from workers.operator_settings import OperatorSettings, OperatorSettingsReader
from workers.redis_client import open_redis
from workers.secret import Secret, load_secret
from workers.settings import Settings
from workers.store import open_store
from workers.tracing import open_tracer

if TYPE_CHECKING:
    from workers.tracer import Tracer

log = structlog.get_logger()
PROVEN_SECONDS = 20.0
OPEN_SECONDS = 30.0


@dataclass(frozen=True)
class Runtime:
    """Open connections, to be used on one event loop."""

    settings: Settings
    app: Celery
    database: Database
    redis: redis.asyncio.Redis
    bells: Bells
    quota: Quota
    upstream: UpstreamClient
    guard: Guard
    guarded_http: httpx.AsyncClient  # for addresses that others name
    secret: Secret
    store: ObjectStore
    catalogue: Catalogue
    operator: OperatorSettingsReader
    tracer: "Tracer | None" = None  # None: traces are off
    lag: LoopLag = field(default_factory=LoopLag)
    began: float = field(default_factory=time.monotonic)
    stopping: threading.Event = field(default_factory=threading.Event)
    lane_runs: Counter[tuple[str, str]] = field(default_factory=Counter)  # under way, of this loop

    @property
    def proven(self) -> bool:
        """Whether it has worked for long enough that its death would tell something."""
        return time.monotonic() - self.began >= PROVEN_SECONDS

    async def operator_settings(self) -> OperatorSettings:
        return await self.operator.get()

    async def limit(self, endpoint: str, operation: str) -> Limit:
        return (await self.operator.get()).limit(endpoint, operation)

    async def links(self, *, base: str | None = None) -> Links:
        """What makes the addresses of stored files.

        Args:
            base: how the gateway was reached; None: as the settings say.
        """
        operator = await self.operator.get()
        return Links(self.secret, base or self.settings.link_base, operator.link_seconds)

    def typical_seconds(self, endpoint: str) -> float | None:
        """How long the catalogue says a job takes, from submit to end; None if it is not listed."""
        listed = self.catalogue.find(endpoint)
        if listed is None:
            return None
        return self.real_seconds(listed.typical_seconds + listed.typical_delay_seconds)

    def usd_per_result_second(self, endpoint: str) -> Decimal | None:
        """The price of an endpoint that is billed by its result's length and names no cost."""
        listed = self.catalogue.find(endpoint)
        if listed is None or listed.output.cost or listed.price is None:
            return None
        return bill(listed, {}, output_seconds=1.0)

    def real_seconds(self, upstream_seconds: float) -> float:
        """What the upstream calls so many seconds, on our clock: an emulator's may run faster."""
        if self.settings.emulated:
            return upstream_seconds / self.settings.emulator_clock
        return upstream_seconds

    def upstream_seconds(self, real_seconds: float) -> float:
        """The same the other way round."""
        return real_seconds / self.real_seconds(1.0)

    def hint_url(self, job_id: UUID, lease: UUID) -> str | None:
        """Where the upstream may say that this attempt has ended; None if it cannot reach us."""
        base = self.settings.gateway_base
        if base is None:
            return None
        return f"{base}/hints/{job_id}/{lease}/{hint_token(self.settings, job_id, lease)}"


def hint_token(settings: Settings, job_id: UUID, lease: UUID) -> str:
    """Proves that a hint's URL was made by us; the upstream's webhooks are not signed."""
    secret = hashlib.sha256(b"hint:" + settings.upstream_secret.encode()).digest()
    return hmac.new(secret, job_id.bytes + lease.bytes, hashlib.sha256).hexdigest()[:32]


@asynccontextmanager
async def open_runtime(settings: Settings, app: Celery, *, name: str) -> AsyncIterator[Runtime]:
    """Open everything on the running loop; nothing is connected to before it is used.

    Args:
        name: of the process, as Postgres shows it.
    """
    tracer = open_tracer(name.partition(" ")[0])
    database = Database(
        settings.pooler_dsn or settings.database_dsn,
        name=name,
        pooled=settings.pooler_dsn is not None,
    )
    upstream = UpstreamClient(
        open_transport(),
        base_url=settings.upstream_base,
        key=settings.upstream_secret,
        note=note_call,
    )
    guard = Guard(settings.reachable_hosts)
    guarded = open_guarded_http(guard)
    try:
        async with open_redis(settings) as connection:
            yield Runtime(
                settings=settings,
                app=app,
                database=database,
                redis=connection,
                bells=Bells(connection, app, prefix=settings.redis_prefix),
                quota=Quota(connection, prefix=settings.redis_prefix),
                upstream=upstream,
                guard=guard,
                guarded_http=guarded,
                secret=load_secret(settings),
                store=open_store(settings),
                catalogue=load_catalogue(),
                operator=OperatorSettingsReader(database),
                tracer=tracer,
            )
    finally:
        await upstream.close()
        await guarded.aclose()
        await database.close()
        if tracer is not None:
            await asyncio.to_thread(tracer.close)


@dataclass(frozen=True)
class Process:
    """A worker process: its loop, and what it holds on it."""

    loop: LoopThread
    runtime: Runtime
    held: AsyncExitStack  # what closes the runtime, which must not be collected before the end


_process: Process | None = None


def open_process(settings: Settings, app: Celery) -> Process:
    """Open this worker process's loop and runtime; once, before Celery starts its threads."""
    global _process  # noqa: PLW0603 -- one a process is what it is
    loop = LoopThread()
    held = AsyncExitStack()
    opening = held.enter_async_context(open_runtime(settings, app, name=f"worker {os.getpid()}"))
    _process = Process(loop, loop.run(opening, seconds=OPEN_SECONDS), held)
    lag = _process.runtime.lag
    loop.start(lag.watch())
    watch_lag(lambda: lag.seconds)
    return _process


def get_process() -> Process:
    """The one that was opened; a stage that runs anywhere else is a mistake."""
    if _process is None:
        raise RuntimeError("no worker process: stages run only under `pressroom run worker`")
    return _process
