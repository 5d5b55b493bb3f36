"""Where files are kept: a folder, S3, Google Cloud or Azure, through one interface.

A file's key is made from the SHA-256 of its bytes, so writing it twice writes the same file.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from obstore.store import LocalStore, ObjectStore, from_url

from workers.settings import Settings


def open_store(settings: Settings) -> ObjectStore:
    """The store that the settings name. Credentials of clouds come from their own variables."""
    parts = urlsplit(settings.store_base)
    if parts.scheme == "file":
        return LocalStore(Path(unquote(parts.path)), mkdir=True)
    return from_url(settings.store_base)


def file_key(sha256: str, extension: str) -> str:
    """Two levels of folders, so that none holds too many files."""
    return f"files/{sha256[:2]}/{sha256[2:4]}/{sha256}{extension}"


def thumbnail_key(sha256: str) -> str:
    return f"thumbnails/{sha256[:2]}/{sha256[2:4]}/{sha256}.webp"
