"""Rows: what claims, sweeps, lists and counts take as ended jobs pile up beside the live ones.

Each size is filled by itself, with the same live jobs. Claims are committed, and handed back, so
that each takes other rows than the one before; all else is rolled back, and finds what was there.
The first claims read from the disk what no later one needs to, as after a restart of the server:
they are shown by themselves. At last, claims are made again while jobs are put on the shelf ten
times as fast as sweeps do.

Beside the claims stands what people usually build: one table with an index on its state, from which
workers take the oldest `FOR UPDATE SKIP LOCKED`.
"""

import asyncio
import functools
import itertools
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import new_id
from models.campaign_figures import count_jobs
from models.claims import claim_polls, hand_back
from models.custody import measure_custody
from models.database import Database
from models.doubt import sum_doubts
from models.event import forget_events
from models.handle import forget_handles
from models.interventions import expire_jobs
from models.job import JobState
from models.job_queries import JobFilter, count_jobs_of, get_job, list_jobs
from models.lane import StageName, find_lanes, list_lane_states, seconds_until_due, try_sweep_lock
from models.poison import set_aside_rows
from models.shelf import SHELVE_AT_ONCE, shelve_jobs
from models.transitions import (
    claim_submissions,
    find_orphaned_endpoints,
    find_unresolved_endpoints,
    give_up_orphans,
    resolve_unknown,
    set_aside_jobs,
)
from scripts.benches.own_postgres import Loader, run_own_postgres
from scripts.benches.own_stack import say
from scripts.benches.report import Chart, Report, find_percentile
from scripts.benches.row_fill import MAKE_RIVAL, RARE_ENDPOINT, RARE_STATE, RIVAL, Filled, fill

CLAIM_ROWS = 100
PAGE_ROWS = 100
P95_MS = 20.0
HELD_AT = 1_000_000  # rows at which a claim is held to it
GROWTH = 1.5  # of a claim, from there to ten times as many rows
STAGES = (StageName.SUBMIT, StageName.POLL)
LEASE_SECONDS = 60.0
SHELVED_SECONDS = 86_400.0  # after its end
SHELVE_SECONDS = 0.2  # between one transaction of it and the next
RUN_SECONDS = 10.0  # of one figure: what is slow is not done as often

# Of the sweeps, lists and counts; a line for each would hide them all.
DRAWN = (
    "sweep: all of it",
    "read: one job",
    "read: page",
    "read: page of an endpoint that is rare",
    "read: page of a campaign",
    "read: counts of an endpoint",
    "read: states of the lanes",
)

