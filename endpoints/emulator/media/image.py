"""The image that a job asked for: its exact size and format, and its prompt on it."""

import io
from dataclasses import dataclass
from typing import Final

from endpoints.emulator.media.caption import draw_caption
from endpoints.emulator.media.palette import seeded
from endpoints.emulator.media.patterns import draw_pattern

JPEG_QUALITY: Final = 82
OPTIONS: Final[dict[str, dict[str, int]]] = {
    "jpeg": {"quality": JPEG_QUALITY},
    "png": {"compress_level": 1},  # a third of the time for a tenth more bytes
    "webp": {"quality": JPEG_QUALITY, "method": 0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """All that an image derives from. `format` is jpeg, png or webp; sizes are pixels."""

    endpoint: str
    prompt: str
    seed: int
    width: int
    height: int
    format: str

    @property
    def extension(self) -> str:
        """What the file's name ends with, without the dot."""
        return self.format

    @property
    def content_type(self) -> str:
        """The media type of the file."""
        return f"image/{self.format}"

    def render(self) -> bytes:
        """Draw the image: the same bytes for the same spec."""
        draws = seeded(self.endpoint, self.prompt, self.seed)
        picture = draw_pattern(draws, width=self.width, height=self.height)
        size = f"{self.width} x {self.height}"
        detail = f"emulated  ·  {size}  ·  seed {self.seed}  ·  {self.endpoint}"
        draw_caption(picture, self.prompt, detail)
        file = io.BytesIO()
        picture.save(file, self.format.upper(), **OPTIONS[self.format])
        return file.getvalue()
