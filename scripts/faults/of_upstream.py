"""The upstream (emulated): errors, storms, silence, replies that are lost or cannot be read."""

import asyncio

from models.job import JobState
from scripts.faults.fault import fault
from scripts.faults.scene import Scene

SOME = 0.3  # the share of calls that is struck
FEW = 0.1
MOST = 0.9
KEPT_SECONDS = 60.0  # emulated: a thirtieth of the documented half hour


@fault(seconds=6)
async def upstream_500s(scene: Scene) -> None:
    """Three calls in ten are answered with a 500."""
    async with scene.emulator.armed(("error", {"status": 500, "probability": SOME})):
        await scene.last()


@fault(seconds=6)
async def upstream_429_storm(scene: Scene) -> None:
    """Nine calls in ten are answered with a 429 that does not say for how long."""
    async with scene.emulator.armed(("busy", {"probability": MOST})):
        await scene.last()


@fault(seconds=60)
async def upstream_hang(scene: Scene) -> None:
    """No call is answered, for a minute; those that wait are not answered after it, either."""
    async with scene.emulator.armed(("hang", {})):
        await scene.last()


@fault(seconds=6)
async def upstream_html(scene: Scene) -> None:
    """Calls are answered with a page for people, some of them with a 200."""
    async with scene.emulator.armed(
        ("html", {"status": 502, "probability": SOME}),
        ("html", {"status": 200, "probability": SOME}),
    ):
        await scene.last()


@fault(seconds=5)
async def reset_after_accept(scene: Scene) -> None:
    """Connections are reset after the job was accepted; webhooks come."""
    async with scene.emulator.armed(("reset_after", {"operation": "run", "probability": SOME})):
        await scene.last()


@fault(seconds=5, doubles=True, silent=True)
async def reset_after_accept_no_webhook(scene: Scene) -> None:
    """The same, and no webhook is set: nobody can tell whether these jobs ran."""
    async with scene.emulator.armed(("reset_after", {"operation": "run", "probability": SOME})):
        await scene.last()


@fault(seconds=5, doubles=True)
async def reset_after_accept_webhooks_cease(scene: Scene) -> None:
    """The same, and of these jobs no webhook comes, while those of earlier ones still do."""
    await scene.emulator.arm("webhook_silent")
    async with scene.emulator.armed(("reset_after", {"operation": "run", "probability": SOME})):
        await scene.last()


@fault(seconds=35)  # longer than a call may take
async def slow_bytes(scene: Scene) -> None:
    """Replies and files come one byte a second (T10)."""
    async with scene.emulator.armed(
        ("drip", {"probability": FEW}), ("drip", {"probability": FEW, "operation": "files"})
    ):
        await scene.last()


@fault(seconds=5)
async def garbage(scene: Scene) -> None:
    """Three replies in ten are a 200 with a body that says nothing, the job accepted or not."""
    async with scene.emulator.armed(("garbage", {"probability": SOME})):
        await scene.last()


@fault(seconds=5)
async def truncated_json(scene: Scene) -> None:
    """Three replies in ten end half-way, as if they were whole."""
    async with scene.emulator.armed(("truncated", {"probability": SOME})):
        await scene.last()


@fault(seconds=5)
async def job_lost(scene: Scene) -> None:
    """Some jobs are accepted, and unknown ever after: each is sent again, or ends as lost."""
    async with scene.emulator.armed(("lose_job", {"probability": FEW})):
        await scene.last()
    scene.excused[JobState.LOST] = await scene.emulator.count("lost")


@fault(seconds=6, silent=True)
async def results_gone_early(scene: Scene) -> None:
    """Results are kept for a thirtieth of the documented time, and no webhook tells of them."""
    async with scene.emulator.armed(("forget_early", {"seconds": KEPT_SECONDS})):
        await scene.last()


@fault(seconds=60)
async def network_cut(scene: Scene) -> None:
    """Nothing reaches the upstream for a minute; open connections are reset. Webhooks come."""
    await scene.emulator.cut_network(max(scene.seconds, 1.0))
    await asyncio.sleep(max(scene.seconds, 1.0))
