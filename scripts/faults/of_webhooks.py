"""Webhooks of the upstream: too many, and of jobs that nobody knows."""

import asyncio
import itertools
import time

import httpx
from sqlalchemy import text

from models.base import new_id
from scripts.faults.fault import fault
from scripts.faults.scene import Scene
from workers.runtime import hint_token

COPIES = 20


@fault(seconds=5)
async def duplicate_webhooks(scene: Scene) -> None:
    """Each webhook comes twenty times, once too early."""
    async with scene.emulator.armed(("webhook_storm", {"times": COPIES})):
        await scene.last()


@fault(seconds=5)
async def webhooks_of_unknown_jobs(scene: Scene) -> None:
    """Webhooks come of jobs that nobody knows, of attempts never made, and with false tokens."""
    async with scene.stack.database.begin() as session:
        known = (
            await session.scalars(
                text("SELECT id FROM jobs WHERE key_id = CAST(:key AS uuid) LIMIT 100"),
                {"key": scene.workload.key_id},
            )
        ).all()
    until = time.monotonic() + scene.seconds
    settings = scene.settings
    async with httpx.AsyncClient(base_url=settings.link_base, timeout=10) as http:
        for job in itertools.cycle(known):
            nobody, attempt = new_id(), new_id()
            paths = [
                f"/hints/{nobody}/{attempt}/{hint_token(settings, nobody, attempt)}",
                f"/hints/{job}/{attempt}/{hint_token(settings, job, attempt)}",
                f"/hints/{job}/{attempt}/{'0' * 32}",
                f"/hints/{job}/nothing/{'0' * 32}",
            ]
            body = {"id": f"{nobody}-u1", "status": "COMPLETED"}
            answers = await asyncio.gather(*(http.post(path, json=body) for path in paths))
            codes = [answer.status_code for answer in answers]
            if codes[2:] != [404, 404] or max(codes) >= httpx.codes.INTERNAL_SERVER_ERROR:
                scene.complain(f"webhooks of unknown jobs were answered with {codes}")
                return
            if time.monotonic() > until:
                return
