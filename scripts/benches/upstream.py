"""The upstream of a benchmark of speed: an emulator without limits whose calls take their time."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from gateway.cli.demo import free_ports
from scripts.faults.emulator import Emulator
from workers.health import check_http
from workers.settings import EMULATOR_KEY
from workers.stack.lifecycle import wait_for
from workers.stack.plan import behind

ENDPOINTS = tuple(f"bench-{number}" for number in range(1, 9))  # they echo: nothing is drawn
JOB_SECONDS = 3.0
SPREAD = 0.2  # two jobs in three within a twentieth of it; one in fifty is a straggler
CALL_SECONDS = 0.05  # that every call takes, over what answering it costs
STOP_SECONDS = 10.0


class Upstream:
    """One that listens on `port`.

    Attributes:
        base: with the version, as `PRESSROOM_UPSTREAM_URL` wants it.
    """

    def __init__(self, port: int) -> None:
        self._origin = f"http://127.0.0.1:{port}"
        self.base = f"{self._origin}/v2"
        self.health = f"{self._origin}/healthz"

    @property
    def variables(self) -> dict[str, str]:
        """What makes it the upstream of a stack."""
        return {"PRESSROOM_UPSTREAM_URL": self.base, "PRESSROOM_UPSTREAM_KEY": EMULATOR_KEY}

    async def clear(self) -> None:
        """Forget all that was asked: who is measured next finds it as who was first."""
        async with self._controls() as emulator:
            await emulator.reset()
            await emulator.arm("slow", seconds=CALL_SECONDS)

    async def count_polls(self) -> int:
        async with self._controls() as emulator:
            return await emulator.count_requests("status")

    @asynccontextmanager
    async def _controls(self) -> AsyncIterator[Emulator]:
        emulator = Emulator(self._origin)
        try:
            yield emulator
        finally:
            await emulator.close()


@contextmanager
def run_upstream() -> Iterator[Upstream]:
    """A process of it, for so long; it stands as far behind as the workers that call it."""
    [port] = free_ports(1)
    command = [
        *(sys.executable, "-m", "endpoints.emulator"),
        f"--port={port}",
        "--clock=1",
        f"--execution-seconds={JOB_SECONDS:g}",
        f"--spread={SPREAD:g}",
        *("--limit=run=0/0", "--limit=status=0/0"),
        *(f"--custom={endpoint}" for endpoint in ENDPOINTS),
    ]
    process = subprocess.Popen(  # noqa: S603 -- our own interpreter
        behind(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        upstream = Upstream(port)
        wait_for("the emulator", lambda: check_http(upstream.health))
        yield upstream
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
