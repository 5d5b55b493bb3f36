"""Where files are kept: a folder, S3, Google Cloud or Azure, through one interface.

A file's key is made from the SHA-256 of its bytes, so writing it twice writes the same file.

obstore is called on threads, not by its own async functions: those call back into Python from
threads of Rust, which can abort a process that is just ending.
"""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore import Bytes
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from workers.settings import Settings

_writers = ThreadPoolExecutor(8, "store")  # of their own: a store that hangs holds up nobody else


def open_store(settings: Settings) -> ObjectStore:
    """The store that the settings name. Credentials of clouds come from their own variables."""
    parts = urlsplit(settings.store_base)
    if parts.scheme == "file":
        return LocalStore(Path(unquote(parts.path)), mkdir=True)
    return from_url(settings.store_base)


def read_chunks(store: ObjectStore, key: str) -> Iterator[Bytes]:
    """A stored file, chunk by chunk; to be iterated on a thread.

    Raises:
        FileNotFoundError: there is none.
        BaseError: the store's own reasons.
    """
    yield from obstore.get(store, key).stream()


class CannotFetch(Exception):
    """Its text says why what a URL names is not to be had."""


def fetch_url(url: str, path: Path, *, most_bytes: int) -> None:
    """Copy what `s3://bucket/key` names to a path; on a thread.

    Credentials, region and endpoint come from the cloud's own variables, as those of the store do.

    Raises:
        CannotFetch: it is not there, or not ours to read, or too large.
        OSError: it cannot be written.
    """
    parts = urlsplit(url)
    key = unquote(parts.path).lstrip("/")
    if not parts.netloc or not key:
        raise CannotFetch(f"{url}: s3://BUCKET/KEY was wanted")
    size = 0
    try:
        store = from_url(f"{parts.scheme}://{parts.netloc}", retry_config={"max_retries": 2})
        with path.open("wb") as file:
            for chunk in read_chunks(store, key):
                size += len(chunk)
                if size > most_bytes:
                    raise CannotFetch(f"{url}: more than {most_bytes:,} bytes")
                file.write(chunk)
    except FileNotFoundError as error:
        raise CannotFetch(f"{url}: there is no such object") from error
    except (BaseError, ValueError) as error:
        raise CannotFetch(f"{url}: {say_error(error)}") from error


async def write(store: ObjectStore, key: str, content: bytes | Path) -> None:
    """Store bytes, or the file at a path; they outlast a power cut once this returns.

    Raises:
        BaseError, OSError: the store's own reasons; nothing is stored under `key` then.
    """
    await asyncio.get_running_loop().run_in_executor(_writers, _write, store, key, content)


def _write(store: ObjectStore, key: str, content: bytes | Path) -> None:
    obstore.put(store, key, content)
    if isinstance(store, LocalStore) and store.prefix is not None:
        path = Path(store.prefix) / key
        for one in (path, path.parent):  # a folder, too: the file's name is written there
            opened = os.open(one, os.O_RDONLY)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)


def say_error(error: Exception) -> str:
    """The store's own words; below them stands how its library saw it."""
    return str(error).partition("\n")[0]


async def read(store: ObjectStore, key: str) -> bytes:
    """All of a small stored file."""
    return await asyncio.to_thread(lambda: b"".join(map(bytes, read_chunks(store, key))))


def file_key(sha256: str, extension: str) -> str:
    """Two levels of folders, so that none holds too many files."""
    return f"files/{sha256[:2]}/{sha256[2:4]}/{sha256}{extension}"


def thumbnail_key(sha256: str) -> str:
    return f"thumbnails/{sha256[:2]}/{sha256[2:4]}/{sha256}.webp"
