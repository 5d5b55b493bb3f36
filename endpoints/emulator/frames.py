"""How large a picture an input asks for, in whichever of the catalogue's ways it says so."""

import math
import re
from collections.abc import Mapping
from typing import Final

from endpoints.catalogue import Kind

SIZE: Final = re.compile(r"(\d+)\*(\d+)")
RATIO: Final = re.compile(r"(\d+):(\d+)")
SIDES: Final = {"1k": 1024, "2k": 2048, "4k": 4096}  # of a square with as many pixels
SHORT_SIDES: Final = {"480p": 480, "540p": 540, "720p": 720, "1080p": 1080}
USUAL_RATIO: Final = {Kind.IMAGE: 1.0, Kind.VIDEO: 16 / 9}
GRID: Final = 16  # pixels that a side is rounded to where only a ratio was asked for


def frame_size(values: Mapping[str, object], *, kind: Kind) -> tuple[int, int]:
    """Return (width, height) in pixels for an effective input of an image or a video endpoint."""
    match values:
        case {"width": int(width), "height": int(height)}:
            return width, height
        case {"size": str(size)} if exact := SIZE.fullmatch(size):
            return int(exact[1]), int(exact[2])
    ratio = USUAL_RATIO[kind]
    if shape := RATIO.fullmatch(str(values.get("aspect_ratio"))):
        ratio = int(shape[1]) / int(shape[2])
    named = str(values.get("resolution", values.get("size"))).lower()
    if named in SHORT_SIDES:
        short = SHORT_SIDES[named]
        return (_round(short * ratio), short) if ratio >= 1 else (short, _round(short / ratio))
    side = SIDES.get(named, 1024)
    return _round(side * math.sqrt(ratio)), _round(side / math.sqrt(ratio))


def _round(side: float) -> int:
    return max(GRID, round(side / GRID) * GRID)
