"""Real files, made here, through `probe` and `make_thumbnail`."""

import io
import struct
import wave
import zlib
from pathlib import Path

import av
import pytest
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image

from tasks.media import Media, make_thumbnail, probe

ORIENTATION = 0x0112
TURNED_RIGHT = 6  # EXIF: show it turned 90 degrees clockwise
RED, BLUE = (220, 20, 20), (20, 20, 220)


def write_picture(path: Path, *, format_name: str, size=(96, 64)) -> Path:
    Image.new("RGB", size, RED).save(path, format_name)
    return path


def write_wave(path: Path, *, seconds: float, rate: int = 8000) -> Path:
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(rate)
        recording.writeframes(bytes(2 * int(seconds * rate)))
    return path


def write_audio(path: Path, *, codec: str, seconds: int, container: str) -> Path:
    rate = 48000
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)
        samples = stream.codec_context.frame_size or 1024
        for start in range(0, seconds * rate, samples):
            frame = av.AudioFrame(format=stream.format.name, layout="mono", samples=samples)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts = rate, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def write_video(path: Path, *, codec: str, container: str, frames: int = 12, options=None) -> Path:
    """A clip of 64 x 48 pixels and 12 frames a second: red, then blue."""
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=12)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            colour = RED if number == 0 else BLUE
            frame = av.VideoFrame(64, 48, "rgb24")
            frame.planes[0].update(bytes(colour) * 64 * 48)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def write_huge_png(path: Path, *, side: int) -> Path:
    """A PNG of a few bytes whose header promises `side` x `side` pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def open_thumbnail(path: Path, **options) -> Image.Image:
    encoded = make_thumbnail(path, probe(path, declared=None), **options)
    assert encoded is not None
    return Image.open(io.BytesIO(encoded))


def is_red(picture: Image.Image, *, at: tuple[int, int]) -> bool:
    colour = picture.convert("RGB").getpixel(at)
    assert isinstance(colour, tuple)
    return colour[0] > 180 and max(colour[1:]) < 80


@pytest.mark.parametrize(
    ("format_name", "media_type", "extension"),
    [
        ("PNG", "image/png", ".png"),
        ("JPEG", "image/jpeg", ".jpg"),
        ("WEBP", "image/webp", ".webp"),
        ("GIF", "image/gif", ".gif"),
        ("AVIF", "image/avif", ".avif"),
    ],
)
def test_an_image_is_known_by_its_bytes_and_not_by_its_name_or_header(
    tmp_path, format_name, media_type, extension
):
    path = write_picture(tmp_path / "picture.txt", format_name=format_name)

    media = probe(path, declared="text/plain")

    assert media == Media(media_type, extension, width=96, height=64)


@pytest.mark.parametrize(
    ("codec", "container", "media_type", "extension"),
    [
        ("flac", "flac", "audio/flac", ".flac"),
        ("libopus", "ogg", "audio/ogg", ".ogg"),
        ("libmp3lame", "mp3", "audio/mpeg", ".mp3"),
        ("aac", "ipod", "audio/mp4", ".m4a"),
        ("libopus", "webm", "audio/webm", ".webm"),
    ],
)
def test_a_recording_has_a_type_and_a_length_in_seconds(
    tmp_path, codec, container, media_type, extension
):
    path = write_audio(tmp_path / "speech", codec=codec, seconds=2, container=container)

    media = probe(path, declared=None)

    assert (media.media_type, media.extension) == (media_type, extension)
    assert (media.width, media.height) == (None, None)
    assert media.duration_seconds == pytest.approx(2, abs=0.1)


def test_a_wave_file_is_measured_to_the_sample(tmp_path):
    path = write_wave(tmp_path / "speech.wav", seconds=1.25)

    media = probe(path, declared="audio/x-wav")

    assert media == Media("audio/wav", ".wav", duration_seconds=1.25)


def test_a_streamed_wave_file_with_no_size_in_its_header_is_measured(tmp_path):
    path = write_wave(tmp_path / "speech.wav", seconds=1.25)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)

    media = probe(path, declared=None)

    assert media.duration_seconds == 1.25


def test_an_mp3_without_a_tag_is_known_by_its_first_frame(tmp_path):
    path = write_audio(tmp_path / "speech", codec="libmp3lame", seconds=1, container="mp3")
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\xff\xfb") :])

    media = probe(path, declared=None)

    assert media.media_type == "audio/mpeg"
    assert media.duration_seconds == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("codec", "container", "media_type", "extension"),
    [
        ("libx264", "mp4", "video/mp4", ".mp4"),
        ("libx264", "mov", "video/quicktime", ".mov"),
        ("libvpx", "webm", "video/webm", ".webm"),
        ("libx264", "matroska", "video/x-matroska", ".mkv"),
    ],
)
def test_a_clip_has_a_type_a_size_and_a_length(tmp_path, codec, container, media_type, extension):
    path = write_video(tmp_path / "clip", codec=codec, container=container)

    media = probe(path, declared="application/octet-stream")

    assert (media.media_type, media.extension) == (media_type, extension)
    assert (media.width, media.height) == (64, 48)
    assert media.duration_seconds == pytest.approx(1, abs=0.05)


def test_a_live_clip_without_a_length_in_its_header_is_measured_from_its_packets(tmp_path):
    path = write_video(
        tmp_path / "live.webm", codec="libvpx", container="webm", options={"live": "1"}
    )

    media = probe(path, declared=None)

    assert media.duration_seconds == pytest.approx(1, abs=0.1)


def test_a_broken_clip_keeps_its_type_and_has_no_measures(tmp_path):
    path = write_video(tmp_path / "clip.mp4", codec="libx264", container="mp4")
    path.write_bytes(path.read_bytes()[:200])

    media = probe(path, declared=None)

    assert media == Media("video/mp4", ".mp4")
    assert make_thumbnail(path, media) is None


def test_a_playlist_is_never_opened_as_a_video(tmp_path):
    write_video(tmp_path / "clip.mp4", codec="libx264", container="mp4")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path / 'clip.mp4'}\n#EXT-X-ENDLIST\n")

    media = probe(playlist, declared="video/mp4")

    assert media.width is None
    assert not media.media_type.startswith("video/")


@pytest.mark.parametrize(
    ("content", "declared", "media_type", "extension"),
    [
        (b"Once upon a time", "text/plain; charset=utf-8", "text/plain", ".txt"),
        (b'{"answer": 42}', "Application/JSON", "application/json", ".json"),
        (b"", "text/csv", "text/csv", ".csv"),
        (("x" * 4095 + "é").encode(), "text/plain", "text/plain", ".txt"),
        (b"%PDF-1.7\n\xff", "application/pdf", "application/pdf", ".pdf"),
        (b"Once upon a time", None, "application/octet-stream", ".bin"),
        (b"<html>gone</html>", "application/json", "application/octet-stream", ".bin"),
        (b"<html>gone</html>", "image/png", "application/octet-stream", ".bin"),
        (b"caf\xe9", "text/plain", "application/octet-stream", ".bin"),
        (b"a\x00b", "text/plain", "application/octet-stream", ".bin"),
        (b"\x00\x01\x02\x03", "video/mp4", "application/octet-stream", ".bin"),
        (b"", None, "application/octet-stream", ".bin"),
    ],
)
def test_a_declared_type_is_believed_only_where_the_bytes_allow_it(
    tmp_path, content, declared, media_type, extension
):
    path = tmp_path / "file"
    path.write_bytes(content)

    media = probe(path, declared=declared)

    assert media == Media(media_type, extension)


def test_a_missing_file_is_an_error_and_not_a_type(tmp_path):
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "absent.png", declared="image/png")


def test_a_thumbnail_fits_its_longest_side_and_keeps_the_proportions(tmp_path):
    path = write_picture(tmp_path / "wide.png", format_name="PNG", size=(1200, 600))

    thumbnail = open_thumbnail(path, longest_side=100)

    assert thumbnail.format == "WEBP"
    assert thumbnail.size == (100, 50)


def test_a_thumbnail_never_enlarges_a_small_image(tmp_path):
    path = write_picture(tmp_path / "small.png", format_name="PNG", size=(40, 30))

    thumbnail = open_thumbnail(path)

    assert thumbnail.size == (40, 30)


def test_a_thumbnail_of_a_turned_photograph_is_upright(tmp_path):
    path = tmp_path / "photograph.jpg"
    photograph = Image.new("RGB", (800, 400), BLUE)
    photograph.paste(RED, (0, 0, 400, 400))
    exif = photograph.getexif()
    exif[ORIENTATION] = TURNED_RIGHT
    photograph.save(path, exif=exif)

    thumbnail = open_thumbnail(path)

    assert thumbnail.size == (160, 320)
    assert is_red(thumbnail, at=(80, 40))  # its left half is now on top


def test_a_thumbnail_keeps_transparency(tmp_path):
    path = tmp_path / "sticker.png"
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(path)

    thumbnail = open_thumbnail(path)

    assert thumbnail.convert("RGBA").getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize(("codec", "container"), [("libx264", "mp4"), ("libvpx", "webm")])
def test_the_thumbnail_of_a_video_is_its_first_frame(tmp_path, codec, container):
    path = write_video(tmp_path / "clip", codec=codec, container=container)

    thumbnail = open_thumbnail(path)

    assert thumbnail.size == (64, 48)
    assert is_red(thumbnail, at=(32, 24))


def test_a_recording_has_no_thumbnail(tmp_path):
    path = write_wave(tmp_path / "speech.wav", seconds=0.1)

    thumbnail = make_thumbnail(path, probe(path, declared=None))

    assert thumbnail is None


def test_a_broken_image_has_no_thumbnail(tmp_path):
    path = write_picture(tmp_path / "picture.png", format_name="PNG", size=(300, 300))
    path.write_bytes(path.read_bytes()[:120])

    thumbnail = make_thumbnail(path, probe(path, declared=None))

    assert thumbnail is None


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_an_image_that_would_fill_the_memory_is_known_and_not_decoded(tmp_path, side):
    path = write_huge_png(tmp_path / "bomb.png", side=side)

    media = probe(path, declared=None)

    assert media.media_type == "image/png"
    assert make_thumbnail(path, media) is None


def test_a_thumbnail_of_a_file_that_has_gone_is_none(tmp_path):
    media = Media("image/png", ".png", width=10, height=10)

    thumbnail = make_thumbnail(tmp_path / "absent.png", media)

    assert thumbnail is None
