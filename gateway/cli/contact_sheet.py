"""A contact sheet: everything that a campaign produced, on one page.

Cards stand in a grid, each with its result above and its prompt below. The font
is the one that Pillow brings, so that a sheet looks the same on every machine;
it holds little beyond ASCII, and what it lacks is written as near as it can be.
"""

import bisect
import hashlib
import io
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from PIL import Image, ImageDraw, ImageFont, ImageOps

MAX_TILES = 400  # 50 rows: a page of 190 MB while it is drawn

_FEWEST_COLUMNS, _MOST_COLUMNS = 4, 8  # a title needs the width of four
_MARGIN, _GAP = 96, 24  # all lengths are in pixels
_HEADER_HEIGHT = 168
_PICTURE = 300  # square, and as wide as its card
_CAPTION_HEIGHT = 140
_PADDING = 18
_RADIUS = 16
_OVERSAMPLING = 4  # Pillow's shapes have hard edges: they are drawn larger, then shrunk

_PAGE, _CARD, _EDGE = "#f4f2ed", "#ffffff", "#dcd8ce"
_MAT, _PAPER, _SPEECH_MAT = "#eae7e0", "#fbf7ee", "#e4ebf1"
_INK, _MUTED = "#1d1f23", "#666a72"
_ACCENT, _WAVE = "#b4552d", "#3c5f7d"

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

