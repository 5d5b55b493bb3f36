"""Workers outlive whatever befalls their Redis, and one that went deaf ends itself.

Real workers on a Redis of their own, their bounds shortened; a message needs no database.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import redis
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from models.base import new_id
from workers.app import QUEUES, make_app
from workers.pulse import check_pulse, read_pulse
from workers.settings import Settings
from workers.sign import sign_key
from workers.stack import valkey
from workers.watch import DEAF_EXIT, own_queue

DEAF_SECONDS = 5.0
AGAIN_SECONDS = 10.0  # from the end of a fault until messages are taken

WORKER = f"""
from workers import watch
from workers.settings import Settings
from workers.worker import run_worker
import sys
watch.LOOK_SECONDS, watch.DEAF_SECONDS, watch.START_SECONDS = 0.5, {DEAF_SECONDS}, 8.0
run_worker(Settings(), name=sys.argv[1])
"""


class Fleet:
    """A Redis, and workers on it."""

    def __init__(self, folder):
        self.settings = Settings(data_dir=folder)
        self.settings.socket_dir.mkdir(parents=True, exist_ok=True)
        self.redis = redis.Redis.from_url(self.settings.redis_dsn, socket_timeout=5)
        self.app = make_app(self.settings)
        self.workers = {}
        self.start_redis()

    def start_redis(self):
        self.server = subprocess.Popen(
            valkey.command(self.settings.data_dir / "valkey", self.settings.socket_dir),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end_redis(self):
        self.server.kill()
        self.server.wait()

    def start_worker(self, name):
        with self.log(name).open("w") as log:
            self.workers[name] = subprocess.Popen(
                [sys.executable, "-c", WORKER, name],
                env={**os.environ, "PRESSROOM_DATA_DIR": str(self.settings.data_dir)},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def log(self, name):
        return self.settings.data_dir / f"{name}.log"

    def node(self, name):
        return f"{name}@{socket.gethostname()}"

    def send(self, name, token):
        """A message that only this worker takes; it then adds its name to the set of the token."""
        queue = own_queue(self.node(name))
        self.app.amqp.queues.add(queue)
        self.app.send_task(
            "pressroom.canary", args=(name, token), queue=queue.name, ignore_result=True
        )

    def wait_until_heard(self, name, *, seconds):
        """Until this worker, and no other, has taken a message."""
        deadline, token = time.monotonic() + seconds, new_id().hex
        while time.monotonic() < deadline:
            try:
                if self.redis.sismember(f"{self.settings.redis_prefix}canary:{token}", name):
                    return
                if not self.redis.exists(f"{self.settings.redis_prefix}echo.{self.node(name)}"):
                    self.send(name, token)
            except (RedisError, OperationalError):
                pass  # not back yet
            time.sleep(0.05)
        raise AssertionError(f"{name} took nothing: {self.log(name).read_text()[-3000:]}")

    def close(self):
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
        self.app.close()
        self.redis.close()
        self.end_redis()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    for name in ("w1", "w2"):
        fleet.start_worker(name)
    try:
        for name in fleet.workers:
            fleet.wait_until_heard(name, seconds=60)
        yield fleet
    finally:
        fleet.close()


def restart_three_times(fleet):
    for _ in range(3):
        fleet.end_redis()
        time.sleep(1)
        fleet.start_redis()
        time.sleep(1.5)


def freeze(fleet):
    fleet.server.send_signal(signal.SIGSTOP)
    time.sleep(DEAF_SECONDS + 3)
    fleet.server.send_signal(signal.SIGCONT)


def flush(fleet):
    fleet.redis.flushall()


def fail_over_to_an_empty_one(fleet):
    fleet.end_redis()
    shutil.rmtree(fleet.settings.data_dir / "valkey")
    fleet.start_redis()


def cut_connections(fleet):
    for _ in range(3):
        for kind in ("normal", "pubsub"):
            fleet.redis.client_kill_filter(_type=kind, skipme=True)
        time.sleep(0.3)


def refuse_writes(fleet):
    fleet.redis.config_set("maxmemory", 1)
    time.sleep(DEAF_SECONDS + 2)
    fleet.redis.config_set("maxmemory", 0)


@pytest.mark.parametrize(
    "fault",
    [
        flush,
        cut_connections,
        fail_over_to_an_empty_one,
        restart_three_times,
        refuse_writes,
        freeze,
    ],
    ids=lambda fault: fault.__name__,
)
def test_every_worker_takes_messages_again_and_none_was_replaced(fleet, fault):
    pids = {name: worker.pid for name, worker in fleet.workers.items()}

    fault(fleet)

    for name in fleet.workers:
        fleet.wait_until_heard(name, seconds=AGAIN_SECONDS)
    for name, worker in fleet.workers.items():
        assert worker.poll() is None
        pulse = read_pulse(fleet.settings.data_dir, name)
        assert pulse is not None
        assert pulse.pid == pids[name]
        assert check_pulse(fleet.settings.data_dir, name) is None
        assert "worker_went_deaf" not in fleet.log(name).read_text()


def test_a_message_that_was_taken_when_redis_refuses_the_note_of_it_is_run(fleet):
    """It waits in the queue while Redis is full; a worker takes it, and may not write that down."""
    fleet.workers["w1"].send_signal(signal.SIGSTOP)
    fleet.send("w1", new_id().hex)
    fleet.redis.config_set("maxmemory", 1)
    fleet.workers["w1"].send_signal(signal.SIGCONT)
    try:
        # It ran, and could not say so either: its own write was refused, too.
        for said in ("message_not_noted", "Task pressroom.canary"):
            deadline = time.monotonic() + 20
            while said not in fleet.log("w1").read_text():
                assert time.monotonic() < deadline, fleet.log("w1").read_text()[-3000:]
                time.sleep(0.02)
    finally:
        fleet.redis.config_set("maxmemory", 0)
    fleet.wait_until_heard("w1", seconds=AGAIN_SECONDS)


def test_one_that_went_deaf_says_so_and_ends_for_its_supervisor_to_replace(fleet):
    fleet.start_worker("w3")
    fleet.wait_until_heard("w3", seconds=60)
    queues = (*QUEUES, own_queue(fleet.node("w3")).name)

    for queue in queues:
        fleet.app.control.cancel_consumer(queue, destination=[fleet.node("w3")])

    assert fleet.workers["w3"].wait(DEAF_SECONDS + 20) == DEAF_EXIT
    said = fleet.log("w3").read_text()
    assert "worker_went_deaf" in said
    assert "has taken no message for" in said
    fleet.start_worker("w3")
    fleet.wait_until_heard("w3", seconds=60)


def test_a_worker_that_stops_leaves_nothing_behind(fleet):
    fleet.start_worker("w4")
    fleet.wait_until_heard("w4", seconds=60)
    prefix, node = fleet.settings.redis_prefix, fleet.node("w4")
    exchanges = fleet.redis.zrange(f"{prefix}_kombu.binding_deadlines", 0, -1)

    fleet.workers["w4"].terminate()

    assert fleet.workers["w4"].wait(30) == 0
    assert not fleet.redis.exists(sign_key(fleet.settings, node))
    assert not fleet.redis.exists(f"{prefix}echo.{node}")
    assert read_pulse(fleet.settings.data_dir, "w4") is None
    assert f"echo.{node}".encode() in exchanges  # kombu sweeps its binding away


def test_what_a_killed_worker_leaves_in_redis_is_forgotten_by_itself(fleet):
    fleet.start_worker("w5")
    fleet.wait_until_heard("w5", seconds=60)

    fleet.workers["w5"].kill()
    fleet.workers["w5"].wait()

    prefix, node = fleet.settings.redis_prefix, fleet.node("w5")
    for key in (sign_key(fleet.settings, node), f"{prefix}echo.{node}"):
        assert fleet.redis.ttl(key) != -1  # for ever
