"""Tell which texts inside an arbitrary JSON value are produced files.

A URL counts as a file by its extension, or by the name of the field that holds it; base64 text by
its first bytes. What the caller sent, and what is prose, is passed over.
"""

import base64
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

IMAGE_EXTENSIONS = {
    "avif",
    "bmp",
    "gif",
    "heic",
    "jpeg",
    "jpg",
    "png",
    "svg",
    "tif",
    "tiff",
    "webp",
}
VIDEO_EXTENSIONS = {"avi", "m4v", "mkv", "mov", "mp4", "mpeg", "webm"}
AUDIO_EXTENSIONS = {"aac", "aiff", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav"}
MEDIA_EXTENSIONS = IMAGE_EXTENSIONS | VIDEO_EXTENSIONS | AUDIO_EXTENSIONS
TEXT_EXTENSIONS = {"css", "csv", "htm", "html", "js", "json", "md", "pdf", "php", "txt", "xml"}

# Words of a field's name, in the singular, as in image_url, outputVideos or result.
MEDIA_WORDS = {
    "audio",
    "clip",
    "gif",
    "image",
    "img",
    "media",
    "movie",
    "music",
    "photo",
    "picture",
}
RESULT_WORDS = MEDIA_WORDS | {"artifact", "download", "file", "output", "result", "sound", "video"}
PLAIN_WORDS = {"data", "link", "src", "uri", "url"}  # say nothing, one way or the other
SENT_WORDS = {"input", "param", "parameter", "prompt", "reference", "request", "source", "webhook"}
PASSED_OVER_WORDS = SENT_WORDS | {"choice", "error", "log", "message", "metadata", "usage"}

SHORTEST_BASE64 = 64  # characters; no file of these kinds is smaller
SIGNATURE_CHARACTERS = 32  # of base64: 24 bytes
SIGNATURES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"GIF8"), "image/gif"),
    (re.compile(rb".{4}ftypavif", re.DOTALL), "image/avif"),
    (re.compile(rb".{4}ftypM4A", re.DOTALL), "audio/mp4"),
    (re.compile(rb".{4}ftyp", re.DOTALL), "video/mp4"),
    (re.compile(rb"\x1aE\xdf\xa3"), "video/webm"),
    (re.compile(rb"RIFF.{4}WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"ID3|\xff[\xf2\xf3\xfa\xfb]"), "audio/mpeg"),
    (re.compile(rb"OggS"), "audio/ogg"),
    (re.compile(rb"fLaC"), "audio/flac"),
)

_DATA_URL = re.compile(r"data:(?P<type>[a-z]+)/[^,\s]*,", re.IGNORECASE)
_WEB_URL = re.compile(r"https?://[^\s/]\S*", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


class Text(NamedTuple):
    """A string inside a JSON value: its path, and the words of each field name on the way."""

    value: str
    path: str
    words: tuple[frozenset[str], ...]


def find_files(output: object) -> Iterator[tuple[str, str]]:
    """Yield the URL and the path of every file, in the order of the JSON, each URL once."""
    seen: set[str] = set()
    for text in _texts(output):
        url = _file_url(text)
        if url is not None and url not in seen:
            seen.add(url)
            yield url, text.path


def _texts(output: object) -> Iterator[Text]:
    # A stack of our own: nesting is the sender's choice, and recursion has a bottom.
    stack: list[tuple[object, str, tuple[frozenset[str], ...]]] = [(output, "output", ())]
    while stack:
        value, path, words = stack.pop()
        if isinstance(value, str):
            yield Text(value, path, words)
        elif isinstance(value, list):
            places = reversed(list(enumerate(value)))
            stack.extend((item, f"{path}[{place}]", words) for place, item in places)
        elif isinstance(value, dict):
            for name, item in reversed(value.items()):
                own = _words(str(name))
                if not own & PASSED_OVER_WORDS:
                    stack.append((item, f"{path}.{name}", (*words, own)))


def _words(name: str) -> frozenset[str]:
    return frozenset(word.lower().removesuffix("s") for word in _WORD.findall(name))


def _file_url(text: Text) -> str | None:
    data = _DATA_URL.match(text.value)
    if data is not None:
        kind = data["type"].lower()
        is_file = kind in {"image", "video", "audio"} or (
            kind == "application" and _is_named_as_result(text)
        )
        return text.value if is_file else None
    if _WEB_URL.fullmatch(text.value):
        extension = _extension(text.value)
        is_file = extension in MEDIA_EXTENSIONS or (
            extension not in TEXT_EXTENSIONS and _is_named_as_result(text)
        )
        return text.value if is_file else None
    return _data_url(text.value)


def _is_named_as_result(text: Text) -> bool:
    """Say whether a name on the way speaks for a result: `image_url`, `images[0].url`, `url`."""
    if not text.words:
        return True  # the output itself, or an item of it
    if text.words[-1] & RESULT_WORDS:
        return True
    if not text.words[-1] <= PLAIN_WORDS:
        return False
    return all(words & (RESULT_WORDS | PLAIN_WORDS) for words in text.words)


def _extension(url: str) -> str:
    try:
        name = urlsplit(url).path.rpartition("/")[2]
    except ValueError:  # a bracket that is no IPv6 address
        return ""
    return name.rpartition(".")[2].lower() if "." in name else ""


def _data_url(text: str) -> str | None:
    """Return base64 text of a known kind of file as a data: URL."""
    start = "".join(text[: 2 * SIGNATURE_CHARACTERS].split())[:SIGNATURE_CHARACTERS]
    if len(text) < SHORTEST_BASE64 or not _BASE64.fullmatch(start):
        return None
    raw = base64.b64decode(start[: len(start) // 4 * 4])
    media_type = next((kind for signature, kind in SIGNATURES if signature.match(raw)), None)
    if media_type is None:
        return None
    whole = "".join(text.split())
    return f"data:{media_type};base64,{whole}" if _BASE64.fullmatch(whole) else None
