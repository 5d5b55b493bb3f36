"""Fetch one file of a result: streamed to disk, and hashed as it streams."""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import aiohttp
import anyio
import httpx

from endpoints.guard import ForbiddenAddress

DOWNLOAD_SECONDS = 300.0  # total, for one file: a server that drips holds nothing for ever
_TIMEOUT = httpx.Timeout(30.0, connect=5.0, pool=None)
_CHUNK_BYTES = 256 * 1024


class DownloadFailed(Exception):
    """The file could not be had, this time; its text says why."""


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
            200, fewer bytes than promised, or not all within `DOWNLOAD_SECONDS`. `path` may then
            hold a part of the file.
    """
    digest = hashlib.sha256()
    size_bytes = 0
    try:
        async with (
            asyncio.timeout(DOWNLOAD_SECONDS),
            _open(http, url) as (chunks, media_type, promised),
            await anyio.open_file(path, "wb") as file,
        ):
            async for chunk in chunks:
                digest.update(chunk)
                size_bytes += len(chunk)
                await file.write(chunk)
    except TimeoutError as error:
        raise DownloadFailed(f"not complete after {DOWNLOAD_SECONDS:.0f} s") from error
    except ForbiddenAddress as error:
        raise DownloadFailed(str(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError) as error:
        raise DownloadFailed(f"{type(error).__name__}: {error}") from error
    if promised is not None and size_bytes != promised:
        raise DownloadFailed(f"{size_bytes} bytes came of {promised}")
    if size_bytes == 0:
        raise DownloadFailed("the file is empty")
    return Downloaded(digest.hexdigest(), size_bytes, media_type)


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
