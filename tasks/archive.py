"""Archive: bring the files of results into our store before their URLs die.

    claim   artifacts that are due
    act     download to a spool file while hashing it; look at what it is; store it by its hash
    record  stored: its facts; broken: again later, for as long as its URL lives; dead: expired
    chain   itself, notify

A crash anywhere leaves a spool file, which the next try overwrites, or a stored file that no row
names yet, which the next try stores again under the same key.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import structlog
from celery import shared_task
from obstore.exceptions import BaseError as StoreError

from endpoints.download import DOWNLOAD_SECONDS, DownloadFailed, download
from models.artifact import DownloadEnd, record_downloads, settle_measured
from models.claims import Download, claim_artifacts
from models.delivery import hasten_deliveries
from models.lane import StageName
from tasks.media import Media, make_thumbnail, probe
from workers.lane import Chain, Stage, work_lane
from workers.operator_settings import DOWNLOAD
from workers.runtime import Runtime
from workers.store import file_key, thumbnail_key, write

STORE_SECONDS = 60.0
FIRST_RETRY_SECONDS = 1.0  # twice as long after each more try, with jitter
LONGEST_RETRY_SECONDS = 3600.0

log = structlog.get_logger()


async def claim(
    runtime: Runtime, endpoint: str, limit: int, lease: UUID, lease_seconds: float
) -> Sequence[Download]:
    async with runtime.database.begin() as session:
        return await claim_artifacts(
            session, endpoint=endpoint, limit=limit, lease=lease, lease_seconds=lease_seconds
        )


async def act(runtime: Runtime, row: Download) -> DownloadEnd:
    spool = runtime.settings.data_dir / "spool" / str(row.id)
    try:
        return await store_file(runtime, row, spool)
    except (DownloadFailed, StoreError, OSError, TimeoutError) as error:
        return _failed(row, f"{type(error).__name__}: {error}")
    finally:
        spool.unlink(missing_ok=True)


async def store_file(runtime: Runtime, row: Download, spool: Path) -> DownloadEnd:
    """Download, look, store.

    Raises:
        DownloadFailed: the file could not be had.
        StoreError, OSError, TimeoutError: it could not be stored.
    """
    spool.parent.mkdir(parents=True, exist_ok=True)
    fetched = await download(runtime.guarded_http, row.source_url, spool)
    media, thumbnail = await asyncio.to_thread(_look, spool, fetched.media_type)
    key = file_key(fetched.sha256, media.extension)
    async with asyncio.timeout(STORE_SECONDS):
        await write(runtime.store, key, spool)
        if thumbnail is not None:
            await write(runtime.store, thumbnail_key(fetched.sha256), thumbnail)
    return DownloadEnd(
        id=row.id,
        lease=row.lease,
        sha256=fetched.sha256,
        size_bytes=fetched.size_bytes,
        media_type=media.media_type,
        width=media.width,
        height=media.height,
        duration_seconds=media.duration_seconds,
        store_key=key,
        thumbnail_key=thumbnail_key(fetched.sha256) if thumbnail is not None else None,
    )


def _look(path: Path, declared: str | None) -> tuple[Media, bytes | None]:
    media = probe(path, declared=declared)
    return media, make_thumbnail(path, media)


def _failed(row: Download, error: str) -> DownloadEnd:
    backoff = min(FIRST_RETRY_SECONDS * 2 ** min(row.tries - 1, 16), LONGEST_RETRY_SECONDS)
    retry_in = min(backoff * random.uniform(0.5, 1.5), max(row.seconds_left, 0.0))  # noqa: S311 -- jitter
    log.warning(
        "download_failed",
        artifact=str(row.id),
        job=str(row.job_id),
        tries=row.tries,
        error=error,
        dead=row.seconds_left <= 0,
    )
    return DownloadEnd(
        id=row.id,
        lease=row.lease,
        error=error,
        retry_in=retry_in if row.seconds_left > 0 else None,
    )


async def record(runtime: Runtime, endpoint: str, ends: Sequence[DownloadEnd]) -> Chain:
    chain: dict[StageName, float] = {}
    async with runtime.database.begin() as session:
        written = await record_downloads(session, ends)
        rate = runtime.usd_per_result_second(endpoint)
        if rate is not None:
            await settle_measured(session, artifact_ids=written, usd_per_second=rate)
        hastened = await hasten_deliveries(session, artifact_ids=written)
        chain |= dict.fromkeys(hastened, 0.0)
    retries = [end.retry_in for end in ends if end.retry_in is not None]
    if retries:
        chain[StageName.ARCHIVE] = min(retries)
    return chain


ARCHIVE = Stage(
    name=StageName.ARCHIVE,
    batch=16,
    act_seconds=DOWNLOAD_SECONDS + STORE_SECONDS,
    operation=DOWNLOAD,
    flush_seconds=0.5,  # nothing waits for it, and each flush is a message
    interruptible=True,
    claim=claim,
    act=act,
    record=record,
)


@shared_task(name="pressroom.archive", ignore_result=True)
def archive(endpoint: str, at: int) -> None:
    work_lane(ARCHIVE, endpoint, at)
