"""A single job on an idle system: what time do we add?

    to send    from a client's request at the gateway to the `/run` that the upstream sees
    to read    from the upstream's end of the job to the answer that its client waits for, with
               webhooks from the upstream and without

Beside it stands the floor: the same client and the same upstream, with nothing between them. The
upstream is a server of this process, so that its moments and the client's are of one clock.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp
from aiohttp import web

from gateway.cli.console import open_cli_runtime
from gateway.cli.demo import free_ports
from models.key import Scope, issue_key
from scripts.benches.own_stack import run_own_stack, say
from scripts.benches.report import Chart, Report, find_percentile
from workers.settings import EMULATOR_KEY, Settings

ENDPOINT = "bench"
JOB_SECONDS = 1.0
WARM = 5  # jobs that do not count: connections are made, and code is loaded
SEND_P95_MS = 50
WAIT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Times:
    """In seconds, of one job each."""

    to_send: list[float] = field(default_factory=list)
    to_read: list[float] = field(default_factory=list)


@dataclass
class Upstream:
    """Takes jobs, ends each after `JOB_SECONDS`, and notes when."""

    hints: bool
    arrived: dict[str, float] = field(default_factory=dict)  # by the prompt
    ended: dict[str, float] = field(default_factory=dict)  # by its own id
    _has_ended: defaultdict[str, asyncio.Event] = field(
        default_factory=lambda: defaultdict(asyncio.Event)
    )

    def make_app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v2/{endpoint}/run", self.run)
        app.router.add_get("/v2/{endpoint}/status/{id}", self.status)
        return app

    async def run(self, request: web.Request) -> web.Response:
        now = time.monotonic()
        body = await request.json()
        self.arrived[body["input"]["prompt"]] = now
        job_id = str(uuid4())
        request.app.loop.call_later(JOB_SECONDS, self._end, job_id, body.get("webhook"))
        return web.json_response({"id": job_id, "status": "IN_QUEUE"})

    async def status(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        if job_id not in self.ended:
            return web.json_response({"id": job_id, "status": "IN_PROGRESS"})
        return web.json_response(self._describe(job_id))

    async def wait_for_end(self, job_id: str) -> None:
        await self._has_ended[job_id].wait()

    def _describe(self, job_id: str) -> dict[str, object]:
        times = {"delayTime": 0, "executionTime": round(JOB_SECONDS * 1000)}
        return {"id": job_id, "status": "COMPLETED", "output": {"text": "done"}, **times}

    def _end(self, job_id: str, webhook: str | None) -> None:
        self.ended[job_id] = time.monotonic()
        self._has_ended[job_id].set()
        if self.hints and webhook:
            self._telling = asyncio.create_task(self._tell(job_id, webhook))

    async def _tell(self, job_id: str, webhook: str) -> None:
        async with (
            aiohttp.ClientSession() as client,
            client.post(webhook, json=self._describe(job_id)),
        ):
            pass


def measure(quick: bool) -> Report:  # noqa: FBT001 -- one shape for every benchmark
    """The time that we add to a single job on an idle system.

    Raises:
        StackError: the stack, or a part of it, did not come up.
    """
    report = Report("latency", beside="nothing between")
    jobs = 3 if quick else 60
    floor = asyncio.run(_measure_floor(jobs))
    seen: dict[str, list[float]] = {}
    for hints in (True, False):
        word = "webhooks" if hints else "no webhooks"
        say(f"{jobs} jobs, one at a time, {word}")
        gateway_port, port = free_ports(2)
        variables = {
            "PRESSROOM_UPSTREAM_URL": f"http://127.0.0.1:{port}/v2",
            "PRESSROOM_UPSTREAM_KEY": EMULATOR_KEY,
            "PRESSROOM_GATEWAY_PORT": str(gateway_port),
        }
        if hints:
            variables["PRESSROOM_PUBLIC_URL"] = f"http://127.0.0.1:{gateway_port}"
        with run_own_stack(variables) as settings:
            times = asyncio.run(_measure(settings, port, jobs, hints=hints))
        for part, figures, beside in (
            ("to send", times.to_send, floor.to_send),
            ("to read", times.to_read, floor.to_read),
        ):
            for what, share in (("p50", 0.5), ("p95", 0.95)):
                value, least = find_percentile(figures, share), find_percentile(beside, share)
                report.add(f"{part}, {word}", what, 1000 * value, "ms", 1000 * least)
            seen[f"{part}, {word}"] = sorted(figures)
        p95 = 1000 * find_percentile(times.to_send, 0.95)
        report.hold(f"from request to /run, {word}: p95 ms", p95, at_most=SEND_P95_MS)
    report.charts.append(
        Chart(
            title="One job at a time",
            x="jobs, from the quickest to the slowest",
            y="ms that we add",
            lines={
                name: [(place, 1000 * one) for place, one in enumerate(figures, 1)]
                for name, figures in seen.items()
            },
            marks={"bar, to send": SEND_P95_MS},
            logarithmic="y",
        )
    )
    return report


async def _measure_floor(jobs: int) -> Times:
    """The client asks the upstream itself: `/run`, and `/status` at the moment of the end."""
    [port] = free_ports(1)
    times = Times()
    async with listen(Upstream(hints=False), port) as upstream, aiohttp.ClientSession() as client:
        base = f"http://127.0.0.1:{port}/v2/{ENDPOINT}"
        for number in range(-WARM, jobs):
            prompt = f"floor {number}"
            began = time.monotonic()
            async with client.post(f"{base}/run", json={"input": {"prompt": prompt}}) as reply:
                job_id = (await reply.json())["id"]
            await upstream.wait_for_end(job_id)
            async with client.get(f"{base}/status/{job_id}") as reply:
                await reply.read()
            if number >= 0:
                times.to_send.append(upstream.arrived[prompt] - began)
                times.to_read.append(time.monotonic() - upstream.ended[job_id])
    return times


async def _measure(settings: Settings, port: int, jobs: int, *, hints: bool) -> Times:
    times = Times()
    async with open_cli_runtime(settings) as runtime, runtime.database.begin() as session:
        issued = await issue_key(session, name="bench", scopes=[Scope.RUN])
    headers = {"Authorization": f"Bearer {issued.secret}"}
    async with (
        listen(Upstream(hints), port) as upstream,
        aiohttp.ClientSession(settings.link_base, headers=headers) as client,
    ):
        for number in range(-WARM, jobs):
            prompt = f"job {number}"
            began = time.monotonic()
            body = {"input": {"prompt": prompt}}
            async with client.post(f"/v2/{ENDPOINT}/run", json=body) as reply:
                job_id = (await reply.json())["id"]
            status = "IN_QUEUE"
            while status != "COMPLETED":
                path = f"/api/v1/jobs/{job_id}?wait={WAIT_SECONDS}"
                async with client.get(path) as reply:
                    job = await reply.json()
                status = job["status"]
            if number >= 0:
                times.to_send.append(upstream.arrived[prompt] - began)
                times.to_read.append(time.monotonic() - upstream.ended[job["upstream_id"]])
    return times


@asynccontextmanager
async def listen(upstream: Upstream, port: int) -> AsyncIterator[Upstream]:
    runner = web.AppRunner(upstream.make_app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield upstream
    finally:
        await runner.cleanup()
