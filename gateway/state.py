"""What the gateway's routes share: opened when it starts, closed when it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import structlog
from fastapi import Request

from gateway.acceptor import Acceptor
from gateway.callers import Callers
from gateway.end_watch import EndWatch
from gateway.event_feed import EventFeed
from gateway.facts import FactReader
from gateway.floor import FloorReader
from gateway.hints import HintCollector, Listening
from gateway.settled import SettledFigures
from gateway.webhook_urls import WebhookUrls
from workers.app import make_app
from workers.links import Links
from workers.metrics import watch_lag
from workers.runtime import Runtime, open_runtime
from workers.settings import Settings

STOP_SECONDS = 5.0
AGAIN_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True)
class GatewayState:
    runtime: Runtime
    callers: Callers
    acceptor: Acceptor
    ends: EndWatch
    events: EventFeed
    hints: HintCollector
    webhook_urls: WebhookUrls
    facts: FactReader
    floor: FloorReader
    settled: SettledFigures


@asynccontextmanager
async def open_state(settings: Settings) -> AsyncIterator[GatewayState]:
    async with open_runtime(settings, make_app(settings), name="gateway") as runtime:
        facts = FactReader(runtime)
        state = GatewayState(
            runtime=runtime,
            callers=Callers(runtime),
            acceptor=Acceptor(runtime),
            ends=EndWatch(runtime),
            events=EventFeed(runtime),
            hints=HintCollector(runtime),
            webhook_urls=WebhookUrls(runtime.guard),
            facts=facts,
            floor=FloorReader(runtime, facts),
            settled=SettledFigures(),
        )
        working = [
            asyncio.create_task(_keep_running(part))
            for part in (
                state.acceptor,
                state.ends,
                state.events,
                state.hints,
                Listening(runtime),
            )
        ]
        working.append(asyncio.create_task(runtime.lag.watch()))
        watch_lag(lambda: runtime.lag.seconds)
        try:
            yield state
        finally:
            for task in working:
                task.cancel()
            # redis-py drops a cancel that comes while it connects: what does not end is left.
            await asyncio.wait(working, timeout=STOP_SECONDS)


async def _keep_running(part: Acceptor | EndWatch | EventFeed | HintCollector | Listening) -> None:
    """A part that fails for a reason that nobody thought of must not leave its clients waiting."""
    while True:
        try:
            await part.run()
        except Exception:
            log.exception("part_failed", part=type(part).__name__)
            await asyncio.sleep(AGAIN_SECONDS)


def get_state(request: Request) -> GatewayState:
    return cast("GatewayState", request.app.state.gateway)


async def get_links(request: Request) -> Links:
    """Links that begin as this request did, unless the settings say how the gateway is reached."""
    runtime = get_state(request).runtime
    base = None if runtime.settings.public_url else str(request.base_url).rstrip("/")
    return await runtime.links(base=base)
