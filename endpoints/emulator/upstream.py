"""The emulated upstream as a whole: what it serves, remembers, bills and sends."""

import asyncio
import dataclasses
from typing import Final

from aiohttp import web

from endpoints.catalogue import Endpoint, Operation, load_catalogue
from endpoints.emulator.bodies import RunBody
from endpoints.emulator.clock import Clock
from endpoints.emulator.config import EmulatorConfig
from endpoints.emulator.durations import Durations
from endpoints.emulator.faults import Fault, FaultKind, Faults
from endpoints.emulator.files import Shelf
from endpoints.emulator.jobs import (
    RUN_RETENTION_SECONDS,
    RUNSYNC_RETENTION_SECONDS,
    Fate,
    Job,
    State,
)
from endpoints.emulator.ledger import Entry, Ledger
from endpoints.emulator.limits import Gate
from endpoints.emulator.media import MediaSpec
from endpoints.emulator.outputs import produce, prompt_of
from endpoints.emulator.replies import job_reply, new_job_id
from endpoints.emulator.served import Served
from endpoints.emulator.stats import Stats
from endpoints.emulator.store import Store
from endpoints.emulator.webhooks import Webhooks

CUSTOM_EXECUTION_SECONDS: Final = 2.0
CUSTOM_DELAY_SECONDS: Final = 0.02
LEDGER_PROMPT_CHARACTERS: Final = 200
SHORTEST_TICK_SECONDS: Final = 0.005  # real; what is due in one tick is done together
LIMITED: Final = frozenset(str(operation) for operation in Operation)
ERROR_TEXTS: Final = (
    "generation failed: the worker ran out of memory",
    'request failed with 400, {"code": 400, "message": "the image could not be fetched"}',
    "content was flagged by the safety checker",
)
ODD_SHAPES: Final = ("result", "string", "list", "url")


