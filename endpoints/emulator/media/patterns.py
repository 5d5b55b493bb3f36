"""Pictures made of a few shapes in a few colours: cheap to draw, and no two alike.

They are drawn small and scaled up, which costs a tenth and smooths every edge.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from PIL import Image, ImageDraw

from endpoints.emulator.media.palette import Colour, blend, pick_palette

Pattern: TypeAlias = Callable[[Image.Image, random.Random, Sequence[Colour]], None]

DRAWN_LONG_SIDE: Final = 512


def draw_pattern(draws: random.Random, *, width: int, height: int) -> Image.Image:
    """Return an RGB picture of exactly `width` x `height` pixels."""
    scale = min(1.0, DRAWN_LONG_SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    palette = pick_palette(draws)
    picture = draw_gradient(size, palette[0], blend(palette[0], palette[1], 0.9))
    draws.choice(PATTERNS)(picture, draws, palette)
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def draw_gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """Return a picture that runs from `top` to `bottom`."""
    column = Image.new("RGB", (1, 24))
    column.putdata([blend(top, bottom, row / 23) for row in range(24)])
    return column.resize(size, Image.Resampling.BILINEAR)


def draw_hills(picture: Image.Image, draws: random.Random, palette: Sequence[Colour]) -> None:
    """Ranges of hills below a low sun."""
    width, height = picture.size
    ground, *_, light = palette
    sky = draw_gradient(picture.size, blend(palette[3], light, 0.6), blend(palette[2], light, 0.2))
    picture.paste(sky)
    pen = ImageDraw.Draw(picture, "RGBA")
    x, y = width * draws.uniform(0.2, 0.8), height * draws.uniform(0.2, 0.42)
    for radius, opacity in ((0.2, 60), (0.15, 90), (0.1, 255)):
        draw_disc(pen, x, y, radius * min(width, height), (*light, opacity))
    for layer in range(5):
        colour = blend(palette[1], ground, layer / 4)
        colour = blend(colour, palette[3], 0.45 - layer * 0.11)
        base = height * (0.42 + 0.11 * layer)
        waves = [
            (draws.uniform(4, 21) / width, draws.uniform(0, math.tau), draws.uniform(0.01, 0.06))
            for _ in range(3)
        ]
        ridge = [
            (step, base + height * sum(a * math.sin(f * step + p) for f, p, a in waves))
            for step in range(0, width + 8, 8)
        ]
        pen.polygon([(0, height), *ridge, (width, height)], fill=colour)


def draw_tiles(picture: Image.Image, draws: random.Random, palette: Sequence[Colour]) -> None:
    """A wall of tiles with discs, halves and quarters on them."""
    width, height = picture.size
    pen = ImageDraw.Draw(picture)
    across = draws.choice((4, 5, 6))
    side = max(width, height) / across
    for row in range(math.ceil(height / side)):
        for column in range(math.ceil(width / side)):
            ground, figure, dot = draws.sample(palette, 3)
            x, y = column * side, row * side
            pen.rectangle((x, y, x + side, y + side), fill=ground)
            shape = draws.randrange(4)
            if shape == 0:
                corner_x, corner_y = x + side * draws.randrange(2), y + side * draws.randrange(2)
                square = (corner_x - side, corner_y - side, corner_x + side, corner_y + side)
                start = (0 if corner_x == x else 90) if corner_y == y else 180
                start = 270 if (corner_x == x and corner_y != y) else start
                pen.pieslice(square, start, start + 90, fill=figure)
            elif shape == 1:
                pen.pieslice((x, y, x + side, y + side), *_half(draws), fill=figure)
            else:
                draw_disc(pen, x + side / 2, y + side / 2, side * 0.42, figure)
                draw_disc(pen, x + side / 2, y + side / 2, side * 0.2, dot)


def draw_ripples(picture: Image.Image, draws: random.Random, palette: Sequence[Colour]) -> None:
    """Rings that spread from two points."""
    width, height = picture.size
    pen = ImageDraw.Draw(picture, "RGBA")
    reach = math.hypot(width, height)
    for opacity in (255, 120):
        x, y = width * draws.uniform(0.1, 0.9), height * draws.uniform(0.1, 0.7)
        rings = draws.randrange(9, 15)
        for ring in range(rings, 0, -1):
            colour = palette[(ring + rings) % len(palette)]
            draw_disc(pen, x, y, reach * (ring / rings) ** 1.3 * 0.9, (*colour, opacity))


def draw_ribbons(picture: Image.Image, draws: random.Random, palette: Sequence[Colour]) -> None:
    """Waves that lie over each other like cloth."""
    width, height = picture.size
    pen = ImageDraw.Draw(picture)
    bands = draws.randrange(9, 14)
    frequency, slope = draws.uniform(0.7, 1.6), draws.uniform(-0.5, 0.5) * height
    phase, drift = draws.uniform(0, math.tau), draws.uniform(0.25, 0.6)
    for band in range(bands):
        share = band / (bands - 1)
        step = share * (len(palette) - 1)
        low = min(int(step), len(palette) - 2)
        colour = blend(palette[low], palette[low + 1], step - low)
        top = height * (share * 1.25 - 0.3)
        edge = [
            (
                x,
                top
                + slope * (x / width - 0.5)
                + height * 0.09 * math.sin(frequency * math.tau * x / width + phase + band * drift),
            )
            for x in range(0, width + 8, 8)
        ]
        pen.polygon([(0, height), *edge, (width, height)], fill=colour)


def draw_orbs(picture: Image.Image, draws: random.Random, palette: Sequence[Colour]) -> None:
    """Glass balls that overlap."""
    width, height = picture.size
    pen = ImageDraw.Draw(picture, "RGBA")
    for _ in range(draws.randrange(14, 22)):
        radius = min(width, height) * draws.uniform(0.06, 0.3)
        x, y = draws.uniform(0, width), draws.uniform(0, height * 0.9)
        colour = draws.choice(palette[1:])
        draw_disc(pen, x, y, radius, (*colour, 150))
        draw_disc(pen, x - radius * 0.3, y - radius * 0.3, radius * 0.35, (255, 255, 255, 50))


def draw_rays(picture: Image.Image, draws: random.Random, palette: Sequence[Colour]) -> None:
    """Beams around a sun."""
    width, height = picture.size
    pen = ImageDraw.Draw(picture)
    x, y = width * draws.uniform(0.25, 0.75), height * draws.uniform(0.3, 0.6)
    reach = math.hypot(width, height)
    beams = draws.choice((20, 24, 30, 36))
    turn = draws.uniform(0, math.tau)
    for beam in range(beams):
        start, end = (turn + math.tau * (beam + side) / beams for side in (0.0, 1.0))
        corners = [(x + reach * math.cos(a), y + reach * math.sin(a)) for a in (start, end)]
        pen.polygon([(x, y), *corners], fill=palette[beam % 2 + (beam % 4 == 3)])  # noqa: PLR2004
    for ring, radius in enumerate((0.3, 0.24, 0.17, 0.1)):
        draw_disc(pen, x, y, radius * min(width, height), palette[4 - ring % 3])


def draw_facets(picture: Image.Image, draws: random.Random, palette: Sequence[Colour]) -> None:
    """A crumpled sheet: triangles, each at its own angle to the light."""
    width, height = picture.size
    pen = ImageDraw.Draw(picture)
    side = max(width, height) / draws.choice((7, 9, 11))
    columns, rows = math.ceil(width / side) + 2, math.ceil(height / side) + 2
    knots = [
        [
            (side * (c - 0.5 + draws.uniform(0, 0.7)), side * (r - 0.5 + draws.uniform(0, 0.7)))
            for c in range(columns)
        ]
        for r in range(rows)
    ]
    tilt = draws.uniform(-0.6, 0.6)
    for r in range(rows - 1):
        for c in range(columns - 1):
            a, b = knots[r][c], knots[r][c + 1]
            d, e = knots[r + 1][c], knots[r + 1][c + 1]
            for triangle in ((a, b, d), (b, e, d)):
                share = (r / rows + tilt * c / columns + draws.uniform(-0.12, 0.12)) % 1.0
                step = abs(1 - 2 * share) * (len(palette) - 1)
                low = min(int(step), len(palette) - 2)
                pen.polygon(triangle, fill=blend(palette[low], palette[low + 1], step - low))


def draw_clouds(picture: Image.Image, draws: random.Random, palette: Sequence[Colour]) -> None:
    """Colours that melt into each other, with sparks in front."""
    width, height = picture.size
    seedlings = Image.new("RGB", (5, 5))
    tilt = draws.uniform(-1, 1)
    spots = []
    for y in range(5):
        for x in range(5):
            step = (y + tilt * (x - 2) + draws.uniform(-1.1, 1.1)) % 8
            low = int(min(step, 8 - step))  # there and back, so that neighbours stay alike
            spots.append(blend(palette[low], palette[min(low + 1, 4)], draws.random()))
    seedlings.putdata(spots)
    picture.paste(seedlings.resize(picture.size, Image.Resampling.BICUBIC))
    pen = ImageDraw.Draw(picture, "RGBA")
    for _ in range(70):
        spark = draws.uniform(0, width), draws.uniform(0, height), draws.uniform(0.6, 3.2)
        draw_disc(pen, *spark, (255, 255, 255, draws.randrange(60, 200)))


def draw_disc(
    pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: tuple[int, ...]
) -> None:
    """Fill the circle around (x, y)."""
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _half(draws: random.Random) -> tuple[int, int]:
    start = draws.choice((0, 90, 180, 270))
    return start, start + 180


PATTERNS: Final[tuple[Pattern, ...]] = (
    draw_hills,
    draw_tiles,
    draw_ripples,
    draw_ribbons,
    draw_orbs,
    draw_rays,
    draw_facets,
    draw_clouds,
)
