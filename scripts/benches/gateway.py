"""The gateway: how fast it accepts, what those who wait cost, and what a killed one loses.

    waiting   clients that wait on /runsync for jobs whose lanes are paused; then these are resumed
    load      /run at a fixed rate: to the bare app; to the gateway while lanes are paused, which is
              nearly its own cost alone; and while workers and upstream share its cores
    restart   the same load by clients that send again under their Idempotency-Key, while the
              gateway is killed once and told to stop once

Beside each stands the same of a bare app on the same server, which records nothing: the floor.
"""

import asyncio
import dataclasses
import itertools
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus

import psutil
from sqlalchemy import text

from gateway.cli.demo import free_ports
from models.database import Database
from models.key import Scope, issue_key
from models.lane import StageName, set_paused
from scripts.benches.bare import run_bare_app
from scripts.benches.load import REQUESTS, Answer, Plan, run_load, send_load
from scripts.benches.own_stack import (
    cpu_seconds,
    find_process,
    is_running,
    read_cpu,
    run_own_stack,
    say,
)
from scripts.benches.report import Report, find_percentile
from scripts.benches.waiting import END_SECONDS, Held, Target, ask, hold
from workers.health import check_http
from workers.settings import Settings
from workers.stack.lifecycle import gateway_health, wait_for
from workers.stack.supervisor import StackError

P95_MS = 25
WAITING_MB = 100
THREADS_MORE = 2  # that ring and look up names, however many wait
CONNECTIONS_MORE = 8  # that the pool keeps, however many wait
WITHOUT_LIMIT = 1_000_000  # requests a second of the key: it is the gateway that is measured
ERRORS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of each."""

    waiting: int
    rate: int
    connections: int
    load_seconds: float
    steady_seconds: float  # of load before and after each restart


WHOLE = Size(waiting=500, rate=300, connections=50, load_seconds=20, steady_seconds=5)
QUICK = Size(waiting=20, rate=40, connections=10, load_seconds=1, steady_seconds=0.5)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load came to."""

    answers: Sequence[Answer]
    cpu_seconds: float  # of the process that answered
    cores: Mapping[str, float]  # that each kind of process of the stack kept busy

    def percentile_ms(self, share: float) -> float:
        return 1000 * find_percentile([answer.seconds for answer in self.answers], share)

    @property
    def cpu_ms_each(self) -> float:
        return 1000 * self.cpu_seconds / len(self.answers)


def measure(quick: bool) -> Report:  # noqa: FBT001 -- one shape for every benchmark
    """The gateway under load, with clients that wait, and killed.

    Raises:
        StackError: the stack, or a part of it, did not come up.
    """
    report = Report("gateway", beside="bare app")
    [port] = free_ports(1)
    with (
        run_own_stack() as settings,
        run_bare_app(port) as bare_pid,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as loader,
    ):
        bench = Bench(settings, QUICK if quick else WHOLE, loader)
        asyncio.run(bench.run(report, bare_port=port, bare_pid=bare_pid))
    return report


