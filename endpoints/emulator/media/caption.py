"""The words on a picture: what was asked for, and that an emulator drew it."""

import functools
import math
from typing import Final

from PIL import Image, ImageDraw, ImageFont

PANEL: Final = (12, 14, 20, 172)
TEXT: Final = (255, 255, 255, 255)
DETAIL: Final = (255, 255, 255, 190)
SMALLEST_FONT: Final = 9
MOST_LINES: Final = 5
LONGEST_TEXT: Final = 400  # of a prompt, more would not be shown anyway


def draw_caption(picture: Image.Image, text: str, detail: str) -> None:
    """Write `text`, wrapped, and `detail` under it, on a panel along the picture's lower edge."""
    width, height = picture.size
    text_size = max(SMALLEST_FONT, round(math.sqrt(width * height) * 0.042))
    text_font = load_font(text_size)
    detail_font = load_font(max(SMALLEST_FONT, round(text_size * 0.62)))
    margin = round(text_size * 0.9)
    room = max(1, width - 2 * margin)
    lines = wrap(text, text_font, room, most=MOST_LINES)
    line_height = round(text_size * 1.3)
    [detail_line] = wrap(detail, detail_font, room, most=1)
    panel_height = round(margin * 2.0) + line_height * len(lines) + round(line_height * 0.8)
    pen = ImageDraw.Draw(picture, "RGBA")
    top = height - panel_height
    pen.rectangle((0, top, width, height), fill=PANEL)
    y = top + margin * 0.85
    for line in lines:
        pen.text((margin, y), line, font=text_font, fill=TEXT)
        y += line_height
    pen.text((margin, y + line_height * 0.15), detail_line, font=detail_font, fill=DETAIL)


def wrap(text: str, font: ImageFont.FreeTypeFont, room: int, *, most: int) -> list[str]:
    """Return `text` as 1 to `most` lines of at most `room` pixels, cut with an ellipsis."""
    words = text[:LONGEST_TEXT].split() or [""]
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most or len(text) > LONGEST_TEXT:
        lines = lines[:most]
        lines[-1] += "…"
    return [_cut(line, font, room) for line in lines]


def _cut(line: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if font.getlength(line) <= room:
        return line
    while line and font.getlength(f"{line}…") > room:
        line = line[:-1]
    return f"{line.rstrip(' ,.')}…"


@functools.lru_cache(maxsize=64)
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font at `size` pixels."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType, which the emulator's captions need")
    return font
