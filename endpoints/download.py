"""Fetch one file of a result: streamed to disk, and hashed as it streams."""

import asyncio
import base64
import binascii
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import aiohttp
import anyio
import httpx

from endpoints.guard import ForbiddenAddress

DOWNLOAD_SECONDS = 300.0  # total, for one file: a server that drips holds nothing for ever
MAX_FILE_BYTES = 2 * 1024**3  # no result that is known comes near; a stream without end would
SPARE_BYTES = 64 * 1024**2  # of the disk, left to what else writes there
_TIMEOUT = httpx.Timeout(30.0, connect=5.0, pool=None)
_CHUNK_BYTES = 256 * 1024


class DownloadFailed(Exception):
    """The file could not be had, this time; its text says why."""


class DiskRefused(Exception):
    """Our own disk does not take it: no room, no right. The file may be as good as any."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file on disk."""

    sha256: str  # hex
    size_bytes: int
    media_type: str | None  # as declared, which may be wrong


async def download(http: httpx.AsyncClient, url: str, path: Path) -> Downloaded:
    """Write what `url` (http, https or data) gives to `path`.

    Raises:
        DownloadFailed: no connection, an address that is forbidden to `http`, another status than
            200, fewer bytes than promised, more than `MAX_FILE_BYTES`, or not all within
            `DOWNLOAD_SECONDS`. `path` may then hold a part of the file.
        DiskRefused: `path` cannot be written, or hardly anything but this file would fit.
    """
    digest = hashlib.sha256()
    size_bytes = 0
    try:
        async with (
            asyncio.timeout(DOWNLOAD_SECONDS),
            _open(http, url) as (chunks, media_type, promised),
        ):
            _check_size(promised or 0)
            with _writing(path):
                _check_room(path, promised or 0)
                file = await anyio.open_file(path, "wb")
            try:
                async for chunk in chunks:
                    digest.update(chunk)
                    size_bytes += len(chunk)
                    _check_size(size_bytes)
                    with _writing(path):
                        await file.write(chunk)
            finally:
                with _writing(path):
                    await file.aclose()
    except TimeoutError as error:
        raise DownloadFailed(f"not complete after {DOWNLOAD_SECONDS:.0f} s") from error
    except ForbiddenAddress as error:
        raise DownloadFailed(str(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
        raise DownloadFailed(f"{type(error).__name__}: {error}") from error
    if promised is not None and size_bytes != promised:
        raise DownloadFailed(f"{size_bytes} bytes came of {promised}")
    if size_bytes == 0:
        raise DownloadFailed("the file is empty")
    return Downloaded(digest.hexdigest(), size_bytes, media_type)


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_FILE_BYTES:
        raise DownloadFailed(f"{size_bytes:,} bytes and more, of {MAX_FILE_BYTES:,} at most")


def _check_room(path: Path, wanted_bytes: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < wanted_bytes + SPARE_BYTES:
        raise DiskRefused(f"{free:,} bytes are free in {path.parent}, for {wanted_bytes:,}")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Around what touches our disk: an error there is none of the server's."""
    try:
        yield
    except OSError as error:
        raise DiskRefused(f"{path.parent} does not take it: {error.strerror or error}") from error


@asynccontextmanager
async def _open(
    http: httpx.AsyncClient, url: str
) -> AsyncIterator[tuple[AsyncIterator[bytes], str | None, int | None]]:
    if url.startswith("data:"):
        content, media_type = _read_data_url(url)
        yield _once(content), media_type, len(content)
        return
    # Asked for as it is: an encoded body would be hashed decoded, and its length would not match.
    headers = {"Accept-Encoding": "identity"}
    async with http.stream(
        "GET", url, headers=headers, timeout=_TIMEOUT, follow_redirects=True
    ) as response:
        if response.status_code != httpx.codes.OK:
            raise DownloadFailed(f"HTTP {response.status_code}")
        length = response.headers.get("content-length", "")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip() or None
        encoded = "content-encoding" in response.headers
        promised = int(length) if length.isdecimal() and not encoded else None
        yield response.aiter_bytes(_CHUNK_BYTES), media_type, promised


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _read_data_url(url: str) -> tuple[bytes, str | None]:
    header, comma, payload = url[len("data:") :].partition(",")
    if not comma:
        raise DownloadFailed("a data URL without a comma")
    media_type, *parameters = header.split(";")
    content = unquote_to_bytes(payload)
    if "base64" not in parameters:
        return content, media_type or None
    try:
        return base64.b64decode(content, validate=True), media_type or None
    except binascii.Error as error:
        raise DownloadFailed(f"a data URL that is not base64: {error}") from error
