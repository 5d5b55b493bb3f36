"""The emulator's files are real: they open, have the asked size and length, and vary by seed."""

import dataclasses
import io
import time

import av
import pytest
from PIL import Image

from endpoints.catalogue import Kind
from endpoints.emulator.frames import frame_size
from endpoints.emulator.media import (
    ClipSpec,
    ImageSpec,
    SpeechSpec,
    count_tokens,
    speech_seconds,
    write_text,
)
from endpoints.emulator.media.caption import load_font, wrap

PROMPT = "A paper boat drifting down a rainy street, macro, slow motion"
IMAGE = ImageSpec(
    endpoint="z-image-turbo", prompt=PROMPT, seed=1, width=512, height=320, format="jpeg"
)
CLIP = ClipSpec(endpoint="p-video", prompt=PROMPT, seed=1, width=1280, height=720, seconds=2)


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_an_image_opens_in_the_asked_format_and_size(name):
    content = dataclasses.replace(IMAGE, format=name).render()

    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        assert (picture.format, picture.size) == (name.upper(), (512, 320))


@pytest.mark.parametrize("spec", [IMAGE, CLIP])
def test_the_same_spec_gives_the_same_bytes_and_another_seed_gives_others(spec):
    first, again = spec.render(), spec.render()
    other = dataclasses.replace(spec, seed=2).render()

    assert first == again
    assert first != other


def test_images_of_different_seeds_differ_to_the_eye():
    thumbnails = set()
    for seed in range(48):
        with Image.open(io.BytesIO(dataclasses.replace(IMAGE, seed=seed).render())) as picture:
            thumbnails.add(picture.resize((4, 2), Image.Resampling.BOX).tobytes())

    assert len(thumbnails) == 48


def test_an_image_of_a_megapixel_costs_some_hundredths_of_a_second():
    spec = dataclasses.replace(IMAGE, width=1024, height=1024)
    began = time.process_time()

    for seed in range(8):
        dataclasses.replace(spec, seed=seed).render()

    assert (time.process_time() - began) / 8 < 0.1


@pytest.mark.parametrize("prompt", ["", "東京の夜 🦊", "x" * 5000, "a\n\nb\tc", "\ud800"])
@pytest.mark.parametrize(("width", "height"), [(256, 256), (64, 1024), (1024, 16)])
def test_any_prompt_fits_any_size(prompt, width, height):
    spec = dataclasses.replace(IMAGE, prompt=prompt, width=width, height=height)

    with Image.open(io.BytesIO(spec.render())) as picture:
        assert picture.size == (width, height)


def test_a_wrapped_caption_stays_inside_its_room_and_says_that_it_was_cut():
    font = load_font(20)

    lines = wrap(PROMPT * 5, font, 200, most=3)

    assert len(lines) == 3
    assert all(font.getlength(line) <= 200 for line in lines)
    assert lines[-1].endswith("…")


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (720, 1280), (1, 1), (21, 9)])
@pytest.mark.parametrize("seconds", [1, 2.5, 10])
def test_a_clip_plays_as_long_as_asked_in_the_asked_shape(width, height, seconds):
    spec = dataclasses.replace(CLIP, width=width, height=height, seconds=seconds)

    with av.open(io.BytesIO(spec.render()), "r") as clip:
        frames = list(clip.decode(video=0))
        duration = (clip.duration or 0) / av.time_base

    assert duration == pytest.approx(seconds, abs=0.15)
    assert frames[0].width / frames[0].height == pytest.approx(width / height, rel=0.02)
    assert frames[0].to_image().tobytes() != frames[-1].to_image().tobytes()


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "mp3"])
def test_speech_plays_as_long_as_its_text_takes(name):
    prompt = PROMPT * 3
    seconds = speech_seconds(prompt)

    content = SpeechSpec(prompt=prompt, voice="lucy", seconds=seconds, format=name).render()

    with av.open(io.BytesIO(content), "r") as recording:
        played = sum(frame.samples / frame.rate for frame in recording.decode(audio=0))
    assert seconds == pytest.approx(len(prompt) / 15, abs=0.001)
    assert played == pytest.approx(seconds, abs=0.1)


def test_speech_of_what_is_no_text_plays_all_the_same():
    assert SpeechSpec(prompt="\ud800", voice="lucy", seconds=0.6, format="wav").render()


def test_voices_sound_different():
    spec = SpeechSpec(prompt=PROMPT, voice="lucy", seconds=2.0, format="wav")

    assert spec.render() != dataclasses.replace(spec, voice="aaron").render()


def test_a_text_speaks_of_its_prompt_in_sentences_and_counts_its_tokens():
    written = write_text("Explain the tides", seed=1, max_tokens=500)

    assert written == write_text("Explain the tides", seed=1, max_tokens=500)
    assert written != write_text("Explain the tides", seed=2, max_tokens=500)
    assert "tides" in written.text
    assert written.text.count(". ") >= 4
    assert written.output_tokens == count_tokens(written.text)


def test_a_text_never_has_more_tokens_than_allowed():
    assert write_text("Explain the tides", seed=1, max_tokens=5).output_tokens == 5


@pytest.mark.parametrize(
    ("values", "kind", "size"),
    [
        ({"width": 640, "height": 512}, Kind.IMAGE, (640, 512)),
        ({"size": "1440*1024"}, Kind.IMAGE, (1440, 1024)),
        ({"size": "720p"}, Kind.VIDEO, (1280, 720)),
        ({"aspect_ratio": "9:16", "resolution": "720p"}, Kind.VIDEO, (720, 1280)),
        ({"aspect_ratio": "1:1"}, Kind.IMAGE, (1024, 1024)),
        ({"aspect_ratio": "16:9"}, Kind.IMAGE, (1360, 768)),
        ({"aspect_ratio": "match_input_image"}, Kind.IMAGE, (1024, 1024)),
        ({"resolution": "4k", "aspect_ratio": "1:1"}, Kind.IMAGE, (4096, 4096)),
        ({}, Kind.VIDEO, (1360, 768)),
    ],
)
def test_a_size_is_read_in_whichever_way_it_is_given(values, kind, size):
    assert frame_size(values, kind=kind) == size
