"""Expand: a campaign's specification becomes jobs.

In order, some hundreds in one transaction, which notes how far it has come as well: whatever dies,
whoever goes on begins after the last one that is there. What is started rings once; the sweep rings
again for what nobody has gone on with.

Items were checked when the campaign was planned, and are checked again: the catalogue may be
another by now. One that is refused ends the expansion, and what is enqueued runs on.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from uuid import UUID

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import new_id
from models.campaign import (
    Campaign,
    advance,
    claim_unexpanded,
    close_campaign,
    get_campaign,
    give_up_expanding,
)
from models.errors import DatabaseUnavailable
from models.job import OnUnknown
from models.lane import StageName
from models.result_cache import Wanted, find_results, give_results
from models.transitions import NewJob, enqueue_jobs
from tasks.campaigns.items import BadItem, Item, Items
from tasks.campaigns.plan import check_item
from tasks.campaigns.prompt_file import PromptFileError
from tasks.campaigns.spec import CampaignSpec
from tasks.intake import InvalidRequest
from tasks.job_trace import trace_jobs
from tasks.spool import spool_path
from workers.runtime import Runtime, get_process
from workers.store import read_chunks

AT_ONCE = 1_000  # items a transaction
SPELL_SECONDS = 20.0  # of one message; then another is sent
IDLE_SECONDS = 15.0  # after which nobody is held to be at it
MOST_SECONDS = 60.0

log = structlog.get_logger()


class Refused(Exception):
    """An item cannot be enqueued; its text says why, and where it stands."""


async def expand_campaign(runtime: Runtime, campaign_id: UUID) -> bool:
    """Enqueue items for a while; whether some are left.

    Raises:
        DatabaseUnavailable: what was enqueued before is kept.
    """
    async with runtime.database.begin() as session:
        campaign = await get_campaign(session, campaign_id)
    if campaign.spec is None or campaign.total is not None or campaign.problem:
        return False
    try:
        async with open_rows(runtime, campaign.rows_key, of=campaign.id) as local:
            return await _expand(runtime, campaign, local)
    except (Refused, PromptFileError, FileNotFoundError) as error:
        log.warning("campaign_not_expanded", campaign_id=str(campaign_id), said=str(error))
        async with runtime.database.begin() as session:
            await give_up_expanding(session, campaign_id, str(error))
        return False


def send_expand(runtime: Runtime, campaign_id: UUID) -> None:
    """Ask the workers to go on with it. If the message is lost, the sweep sends another."""
    try:
        runtime.app.send_task("pressroom.expand", args=(str(campaign_id),), ignore_result=True)
    except (RedisError, OperationalError, RuntimeError) as error:
        log.warning("expand_not_sent", campaign_id=str(campaign_id), error=repr(error))


async def resume_expanding(runtime: Runtime) -> None:
    """Send for what nobody is at: the sweep's part."""
    async with runtime.database.begin() as session:
        idle = await claim_unexpanded(session, idle_seconds=IDLE_SECONDS)
    for campaign_id in idle:
        await asyncio.to_thread(send_expand, runtime, campaign_id)


async def _expand(runtime: Runtime, campaign: Campaign, local: Path | None) -> bool:
    spec = CampaignSpec.model_validate(campaign.spec)
    items = Items(spec, runtime.catalogue, folder=Path(), local=local)
    reader = items.read(start=campaign.expanded)
    start, until = campaign.expanded, time.monotonic() + SPELL_SECONDS

    operator = await runtime.operator_settings()

    def make_next() -> asyncio.Task[Sequence[NewJob]]:
        making = asyncio.to_thread(
            _make_jobs, runtime, campaign, spec, reader, on_unknown=operator.on_unknown
        )
        return asyncio.create_task(making)

    ahead = make_next()
    try:
        while time.monotonic() < until:
            jobs = await ahead
            ended = len(jobs) < AT_ONCE
            if not ended:
                ahead = make_next()  # meanwhile: it takes as long as Postgres takes for these
            async with runtime.database.begin() as session:
                if not await advance(
                    session,
                    campaign.id,
                    start=start,
                    end=start + len(jobs),
                    paced_at=campaign.paced_at,
                ):
                    return False  # somebody else is at it, or it was cancelled, paused, paced
                with trace_jobs(runtime, jobs) as traced:
                    await enqueue_jobs(session, traced)
                if spec.reuse:
                    await _reuse(session, jobs)
                if ended:
                    await close_campaign(session, campaign.id)
            await runtime.bells.ring_each(StageName.SUBMIT, {job.endpoint for job in jobs})
            if ended:
                return False
            start += len(jobs)
        return True
    finally:
        await asyncio.wait([ahead])  # its thread reads the file, which is about to go
        ahead.exception()  # of items that were not asked for


def _make_jobs(
    runtime: Runtime,
    campaign: Campaign,
    spec: CampaignSpec,
    reader: Iterator[Item | BadItem],
    *,
    on_unknown: OnUnknown,
) -> Sequence[NewJob]:
    """
    Raises:
        Refused, PromptFileError: an item is wrong after all.
    """
    gap = spec.gap_seconds(campaign.paced_items)
    age = time.time() - (campaign.paced_at or campaign.created_at).timestamp()
    jobs = []
    for item in itertools.islice(reader, AT_ONCE):
        if isinstance(item, BadItem):
            raise Refused(item.problem)
        try:
            checked = check_item(
                runtime.catalogue,
                spec,
                item,
                on_unknown=on_unknown,
                campaign_id=campaign.id,
                key_id=campaign.key_id,
                due_seconds=max((item.position - campaign.pace_from) * gap - age, 0.0)
                if gap
                else 0.0,
            )
        except InvalidRequest as error:
            raise Refused(f"{item.place}: {'; '.join(error.problems)}") from error
        jobs.append(checked.job)
    return jobs


async def _reuse(session: AsyncSession, jobs: Sequence[NewJob]) -> None:
    wanted = [
        Wanted(job_id=job.id, key_id=job.key_id, fingerprint=job.fingerprint)
        for job in jobs
        if job.fingerprint is not None
    ]
    await give_results(session, await find_results(session, wanted))


@contextlib.asynccontextmanager
async def open_rows(
    runtime: Runtime, rows_key: str | None, *, of: UUID
) -> AsyncIterator[Path | None]:
    """A campaign's file as it was when it was given, from the store; None if it has none."""
    if rows_key is None:
        yield None
        return
    # Its own, with the ending that says what is in it; one that a dead worker left is swept.
    path = spool_path(runtime.settings, of, new_id())
    path = path.with_name(f"{path.name}-{Path(rows_key).name}")
    try:
        await asyncio.to_thread(_fetch, runtime, rows_key, path)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _fetch(runtime: Runtime, key: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for chunk in read_chunks(runtime.store, key):
            file.write(chunk)


@shared_task(name="pressroom.expand", ignore_result=True)
def expand(campaign_id: str) -> str:
    process = get_process()
    given = UUID(campaign_id)
    try:
        more = process.loop.run(expand_campaign(process.runtime, given), seconds=MOST_SECONDS)
    except (DatabaseUnavailable, TimeoutError) as error:
        log.warning("expand_failed", campaign_id=campaign_id, error=str(error))
        return f"broken off: {type(error).__name__}"
    if more:
        send_expand(process.runtime, given)
    return "more is left" if more else "nothing is left"
