"""What a produced file is, read from its bytes, and a small picture of it.

A declared type or the ending of a URL is a claim of whoever serves the file: a
PNG arrives as `x.jpeg`, an error page as `image/png`. So the bytes decide, and
the claim only chooses among the types that they allow.

The bytes are not trusted either. Pillow reads the header alone for a size, and
only the formats named here: others of its plugins start programs. PyAV is told
which one demuxer to use: left to guess, FFmpeg takes a playlist for a video
and opens the addresses in it.
"""

import codecs
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import puremagic
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image, ImageOps

UNKNOWN_TYPE = "application/octet-stream"
MAX_THUMBNAIL_PIXELS = 64_000_000  # of the source: 256 MB once decoded

HEAD_BYTES = 4096
_STRONG_MATCH = 0.8  # puremagic's figure for eight bytes of signature; fewer are met by chance
_WEBP_QUALITY = 80
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_JSON_START = re.compile(r"\s*[\[{\"tfn\d-]")

PICTURES = {
    "PNG": ("image/png", ".png"),
    "JPEG": ("image/jpeg", ".jpg"),
    "WEBP": ("image/webp", ".webp"),
    "GIF": ("image/gif", ".gif"),
    "AVIF": ("image/avif", ".avif"),
    "BMP": ("image/bmp", ".bmp"),
    "TIFF": ("image/tiff", ".tif"),
}
_TEXT_EXTENSIONS = {
    "application/json": ".json",
    "application/x-ndjson": ".ndjson",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
}


@dataclass(frozen=True, slots=True)
class Media:
    """What a file is; None where a measure does not apply or cannot be read."""

    media_type: str
    extension: str  # with its dot
    width: int | None = None  # pixels
    height: int | None = None
    duration_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of audio or video file, known by how it begins."""

    begins: re.Pattern[bytes]
    demuxer: str  # FFmpeg's name
    with_picture: tuple[str, str] | None  # type and extension; None: a picture is cover art
    without_picture: tuple[str, str]


def _begins(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


_MP3 = ("audio/mpeg", ".mp3")
_CONTAINERS = (
    Container(_begins(rb"RIFF....WAVE"), "wav", None, ("audio/wav", ".wav")),
    Container(_begins(rb"fLaC"), "flac", None, ("audio/flac", ".flac")),
    Container(_begins(rb"OggS"), "ogg", ("video/ogg", ".ogv"), ("audio/ogg", ".ogg")),
    Container(_begins(rb"ID3"), "mp3", None, _MP3),
    Container(_begins(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), "mp3", None, _MP3),  # a layer III frame
    Container(_begins(rb"....ftypqt  "), "mov", ("video/quicktime", ".mov"), ("audio/mp4", ".m4a")),
    Container(_begins(rb"....ftyp"), "mp4", ("video/mp4", ".mp4"), ("audio/mp4", ".m4a")),
    Container(
        _begins(rb"\x1aE\xdf\xa3.{0,48}webm"),
        "matroska",
        ("video/webm", ".webm"),
        ("audio/webm", ".webm"),
    ),
    Container(
        _begins(rb"\x1aE\xdf\xa3.{0,48}matroska"),
        "matroska",
        ("video/x-matroska", ".mkv"),
        ("audio/x-matroska", ".mka"),
    ),
)


def probe(path: Path, *, declared: str | None) -> Media:
    """Say what the file at `path` is; `declared` is the Content-Type it came with.

    Bytes that nothing recognises are `application/octet-stream`, unless they are
    text and were declared to be. A broken file keeps its type and has no measures.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        picture = _probe_picture(file)
        if picture is not None:
            return picture
        container = find_container(head)
        if container is not None:
            return _probe_container(path, container)
        return _probe_other(file, head, declared=_bare_type(declared))


def make_thumbnail(path: Path, media: Media, *, longest_side: int = 320) -> bytes | None:
    """Return a WebP of an image, or of a video's first frame, upright and shrunk to fit.

    `longest_side` is in pixels. None for any other media, and for a file that is
    broken or too large to decode safely: never raises on what a file holds.
    """
    if media.width is None or media.height is None:
        return None
    if media.width * media.height > MAX_THUMBNAIL_PIXELS:
        return None
    is_video = media.media_type.startswith("video/")
    try:
        picture = _read_first_frame(path) if is_video else _read_picture(path, longest_side)
        picture.thumbnail((longest_side, longest_side))
        encoded = io.BytesIO()
        picture.save(encoded, "WEBP", quality=_WEBP_QUALITY)
    except Exception:  # noqa: BLE001 -- decoders raise anything at all on broken bytes
        return None
    return encoded.getvalue()