Work = Callable[[AsyncSession], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many rows there are, and how often each is done."""

    ended: Sequence[int]
    live: int
    claims: int
    first_claims: int  # before those
    reads: int


WHOLE = Size(
    ended=(10_000, 100_000, 1_000_000, 10_000_000),
    live=100_000,
    claims=300,
    first_claims=40,
    reads=30,
)
QUICK = Size(ended=(1_000, 10_000), live=5_000, claims=10, first_claims=2, reads=3)

CLAIM_RIVAL = text(f"""
    UPDATE {RIVAL} SET state = 'running', started_at = now() WHERE id IN (
        SELECT id FROM {RIVAL} WHERE state = 'queued'
        ORDER BY created_at FOR UPDATE SKIP LOCKED LIMIT :limit)
    RETURNING id, input
""")  # noqa: S608 -- a constant
READ_LIVE = "SELECT sum(length(CAST(jobs.* AS text))) FROM jobs WHERE finished_at IS NULL"
# As polls that are handed back: next come those that were not taken yet.
LAST_IN_LINE = text("UPDATE jobs SET virtual_start = virtual_start + 1e6 WHERE id = ANY(:ids)")
HAND_BACK_RIVAL = text(f"""
    UPDATE {RIVAL} SET state = 'queued', started_at = NULL, created_at = now()
    WHERE id = ANY(:ids)
""")  # noqa: S608 -- a constant


def measure(quick: bool) -> Report:  # noqa: FBT001 -- one shape for every benchmark
    """Claims, sweeps, lists and counts beside up to ten million ended jobs.

    Raises:
        StackError: PostgreSQL did not come up.
    """
    report = Report("rows", beside="usual table")
    with run_own_postgres() as url, Loader.connect(url) as loader:
        loader.run(MAKE_RIVAL)
        asyncio.run(Bench(url, loader, QUICK if quick else WHOLE).run(report))
    return report


class Bench:
    """One server, filled to each size in turn."""

    def __init__(self, url: str, loader: Loader, size: Size) -> None:
        self._loader = loader
        self._size = size
        self._database = Database(url, name="bench")
        self._lines: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)

    async def run(self, report: Report) -> None:
        try:
            for ended in self._size.ended:
                began = time.monotonic()
                filled = await asyncio.to_thread(
                    fill, self._loader, ended=ended, live=self._size.live, rival=True
                )
                # Live jobs were written a while ago by those who wait for them: they are in memory.
                await asyncio.to_thread(self._loader.read, READ_LIVE)
                say(
                    f"{ended:,} ended jobs beside {self._size.live:,} live ones, "
                    f"filled in {time.monotonic() - began:.0f} s"
                )
                await self.measure_claims(report, ended, filled)
                for kind, works in (("sweep", _sweep(filled)), ("read", _reads(filled))):
                    await self.measure_works(report, ended, kind, works)
                await self.measure_shelving(report, ended, filled)
        finally:
            await self._database.close()
        self._hold(report)

    async def measure_claims(self, report: Report, ended: int, filled: Filled) -> None:
        beside_first = await self._time(self._claim_rival, self._size.first_claims)
        beside = await self._time(self._claim_rival, self._size.claims)
        for stage in STAGES:
            what = f"claim of {CLAIM_ROWS} to {stage}"
            first = await self._time_claims(stage, filled, self._size.first_claims)
            self._add(report, ended, f"first: {what}", first, beside_first)
            kept = await self._time_claims(stage, filled, self._size.claims)
            self._add(report, ended, what, kept, beside)
        self._lines["claim from the usual table"].append((ended, find_percentile(beside, 0.95)))

    async def measure_shelving(self, report: Report, ended: int, filled: Filled) -> None:
        milliseconds: list[float] = []

        async def shelve() -> None:
            while True:
                began = time.monotonic()
                async with self._database.begin() as session:
                    await shelve_jobs(session, older_than_seconds=SHELVED_SECONDS)
                milliseconds.append(1000 * (time.monotonic() - began))
                await asyncio.sleep(SHELVE_SECONDS)

        shelving = asyncio.create_task(shelve())
        for stage in STAGES:
            what = f"claim to {stage} while jobs are shelved"
            kept = await self._time_claims(stage, filled, self._size.claims)
            self._add(report, ended, what, kept)
        shelving.cancel()
        await asyncio.wait([shelving])
        self._add(report, ended, f"shelving of {SHELVE_AT_ONCE}", milliseconds)

    async def _time_claims(self, stage: StageName, filled: Filled, claims: int) -> list[float]:
        next_endpoint = itertools.cycle(filled.endpoints).__next__
        return await self._time(functools.partial(self._claim, stage, next_endpoint), claims)

    async def measure_works(
        self, report: Report, ended: int, kind: str, works: Mapping[str, Work]
    ) -> None:
        for name, work in works.items():

            async def once(work: Work = work) -> float:
                async with self._database.begin() as session:
                    began = time.monotonic()
                    await work(session)
                    seconds = time.monotonic() - began
                    await session.rollback()
                return seconds

            await once()  # what is read for the first time is no cost of the statement
            self._add(report, ended, f"{kind}: {name}", await self._time(once, self._size.reads))

    def _add(
        self,
        report: Report,
        ended: int,
        what: str,
        milliseconds: Sequence[float],
        beside: Sequence[float] | None = None,
    ) -> None:
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            report.add(
                f"{ended:,} ended",
                f"{what}, {name}",
                find_percentile(milliseconds, share),
                "ms",
                None if beside is None else find_percentile(beside, share),
            )
        self._lines[what].append((ended, find_percentile(milliseconds, 0.95)))

    async def _time(self, work: Callable[[], Awaitable[float]], times: int) -> list[float]:
        """What it takes each time, in milliseconds."""
        began = time.monotonic()
        found: list[float] = []
        while len(found) < times and (not found or time.monotonic() - began < RUN_SECONDS):
            found.append(1000 * await work())
        return found

    async def _claim(self, stage: StageName, next_endpoint: Callable[[], str]) -> float:
        """Seconds of a claim with its commit; it is handed back, to the end of the line."""
        claim = claim_submissions if stage is StageName.SUBMIT else claim_polls
        endpoint, lease = next_endpoint(), new_id()
        began = time.monotonic()
        async with self._database.begin() as session:
            rows = await claim(
                session,
                endpoint=endpoint,
                limit=min(CLAIM_ROWS, self._size.live // 100),
                lease=lease,
                lease_seconds=LEASE_SECONDS,
                proven=True,
            )
        seconds = time.monotonic() - began
        assert rows, f"nothing is due to {stage} of {endpoint}"  # noqa: S101 -- or nothing is measured
        async with self._database.begin() as session:
            await hand_back(session, stage, lease=lease, ids=[row.id for row in rows])
            if stage is StageName.SUBMIT:
                await session.execute(LAST_IN_LINE, {"ids": [row.id for row in rows]})
        return seconds

    async def _claim_rival(self) -> float:
        began = time.monotonic()
        async with self._database.begin() as session:
            limit = min(CLAIM_ROWS, self._size.live // 100)
            rows = (await session.execute(CLAIM_RIVAL, {"limit": limit})).all()
        seconds = time.monotonic() - began
        async with self._database.begin() as session:
            await session.execute(HAND_BACK_RIVAL, {"ids": [row.id for row in rows]})
        return seconds

    def _hold(self, report: Report) -> None:
        claims = [name for name in self._lines if name.startswith("claim of")]
        for name in claims:
            p95 = dict(self._lines[name])
            if HELD_AT in p95:
                report.hold(
                    f"{name} beside {HELD_AT:,} ended, p95 ms", p95[HELD_AT], at_most=P95_MS
                )
            more, fewer = self._size.ended[-1], self._size.ended[-2]
            report.hold(
                f"{name}, p95 beside {more:,} ended over {fewer:,}",
                p95[more] / p95[fewer],
                at_most=GROWTH,
            )
        shelving = [name for name in self._lines if "shelved" in name]
        for title, names, marks in (
            (
                "Claims",
                [*claims, *shelving, "claim from the usual table"],
                {f"{P95_MS:g} ms": P95_MS},
            ),
            ("Sweeps, lists and counts", DRAWN, {}),
        ):
            report.charts.append(
                Chart(
                    title=title,
                    x="ended jobs",
                    y="p95, ms",
                    lines={name: self._lines[name] for name in names},
                    marks=marks,
                    logarithmic="xy",
                )
            )


def _sweep(filled: Filled) -> Mapping[str, Work]:
    """The statements of one sweep, by themselves and together."""

    async def give_up(session: AsyncSession) -> None:
        await find_orphaned_endpoints(session)
        await give_up_orphans(session, endpoint=filled.endpoints[0], wait_seconds=60)

    async def resolve(session: AsyncSession) -> None:
        await find_unresolved_endpoints(session)
        await resolve_unknown(
            session,
            endpoint=filled.endpoints[0],
            longest_seconds=60,
            max_sends=3,
            max_attempts=10,
        )

    async def set_aside(session: AsyncSession) -> None:
        await set_aside_jobs(session)
        await set_aside_rows(session)

    async def forget(session: AsyncSession) -> None:
        await forget_handles(session)
        await forget_events(session, older_than_seconds=7 * 86_400)

    parts: dict[str, Work] = {
        "orphans": give_up,
        "unknown outcomes": resolve,
        "deadlines": expire_jobs,
        "rows that killed": set_aside,
        "old handles and events": forget,
        "lanes with due work": find_lanes,
        "custody": measure_custody,
    }

    async def whole(session: AsyncSession) -> None:
        await try_sweep_lock(session)
        for part in parts.values():
            await part(session)

    return {"all of it": whole, **parts}


def _reads(filled: Filled) -> Mapping[str, Work]:
    """What people ask for."""
    endpoint, key_id = filled.endpoints[0], filled.key_id

    def page(**wanted: Any) -> Work:  # noqa: ANN401 -- the fields of JobFilter
        return lambda session: list_jobs(
            session, JobFilter(**wanted), limit=PAGE_ROWS + 1, brief=True
        )

    async def deep(session: AsyncSession) -> None:
        await list_jobs(
            session, JobFilter(), limit=PAGE_ROWS + 1, before=filled.middle_id, brief=True
        )

    async def one(session: AsyncSession) -> None:
        [job] = await list_jobs(session, JobFilter(), limit=1, brief=True)
        await get_job(session, job.id)

    return {
        "one job": one,
        "page": page(),
        "page far back": deep,
        "page of completed ones": page(states=[JobState.COMPLETED]),
        "page of queued ones": page(states=[JobState.QUEUED]),
        "page of unfinished ones": page(
            states=[JobState.QUEUED, JobState.IN_QUEUE, JobState.IN_PROGRESS]
        ),
        "page of a state that is rare": page(states=[JobState(RARE_STATE)]),
        "page of a state that none is in": page(states=[JobState.UNKNOWN]),
        "page of an endpoint": page(endpoint=endpoint),
        "page of an endpoint that is rare": page(endpoint=RARE_ENDPOINT),
        "page of an endpoint that is unused": page(endpoint="unused"),
        "page of a key": page(owner=key_id),
        "page of a key that is rare": page(owner=filled.rare_key_id),
        "page of a key's failed ones on an endpoint": page(
            owner=key_id, endpoint=endpoint, states=[JobState.FAILED]
        ),
        "page of a campaign": page(campaign_id=filled.campaign_id),
        "counts of an endpoint": lambda session: count_jobs_of(
            session, endpoint=endpoint, owner=None
        ),
        "counts of an endpoint and a key": lambda session: count_jobs_of(
            session, endpoint=endpoint, owner=key_id
        ),
        "counts of a campaign": lambda session: count_jobs(session, filled.campaign_id),
        "states of the lanes": list_lane_states,
        "when a lane is due": lambda session: seconds_until_due(
            session, StageName.SUBMIT, endpoint
        ),
        "doubts": sum_doubts,
    }
