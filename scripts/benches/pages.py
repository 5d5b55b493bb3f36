"""Pages: how soon each is there in a browser, beside a few jobs and beside a million.

A page is there once it shows what it is for: its rows, its pictures' places, its figures; not its
frame. One visitor looks, who was there before: what the browser keeps is kept. Jobs and what hangs
on them are put into the tables in bulk, so no picture has a file.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import Error, Page, ViewportSize

from models.database import Database
from models.lane import StageName, set_paused
from scripts.benches.own_postgres import Loader
from scripts.benches.own_stack import rest, run_own_stack, say, wake
from scripts.benches.report import Report
from scripts.benches.row_fill import RARE_ENDPOINT, RARE_STATE, Filled, fill
from scripts.views.fill import make_operator
from scripts.views.shots import run_chromium, sign_in
from workers.settings import Settings
from workers.stack.supervisor import StackError

SECONDS = 1.0
LATE_SECONDS = 30.0  # a page that is not there by then is broken
LOOKED_AT_MS = 1000  # before the next is opened: what came last is read to its end
WIDE = ViewportSize(width=1440, height=900)
ROW = ".pr-table tbody tr >> nth=0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many jobs there are, few and many, and how often each page is opened."""

    few: int
    many: int
    live: int
    campaign_jobs: int
    rounds: int


WHOLE = Size(few=1_000, many=1_000_000, live=1_000, campaign_jobs=100_000, rounds=7)
QUICK = Size(few=100, many=1_000, live=20, campaign_jobs=10, rounds=1)


def measure(quick: bool) -> Report:  # noqa: FBT001 -- one shape for every benchmark
    """Pages in a browser beside a million jobs, and a campaign of 100,000.

    Raises:
        StackError: the stack did not come up, or there is no browser.
    """
    size = QUICK if quick else WHOLE
    report = Report("pages", beside=f"{size.few:,} jobs")
    with run_own_stack() as settings:
        beside = _measure(settings, size, size.few)
        found = _measure(settings, size, size.many)
    for name, seconds in found.items():
        for what, figure in (("median", statistics.median), ("worst", max)):
            report.add(name, what, figure(seconds), "s", figure(beside[name]))
    median, slowest = max((statistics.median(found[name]), name) for name in found)
    what = f"the slowest page beside {size.many:,} jobs, {slowest}: median s"
    report.hold(what, median, at_most=SECONDS)
    return report


def _measure(settings: Settings, size: Size, jobs: int) -> Mapping[str, list[float]]:
    """Seconds until each page is there, of every time."""
    rest(settings)  # what runs would work on what is yet to be whole
    say(f"{jobs:,} jobs")
    with Loader.connect(settings.database_dsn) as loader:
        campaign_jobs = min(size.campaign_jobs, jobs // 10)
        filled = fill(loader, ended=jobs, live=size.live, campaign_jobs=campaign_jobs)
        [[job_id]] = loader.read("SELECT id FROM jobs WHERE state = 'completed' LIMIT 1")
    asyncio.run(_pause(settings, filled))  # so that the live ones live on
    key = make_operator(settings)
    with Loader.connect(settings.database_dsn) as loader:
        # One key's jobs are the visitor's own, for the history.
        loader.run(
            "UPDATE jobs SET key_id = (SELECT id FROM api_keys ORDER BY created_at DESC LIMIT 1) "
            "WHERE key_id = %(key)s",
            key=filled.key_id,
        )
    wake(settings)
    seconds: dict[str, list[float]] = {}
    with _visit(settings, key) as page:
        for name, (path, wait_for) in _pages(filled, str(job_id)).items():
            _open(page, path, wait_for)  # what is read for the first time, by server and browser
            seconds[name] = []
            for _ in range(size.rounds):
                page.wait_for_timeout(LOOKED_AT_MS)
                seconds[name].append(_open(page, path, wait_for))
    return seconds


def _pages(filled: Filled, job_id: str) -> Mapping[str, tuple[str, str]]:
    """Where each is, and a selector of what it is for."""
    campaign = f"/campaigns/{filled.campaign_id}"
    endpoint = filled.endpoints[0]
    return {
        "playground": ("/", ".pr-bench-form"),
        "history": ("/history", ".pr-past >> nth=0"),
        "campaigns": ("/campaigns", ROW),
        "campaign": (campaign, ".pr-parts"),
        "campaign's gallery": (f"{campaign}/gallery", ".pr-cell >> nth=0"),
        "campaign's jobs": (f"/jobs?campaign={filled.campaign_id}", ROW),
        "floor": ("/floor", ROW),
        "jobs": ("/jobs", ROW),
        "jobs, queued": ("/jobs?state=queued", ROW),
        "jobs, failed": ("/jobs?state=failed", ROW),
        "jobs, a state that is rare": (f"/jobs?state={RARE_STATE}", ROW),
        "jobs, of an endpoint": (f"/jobs?endpoint={endpoint}", ROW),
        "jobs, of an endpoint that is rare": (f"/jobs?endpoint={RARE_ENDPOINT}", ROW),
        "jobs, failed for a reason": ("/jobs?state=failed&reason=upstream_failed", ROW),
        "jobs, failed, of an endpoint": (f"/jobs?state=failed&endpoint={endpoint}", ROW),
        "jobs, of months ago": (f"/jobs?cursor={filled.middle_id}", ROW),
        "job": (f"/jobs/{job_id}", ".pr-timeline"),
        "money": ("/money", ".pr-ranks tbody tr >> nth=0"),
        "keys": ("/keys", ROW),
    }


async def _pause(settings: Settings, filled: Filled) -> None:
    database = Database(settings.database_dsn, name="bench")
    try:
        async with database.begin() as session:
            for endpoint in (*filled.endpoints, RARE_ENDPOINT):
                for stage in (StageName.SUBMIT, StageName.POLL):
                    await set_paused(session, stage, endpoint, paused=True)
    finally:
        await database.close()


@contextmanager
def _visit(settings: Settings, key: str) -> Iterator[Page]:
    try:
        with run_chromium() as browser:
            context = browser.new_context(
                base_url=f"http://127.0.0.1:{settings.gateway_port}",
                viewport=WIDE,
            )
            context.set_default_timeout(LATE_SECONDS * 1000)
            page = context.new_page()
            sign_in(page, key)
            yield page
            context.close()
    except RuntimeError as error:
        raise StackError(str(error)) from error


def _open(page: Page, path: str, wait_for: str) -> float:
    began = time.monotonic()
    page.goto(f"/web{path}", wait_until="commit")
    try:
        page.locator(wait_for).wait_for()
    except Error as error:
        late = f"/web{path} was not there within {LATE_SECONDS:g} s"
        raise StackError(f"{late}: {wait_for} was wanted") from error
    return time.monotonic() - began
