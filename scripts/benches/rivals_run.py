"""Rivals as processes of their own environment, `.venv/rivals`, and what their runs came to."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import psutil
import redis
from sqlalchemy import Connection, create_engine, text

from scripts.benches.own_stack import cpu_seconds_of_tree, read_cpu
from scripts.benches.rivals.plan import VARIABLE, Plan
from scripts.benches.run import Done, Run
from workers.settings import Settings
from workers.stack.lifecycle import wait_for
from workers.stack.plan import behind
from workers.stack.supervisor import StackError

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv" / "rivals" / "bin"
CELERY = "scripts.benches.rivals.celery_calls"
READY = "rival ready"  # as its workers print it
REDIS_DATABASE = 1  # ours is 0
LOOK_SECONDS = 0.5
STOP_SECONDS = 10.0
STALLED_SECONDS = 15.0  # many times as long as a job, and as polls are apart
SPARE_SECONDS = 30.0  # over its time, for one that counts it itself
MAKE_TABLE = """
    CREATE TABLE IF NOT EXISTS rival_results (
        number int PRIMARY KEY, output jsonb, sent float8, took float8, finished float8)
"""

CountPolls = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """How many processes of Celery run, and how many tasks at once each."""

    name: str
    processes: int
    at_once: int


def run_alone(module: str, plan: Plan, count_polls: CountPolls) -> Run:
    """A rival that is one process, and records nothing.

    Raises:
        StackError: it failed.
    """
    command = behind([str(BIN / "python"), "-m", f"scripts.benches.rivals.{module}"])
    ended = subprocess.run(  # noqa: S603 -- our own modules
        command,
        cwd=ROOT,
        env=_environment(plan),
        capture_output=True,
        text=True,
        timeout=plan.seconds + SPARE_SECONDS,
        check=False,
    )
    if ended.returncode:
        raise StackError(f"{module} failed: {ended.stderr.strip()}")
    said = json.loads(ended.stdout)
    return Run(
        jobs=plan.jobs,
        began=said["began"],
        done=[Done(*one) for one in said["done"]],
        cpu={"worker": said["cpu_seconds"]},
        polls=count_polls(),
    )


def run_celery(settings: Settings, pool: Pool, plan: Plan, count_polls: CountPolls) -> Run:
    """One task for each call, on the servers of a stack.

    Raises:
        StackError: its workers did not come up, or who hands the jobs in failed.
    """
    plan = replace(
        plan,
        at_once=pool.at_once,
        redis_url=f"redis+socket://{settings.socket_dir}/valkey.sock?virtual_host={REDIS_DATABASE}",
        postgres=f"host={settings.socket_dir} user=postgres dbname=postgres",
    )
    engine = create_engine(settings.database_dsn)
    _empty_broker(settings)
    with engine.connect() as connection:
        _empty_table(connection)
        with _celery_workers(settings, pool, plan) as workers:
            before = _read_cpu(settings, workers)
            began = time.time()
            producer = [str(BIN / "python"), "-m", CELERY]
            subprocess.run(producer, cwd=ROOT, env=_environment(plan), check=True)  # noqa: S603
            _wait_for_ends(connection, plan, until=began + plan.seconds)
            after = _read_cpu(settings, workers)
        rows = connection.execute(text("SELECT sent, took, finished FROM rival_results"))
        done = [Done(row.sent, row.took, row.finished) for row in rows]
    engine.dispose()
    return Run(
        jobs=plan.jobs,
        began=began,
        done=done,
        cpu={kind: used - before[kind] for kind, used in after.items()},
        polls=count_polls(),
    )


def _wait_for_ends(connection: Connection, plan: Plan, *, until: float) -> None:
    """Until all are there, or none has come for long: a task that died is not waited for."""
    ended, changed = 0, time.time()
    while ended < plan.jobs and time.time() < min(until, changed + STALLED_SECONDS):
        time.sleep(LOOK_SECONDS)
        if (now := _count(connection)) != ended:
            ended, changed = now, time.time()


@contextmanager
def _celery_workers(
    settings: Settings, pool: Pool, plan: Plan
) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    logs = [settings.data_dir / "logs" / f"rival-{one + 1}.log" for one in range(pool.processes)]
    files: list[IO[bytes]] = [log.open("wb") for log in logs]
    workers = [
        subprocess.Popen(  # noqa: S603 -- a program of our own environment
            behind(_celery_command(pool, name=log.stem)),
            cwd=ROOT,
            env=_environment(plan),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        for log, file in zip(logs, files, strict=True)
    ]
    try:
        for log in logs:
            wait_for(log.stem, lambda log=log: _not_ready(log))  # type: ignore[misc]
        yield workers
    finally:
        _end(workers)
        for file in files:
            file.close()


def _celery_command(pool: Pool, *, name: str) -> Sequence[str]:
    return [
        str(BIN / "celery"),
        f"--app={CELERY}",
        "worker",
        f"--pool={pool.name}",
        f"--concurrency={pool.at_once}",
        f"--hostname={name}@bench",
        "--queues=polls,submits",  # in the order they are looked into
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--loglevel=warning",
    ]


def _not_ready(log: Path) -> str | None:
    said = log.read_text()
    return None if READY in said else said or "it says nothing"


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Told to, and then made to: what they still hold is of no use to anyone."""
    family = []
    for worker in workers:
        process = psutil.Process(worker.pid)
        family += [process, *process.children(recursive=True)]
        worker.terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for process in alive:
        process.kill()
    for worker in workers:
        worker.wait()


def _empty_broker(settings: Settings) -> None:
    with redis.Redis.from_url(settings.redis_dsn, db=REDIS_DATABASE) as connection:
        connection.flushdb()


def _empty_table(connection: Connection) -> None:
    connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.execute(text(MAKE_TABLE))
    connection.execute(text("TRUNCATE rival_results"))


def _count(connection: Connection) -> int:
    return int(connection.scalar(text("SELECT count(*) FROM rival_results")) or 0)


def _read_cpu(
    settings: Settings, workers: Sequence[subprocess.Popen[bytes]]
) -> Mapping[str, float]:
    return {
        **read_cpu(settings),
        "worker": sum(cpu_seconds_of_tree(worker.pid) for worker in workers),
    }


def _environment(plan: Plan) -> dict[str, str]:
    return {**os.environ, VARIABLE: plan.to_json()}
