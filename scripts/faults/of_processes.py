"""Processes of ours that die."""

import asyncio
import signal
import time

from models.lane import StageName
from scripts.faults.fault import fault
from scripts.faults.scene import STOP_SECONDS, Scene, run_beside, send
from scripts.faults.stack import ENDPOINTS
from workers.app import make_app
from workers.stack.plan import own_command

TIMES = 20
RANDOM_SECONDS = 1.5  # after all workers run again, at most, the next time comes
EACH_SECONDS = 2.5  # with the time that they take to run again
GATEWAY_KILLS = 3


@fault()
async def kill_one_worker(scene: Scene) -> None:
    """One worker is killed while it holds bells, leases and calls (T1)."""
    await scene.signal(signal.SIGKILL, "worker-1")


@fault()
async def kill_all_workers(scene: Scene) -> None:
    """All workers are killed at once."""
    await scene.signal(signal.SIGKILL, "worker-")


@fault(seconds=TIMES * EACH_SECONDS)
async def kill_all_twenty_times(scene: Scene) -> None:
    """All workers are killed at a random moment, twenty times over.

    A shortened run kills them fewer times.
    """
    times = max(round(scene.seconds / EACH_SECONDS), 2)
    for number in range(times):
        await scene.wait_running("worker-")
        if number:
            await asyncio.sleep(scene.draws.uniform(0, RANDOM_SECONDS))
        await scene.signal(signal.SIGKILL, "worker-")


@fault(seconds=6)
async def kill_beat(scene: Scene) -> None:
    """Beat is killed and kept from coming back for a while: who sweeps?"""
    await scene.signal(signal.SIGKILL, "beat")
    await scene.stop("beat")
    await scene.last()
    await scene.start("beat")


@fault(seconds=8, early=True)
async def kill_gateway(scene: Scene) -> None:
    """The gateway is killed again and again, between what it commits and what it answers (T12)."""
    for number in range(GATEWAY_KILLS):
        if number:
            await asyncio.sleep(scene.seconds / (GATEWAY_KILLS - 1))
            await scene.wait_running("gateway")
        await scene.signal(signal.SIGKILL, "gateway")


@fault()
async def sigstop_then_kill_worker(scene: Scene) -> None:
    """A worker stops, takes no message that it was given, and is killed (T2)."""
    pids = await scene.pids("worker-1")
    send(signal.SIGSTOP, pids)
    app = make_app(scene.settings)
    try:
        for endpoint in ENDPOINTS:
            for stage in StageName:
                at = round(time.time() * 1000)
                await asyncio.to_thread(
                    app.send_task, f"pressroom.{stage}", args=(endpoint, at), ignore_result=True
                )
    finally:
        app.close()
    send(signal.SIGKILL, pids)


@fault(seconds=4)
async def term_and_quit_mid_run(scene: Scene) -> None:
    """One worker is told to stop warm, another cold, in the middle of their calls (T8)."""
    pids = await scene.pids("worker-")
    until = time.monotonic() + STOP_SECONDS
    for pid, number in zip(pids, (signal.SIGTERM, signal.SIGQUIT), strict=True):
        send(number, [pid])
    while set(pids) & set(await scene.pids("worker-")):
        if time.monotonic() > until:
            scene.complain(f"a worker had not stopped {STOP_SECONDS:g} s after it was told to")
            send(signal.SIGKILL, pids)
            return
        await asyncio.sleep(0.1)


@fault(seconds=6)
async def two_beats(scene: Scene) -> None:
    """A second beat ticks beside the first (T11)."""
    folder = scene.settings.data_dir / "second-beat"
    folder.mkdir(exist_ok=True)
    # Its schedule is a file in DATA_DIR: it has one of its own, and is told where the servers are.
    elsewhere = {
        "PRESSROOM_DATA_DIR": str(folder),
        "PRESSROOM_DATABASE_URL": scene.settings.database_dsn.replace("+psycopg", ""),
        "PRESSROOM_REDIS_URL": scene.settings.redis_dsn,
    }
    async with run_beside(*own_command("run", "beat"), **elsewhere) as beat:
        await scene.last()
        if beat.returncode is not None:
            scene.complain(f"the second beat ended by itself: {beat.returncode}")
