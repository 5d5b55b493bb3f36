"""Facts of the whole system for Prometheus, as Postgres and Redis tell them when they are asked.

They are the same whichever process tells them, and whichever has died; of several gateways that
tell them, `max` is the one figure. What a process counts for itself is in `workers/metrics.py`.

Jobs that end are counted from the events that triggers write, so none is missed, whoever ended it;
each gateway counts from its first reading on.
"""

import asyncio
import math
import shutil
import time
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from decimal import Decimal
from typing import Any

import structlog
from redis.exceptions import RedisError

from endpoints.catalogue import Operation
from gateway.fact_families import Facts, Family, make_families
from models.custody import Custody, measure_custody
from models.doubt import Doubts, sum_doubts
from models.endpoint_stats import list_endpoints
from models.errors import DatabaseUnavailable
from models.event import find_place
from models.figures import (
    LaneFigures,
    Moved,
    count_moves,
    count_open_jobs,
    find_last_sent,
    measure_budgets,
    measure_lanes,
)
from models.job import TERMINAL, JobState
from models.lane import StageName
from tasks.custody import clock_of
from workers.app import QUEUES
from workers.metrics import name_endpoint
from workers.operator_settings import OperatorSettings
from workers.runtime import Runtime
from workers.sign import read_signs
from workers.sweep_watch import is_overdue

KEPT_SECONDS = 5.0  # what was read is told again for so long, however many ask
READ_SECONDS = 6.0  # Prometheus gives up after ten
FORGET_SECONDS = 600.0  # if nobody asks for so long, ends are counted from then on again
BUDGETS_MOST = 100
WORKING_MOST = 100  # endpoints of whose bells and quotas Redis is asked
OPERATIONS = (Operation.RUN, Operation.STATUS, Operation.CANCEL)
COUNTED = (JobState.QUEUED, *TERMINAL)

log = structlog.get_logger()

Families = dict[str, Family]


