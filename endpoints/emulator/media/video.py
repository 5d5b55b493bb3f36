"""The clip that a job asked for: a playable MP4 of the right length and shape, drawn small.

A few moving parts over one still picture, few pixels and few frames a second: a clip costs a
fraction of a second, and shows at a glance that it plays.
"""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import av
from PIL import Image, ImageDraw

from endpoints.emulator.media.caption import draw_caption
from endpoints.emulator.media.palette import seeded
from endpoints.emulator.media.patterns import draw_disc, draw_pattern

FRAMES_A_SECOND: Final = 8
LONG_SIDE: Final = 384
PAN: Final = 1.25  # how much larger than a frame the picture is that the frames wander over
BAR: Final = (255, 255, 255, 220)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpec:
    """All that a clip derives from; `width` and `height` give its aspect, in any unit."""

    endpoint: str
    prompt: str
    seed: int
    width: int
    height: int
    seconds: float

    @property
    def extension(self) -> str:
        """What the file's name ends with, without the dot."""
        return "mp4"

    @property
    def content_type(self) -> str:
        """The media type of the file."""
        return "video/mp4"

    def render(self) -> bytes:
        """Draw and encode the clip."""
        file = io.BytesIO()
        with av.open(file, "w", format="mp4") as container:
            options = {"preset": "ultrafast", "crf": "27"}
            stream = container.add_stream("libx264", rate=FRAMES_A_SECOND, options=options)
            width, height = self._frame_size()
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuv420p"
            for picture in self._draw_frames():
                pixels = picture.convert("RGBA").tobytes()
                container.mux(stream.encode(av.VideoFrame.from_bytes(pixels, width, height)))
            container.mux(stream.encode(None))
        return file.getvalue()

    def _frame_size(self) -> tuple[int, int]:
        scale = LONG_SIDE / max(self.width, self.height)
        width, height = (max(2, round(side * scale / 2) * 2) for side in (self.width, self.height))
        return width, height  # even, as the pixel format demands

    def _draw_frames(self) -> Iterator[Image.Image]:
        draws = seeded(self.endpoint, self.prompt, self.seed)
        width, height = self._frame_size()
        scene = draw_pattern(draws, width=round(width * PAN), height=round(height * PAN))
        caption = Image.new("RGBA", (width, height))
        draw_caption(caption, self.prompt, f"emulated  ·  {self.endpoint}  ·  {self.seconds:g} s")
        frames = max(1, round(self.seconds * FRAMES_A_SECOND))
        turn = draws.uniform(0, math.tau)
        for frame in range(frames):
            angle = turn + math.tau * frame / max(frames, 3 * FRAMES_A_SECOND)
            left = round((scene.width - width) * (0.5 + 0.5 * math.cos(angle)))
            top = round((scene.height - height) * (0.5 + 0.5 * math.sin(angle)))
            picture = scene.crop((left, top, left + width, top + height))
            pen = ImageDraw.Draw(picture, "RGBA")
            for moon in range(3):
                orbit = turn + moon * 2.1 + math.tau * frame / FRAMES_A_SECOND / (3 + moon)
                x = width * (0.5 + 0.3 * math.cos(orbit))
                y = height * (0.38 + 0.22 * math.sin(orbit * 1.3))
                draw_disc(pen, x, y, height * (0.05 + 0.02 * moon), (255, 255, 255, 120))
            picture.paste(caption, mask=caption)
            pen.rectangle((0, 0, width * (frame + 1) / frames, 3), fill=BAR)
            yield picture