class Bench:
    """One stack, measured in one size."""

    def __init__(self, settings: Settings, size: Size, loader: ProcessPoolExecutor) -> None:
        self._settings = settings
        self._size = size
        self._loader = loader
        self._database = Database(settings.database_dsn, name="bench")
        self._key = ""

    async def run(self, report: Report, *, bare_port: int, bare_pid: int) -> None:
        try:
            async with self._database.begin() as session:
                issued = await issue_key(
                    session, name="bench", scopes=[Scope.RUN], requests_per_second=WITHOUT_LIMIT
                )
            self._key = issued.secret
            bare = self.make_bare_target(bare_port, psutil.Process(bare_pid))
            await self.measure_waiting(report, bare)
            await self.measure_load(report, bare)
            await self.measure_restart(report)
        finally:
            await self._database.close()

    def make_bare_target(self, port: int, process: psutil.Process) -> Target:
        async def count_arrived() -> int:
            async with target.open_client() as client, client.get("/waiting") as response:
                return int(await response.text())

        async def count_connections() -> int:
            return 0

        async def release() -> None:
            async with target.open_client() as client, client.post("/release"):
                pass

        url = f"http://127.0.0.1:{port}"
        target = Target(url, self._key, process, count_arrived, count_connections, release)
        return target

    def make_target(self) -> Target:
        return Target(
            self._settings.link_base,
            self._key,
            find_process(self._settings, "gateway"),
            count_arrived=lambda: self._count(
                "SELECT count(*) FROM jobs WHERE starts_with(input->>'prompt', 'waiting ')"
            ),
            count_connections=lambda: self._count(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pressroom gateway'"
            ),
            release=lambda: self._pause(paused=False),
        )

    async def measure_waiting(self, report: Report, bare_target: Target) -> None:
        count = self._size.waiting
        say(f"{count} clients wait")
        bare = await hold(bare_target, count)
        target = self.make_target()
        async with target.open_client() as client:
            # What is loaded at the first jobs is no cost of those who wait.
            asked = (ask(client, "warm", one, seconds=END_SECONDS) for one in range(len(REQUESTS)))
            await asyncio.gather(*asked)
        await self._pause(paused=True)
        held = await hold(target, count)
        part = f"{count} waiting"
        figures: Sequence[tuple[str, str, Callable[[Held], float]]] = (
            ("memory over idle", "MB", lambda one: one.mb_more),
            ("threads over idle", "", lambda one: one.threads_more),
            ("Postgres connections over idle", "", lambda one: one.connections_more),
            ("busy while they wait", "cores", lambda one: one.cores),
            ("last answer after the release", "s", lambda one: one.answered_seconds),
            ("unanswered", "", lambda one: one.unanswered),
        )
        for what, unit, figure in figures:
            report.add(part, what, figure(held), unit, figure(bare))
        report.hold(f"{part}, MB over idle", held.mb_more, at_most=WAITING_MB)
        report.hold(f"{part}, threads over idle", held.threads_more, at_most=THREADS_MORE)
        report.hold(
            f"{part}, Postgres connections over idle",
            held.connections_more,
            at_most=CONNECTIONS_MORE,
        )
        report.hold(f"{part}, unanswered at the end", held.unanswered, at_most=0)

    async def measure_load(self, report: Report, bare_target: Target) -> None:
        size = self._size
        say(f"{size.rate} /run a second for {size.load_seconds:g} s, three times")
        bare = await self._load(bare_target, "bare")
        target = self.make_target()
        await self._pause(paused=True)
        paused = await self._load(target, "paused")
        await self._purge(target)
        await self._pause(paused=False)
        working = await self._load(target, "working")
        for part, one in (("load, lanes paused", paused), ("load", working)):
            for what, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
                report.add(part, what, one.percentile_ms(share), "ms", bare.percentile_ms(share))
            report.add(part, "CPU a request", one.cpu_ms_each, "ms", bare.cpu_ms_each)
            report.add(part, "errors", _count_errors(one.answers), "", _count_errors(bare.answers))
            for kind, cores in one.cores.items():
                report.add(part, f"{kind} busy", cores, "cores")
        what = f"{size.rate} /run a second from {size.connections} connections"
        report.hold(f"{what}, p95 ms", working.percentile_ms(0.95), at_most=P95_MS)
        report.hold(f"{what}, errors", _count_errors(working.answers), at_most=0)

    async def measure_restart(self, report: Report) -> None:
        size = self._size
        say(f"{size.rate} /run a second, and two restarts")
        plan = dataclasses.replace(self._plan(self.make_target(), "restart"), retries=True)
        ending = asyncio.Event()
        numbers = itertools.takewhile(lambda _: not ending.is_set(), itertools.count())
        sending = asyncio.create_task(send_load(plan, numbers))
        moments = []
        for end in (psutil.Process.kill, psutil.Process.terminate):
            await asyncio.sleep(size.steady_seconds)
            moments.append(time.monotonic())
            await asyncio.to_thread(self._restart, end)
        await asyncio.sleep(size.steady_seconds)
        ending.set()
        answers = await sending
        unaccepted = _count_errors(answers)
        lost, doubled = await self._compare(answers)
        report.add("restart", "accepted", len(answers) - unaccepted)
        report.add("restart", "never accepted", unaccepted)
        report.add("restart", "lost", lost)
        report.add("restart", "doubled", doubled)
        killed_at, stopped_at = moments
        without = find_gap(answers, killed_at, stopped_at)
        report.add("restart", "without service when killed", without, "s")
        without = find_gap(answers, stopped_at, time.monotonic())
        report.add("restart", "without service when told to stop", without, "s")
        report.hold("requests never accepted over two restarts", unaccepted, at_most=0)
        report.hold("accepted jobs lost", lost, at_most=0)
        report.hold("requests that became two jobs", doubled, at_most=0)

    async def _load(self, target: Target, name: str) -> Loaded:
        loop = asyncio.get_running_loop()
        # Connections and code are warm before it counts.
        warm, plan = self._plan(target, f"{name}-warm"), self._plan(target, name)
        await loop.run_in_executor(self._loader, run_load, warm, 1)
        before, used = read_cpu(self._settings), cpu_seconds(target.process)
        began = time.monotonic()
        answers = await loop.run_in_executor(self._loader, run_load, plan, self._size.load_seconds)
        seconds, used = time.monotonic() - began, cpu_seconds(target.process) - used
        after = read_cpu(self._settings)
        _say_errors(answers)
        cores = {kind: (after[kind] - before.get(kind, 0.0)) / seconds for kind in after}
        return Loaded(answers, used, cores)

    def _plan(self, target: Target, name: str) -> Plan:
        return Plan(
            base_url=target.url,
            key=self._key,
            name=name,
            rate=self._size.rate,
            connections=self._size.connections,
        )

    async def _pause(self, *, paused: bool) -> None:
        """Or resume: a sweep starts what is resumed."""
        async with self._database.begin() as session:
            for endpoint, _ in REQUESTS:
                await set_paused(session, StageName.SUBMIT, endpoint, paused=paused)

    async def _purge(self, target: Target) -> None:
        async with target.open_client() as client:
            for endpoint, _ in REQUESTS:
                async with client.post(f"/v2/{endpoint}/purge-queue") as response:
                    if response.status != HTTPStatus.OK:
                        raise StackError(f"the queue was not purged: {await response.text()}")

    def _restart(self, end: Callable[[psutil.Process], None]) -> None:
        """End the gateway, and wait until its supervisor has brought it back."""
        process = find_process(self._settings, "gateway")
        end(process)
        process.wait()
        wait_for("the gateway", lambda: check_http(gateway_health(self._settings)))
        # supervisord says so of what has been up for a second.
        wait_for(
            "the gateway",
            lambda: None if is_running(self._settings, "gateway") else "it does not run",
        )

    async def _compare(self, answers: Sequence[Answer]) -> tuple[int, int]:
        """How many jobs that clients were told of are not there, and how many there are twice."""
        async with self._database.begin() as session:
            rows = await session.execute(
                text("""
                    SELECT id, split_part(input->>'prompt', ':', 1) AS request FROM jobs
                    WHERE starts_with(input->>'prompt', 'restart ')
                """)
            )
            found = {str(row.id): str(row.request) for row in rows}
        _say_errors(answers)
        accepted = [answer for answer in answers if answer.job_id is not None]
        lost = sum(found.get(str(one.job_id)) != f"restart {one.number}" for one in accepted)
        return lost, len(found) - len(set(found.values()))

    async def _count(self, statement: str) -> int:
        async with self._database.begin() as session:
            return int(await session.scalar(text(statement)) or 0)


def find_gap(answers: Sequence[Answer], since: float, until: float) -> float:
    """The longest time without an answer between two moments."""
    times = sorted(answer.answered_at for answer in answers if answer.error is None)
    return max(
        later - earlier
        for earlier, later in itertools.pairwise(times)
        if since <= later and earlier <= until
    )


def _count_errors(answers: Sequence[Answer]) -> int:
    return sum(answer.error is not None for answer in answers)


def _say_errors(answers: Sequence[Answer]) -> None:
    for error in sorted({answer.error for answer in answers if answer.error})[:ERRORS_SHOWN]:
        say(f"error: {error}")
