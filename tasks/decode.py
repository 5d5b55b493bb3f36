"""Whether what came is the file that was named, and whole: read to its end, by what reads it.

Length and hash say that the bytes are those that were sent. An upload that broke off, or a page
that says "try again later" with status 200, is found only by looking.

Pictures are decoded: 3 ms for a JPEG of a megapixel, 20 ms for a PNG, 0.4 s for one of 16. Of clips
and recordings every packet is read and the sum of their length held against what the header
promises: 50 ms for ten seconds of 1080p, where decoding takes 600. The bytes are not trusted, see
`tasks/media.py`: what would take too much memory is not decoded, and passes.
"""

import mimetypes
from pathlib import Path
from urllib.parse import urlsplit

import av
from PIL import Image

from endpoints.catalogue import Kind
from tasks.media import (
    HEAD_BYTES,
    MAX_THUMBNAIL_PIXELS,
    PICTURES,
    UNKNOWN_TYPE,
    Container,
    Media,
    find_container,
    open_container,
    read_text,
)

MAX_FRAME_PIXELS = MAX_THUMBNAIL_PIXELS  # what is decoded at once
MAX_PIXELS = 1_000_000_000  # of all frames of a picture that moves
SHORT_SHARE = 0.05  # of its promised length, by which a recording may be shorter
SHORT_SECONDS = 1.0  # the same, if that is more
OPEN_WAVE_BYTES = 0x7FFF0000  # programs that do not know a WAV's length write the most there is
SHOWN_CHARACTERS = 80

_PICTURE_TYPES = {media_type for media_type, _ in PICTURES.values()}
_NOT_JUDGED = (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError)


def is_media_wanted(url: str, *, declared: str | None, kind: Kind | None) -> bool:
    """Whether a picture, clip or recording is to be expected.

    By the ending of the URL, else by the type that the file came with, else by what its endpoint
    makes: a page that says sorry comes as `text/html`, from the address of a picture.
    """
    named = None if url.startswith("data:") else mimetypes.guess_type(urlsplit(url).path)[0]
    if named is not None:
        return _is_media(named)
    return _is_media(declared or "") or kind in {Kind.IMAGE, Kind.VIDEO, Kind.SPEECH}


def _is_media(media_type: str) -> bool:
    main = media_type.partition("/")[0].strip().lower()
    return main in {"image", "video", "audio"} and "svg" not in media_type


def find_text(path: Path) -> str | None:
    """How the file begins, if it is text, and no drawing."""
    with path.open("rb") as file:
        text = read_text(file.read(HEAD_BYTES))
    if text is None or "<svg" in text:
        return None
    return " ".join(text.split())[:SHOWN_CHARACTERS]


def find_damage(path: Path, media: Media, *, media_wanted: bool) -> str | None:
    """Why the file cannot be decoded to its end; None if it can, or nothing here decodes its kind.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    container = find_container(head)
    try:
        if media.media_type in _PICTURE_TYPES:
            _read_picture(path, media)
        elif container is not None:
            return _read_packets(path, head, container)
    except _NOT_JUDGED:
        return None
    except Exception as error:  # noqa: BLE001 -- decoders raise anything at all on broken bytes
        return f"{type(error).__name__}: {error}".replace(str(path), "the file")
    if media.media_type == UNKNOWN_TYPE and media_wanted:
        return "its bytes are of no kind that is known"
    return None


def _read_picture(path: Path, media: Media) -> None:
    if (media.width or 0) * (media.height or 0) > MAX_FRAME_PIXELS:
        return
    with Image.open(path, formats=list(PICTURES)) as opened:
        opened.verify()  # a PNG's checksums
    with Image.open(path, formats=list(PICTURES)) as opened:
        opened.draft("RGB", (1, 1))  # JPEG: all of it is read, and little computed
        left = MAX_PIXELS
        for number in range(getattr(opened, "n_frames", 1)):
            opened.seek(number)
            pixels = opened.width * opened.height  # pages of a TIFF have sizes of their own
            left -= pixels
            if pixels > MAX_FRAME_PIXELS or left < 0:
                return
            opened.load()


def _read_packets(path: Path, head: bytes, container: Container) -> str | None:
    packets = broken = 0
    end = 0.0
    with open_container(path, container) as opened:
        promised = _promised_seconds(head, container, opened.duration)
        for packet in opened.demux():
            packets += bool(packet.size)
            broken += packet.is_corrupt
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    if not packets:
        return "there is nothing in it"
    if broken and not _is_open_wave(head, container):
        return f"{broken} of its {packets} packets are cut off"
    if promised is not None and promised - end > max(SHORT_SECONDS, SHORT_SHARE * promised):
        return f"it breaks off after {end:.1f} of {promised:.1f} s"
    return None


def _is_open_wave(head: bytes, container: Container) -> bool:
    """Whether it was written by somebody who could not know its length, and so gave none."""
    length = int.from_bytes(head[4:8], "little")
    return container.demuxer == "wav" and (length == 0 or length >= OPEN_WAVE_BYTES)


def _promised_seconds(head: bytes, container: Container, duration: int | None) -> float | None:
    """What the header says; that of an MP3 without one is FFmpeg's guess, and no promise."""
    guessed = container.demuxer == "mp3" and b"Xing" not in head and b"Info" not in head
    return duration / av.time_base if duration and not guessed else None