class Upstream:
    """Everything behind the routes, driven by `tick`: from requests and from its own timer."""

    def __init__(self, config: EmulatorConfig, *, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or Clock(factor=config.clock_factor)
        self.catalogue = load_catalogue()
        self.faults = Faults(seed=config.seed)
        self.shelf = Shelf()
        self.webhooks = Webhooks(self.clock, on_plan=self._arm)
        self.stopping = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._clear()

    def _clear(self) -> None:
        self.ledger = Ledger()
        self.stats = Stats()
        self.gates: dict[tuple[str, str, str], Gate] = {}
        self.limits = dict(self.config.limits)
        self.store = Store(overrun_state=self.config.overrun_state, on_end=self._settle)
        self.served: dict[str, Served] = {}
        for endpoint in self.catalogue:
            self._serve(
                endpoint.id,
                endpoint,
                execution_seconds=self.config.execution_seconds or endpoint.typical_seconds,
                delay_seconds=endpoint.typical_delay_seconds,
                workers=self.config.workers,
            )
        for name in self.config.custom:
            self.add_custom(name)

    def reset(self) -> None:
        """Forget every job, file, bill, fault, webhook and figure; added endpoints stay."""
        custom = [served for served in self.served.values() if served.endpoint is None]
        self.faults.clear()
        self.shelf.clear()
        self.webhooks.clear()
        self._clear()
        for served in custom:
            pool = self.store.open_pool(served.name, workers=served.pool.workers)
            self.served[served.name] = dataclasses.replace(served, pool=pool)

    def add_custom(
        self,
        name: str,
        *,
        execution_seconds: float | None = None,
        delay_seconds: float = CUSTOM_DELAY_SECONDS,
        workers: int | None = None,
        spread: float | None = None,
    ) -> Served:
        """Serve an endpoint of somebody's own, which echoes its input and costs nothing."""
        usual = self.config.execution_seconds or CUSTOM_EXECUTION_SECONDS
        return self._serve(
            name,
            None,
            execution_seconds=usual if execution_seconds is None else execution_seconds,
            delay_seconds=delay_seconds,
            workers=self.config.workers if workers is None else workers,
            spread=spread,
        )

    def _serve(
        self,
        name: str,
        endpoint: Endpoint | None,
        *,
        execution_seconds: float,
        delay_seconds: float,
        workers: int | None,
        spread: float | None = None,
    ) -> Served:
        durations = Durations(
            name,
            seed=self.config.seed,
            execution_seconds=execution_seconds,
            delay_seconds=delay_seconds,
            spread=self.config.spread if spread is None else spread,
        )
        pool = self.store.open_pool(name, workers=workers)
        served = Served(name=name, endpoint=endpoint, durations=durations, pool=pool)
        self.served[name] = served
        return served

    def gate(self, key: str, served: Served, operation: str) -> Gate:
        """Return the gate that one key's requests for one operation go through."""
        found = self.gates.get((key, served.name, operation))
        if found is None:
            found = self.gates[key, served.name, operation] = Gate(*self._limit(served, operation))
        return found

    def set_limit(self, operation: str, per_window: int | None, concurrent: int | None) -> None:
        """Change the limit of an operation, of every endpoint and key; None: there is none."""
        self.limits[operation] = (per_window, concurrent)
        for (_, _, name), gate in self.gates.items():
            if name == operation:
                gate.per_window, gate.concurrent = per_window, concurrent

    def _limit(self, served: Served, operation: str) -> tuple[int | None, int | None]:
        if operation in self.limits:
            return self.limits[operation]
        if operation not in LIMITED:
            return None, None
        limit = self.catalogue.limit(served.name, Operation(operation))
        return (None, None) if limit is None else (limit.per_window, limit.concurrent)

    def accept(self, served: Served, body: RunBody, *, sync: bool, base_url: str) -> Job:
        """Put a checked request in the queue and return its job."""
        delay, execution = served.durations.draw()
        quirk = served.durations.quirk()
        operation = "runsync" if sync else "run"
        job = Job(
            id=new_job_id(quirk=quirk, sync=sync),
            endpoint=served.name,
            input=body.input,
            submitted_at=self.clock.now(),
            policy=body.policy,
            retention=self._draw_retention(served.name, operation),
            delay=delay,
            execution=execution,
            quirk=quirk,
            base_url=(self.config.public_url or base_url).rstrip("/"),
            webhook=body.webhook,
            fate=self._draw_fate(served.name, operation),
        )
        self.stats.accepted += 1
        self.store.accept(job)
        if self._strike(FaultKind.LOSE_JOB, served.name, operation):
            self.stats.lost += 1
            self.store.forget(job, job.submitted_at)
        elif job.webhook and job.fate.webhook_early:
            reply = job_reply(job, names_worker=served.names_worker)
            self.webhooks.send(job.webhook, reply, at=job.submitted_at)
        self._arm()
        return job

    def retry(self, served: Served, job: Job) -> None:
        """Queue a FAILED or TIMED_OUT job again."""
        delay, execution = served.durations.draw()
        job.fate = self._draw_fate(served.name, "retry")
        self.store.retry(job, self.clock.now(), delay=delay, execution=execution)
        self._arm()

    def tick(self) -> float:
        """Let everything happen that is due, and return the emulated second."""
        now = self.clock.now()
        self.store.advance(now)
        self.webhooks.dispatch(now)
        self._arm()
        return now

    async def close(self) -> None:
        """Stop the timer, the webhooks and the threads."""
        if self._timer is not None:
            self._timer.cancel()
        await self.webhooks.close()
        self.shelf.close()

    def _arm(self) -> None:
        """Set the timer to the next thing that is due, unless it goes off before that."""
        planned = [at for at in (self.store.next_at, self.webhooks.next_at) if at is not None]
        if not planned or not self.clock.factor:
            return
        loop = asyncio.get_running_loop()
        wait = max(self.clock.real_seconds(min(planned) - self.clock.now()), SHORTEST_TICK_SECONDS)
        if self._timer is not None and loop.time() < self._timer.when() <= loop.time() + wait:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(wait, self.tick)

    def _draw_fate(self, endpoint: str, operation: str) -> Fate:
        def strike(kind: FaultKind) -> Fault | None:
            return self._strike(kind, endpoint, operation)

        state, error, shape, copies = State.COMPLETED, None, None, 1
        if fault := strike(FaultKind.FAIL_JOB):
            state = State.FAILED
            error = fault.body or ERROR_TEXTS[fault.fired % len(ERROR_TEXTS)]
        elif strike(FaultKind.ODD_STATUS):
            state, error = State.ERROR, "the worker ended in a state that no list holds"
        if fault := strike(FaultKind.UNKNOWN_SHAPE):
            shape = ODD_SHAPES[(fault.fired - 1) % len(ODD_SHAPES)]
        storm = strike(FaultKind.WEBHOOK_STORM)
        if storm:
            copies = storm.times
        if strike(FaultKind.WEBHOOK_SILENT):
            storm, copies = None, 0
        return Fate(
            state=state,
            error=error,
            shape=shape,
            webhook_copies=copies,
            webhook_early=storm is not None,
        )

    def _draw_retention(self, endpoint: str, operation: str) -> float:
        if fault := self._strike(FaultKind.FORGET_EARLY, endpoint, operation):
            return fault.seconds
        return RUNSYNC_RETENTION_SECONDS if operation == "runsync" else RUN_RETENTION_SECONDS

    def _strike(self, kind: FaultKind, endpoint: str, operation: str) -> Fault | None:
        return self.faults.strike(kind, endpoint=endpoint, operation=operation)

    def _settle(self, job: Job) -> None:
        """Draw up the output and the bill of a job that has just ended, and plan its webhook."""
        ended_at = self.clock.now() if job.ended_at is None else job.ended_at
        served = self.served[job.endpoint]
        completed = job.state is State.COMPLETED
        cancelled_late = job.state is State.CANCELLED and job.started_at is not None
        if completed or (cancelled_late and self.config.bill_cancelled):

            def publish(spec: MediaSpec) -> str:
                if not completed:
                    return ""  # billed, but nobody will see it
                file = self.shelf.publish(spec, endpoint=job.endpoint, now=ended_at)
                return f"{job.base_url}/files/{file.name}"

            product = produce(job, served.endpoint, publish)
            job.output = product.output if completed else None
            if product.cost != 0:  # what has no price ran all the same
                prompt = prompt_of(job.input)[:LEDGER_PROMPT_CHARACTERS]
                entry = Entry(job.id, job.endpoint, product.cost, ended_at, prompt)
                self.ledger.bill(entry)
        if job.webhook and (completed or self.config.webhook_on_failure):
            reply = job_reply(job, names_worker=served.names_worker)
            self.webhooks.send(job.webhook, reply, at=ended_at, copies=job.fate.webhook_copies)


UPSTREAM: Final = web.AppKey("upstream", Upstream)
