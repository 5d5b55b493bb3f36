"""The stack that is broken: real processes, on free ports, in a folder of its own."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.cli.demo import free_ports, prepare
from models.database import Database
from models.key import Scope, issue_key
from scripts.benches.own_stack import say
from scripts.faults.emulator import Emulator
from workers.settings import Settings
from workers.stack.lifecycle import bring_up, take_down

WORKERS = 2
ENDPOINTS = ("chaos-ink", "chaos-press", "chaos-type")  # of our own: nothing is drawn for them
EXECUTION_SECONDS = 10.0  # of those, on the emulator's clock, which is five times as fast
WITHOUT_LIMIT = 1_000_000  # requests a second of the key


class Stack:
    """A running one, and what is held open of it.

    Attributes:
        own_port: of this machine, where its workers may fetch files from.
        emulator: its controls, which it gives to loopback alone.
    """

    def __init__(
        self, settings: Settings, *, own_port: int, emulator_host: str | None = None
    ) -> None:
        self.settings = settings
        self.own_port = own_port
        self.database = Database(settings.database_dsn, name="chaos")
        host = emulator_host or settings.emulator_host
        self.emulator = Emulator(f"http://{host}:{settings.emulator_port}")

    async def make_key(self, name: str) -> tuple[str, str]:
        """A new key of the gateway: its secret and its id."""
        async with self.database.begin() as session:
            issued = await issue_key(
                session, name=name, scopes=[Scope.RUN], requests_per_second=WITHOUT_LIMIT
            )
        return issued.secret, str(issued.row.id)


@contextlib.asynccontextmanager
async def run_stack(folder: Path) -> AsyncIterator[Stack]:
    """Whole and empty, in that folder, which stays only if something went wrong.

    Raises:
        StackError: it did not come up.
    """
    await asyncio.to_thread(prepare, folder, free_ports(3))
    [own_port] = free_ports(1)
    os.environ |= {
        "PRESSROOM_WORKERS": str(WORKERS),
        "PRESSROOM_ALLOWED_HOSTS": f"127.0.0.1:{own_port}",
    }
    settings = Settings()
    await asyncio.to_thread(bring_up, settings, say)
    stack = Stack(settings, own_port=own_port)
    try:
        for endpoint in ENDPOINTS:
            await stack.emulator.serve(endpoint, execution_seconds=EXECUTION_SECONDS)
        yield stack
    finally:
        await stack.emulator.close()
        await stack.database.close()
        say("stopping the stack")
        await asyncio.to_thread(take_down, settings, lambda _step: None)
    shutil.rmtree(folder)
