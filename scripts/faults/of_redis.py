"""Redis: emptied, stopped, frozen, full."""

import asyncio
import shutil
import signal

from scripts.faults.fault import fault
from scripts.faults.scene import Scene, send

STOPPING_SECONDS = 0.5  # for supervisord to take note
STOPS = 3
STOPS_SECONDS = 10.0


@fault()
async def flushall(scene: Scene) -> None:
    """Redis forgets everything (T5)."""
    async with scene.redis() as redis:
        await redis.flushall()


@fault()
async def redis_restart_empty(scene: Scene) -> None:
    """Redis dies and comes back without its data."""
    pids = await scene.pids("valkey")
    send(signal.SIGSTOP, pids)  # so that nothing is saved on its way out
    stopping = asyncio.create_task(scene.stop("valkey"))  # so that it does not come back by itself
    await asyncio.sleep(STOPPING_SECONDS)
    send(signal.SIGKILL, pids)
    await stopping
    shutil.rmtree(scene.settings.data_dir / "valkey")
    (scene.settings.data_dir / "valkey").mkdir()
    await scene.start("valkey")
    await scene.wait_running("valkey")


@fault(seconds=30)
async def redis_paused(scene: Scene) -> None:
    """Redis is frozen for half a minute, with all connections open (T4)."""
    async with scene.frozen("valkey"):
        await scene.last()


@fault(seconds=8)
async def redis_oom(scene: Scene) -> None:
    """Redis is out of memory: it answers, and refuses every write."""
    async with scene.redis() as redis:
        await redis.config_set("maxmemory", 1)
        try:
            await scene.last()
        finally:
            await redis.config_set("maxmemory", 0)


@fault(seconds=STOPS_SECONDS)
async def redis_stopped_three_times_in_10_s(scene: Scene) -> None:
    """Redis is stopped and started three times within ten seconds (T3)."""
    for number in range(STOPS):
        if number:
            await asyncio.sleep(scene.seconds / STOPS)
        await scene.wait_running("valkey")
        await scene.signal(signal.SIGTERM if number % 2 else signal.SIGKILL, "valkey")
    await scene.wait_running("valkey")