def _probe_picture(file: BinaryIO) -> Media | None:
    file.seek(0)
    try:
        with Image.open(file, formats=list(PICTURES)) as picture:
            return Media(*PICTURES[picture.format or ""], *picture.size)
    except Exception:  # noqa: BLE001 -- as above; a decompression bomb is one of the ends
        return None


def _probe_container(path: Path, container: Container) -> Media:
    try:
        with open_container(path, container) as opened:
            video = _first_video(opened)
            if video is None or container.with_picture is None:
                return Media(*container.without_picture, None, None, _duration_seconds(opened))
            size = (video.width, video.height)
            return Media(*container.with_picture, *size, _duration_seconds(opened))
    except (av.FFmpegError, OSError, ValueError):
        return Media(*(container.with_picture or container.without_picture))


def _probe_other(file: BinaryIO, head: bytes, *, declared: str) -> Media:
    if _reads_as(declared, head):
        return Media(declared, _TEXT_EXTENSIONS.get(declared, ".txt"))
    file.seek(0)
    try:
        matches = puremagic.magic_stream(file)
    except (puremagic.PureError, ValueError):
        matches = []
    named = [match for match in matches if match.mime_type and match.extension]
    agreed = [match for match in named if match.mime_type == declared]
    strong = [match for match in named if match.confidence >= _STRONG_MATCH]
    for match in agreed + strong:
        return Media(match.mime_type, match.extension)
    return Media(UNKNOWN_TYPE, ".bin")


def _bare_type(content_type: str | None) -> str:
    """Drop the parameters: `text/plain; charset=utf-8` is `text/plain`."""
    return (content_type or "").partition(";")[0].strip().lower()


def _reads_as(declared: str, head: bytes) -> bool:
    """Whether a file that begins so can be the kind of text that it was declared to be."""
    is_json = declared in {"application/json", "application/x-ndjson"} or declared.endswith("+json")
    if not is_json and not declared.startswith("text/"):
        return False
    text = read_text(head)
    return text is not None and (not is_json or _JSON_START.match(text) is not None)


def read_text(head: bytes) -> str | None:
    """The text that a file begins with, if it is text."""
    whole = len(head) < HEAD_BYTES  # else the head may end inside a character
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, final=whole)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL_CHARACTER.search(text) else text


def find_container(head: bytes) -> Container | None:
    return next((known for known in _CONTAINERS if known.begins.match(head)), None)


def open_container(path: Path, container: Container) -> InputContainer:
    return av.open(str(path), "r", format=container.demuxer, metadata_errors="replace")


def _first_video(opened: InputContainer) -> VideoStream | None:
    for stream in opened.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # a song's cover is no video
            return stream
    return None


def _duration_seconds(opened: InputContainer) -> float | None:
    """Read the duration from the header, else add up the packets: a live recording has none."""
    if opened.duration:
        return opened.duration / av.time_base
    ends = [
        (packet.pts + (packet.duration or 0)) * packet.time_base
        for packet in opened.demux()
        if packet.pts is not None and packet.time_base is not None
    ]
    return float(max(ends)) if ends else None


def _read_picture(path: Path, longest_side: int) -> Image.Image:
    with Image.open(path, formats=list(PICTURES)) as opened:
        opened.draft("RGB", (2 * longest_side, 2 * longest_side))  # JPEG: shrink while decoding
        upright = ImageOps.exif_transpose(opened)
        return upright.convert("RGBA" if upright.has_transparency_data else "RGB")


def _read_first_frame(path: Path) -> Image.Image:
    with path.open("rb") as file:
        container = find_container(file.read(HEAD_BYTES))
    if container is None:
        raise ValueError(f"{path}: the bytes are no video that is known here")
    with open_container(path, container) as opened:
        video = _first_video(opened)
        if video is None:
            raise ValueError(f"{path}: the file holds no video stream")
        frame = next(opened.decode(video))
        picture: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]  # untyped in PyAV
        return picture