_NEAREST = str.maketrans(
    "\u2010\u2011\u2013\u2014\u2022\u00d7\u00d8\u00f8\u0141\u0142\u0110\u0111\u00df",
    "----·xOoLlDds",
    "\u00a1\u00bf",  # Spanish reads without its opening marks
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One result. With nothing to show, or `failed`, its card says that there is none."""

    caption: str  # the prompt; two lines of it are shown
    detail: str  # "endpoint · size · cost": the endpoint, and the rest on a line of its own
    kind: Literal["image", "video", "speech", "text"]
    thumbnail: bytes | None  # an image, or a video's frame: WebP, JPEG or PNG
    text: str | None
    failed: bool = False  # a recording shows nothing of its own, so it must be told


def draw_contact_sheet(tiles: Sequence[Tile], *, title: str, subtitle: str, path: Path) -> None:
    """Write the tiles as a PNG at `path`, row by row, in eight columns once there are many.

    Raises:
        ValueError: there are no tiles, or more than `MAX_TILES`.
        OSError: the file cannot be written.
    """
    if not 0 < len(tiles) <= MAX_TILES:
        raise ValueError(f"tiles: came {len(tiles)}, wanted 1 to {MAX_TILES}")
    balanced = math.ceil(math.sqrt(len(tiles) * 4 / 3))
    columns = min(max(balanced, _FEWEST_COLUMNS), _MOST_COLUMNS)
    rows = math.ceil(len(tiles) / columns)
    column_step, row_step = _PICTURE + _GAP, _PICTURE + _CAPTION_HEIGHT + _GAP
    width = 2 * _MARGIN + columns * column_step - _GAP
    height = 2 * _MARGIN + _HEADER_HEIGHT + rows * row_step - _GAP
    page = Image.new("RGB", (width, height), _PAGE)
    _draw_header(page, title=title, subtitle=subtitle)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        left, top = _MARGIN + column * column_step, _MARGIN + _HEADER_HEIGHT + row * row_step
        _paste_card(page, _draw_card(tile), left=left, top=top)
    page.save(path, "PNG")


def _draw_header(page: Image.Image, *, title: str, subtitle: str) -> None:
    draw = ImageDraw.Draw(page)
    width = page.width - 2 * _MARGIN
    for text, size, top, colour in ((title, 64, -16, _INK), (subtitle, 28, 72, _MUTED)):
        [line] = _wrap(text, _font(size), width=width, lines=1) or [""]
        draw.text((_MARGIN, _MARGIN + top), line, fill=colour, font=_font(size))


def _paste_card(page: Image.Image, card: Image.Image, *, left: int, top: int) -> None:
    edge = Image.new("RGB", (card.width + 2, card.height + 2), _EDGE)
    page.paste(edge, (left - 1, top - 1), _rounded(edge.size, radius=_RADIUS + 1))
    page.paste(card, (left, top), _rounded(card.size, radius=_RADIUS))


def _draw_card(tile: Tile) -> Image.Image:
    card = Image.new("RGB", (_PICTURE, _PICTURE + _CAPTION_HEIGHT), _CARD)
    card.paste(_draw_result(tile), (0, 0))
    draw = ImageDraw.Draw(card)
    width = _PICTURE - 2 * _PADDING
    top = _PICTURE + 14
    for line in _wrap(tile.caption, _font(19), width=width, lines=2):
        draw.text((_PADDING, top), line, fill=_INK, font=_font(19))
        top += 26
    endpoint, _, measures = tile.detail.partition(" · ")
    for line, top in ((endpoint, card.height - 56), (measures, card.height - 35)):
        [fitting] = _wrap(line, _font(15), width=width, lines=1) or [""]
        draw.text((_PADDING, top), fitting, fill=_MUTED, font=_font(15))
    return card


def _draw_result(tile: Tile) -> Image.Image:
    if tile.failed:
        return _draw_nothing()
    if tile.kind == "speech":
        return _draw_waveform(tile.caption)
    if tile.kind == "text":
        return _draw_excerpt(tile.text) if tile.text else _draw_nothing()
    picture = _open_picture(tile.thumbnail) if tile.thumbnail else None
    if picture is None:
        return _draw_nothing()
    letterboxed = Image.new("RGB", (_PICTURE, _PICTURE), _MAT)
    place = ((_PICTURE - picture.width) // 2, (_PICTURE - picture.height) // 2)
    letterboxed.paste(picture, place, picture)
    if tile.kind == "video":
        mark = _draw_play_mark()
        letterboxed.paste(mark, (0, 0), mark)
    return letterboxed


def _open_picture(thumbnail: bytes) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(thumbnail)) as opened:
            return ImageOps.contain(opened.convert("RGBA"), (_PICTURE, _PICTURE))
    except (OSError, ValueError, SyntaxError):
        return None


@lru_cache
def _draw_play_mark() -> Image.Image:
    mark = Image.new("RGBA", (_PICTURE * _OVERSAMPLING,) * 2)
    draw = ImageDraw.Draw(mark)
    centre, radius = mark.width / 2, 34 * _OVERSAMPLING
    draw.circle((centre, centre), radius, fill=(20, 22, 26, 170))
    left, right, half = centre - radius * 0.32, centre + radius * 0.5, radius * 0.46
    triangle = [(left, centre - half), (left, centre + half), (right, centre)]
    draw.polygon(triangle, fill=(255, 255, 255, 240))
    return mark.resize((_PICTURE, _PICTURE), Image.Resampling.LANCZOS)


def _draw_waveform(caption: str) -> Image.Image:
    """Draw what stands for a recording: the shape of speech, not the sound of this one."""
    wave = Image.new("RGB", (_PICTURE * _OVERSAMPLING,) * 2, _SPEECH_MAT)
    draw = ImageDraw.Draw(wave)
    bars, pitch, thick = 32, 8 * _OVERSAMPLING, 4 * _OVERSAMPLING
    heights = hashlib.sha256(caption.encode(errors="replace")).digest()
    left, centre = (wave.width - bars * pitch + pitch - thick) / 2, wave.height / 2
    for bar in range(bars):
        phrase = math.sin(math.pi * (bar + 0.5) / bars) ** 0.6
        half = thick / 2 + phrase * (0.12 + 0.88 * heights[bar] / 255) * wave.height * 0.2
        x = left + bar * pitch
        draw.rounded_rectangle((x, centre - half, x + thick, centre + half), thick / 2, _WAVE)
    return wave.resize((_PICTURE, _PICTURE), Image.Resampling.LANCZOS)


def _draw_excerpt(text: str) -> Image.Image:
    excerpt = Image.new("RGB", (_PICTURE, _PICTURE), _PAPER)
    draw = ImageDraw.Draw(excerpt)
    margin, leading, top = 26, 25, 72
    draw.text((margin - 3, 18), "\u201c", fill=_ACCENT, font=_font(84))
    lines = (_PICTURE - top - margin + 6) // leading
    for line in _wrap(text, _font(17), width=_PICTURE - 2 * margin, lines=lines):
        draw.text((margin, top), line, fill=_INK, font=_font(17))
        top += leading
    return excerpt


def _draw_nothing() -> Image.Image:
    nothing = Image.new("RGB", (_PICTURE, _PICTURE), _MAT)
    centre = (_PICTURE / 2, _PICTURE / 2)
    ImageDraw.Draw(nothing).text(centre, "No result", fill=_MUTED, font=_font(20), anchor="mm")
    return nothing


@lru_cache
def _rounded(size: tuple[int, int], *, radius: int) -> Image.Image:
    """Make the mask of a rectangle with smooth round corners."""
    large = Image.new("L", (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING))
    corners = (0, 0, large.width - 1, large.height - 1)
    ImageDraw.Draw(large).rounded_rectangle(corners, radius * _OVERSAMPLING, fill=255)
    return large.resize(size, Image.Resampling.LANCZOS)


@lru_cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _wrap(text: str, font: Font, *, width: int, lines: int) -> list[str]:
    """Break text into at most `lines` lines; an ellipsis ends what was left out."""
    wrapped: list[str] = []
    words = _as_drawable(text[: lines * width]).split()  # no glyph is under a pixel wide
    while words and len(wrapped) < lines:
        is_last = len(wrapped) == lines - 1
        count = 1
        while count < len(words) and (
            font.getlength(_join(words, count + 1, elided=is_last)) <= width
        ):
            count += 1
        wrapped.append(_cut(_join(words, count, elided=is_last), font, width=width))
        words = words[count:]
    return wrapped


def _join(words: Sequence[str], count: int, *, elided: bool) -> str:
    line = " ".join(words[:count])
    return line.rstrip(",.;:…") + "…" if elided and count < len(words) else line


def _cut(line: str, font: Font, *, width: int) -> str:
    """Shorten a word that is wider than the width by itself."""
    if font.getlength(line) <= width:
        return line
    fitting = bisect.bisect_right(
        range(1, len(line)), width, key=lambda length: int(font.getlength(f"{line[:length]}…"))
    )
    return f"{line[:fitting].rstrip('…')}…"


def _as_drawable(text: str) -> str:
    """Write text in what the font holds; a run that it cannot draw becomes an ellipsis."""
    near = " ".join(text.translate(_NEAREST).split())
    plain = "".join(
        glyph if _is_drawable(glyph) else unicodedata.normalize("NFKD", glyph) for glyph in near
    )
    base = (glyph for glyph in plain if not unicodedata.combining(glyph))
    drawn = "".join(glyph if _is_drawable(glyph) else "…" for glyph in base)
    if drawn.strip("… ") or not drawn:
        return re.sub(r"…[\s…]*…", "…", drawn)
    return "(in a script that this sheet's font lacks)"


@lru_cache(maxsize=4096)
def _is_drawable(glyph: str) -> bool:
    font = _font(16)
    return glyph == " " or bytes(font.getmask(glyph)) != bytes(font.getmask("\uffff"))
