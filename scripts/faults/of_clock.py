"""Clocks that step: the database's is the one that decides."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from scripts.faults.fault import fault
from scripts.faults.scene import RUNNING_SECONDS, Scene, run_beside

HOUR = 3600
STEPS = (HOUR, -HOUR)
REPLACED = ("worker-1", "worker-2")  # for so long


@fault(seconds=8)
async def clock_step(scene: Scene) -> None:
    """One worker's clock jumps an hour ahead, another's an hour back, and then both jump home."""
    async with AsyncExitStack() as running:
        stepped = [await running.enter_async_context(_run_stepped(scene, step)) for step in STEPS]
        await scene.stop(*REPLACED)
        for worker in stepped:
            _tell(worker)
        await scene.last()
        await scene.start(*REPLACED)
        await scene.wait_taking_work(*REPLACED)
        for worker in stepped:
            if worker.returncode is not None:
                scene.complain(f"a worker ended when its clock jumped: {worker.returncode}")
            else:
                _tell(worker)


@asynccontextmanager
async def _run_stepped(scene: Scene, step: float) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker beside the others, once it takes work."""
    name = f"stepped-{step:+g}"
    ready = scene.settings.data_dir / "run" / name
    ready.unlink(missing_ok=True)
    command = (sys.executable, "-m", "scripts.faults.stepped_worker")
    options = (f"--name={name}", f"--step={step}", f"--ready={ready}")
    async with run_beside(*command, *options) as worker:
        async with asyncio.timeout(RUNNING_SECONDS):
            while not ready.exists():  # noqa: ASYNC110 -- another process makes it
                await asyncio.sleep(0.1)
        yield worker


def _tell(worker: asyncio.subprocess.Process) -> None:
    """To jump."""
    if worker.stdin is not None:
        worker.stdin.write(b"jump\n")
