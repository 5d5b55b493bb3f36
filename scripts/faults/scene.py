"""What a fault may lay hands on: the processes of the stack, its servers, its upstream."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from redis.asyncio import Redis

from models.job import JobState
from scripts.faults.emulator import Emulator
from scripts.faults.stack import Stack
from scripts.faults.workload import Workload
from workers.app import make_app
from workers.settings import Settings
from workers.stack.supervisor import StackError, Supervisor

RUNNING_SECONDS = 60.0
STOP_SECONDS = 30.0
PING_SECONDS = 1.0


class Scene:
    """One fault's.

    Attributes:
        seconds: how long it is to last.
        draws: what a fault draws at random, the same for each run.
        complaints: what the fault itself found to be wrong.
        excused: how many jobs may end in a state other than completed, by the state.
    """

    def __init__(self, stack: Stack, workload: Workload, *, seconds: float, seed: str) -> None:
        self.stack = stack
        self.workload = workload
        self.seconds = seconds
        self.draws = random.Random(seed)  # noqa: S311 -- draws, not secrets
        self.complaints: list[str] = []
        self.excused: dict[JobState, int] = {}
        self._supervisor = Supervisor(stack.settings)

    @property
    def settings(self) -> Settings:
        return self.stack.settings

    @property
    def emulator(self) -> Emulator:
        return self.stack.emulator

    async def last(self) -> None:
        """For as long as the fault is to last."""
        await asyncio.sleep(self.seconds)

    def complain(self, about: str) -> None:
        self.complaints.append(about)

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        connection = Redis.from_url(self.settings.redis_dsn, decode_responses=True)
        try:
            yield connection
        finally:
            await connection.aclose()

    async def pids(self, *beginnings: str) -> list[int]:
        """Of the running processes whose names begin so."""
        states = await asyncio.to_thread(self._supervisor.states)
        return [
            state.pid
            for state in states
            if state.pid is not None and state.name.startswith(beginnings)
        ]

    async def signal(self, number: signal.Signals, *beginnings: str) -> None:
        """
        Raises:
            StackError: none runs whose name begins so.
        """
        pids = await self.pids(*beginnings)
        if not pids:
            raise StackError(f"no process runs that is called {' or '.join(beginnings)}...")
        send(number, pids)

    @asynccontextmanager
    async def frozen(self, name: str) -> AsyncIterator[None]:
        """A process and its children, stopped for so long."""
        [pid] = await self.pids(name)
        parent = psutil.Process(pid)
        frozen = [pid, *(child.pid for child in parent.children(recursive=True))]
        send(signal.SIGSTOP, frozen)
        try:
            yield
        finally:
            send(signal.SIGCONT, frozen)

    async def stop(self, *names: str) -> None:
        for name in names:
            await asyncio.to_thread(self._supervisor.stop, name)

    async def start(self, *names: str) -> None:
        for name in names:
            await asyncio.to_thread(self._supervisor.start, name)

    async def wait_running(self, *beginnings: str) -> None:
        """Until supervisord says of each that it runs: a second after it began to.

        Raises:
            TimeoutError: it does not within a minute.
        """
        async with asyncio.timeout(RUNNING_SECONDS):
            while True:
                states = await asyncio.to_thread(self._supervisor.states)
                wanted = [state for state in states if state.name.startswith(beginnings)]
                if wanted and all(state.running for state in wanted):
                    return
                await asyncio.sleep(0.1)

    async def wait_taking_work(self, *names: str) -> None:
        """Until each of these workers answers Celery: some seconds after it began to run.

        Raises:
            TimeoutError: one does not within a minute.
        """
        app = make_app(self.settings)
        try:
            async with asyncio.timeout(RUNNING_SECONDS):
                heard: set[str] = set()
                while not heard.issuperset(names):
                    answers = await asyncio.to_thread(app.control.ping, timeout=PING_SECONDS)
                    heard = {node.partition("@")[0] for one in answers or () for node in one}
        finally:
            app.close()

    def log_files(self) -> Sequence[Path]:
        return sorted(self._supervisor.logs.iterdir())


@asynccontextmanager
async def run_beside(*command: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process beside the supervised ones, for so long; it is told to stop, and then killed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **variables},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def send(number: signal.Signals, pids: Sequence[int]) -> None:
    """One that has ended meanwhile needs no signal."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
