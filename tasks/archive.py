"""Archive: bring the files of results into our store before their URLs die.

    claim   artifacts that are due
    act     download to a spool file while hashing it; look at what it is; store it by its hash
    record  stored: its facts; broken: again later, for as long as its URL lives; dead: expired
            the store refuses: nobody's try, and the lane is closed until one file gets through
    chain   itself, notify

A file is stored only if it is whole: as long as promised, and decoded to its end (`decode.py`). One
that cannot be decoded, however often it comes, is what was made and paid for: it is stored as it
is, and its row says what is wrong with it. Text in the place of a picture is no result, but an
error page, and never stored.

A crash anywhere leaves a spool file, which is swept, or a stored file that no row names yet, which
the next try stores again under the same key. The store shows a file only once it is all there.
"""

import asyncio
import dataclasses
import functools
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from celery import shared_task
from obstore.exceptions import BaseError as StoreError

from endpoints.download import (
    DiskRefused,
    Downloaded,
    DownloadFailed,
    download,
)
from models.artifact import DownloadEnd, record_downloads, settle_measured
from models.claims import Download, claim_artifacts
from models.delivery import hasten_deliveries
from models.job_queries import find_traces
from models.lane import Claim, StageName, close_lane, note_lane_works
from tasks.call_traces import ARCHIVE_TRACE
from tasks.decode import find_damage, find_text, is_media_wanted
from tasks.media import Media, make_thumbnail, probe
from tasks.spool import spool_path, sweep_spool
from workers.lane import Chain, Stage, work_lane
from workers.operator_settings import DOWNLOAD
from workers.runtime import Runtime
from workers.store import file_key, say_error, thumbnail_key, write

ACT_SECONDS = 600.0  # for all of a file: download, look, download again, store
STORE_SECONDS = 60.0  # of it, and as much more as its bytes take at this rate:
STORE_BYTES_PER_SECOND = 10_000_000
# After a try that failed: twice as long after each more, with jitter. A file server that is away
# for an hour has done nothing to the file, so it is asked every minute for a good while.
FIRST_RETRY_SECONDS = 1.0
STEADY_RETRY_SECONDS = 60.0
STEADY_TRIES = 40
LONGEST_RETRY_SECONDS = 3600.0
LIFE_SHARE = 0.05  # of what is left of its URL's life, that no wait exceeds
DAMAGED_TRIES = 3  # that brought bytes which cannot be decoded, until they are taken as they are

log = structlog.get_logger()

# Of its own: to look takes long, and bells wait for none. Two: a picture may take 256 MB.
_lookers = ThreadPoolExecutor(2, "look")


class StoreRefused(Exception):
    """The store does not take it: full, forbidden, away. The file may be as good as any."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a file that came was found to be."""

    media: Media
    thumbnail: bytes | None = None
    text: str | None = None  # how it begins, if it is text where none was wanted
    damage: str | None = None  # why it cannot be decoded


async def claim(runtime: Runtime, wanted: Claim) -> Sequence[Download]:
    await sweep_spool(runtime.settings)
    async with runtime.database.begin() as session:
        rows = await claim_artifacts(session, **wanted)
        if runtime.tracer is None or not rows:
            return rows
        traces = await find_traces(session, {row.job_id for row in rows})
    return [dataclasses.replace(row, trace_context=traces[row.job_id]) for row in rows]


async def act(runtime: Runtime, row: Download) -> DownloadEnd:
    spool = spool_path(runtime.settings, row.id, row.lease)
    try:
        async with asyncio.timeout(ACT_SECONDS):
            return await store_file(runtime, row, spool)
    except DownloadFailed as error:
        return _failed(row, str(error))
    except TimeoutError:
        return _failed(row, f"not stored after {ACT_SECONDS:.0f} s")
    except (DiskRefused, StoreRefused) as error:
        return _refused(row, str(error))
    finally:
        with suppress(OSError):  # it is swept
            spool.unlink(missing_ok=True)


async def store_file(runtime: Runtime, row: Download, spool: Path) -> DownloadEnd:
    """Download, look, store.

    Raises:
        DownloadFailed: the file could not be had, or not whole.
        DiskRefused, StoreRefused: it could not be kept.
    """
    fetched = await download(runtime.guarded_http, row.source_url, spool)
    listed = runtime.catalogue.find(row.endpoint)
    wanted = is_media_wanted(
        row.source_url, declared=fetched.media_type, kind=listed.kind if listed else None
    )
    look = await _look_at(spool, fetched.media_type, media_wanted=wanted)
    if look.text is not None:
        raise DownloadFailed(f"text came in the place of a file: {look.text}")
    if look.damage is not None and not await _is_what_was_made(runtime, row, spool, fetched):
        raise DownloadFailed(f"it came, and cannot be decoded: {look.damage}")
    key = file_key(fetched.sha256, look.media.extension)
    small = thumbnail_key(fetched.sha256) if look.thumbnail is not None else None
    try:
        async with asyncio.timeout(STORE_SECONDS + fetched.size_bytes / STORE_BYTES_PER_SECOND):
            await write(runtime.store, key, spool)
            if small is not None and look.thumbnail is not None:
                await write(runtime.store, small, look.thumbnail)
    except TimeoutError as error:
        raise StoreRefused("the store did not take it in time") from error
    except (StoreError, OSError) as error:
        raise StoreRefused(f"the store did not take it: {say_error(error)}") from error
    return DownloadEnd(
        id=row.id,
        lease=row.lease,
        error=None if look.damage is None else f"it cannot be decoded: {look.damage}",
        sha256=fetched.sha256,
        size_bytes=fetched.size_bytes,
        media_type=look.media.media_type,
        width=look.media.width,
        height=look.media.height,
        duration_seconds=look.media.duration_seconds,
        store_key=key,
        thumbnail_key=small,
    )


