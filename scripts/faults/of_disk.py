"""The disk."""

import psutil

from scripts.faults.fault import fault
from scripts.faults.scene import Scene

QUOTA_BYTES = 512  # no file of ours is as small


@fault(seconds=6)
async def disk_full(scene: Scene) -> None:
    """No worker can write a file (emulated by a quota on its processes)."""
    workers = [psutil.Process(pid) for pid in await scene.pids("worker-")]
    before = [worker.rlimit(psutil.RLIMIT_FSIZE) for worker in workers]
    for worker, (_, most) in zip(workers, before, strict=True):
        worker.rlimit(psutil.RLIMIT_FSIZE, (QUOTA_BYTES, most))
    await scene.last()
    for worker, limits in zip(workers, before, strict=True):
        if not worker.is_running():
            scene.complain("a worker died of a full disk")
            continue
        worker.rlimit(psutil.RLIMIT_FSIZE, limits)
