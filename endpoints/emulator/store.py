"""Every job upstream, moved along by the clock: a discrete-event simulation.

What will happen to a job next stands in one heap. `advance` makes all of it happen that is due, in
order and each at its own time, so a job costs a few heap operations and nothing while it runs, and
a clock that jumps half an hour ahead finds the same world as one that ticked through it.
"""

import heapq
import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from endpoints.emulator.jobs import Job, State

Happening: TypeAlias = Callable[[Job, float], None]


@dataclass(slots=True)
class Pool:
    """The workers of one endpoint and the jobs before them; None workers is without limit."""

    workers: int | None = None
    running: int = 0
    retried: int = 0
    queued: dict[str, Job] = field(default_factory=dict)
    waiting: OrderedDict[str, Job] = field(default_factory=OrderedDict)  # ready, no worker free
    ended: Counter[State] = field(default_factory=Counter)

    @property
    def full(self) -> bool:
        """Whether no worker is free."""
        return self.workers is not None and self.running >= self.workers


class Store:
    """All jobs that are remembered, by id; `on_end` is called once for every end of a job."""

    def __init__(self, *, overrun_state: State, on_end: Callable[[Job], None]) -> None:
        self._overrun_state = overrun_state
        self._on_end = on_end
        self._jobs: dict[str, Job] = {}
        self._pools: dict[str, Pool] = {}
        self._events: list[tuple[float, int, int, Job, Happening]] = []
        self._sequence = itertools.count()

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def next_at(self) -> float | None:
        """When something happens next, on the emulated clock."""
        return self._events[0][0] if self._events else None

    def open_pool(self, endpoint: str, *, workers: int | None) -> Pool:
        """Return the endpoint's pool, which is made with `workers` if there is none yet."""
        return self._pools.setdefault(endpoint, Pool(workers))

    def advance(self, now: float) -> None:
        """Let everything happen that is due."""
        while self._events and self._events[0][0] <= now:
            at, _, step, job, happen = heapq.heappop(self._events)
            if job.step == step:
                happen(job, at)

    def accept(self, job: Job) -> None:
        """Put a new job in its endpoint's queue."""
        self._jobs[job.id] = job
        self._enqueue(job, job.submitted_at)

    def find_job(self, endpoint: str, job_id: str) -> Job | None:
        """Return the endpoint's job of that id, or None if there is none (any more)."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.endpoint == endpoint else None

    def cancel(self, job: Job, now: float) -> None:
        """Stop a job that has not ended; one that has stays as it is."""
        if not job.state.ended:
            self._end(job, State.CANCELLED, now)

    def retry(self, job: Job, now: float, *, delay: float, execution: float) -> None:
        """Queue a FAILED or TIMED_OUT job again, under its id, without its earlier result."""
        pool = self._pools[job.endpoint]
        pool.ended[job.state] -= 1
        pool.retried += 1
        job.step += 1
        job.state = State.IN_QUEUE
        job.started_at = job.ended_at = job.error = job.output = None
        job.delay, job.execution = delay, execution
        self._enqueue(job, now)

    def purge_queue(self, endpoint: str, now: float) -> int:
        """Cancel every queued job of the endpoint and return how many there were."""
        queued = list(self._pools[endpoint].queued.values())
        for job in queued:
            self._end(job, State.CANCELLED, now)
        return len(queued)

    def forget(self, job: Job, now: float) -> None:
        """Drop a job, whatever it is doing: from now on nobody here knows it."""
        self._leave_pool(job)
        job.step += 1
        del self._jobs[job.id]
        job.wake_waiters()
        self._begin_waiting(job.endpoint, now)

    def _enqueue(self, job: Job, now: float) -> None:
        self._pools[job.endpoint].queued[job.id] = job
        self._plan(min(now + job.delay, job.ttl_at), job, self._become_ready)

    def _become_ready(self, job: Job, now: float) -> None:
        pool = self._pools[job.endpoint]
        if now >= job.ttl_at:
            self.forget(job, now)
        elif pool.full:
            pool.waiting[job.id] = job
            self._plan(job.ttl_at, job, self.forget)
        else:
            self._begin(job, now)

    def _begin(self, job: Job, now: float) -> None:
        pool = self._pools[job.endpoint]
        del pool.queued[job.id]
        pool.running += 1
        job.step += 1
        job.state = State.IN_PROGRESS
        job.started_at = now
        ends_at = now + min(job.execution, job.policy.time_limit)
        if ends_at < job.ttl_at:
            self._plan(ends_at, job, self._finish)
        else:
            self._plan(job.ttl_at, job, self.forget)

    def _finish(self, job: Job, now: float) -> None:
        if job.execution > job.policy.time_limit:
            job.error = f"job exceeded its execution timeout of {job.policy.time_limit:g} s"
            self._end(job, self._overrun_state, now)
        else:
            job.error = job.fate.error
            self._end(job, job.fate.state, now)

    def _end(self, job: Job, state: State, now: float) -> None:
        self._leave_pool(job)
        job.step += 1
        job.state = state
        job.ended_at = now
        self._pools[job.endpoint].ended[state] += 1
        self._plan(min(now + job.retention, job.ttl_at), job, self.forget)
        self._on_end(job)
        job.wake_waiters()
        self._begin_waiting(job.endpoint, now)

    def _leave_pool(self, job: Job) -> None:
        pool = self._pools[job.endpoint]
        if job.state is State.IN_PROGRESS:
            pool.running -= 1
        elif job.state is State.IN_QUEUE:
            pool.queued.pop(job.id, None)
            pool.waiting.pop(job.id, None)

    def _begin_waiting(self, endpoint: str, now: float) -> None:
        pool = self._pools[endpoint]
        while pool.waiting and not pool.full:
            _, job = pool.waiting.popitem(last=False)
            self._begin(job, now)

    def _plan(self, at: float, job: Job, happen: Happening) -> None:
        heapq.heappush(self._events, (at, next(self._sequence), job.step, job, happen))
