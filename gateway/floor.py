"""The floor: what runs, what waits and why, read once a second for all who look at it.

While nobody looks, nothing is read.
"""

import asyncio
import datetime as dt
from typing import Any
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from gateway.alarms import Losses, find_alarms
from gateway.explain import explain
from gateway.facts import FactReader
from gateway.kept import Kept
from gateway.lane_facts import describe_lane
from gateway.maintenance_acts import describe_maintenance
from gateway.worker_facts import describe_workers
from models.budget import list_budgets, name_budgets
from models.delivery import count_given_up
from models.doubt import sum_doubts
from models.floor import count_all_in_flight, list_longest_waiting
from models.job_queries import JobFilter, list_jobs
from models.lane import LaneState, StageName, find_lanes, list_lane_states
from models.spend import SpendBy, sum_spend
from workers.maintenance import find_maintenance
from workers.runtime import Runtime

LANES_SECONDS = 0.9  # less than pages have between two looks, which are a second apart
WAITS_SECONDS = 2.0
MONEY_SECONDS = 10.0
LOST_HOURS = 24.0
WAITS_MOST = 8
BUDGETS_MOST = 6  # the fullest
OWNERS_MOST = 200  # of whom something is kept

log = structlog.get_logger()


class FloorReader:
    """Reads the floor, for operators and for keys that see their own alone."""

    def __init__(self, runtime: Runtime, facts: FactReader) -> None:
        self._runtime = runtime
        self._facts = facts
        self._busy = Kept(lambda: self._read_lanes(quiet=False), seconds=LANES_SECONDS)
        self._all = Kept(lambda: self._read_lanes(quiet=True), seconds=LANES_SECONDS)
        self._workers = Kept(self._read_workers, seconds=LANES_SECONDS)
        self._losses = Kept(self._read_losses, seconds=MONEY_SECONDS)
        self._waits: dict[UUID | None, Kept[list[dict[str, Any]]]] = {}
        self._money: dict[UUID | None, Kept[dict[str, Any]]] = {}

    async def read(self, *, owner: UUID | None, quiet: bool = False) -> dict[str, Any]:
        """As JSON.

        Args:
            owner: the key that asks, which is told no money and no jobs of others; None: an
                operator.
            quiet: with lanes in which nothing happens, too.
        """
        if len(self._money) > OWNERS_MOST:
            self._waits.clear()
            self._money.clear()
        waits = self._waits.setdefault(
            owner, Kept(lambda: self._read_waits(owner), seconds=WAITS_SECONDS)
        )
        money = self._money.setdefault(
            owner, Kept(lambda: self._read_money(owner), seconds=MONEY_SECONDS)
        )
        lanes, workers, facts, losses, waiting, spent = await asyncio.gather(
            (self._all if quiet else self._busy).get(),
            self._workers.get(),
            self._facts.read(),
            self._losses.get(),
            waits.get(),
            money.get(),
        )
        alarms = find_alarms(facts, losses, operates=owner is None)
        return {
            **lanes,
            "workers": workers,
            "alarms": [alarm.describe() for alarm in alarms],
            "waits": waiting,
            "money": spent,
            "emulated": self._runtime.settings.emulated,
        }

    async def _read_lanes(self, *, quiet: bool) -> dict[str, Any]:
        async with self._runtime.database.begin() as session:
            maintenance = await find_maintenance(session)
            in_flight = await count_all_in_flight(session)
            states = await list_lane_states(session, quiet=True)
        lanes = []
        for state in states:
            flying = in_flight.get(state.endpoint, 0) if state.stage is StageName.SUBMIT else 0
            if quiet or flying or _is_live(state):
                described = await describe_lane(self._runtime, state)
                lanes.append({**described, "in_flight": flying, **_say_until(state)})
        return {"lanes": lanes, "maintenance": describe_maintenance(maintenance)}

    async def _read_workers(self) -> list[dict[str, Any]] | None:
        try:
            return await describe_workers(self._runtime)
        except RedisError as error:
            log.warning("workers_not_read", error=repr(error))
            return None

    async def _read_losses(self) -> Losses:
        since = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
        async with self._runtime.database.begin() as session:
            doubts = await sum_doubts(session, since=since)
            given_up = await count_given_up(session, hours=LOST_HOURS)
        return Losses(doubts.twice_usd + doubts.unused_usd + doubts.certain_usd, given_up)

    async def _read_waits(self, owner: UUID | None) -> list[dict[str, Any]]:
        async with self._runtime.database.begin() as session:
            ids = await list_longest_waiting(session, owner=owner, limit=WAITS_MOST)
            jobs = await list_jobs(session, JobFilter(job_ids=ids), limit=None, brief=True)
            lanes = await find_lanes(session)
            budgets = await name_budgets(session, {job.held_by for job in jobs if job.held_by})
        return [
            {
                "job_id": str(job.id),
                "endpoint": job.endpoint,
                "created_at": job.created_at.isoformat(),
                "why": explain(job, lanes, budgets),
            }
            for job in reversed(jobs)
        ]

    async def _read_money(self, owner: UUID | None) -> dict[str, Any]:
        now = dt.datetime.now(dt.UTC)
        hour = now.replace(minute=0, second=0, microsecond=0)
        async with self._runtime.database.begin() as session:
            late = await sum_spend(
                session,
                SpendBy.ENDPOINT,
                since=now - dt.timedelta(hours=1),
                until=now,
                owner=owner,
            )
            present = await sum_spend(session, SpendBy.ENDPOINT, since=hour, until=now, owner=owner)
            budgets = await list_budgets(session, owner=owner)
        budgets = sorted(budgets, key=lambda one: one.left_usd / one.limit_usd)[:BUDGETS_MOST]
        return {
            "hour_usd": float(sum(one.usd for one in present)),
            "last_60_minutes_usd": float(sum(one.usd for one in late)),
            "may_be_billed_usd": float(sum(one.risk_usd for one in late)),
            "budgets": [
                {
                    "name": one.name,
                    "period": one.period,
                    "limit_usd": float(one.limit_usd),
                    "left_usd": float(one.left_usd),
                    "reached": one.capped,
                }
                for one in budgets
            ],
        }


def _is_live(lane: LaneState) -> bool:
    """Whether something waits in it, or holds it up."""
    return bool(lane.waiting or lane.paused or lane.closed_seconds or lane.closures)


def _say_until(lane: LaneState) -> dict[str, Any]:
    return {
        "closed_until": _moment(lane.closed_seconds),
        "paused_until": _moment(lane.paused_seconds),
    }


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).isoformat()