async def _look_at(spool: Path, declared: str | None, *, media_wanted: bool) -> Look:
    try:
        look = functools.partial(_look, spool, declared, media_wanted=media_wanted)
        return await asyncio.get_running_loop().run_in_executor(_lookers, look)
    except OSError as error:
        raise DiskRefused(f"the spool file could not be read: {error}") from error


def _look(path: Path, declared: str | None, *, media_wanted: bool) -> Look:
    media = probe(path, declared=declared)
    if media_wanted and (text := find_text(path)):
        return Look(media, text=text)
    damage = find_damage(path, media, media_wanted=media_wanted)
    return Look(media, make_thumbnail(path, media), damage=damage)


async def _is_what_was_made(
    runtime: Runtime, row: Download, spool: Path, fetched: Downloaded
) -> bool:
    """Whether bytes that cannot be decoded are all that there ever will be.

    They are if they have come a few times, and come once more as they are; or if this was the last
    chance. Nothing that was paid for is thrown away.
    """
    if row.seconds_left <= 0:
        return True
    if row.tries < DAMAGED_TRIES:
        return False
    again = spool.with_name(spool.name + ".again")
    try:
        second = await download(runtime.guarded_http, row.source_url, again)
    finally:
        with suppress(OSError):
            again.unlink(missing_ok=True)
    return second.sha256 == fetched.sha256


def _failed(row: Download, error: str) -> DownloadEnd:
    retry_in = retry_seconds(row) if row.seconds_left > 0 else None
    log.warning(
        "download_failed",
        artifact=str(row.id),
        job=str(row.job_id),
        tries=row.tries,
        error=error.partition(": ")[0],  # what follows may be the file's own words
        dead=retry_in is None,
    )
    return DownloadEnd(id=row.id, lease=row.lease, error=error, retry_in=retry_in)


def retry_seconds(row: Download) -> float:
    longest = STEADY_RETRY_SECONDS * 2 ** min(max(row.tries - STEADY_TRIES, 0), 16)
    wait: float = min(
        FIRST_RETRY_SECONDS * 2 ** min(row.tries - 1, 16),
        longest,
        LONGEST_RETRY_SECONDS,
        max(row.seconds_left * LIFE_SHARE, FIRST_RETRY_SECONDS),
    )
    return wait * random.uniform(0.5, 1.5)  # noqa: S311 -- jitter


def _refused(row: Download, error: str) -> DownloadEnd:
    """It is due at once, behind those that are already: the lane is closed instead."""
    log.warning("store_refused", artifact=str(row.id), job=str(row.job_id), error=error)
    return DownloadEnd(id=row.id, lease=row.lease, error=error, counts=False, retry_in=0.0)


async def record(runtime: Runtime, endpoint: str, ends: Sequence[DownloadEnd]) -> Chain:
    chain: dict[StageName, float] = {}
    refused = [end for end in ends if not end.counts]
    async with runtime.database.begin() as session:
        written = await record_downloads(session, ends)
        rate = runtime.usd_per_result_second(endpoint)
        if rate is not None:
            await settle_measured(session, artifact_ids=written, usd_per_second=rate)
        hastened = await hasten_deliveries(session, artifact_ids=written)
        chain |= dict.fromkeys(hastened, 0.0)
        waits = [end.retry_in for end in ends if end.retry_in is not None]
        if waits:
            chain[StageName.ARCHIVE] = min(waits)
        if refused:
            reason = str(refused[0].error)
            seconds = await close_lane(session, StageName.ARCHIVE, endpoint, reason=reason)
            chain[StageName.ARCHIVE] = seconds
            log.warning("lane_closed", cause="store_refused", said=reason, seconds=seconds)
        elif await note_lane_works(session, StageName.ARCHIVE, endpoint):
            chain[StageName.ARCHIVE] = 0.0
            log.info("lane_opened", stage=StageName.ARCHIVE, endpoint=endpoint)
    return chain


ARCHIVE = Stage(
    name=StageName.ARCHIVE,
    batch=16,
    act_seconds=ACT_SECONDS,
    operation=DOWNLOAD,
    flush_seconds=0.5,  # nothing waits for it, and each flush is a message
    interruptible=True,
    claim=claim,
    act=act,
    record=record,
    name_end=lambda done: "stored" if done.sha256 else "failed",
    trace=ARCHIVE_TRACE,
)


@shared_task(name="pressroom.archive", ignore_result=True)
def archive(endpoint: str, at: int) -> str:
    return work_lane(ARCHIVE, endpoint, at)
