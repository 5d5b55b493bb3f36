"""Hosts: one is cut off from all others, while it works."""

import asyncio
import time

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from scripts.benches.own_stack import say
from scripts.faults.fault import fault
from scripts.faults.hosts import HostsStack, worker_name
from scripts.faults.measure import LOOK_SECONDS, read_longest_wait, read_progress
from scripts.faults.network import Host
from scripts.faults.scene import Scene
from workers.app import make_app

STILL_SECONDS = 15.0  # that nothing moves at most: leases and locks of the host that is gone
BACK_SECONDS = 20.0
PING_SECONDS = 1.0


@fault(seconds=60, least_seconds=25, hosts=True)
async def host_cut_off(scene: Scene) -> None:
    """One of two hosts with workers is cut off for a minute: what is sent to or fro vanishes."""
    stack = scene.stack
    assert isinstance(stack, HostsStack)  # noqa: S101 -- what `hosts=True` asks for
    victim, *_ = stack.hosts
    idle = [host for host in stack.hosts if not await _wait_for_stages(scene, host)]
    if idle:
        scene.complain(f"{', '.join(map(worker_name, idle))} had done nothing")
    began = time.monotonic()
    await victim.cut_off()
    try:
        still = await _watch(scene)
    finally:
        await victim.join()
    joined = time.monotonic()
    waited = await read_longest_wait(
        stack.database, scene.workload.key_id, seconds=joined - began, but=STILL_SECONDS
    )
    for what, seconds in (("nothing moved for", still), ("a job waited to be sent for", waited)):
        say(f"  {what} {seconds:.1f} s at most")
        if seconds > STILL_SECONDS:
            scene.complain(f"{what} {seconds:.0f} s while one host of two was there")
    while await _count_stages(scene, victim) is None:
        if time.monotonic() > joined + BACK_SECONDS:
            scene.complain(f"{worker_name(victim)} was not back within {BACK_SECONDS:.0f} s")
            break
    say(f"  {worker_name(victim)} answered again after {time.monotonic() - joined:.1f} s")
    ended = [worker_name(host) for host, worker in stack.hosts.items() if worker.poll() is not None]
    if ended:
        scene.complain(f"ended by itself: {', '.join(ended)}")


async def _watch(scene: Scene) -> float:
    """The longest time, in seconds, in which nothing moved while the fault lasted."""
    began = moved_at = time.monotonic()
    moved, longest = -1, 0.0
    while (now := time.monotonic()) < began + scene.seconds:
        progress = await read_progress(scene.stack.database, scene.workload.key_id)
        if progress.moved != moved or progress.done:
            moved, moved_at = progress.moved, now
        longest = max(longest, now - moved_at)
        await asyncio.sleep(LOOK_SECONDS)
    return longest


async def _wait_for_stages(scene: Scene, host: Host) -> int:
    """The same, once it answers: the network has just been made."""
    until = time.monotonic() + BACK_SECONDS
    while not (stages := await _count_stages(scene, host)) and time.monotonic() < until:  # noqa: ASYNC110 -- another host's news
        await asyncio.sleep(LOOK_SECONDS)
    return stages or 0


async def _count_stages(scene: Scene, host: Host) -> int | None:
    """How many runs of stages its worker has begun; None: it does not answer."""
    app = make_app(scene.settings)
    try:
        inspect = app.control.inspect(timeout=PING_SECONDS)
        stats = await asyncio.to_thread(inspect.stats) or {}
    except (RedisError, OperationalError) as error:
        say(f"  {worker_name(host)} could not be asked: {error!r}")
        return None
    finally:
        app.close()
    for node, said in stats.items():
        if node.startswith(f"{worker_name(host)}@"):
            ours = ("pressroom.submit", "pressroom.poll", "pressroom.archive")
            return sum(said["total"].get(name, 0) for name in ours)
    return None
