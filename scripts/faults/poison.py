"""A job whose file is the death of whoever fetches it.

Nothing in our code knows of it: this process serves the file, sees from which port it is asked for,
finds the worker that holds that port, and kills it.
"""

import asyncio
import os
import signal
import time
from contextlib import suppress

import httpx
import psutil
from sqlalchemy import text

from scripts.faults.fault import fault
from scripts.faults.scene import Scene
from scripts.faults.stack import ENDPOINTS

DEATHS = 3  # then it must have been set aside
KILLS_MOST = 6
SET_ASIDE = "failed"
WAIT_SECONDS = 100.0


class PoisonServer:
    """Serves nothing, and kills whoever asks, a few times; `kills` counts."""

    def __init__(self) -> None:
        self.kills = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        port = writer.get_extra_info("peername")[1]
        pid = await asyncio.to_thread(find_owner, port)
        if pid is not None and self.kills < KILLS_MOST:
            self.kills += 1
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        writer.close()


def find_owner(port: int) -> int | None:
    """The process that connected from that port of this machine."""
    for connection in psutil.net_connections("tcp4"):
        if connection.laddr and connection.laddr.port == port and connection.pid != os.getpid():
            return connection.pid
    return None


@fault(seconds=60)
async def poison(scene: Scene) -> None:
    """A job kills each worker that works on it: it is set aside after three (T9)."""
    server = PoisonServer()
    listening = await asyncio.start_server(server.answer, "127.0.0.1", scene.stack.own_port)
    async with listening:
        job_id = await _hand_in(scene)
        until = time.monotonic() + WAIT_SECONDS
        while (state := await _read_state(scene, job_id)) != SET_ASIDE:
            if server.kills > DEATHS or time.monotonic() > until:
                scene.complain(
                    f"after {server.kills} deaths of workers its file was {state}, not {SET_ASIDE}"
                )
                break
            await asyncio.sleep(0.5)


async def _hand_in(scene: Scene) -> str:
    """A job of an endpoint that echoes its input: what that names is taken for a file of it."""
    secret, _ = await scene.stack.make_key("chaos poison")
    url = f"http://127.0.0.1:{scene.stack.own_port}/poison.png"
    body = {"endpoint": ENDPOINTS[0], "input": {"prompt": "poison", "image_url": url}}
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=scene.settings.link_base, headers=headers) as http:
        answer = await http.post("/api/v1/jobs", json=body, timeout=20)
    return str(answer.raise_for_status().json()["id"])


async def _read_state(scene: Scene, job_id: str) -> str | None:
    """Of the job's file; None before there is one."""
    async with scene.stack.database.begin() as session:
        state: str | None = await session.scalar(
            text("SELECT state FROM artifacts WHERE job_id = CAST(:job AS uuid)"), {"job": job_id}
        )
    return state
