"""Files that are whole pass, and files that are cut off, or no files at all, do not."""

import struct
from pathlib import Path

import pytest
from PIL import Image

from endpoints.catalogue import Kind
from tasks.decode import find_damage, find_text, is_media_wanted
from tasks.media import probe
from tests.unit.test_media import (
    write_audio,
    write_huge_png,
    write_picture,
    write_video,
    write_wave,
)


def write_noise(path: Path, *, format_name: str, frames: int = 1) -> Path:
    """A picture that no format packs small."""
    pictures = [Image.effect_noise((160, 120), 90 + n).convert("RGB") for n in range(frames)]
    pictures[0].save(path, format_name, save_all=frames > 1, append_images=pictures[1:])
    return path


PICTURES = ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP", "TIFF"]
RECORDINGS = {
    "wav": lambda path: write_wave(path, seconds=20),
    "flac": lambda path: write_audio(path, codec="flac", seconds=20, container="flac"),
    "mp3": lambda path: write_audio(path, codec="libmp3lame", seconds=20, container="mp3"),
    "m4a": lambda path: write_audio(path, codec="aac", seconds=20, container="ipod"),
    "webm": lambda path: write_audio(path, codec="libopus", seconds=20, container="webm"),
    "mp4": lambda path: write_video(path, codec="libx264", container="mp4", frames=240),
    "faststart": lambda path: write_video(
        path,
        codec="libx264",
        container="mp4",
        frames=240,
        options={"movflags": "faststart"},
    ),
    "fragments": lambda path: write_video(
        path,
        codec="libx264",
        container="mp4",
        frames=240,
        options={"movflags": "frag_keyframe+empty_moov"},
    ),
}


def damage_of(path, *, declared=None):
    return find_damage(path, probe(path, declared=declared), media_wanted=True)


def cut(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


@pytest.mark.parametrize("share", [1.0, 0.9, 0.5])
@pytest.mark.parametrize(
    ("format_name", "frames"),
    [*((name, 1) for name in PICTURES), *((name, 3) for name in ("PNG", "WEBP", "GIF", "TIFF"))],
)
def test_a_picture_is_whole_only_with_its_last_bytes(tmp_path, format_name, frames, share):
    path = write_noise(tmp_path / "picture", format_name=format_name, frames=frames)

    cut(path, share)

    assert (damage_of(path) is None) == (share == 1.0)


@pytest.mark.parametrize("share", [1.0, 0.8, 0.3])
@pytest.mark.parametrize("kind", RECORDINGS)
def test_a_clip_or_recording_is_whole_only_to_its_end(tmp_path, kind, share):
    path = RECORDINGS[kind](tmp_path / "recording")

    cut(path, share)

    assert (damage_of(path) is None) == (share == 1.0)


def test_a_png_that_was_changed_in_one_byte_is_damaged(tmp_path):
    path = write_noise(tmp_path / "picture.png", format_name="PNG")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    assert damage_of(path) is not None


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
def test_a_wave_file_of_open_length_is_whole(tmp_path, length):
    """As programs write it that do not know yet how much will come."""
    path = write_wave(tmp_path / "speech.wav", seconds=2)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", length)
    path.write_bytes(content)

    assert damage_of(path) is None


def test_a_wave_file_without_a_sample_is_damaged(tmp_path):
    assert damage_of(write_wave(tmp_path / "speech.wav", seconds=0)) == "there is nothing in it"


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_a_picture_too_large_to_decode_is_not_decoded_and_passes(tmp_path, side):
    """The file has no pixels: whoever decoded it would find it damaged."""
    assert damage_of(write_huge_png(tmp_path / "bomb.png", side=side)) is None


def test_the_same_picture_of_a_usual_size_is_damaged(tmp_path):
    assert damage_of(write_huge_png(tmp_path / "empty.png", side=600)) is not None


def test_bytes_of_no_known_kind_are_damage_only_where_media_was_wanted(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(1, 256)) * 20)
    media = probe(path, declared="image/png")

    assert find_damage(path, media, media_wanted=True) is not None
    assert find_damage(path, media, media_wanted=False) is None


@pytest.mark.parametrize("content", [b'{"a": [1, 2]}', b"some words", b"a,b\n1,2\n"])
def test_text_is_taken_as_it_is(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)

    media = probe(path, declared="text/plain")

    assert find_damage(path, media, media_wanted=False) is None


@pytest.mark.parametrize(
    ("url", "declared", "kind", "wanted"),
    [
        ("https://files.test/a.png", "text/html", None, True),
        ("https://files.test/a.png?x=y.json", "text/html", None, True),
        ("https://files.test/a.MP4", None, Kind.TEXT, True),
        ("https://files.test/a", "image/png", None, True),
        ("https://files.test/a", "text/html", Kind.IMAGE, True),
        ("https://files.test/a", "text/html", Kind.SPEECH, True),
        ("https://files.test/a", "text/html", Kind.TEXT, False),
        ("https://files.test/a", "text/html", None, False),
        ("https://files.test/a.json", "application/json", Kind.IMAGE, False),
        ("https://files.test/a.html", "text/html", Kind.IMAGE, False),
        ("https://files.test/a.svg", "image/svg+xml", None, False),
        ("data:image/png;base64,AAAA", "image/png", None, True),
        ("data:text/plain,a.png", "text/plain", None, False),
    ],
)
def test_what_is_wanted_is_told_by_url_then_type_then_endpoint(url, declared, kind, wanted):
    assert is_media_wanted(url, declared=declared, kind=kind) is wanted


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"<!doctype html><h1>Busy</h1>", "<!doctype html><h1>Busy</h1>"),
        (b'\xef\xbb\xbf\n<?xml version="1.0"?>\n<Error/>', '<?xml version="1.0"?> <Error/>'),
        (b'{"error": "gone"}', '{"error": "gone"}'),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', None),
        (b"\x00\x01\x02", None),
        (b"\xff\xd8\xff\xe0", None),
    ],
)
def test_a_page_is_told_from_a_file(tmp_path, content, text):
    path = tmp_path / "file"
    path.write_bytes(content)

    assert find_text(path) == text


@pytest.mark.parametrize("format_name", PICTURES)
def test_no_picture_is_taken_for_text(tmp_path, format_name):
    assert find_text(write_picture(tmp_path / "picture", format_name=format_name)) is None
