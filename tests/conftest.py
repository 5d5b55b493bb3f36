"""Real services for the tests: PostgreSQL and Valkey from wheels, the emulator over real HTTP.

They are started once a session, bind to sockets and to 127.0.0.1, and are stopped at its end. Each
test begins with empty tables and an empty Valkey.
"""

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis
from aiohttp import web

from endpoints.emulator.app import create_app
from endpoints.emulator.config import EmulatorConfig
from models.database import Database, empty_tables
from models.key import IssuedKey, Scope, issue_key
from models.migrate import migrate
from workers.app import make_app
from workers.health import check_database, check_redis
from workers.runtime import Runtime, open_runtime
from workers.settings import Settings
from workers.stack import postgres, valkey
from workers.stack.lifecycle import bring_up, take_down
from workers.stack.supervisor import Supervisor

# Names the data folder of servers that run already, and are left running: `scripts/mutants`.
KEPT_SERVICES = "TESTS_KEPT_SERVICES"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session", autouse=True)
def heed_interrupts() -> None:
    """Programs that tests start heed Ctrl-C, whoever started the tests.

    What a shell starts in the background ignores SIGINT, and hands that on to all it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_root() -> Iterator[Path]:
    """Where servers keep their data. Not in pytest's own folder: a second pytest that begins while
    this one runs closes that to the user that PostgreSQL runs as.
    """
    with tempfile.TemporaryDirectory(
        prefix="pressroom-tests-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def services(data_root: Path) -> Iterator[Settings]:
    """Servers of this session, and the settings that reach them."""
    if kept := os.environ.get(KEPT_SERVICES):
        settings = Settings(data_dir=Path(kept))
        migrate(settings.database_dsn)
        yield settings
        return
    data = data_root / "services"
    data.mkdir()
    settings = Settings(data_dir=data)
    sockets = settings.socket_dir
    postgres.prepare(data / "postgres", sockets)
    started = [
        subprocess.Popen(
            # Tests lose nothing if the machine dies.
            [*postgres.command(data / "postgres", sockets), "-c", "fsync=off"],
            **postgres.identity(),
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ),
        subprocess.Popen(
            [*valkey.command(data / "valkey", sockets)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ),
    ]
    try:
        for check in (check_database, check_redis):
            deadline = time.monotonic() + 30
            while asyncio.run(check(settings)) is not None:
                assert time.monotonic() < deadline, asyncio.run(check(settings))
                time.sleep(0.05)
        migrate(settings.database_dsn)
        yield settings
    finally:
        for process in started:
            process.send_signal(signal.SIGINT)
        for process in started:
            process.wait(30)


@pytest.fixture
async def settings(services: Settings, tmp_path: Path) -> Settings:
    """Settings with a data folder of this test's, on empty servers."""
    database = Database(services.database_dsn, name="tests")
    async with database.begin() as session:
        await empty_tables(session)
    await database.close()
    connection = redis.Redis.from_url(services.redis_dsn)
    connection.flushall()
    connection.close()
    return Settings(
        data_dir=tmp_path,
        database_url=services.database_dsn,
        redis_url=services.redis_dsn,
        emulator_port=free_port(),
        gateway_port=free_port(),
        flower_port=free_port(),
    )


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The empty database."""
    database = Database(settings.database_dsn, name="tests")
    yield database
    await database.close()


@pytest.fixture
async def emulator(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The emulator on the settings' port, as a client of its admin routes."""
    config = EmulatorConfig(port=settings.emulator_port, clock_factor=settings.emulator_clock)
    runner = web.AppRunner(create_app(config), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", settings.emulator_port).start()
    base = f"http://127.0.0.1:{settings.emulator_port}"
    async with httpx.AsyncClient(base_url=base, timeout=10) as client:
        yield client
    await runner.cleanup()


@pytest.fixture
async def runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """What a worker process holds, on the test's own loop: lanes are run without Celery."""
    async with open_runtime(settings, make_app(settings), name="tests") as runtime:
        yield runtime


@pytest.fixture(scope="module")
def stack(data_root: Path) -> Iterator[Settings]:
    """A whole stack of real processes, brought up as `pressroom up` does; one a test file."""
    with running_stack(data_root) as settings:
        yield settings


@contextmanager
def running_stack(data_root: Path) -> Iterator[Settings]:
    """A stack on free ports; nothing of it is left behind."""
    settings = Settings(
        data_dir=Path(tempfile.mkdtemp(prefix="stack-", dir=data_root)),
        gateway_port=free_port(),
        flower_port=free_port(),
        emulator_port=free_port(),
    )
    variables = {
        f"PRESSROOM_{name.upper()}": str(getattr(settings, name))
        for name in ("data_dir", "gateway_port", "flower_port", "emulator_port")
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        bring_up(settings, lambda _step: None)
    try:
        yield settings
    finally:
        take_down(settings, lambda _step: None)
        assert Supervisor(settings).find_leftovers() == []


@pytest.fixture(scope="module")
def gateway_key(stack: Settings) -> str:
    """A key of the stack's gateway that may hand jobs in, and sees its own alone."""
    return make_key(stack, "tests", Scope.RUN).secret


def make_key(settings: Settings, name: str, *scopes: Scope) -> IssuedKey:
    """A new key."""

    async def make() -> IssuedKey:
        database = Database(settings.database_dsn, name="tests")
        try:
            async with database.begin() as session:
                return await issue_key(session, name=name, scopes=scopes)
        finally:
            await database.close()

    return asyncio.run(make())


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PRESSROOM_", "OTEL_"))]:
        monkeypatch.delenv(name)