class FactReader:
    """Reads, and keeps for a few seconds what it read."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._reading = asyncio.Lock()
        self._kept = Facts({})
        self._read_at = -math.inf
        self._working: Sequence[str] = ()  # endpoints with jobs that have not ended
        self._operator = OperatorSettings()
        self._place: int | None = None  # moves of transactions before it are counted
        self._counted_at = -math.inf
        self._moved: dict[tuple[str, JobState], int] = defaultdict(int)
        self._usd: dict[str, Decimal] = defaultdict(Decimal)

    async def read(self) -> Facts:
        """As they are, or were some seconds ago; what a server does not tell is left out."""
        async with self._reading:
            if time.monotonic() - self._read_at >= KEPT_SECONDS:
                self._kept = Facts(await self._read())
                self._read_at = time.monotonic()
            return self._kept

    async def _read(self) -> Families:
        began = time.monotonic()
        families = make_families()
        postgres, redis = await asyncio.gather(
            _bounded(self._read_postgres()), _bounded(self._read_redis())
        )
        for server, read in (("postgres", postgres), ("redis", redis)):
            families["pressroom_up"].add(read is not None, server)
            families |= read or {}
        self._tell_moves(families)
        free = shutil.disk_usage(self._runtime.settings.data_dir).free
        families["pressroom_disk_free_bytes"].add(free)
        families["pressroom_facts_seconds"].add(time.monotonic() - began)
        return families

    def _tell_moves(self, families: Families) -> None:
        """What was counted stays counted while Postgres is away."""
        for (endpoint, state), jobs in self._moved.items():
            if state is JobState.QUEUED:
                families["pressroom_jobs_queued"].add(jobs, endpoint)
            else:
                families["pressroom_jobs_ended"].add(jobs, endpoint, state)
        for endpoint, usd in self._usd.items():
            families["pressroom_spend_usd"].add(float(usd), endpoint)

    async def _read_postgres(self) -> Families:
        families = make_families()
        self._operator = await self._runtime.operator_settings()
        async with self._runtime.database.begin() as session:
            until = (await find_place(session)).transaction
            endpoints = await list_endpoints(session)
            moves = await count_moves(session, since=self._since(until), until=until)
            open_jobs = await count_open_jobs(session)
            lanes = await measure_lanes(session)
            sent = await find_last_sent(session, [lane.endpoint for lane in lanes])
            custody = await measure_custody(session)
            doubts = await sum_doubts(session)
            budgets = await measure_budgets(session, limit=BUDGETS_MOST)
        self._place, self._counted_at = until, time.monotonic()
        self._count(moves, endpoints)
        for each in open_jobs:
            families["pressroom_jobs"].add(each.jobs, name_endpoint(each.endpoint), each.state)
        working = [*(each.endpoint for each in open_jobs), *(lane.endpoint for lane in lanes)]
        self._working = list(dict.fromkeys(working))[:WORKING_MOST]
        resting = self._operator.maintenance is not None
        for lane in lanes:
            _tell_lane(families, lane, sent.get(lane.endpoint, math.inf), resting=resting)
        _tell_custody(families, custody, clock=clock_of(self._runtime.settings))
        _tell_doubts(families, doubts)
        for budget in budgets:
            families["pressroom_budget_limit_usd"].add(float(budget.limit_usd), budget.name)
            families["pressroom_budget_left_usd"].add(float(budget.left_usd), budget.name)
            families["pressroom_budget_reached"].add(budget.reached, budget.name)
        return families

    def _since(self, until: int) -> int:
        if self._place is None or time.monotonic() - self._counted_at > FORGET_SECONDS:
            return until
        return self._place

    def _count(self, moves: Sequence[Moved], endpoints: Sequence[str]) -> None:
        for name in map(name_endpoint, endpoints):
            self._usd[name] += 0
            for state in COUNTED:  # those that are none yet, too: `rate` misses a first one
                self._moved[name, state] += 0
        for moved in moves:
            name = name_endpoint(moved.endpoint)
            self._moved[name, moved.state] += moved.jobs
            self._usd[name] += moved.usd

    async def _read_redis(self) -> Families:
        families = make_families()
        runtime, working = self._runtime, self._working
        now, signs = await read_signs(runtime.settings, runtime.redis)
        for state in ("well", "silent", "troubled"):
            families["pressroom_workers"].add(0, state)
        for sign in signs.values():
            state = "silent" if sign.is_silent(now) else "troubled" if sign.said else "well"
            families["pressroom_workers"].add(1, state)
        families["pressroom_sweep_missing"].add(await is_overdue(runtime))
        for stage, pending in (await runtime.bells.count_pending(working)).items():
            families["pressroom_bells_pending"].add(pending.bells, stage)
            families["pressroom_bells_overdue"].add(pending.overdue, stage)
        async with runtime.redis.pipeline(transaction=False) as pipe:
            for queue in QUEUES:
                pipe.llen(f"{runtime.settings.redis_prefix}{queue}")
            for queue, messages in zip(QUEUES, await pipe.execute(), strict=True):
                families["pressroom_queue_messages"].add(messages, queue)
        for endpoint in working:
            name = name_endpoint(endpoint)
            for operation in OPERATIONS:
                usage = await runtime.quota.usage(operation, endpoint)
                limit = usage.learned or self._operator.limit(endpoint, operation).per_window
                families["pressroom_quota_used"].add(usage.in_window, operation, name)
                families["pressroom_quota_limit"].add(limit, operation, name)
        return families


async def _bounded(reading: Coroutine[Any, Any, Families]) -> Families | None:
    """What was read; None if the server did not answer in time."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            read = await reading
    except (DatabaseUnavailable, RedisError, TimeoutError) as error:
        log.warning("facts_not_read", error=repr(error))
        return None
    return {name: family for name, family in read.items() if family.values}


def _tell_lane(
    families: Families, lane: LaneFigures, sent_seconds: float, *, resting: bool
) -> None:
    """
    Args:
        resting: nothing is submitted, for maintenance.
    """
    name = name_endpoint(lane.endpoint)
    if lane.closed_seconds:
        families["pressroom_lane_cooldown_seconds"].at_least(lane.closed_seconds, lane.stage, name)
    if lane.due_seconds is None:
        return
    families["pressroom_oldest_due_seconds"].at_least(lane.due_seconds, lane.stage, name)
    blocked = families["pressroom_lane_blocked"]
    blocked.at_least(float(lane.paused), lane.stage, name, "paused")
    blocked.at_least(float(lane.closed), lane.stage, name, "closed")
    if lane.stage is StageName.SUBMIT and not lane.paused and not resting:
        unsent = min(lane.due_seconds, sent_seconds)
        families["pressroom_unsent_seconds"].at_least(unsent, name)


def _tell_custody(families: Families, custody: Custody, *, clock: float) -> None:
    families["pressroom_oldest_unread_seconds"].add((custody.unread_seconds or 0.0) * clock)
    families["pressroom_oldest_uncopied_seconds"].add((custody.uncopied_seconds or 0.0) * clock)
    families["pressroom_files_to_copy"].add(custody.to_copy)
    for what in ("lost", "given_up", "set_aside"):
        families["pressroom_files_amiss"].add(getattr(custody, what), what)


def _tell_doubts(families: Families, doubts: Doubts) -> None:
    for kind in ("twice", "unused", "certain", "denied"):
        families["pressroom_doubts"].add(getattr(doubts, kind), kind)
        families["pressroom_doubts_usd"].add(float(getattr(doubts, f"{kind}_usd")), kind)
