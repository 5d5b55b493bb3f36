"""What Celery on Redis does by itself: messages that come twice, late, or of yesterday."""

import asyncio
import time

from celery import Celery

from models.lane import StageName
from scripts.faults.fault import fault
from scripts.faults.scene import Scene
from scripts.faults.stack import ENDPOINTS
from workers.app import make_app

COPIES = 3
STALE_MS = 600_000
ROUND_SECONDS = 0.25
VISIBLE_SECONDS = 1  # a message that waits for longer is delivered again


@fault(seconds=6)
async def duplicate_bells(scene: Scene) -> None:
    """Each lane's bell is published three times over, and stale ones with it (T6)."""
    app = make_app(scene.settings)
    try:
        async with scene.redis() as redis:
            until = time.monotonic() + scene.seconds
            while time.monotonic() < until:
                for endpoint in ENDPOINTS:
                    for stage in (StageName.SUBMIT, StageName.POLL):
                        key = f"{scene.settings.redis_prefix}bell:{stage}:{endpoint}"
                        pending = int(await redis.get(key) or 0)
                        stale = round(time.time() * 1000) - STALE_MS
                        for at in [pending] * COPIES + [stale]:
                            await asyncio.to_thread(_publish, app, stage, endpoint, at)
                await asyncio.sleep(ROUND_SECONDS)
    finally:
        app.close()


@fault(seconds=6)
async def short_visibility_timeout(scene: Scene) -> None:
    """Every message that is held for longer than a second is delivered again (T7).

    The smallest timeout of any consumer of a Redis database is everybody's, so here is one.
    """
    app = make_app(scene.settings)
    app.conf.broker_transport_options["visibility_timeout"] = VISIBLE_SECONDS
    try:
        await asyncio.to_thread(_restore, app, scene.seconds)
    finally:
        app.close()


def _publish(app: Celery, stage: StageName, endpoint: str, at: int) -> None:
    app.send_task(f"pressroom.{stage}", args=(endpoint, at), ignore_result=True)


def _restore(app: Celery, seconds: float) -> None:
    """On a thread: kombu's own sweep, as each consumer does it, once a round."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            channel.qos.restore_visible(interval=1)  # type: ignore[attr-defined]  # Redis's channel
            time.sleep(ROUND_SECONDS)
