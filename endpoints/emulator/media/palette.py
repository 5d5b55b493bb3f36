"""Colours that go together, and a source of draws that is the same for the same words."""

import random
from typing import Final, TypeAlias

Colour: TypeAlias = tuple[int, int, int]

# Dark ground first, then from deep to light: what is drawn later stands nearer and is lighter.
PALETTES: Final[tuple[tuple[str, ...], ...]] = (
    ("1b2a41", "324a5f", "e07a5f", "f2cc8f", "f4f1de"),
    ("22223b", "4a4e69", "9a8c98", "c9ada7", "f2e9e4"),
    ("264653", "2a9d8f", "e9c46a", "f4a261", "e76f51"),
    ("2d3142", "4f5d75", "ef8354", "bfc0c0", "ffffff"),
    ("3d405b", "81b29a", "e07a5f", "f2cc8f", "f4f1de"),
    ("0b3954", "087e8b", "ff5a5f", "c81d25", "bfd7ea"),
    ("432371", "714674", "9f6976", "cc8b79", "faae7b"),
    ("1d3557", "457b9d", "e63946", "a8dadc", "f1faee"),
    ("2b2d42", "8d99ae", "ef233c", "d90429", "edf2f4"),
    ("132a13", "31572c", "4f772d", "90a955", "ecf39e"),
    ("03045e", "0077b6", "00b4d8", "90e0ef", "caf0f8"),
    ("370617", "6a040f", "d00000", "f48c06", "ffba08"),
    ("231942", "5e548e", "9f86c0", "be95c4", "e0b1cb"),
    ("283618", "606c38", "bc6c25", "dda15e", "fefae0"),
    ("355070", "6d597a", "b56576", "e56b6f", "eaac8b"),
    ("10002b", "3c096c", "7b2cbf", "c77dff", "e0aaff"),
    ("0d3b66", "f95738", "ee964b", "f4d35e", "faf0ca"),
    ("004e64", "00a5cf", "25a18e", "7ae582", "9fffcb"),
)


def seeded(*words: object) -> random.Random:
    """Return a generator that is determined by `words`, on any machine."""
    # JSON may hold half a surrogate pair, which is no text but must not be fatal.
    key = "\x1f".join(map(str, words)).encode(errors="surrogatepass")
    return random.Random(key)  # noqa: S311 -- draws, not secrets


def pick_palette(draws: random.Random) -> list[Colour]:
    """Return five colours, the ground first."""
    return [hex_colour(code) for code in draws.choice(PALETTES)]


def hex_colour(code: str) -> Colour:
    """Return the colour that six hexadecimal digits name."""
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


def blend(one: Colour, other: Colour, share: float) -> Colour:
    """Return the colour that lies `share` of the way from `one` to `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
