"""Sheets are drawn and then looked at, pixel by pixel."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from gateway.cli.contact_sheet import MAX_TILES, Tile, draw_contact_sheet

RED = (220, 30, 30)
PAGE, MAT, SPEECH_MAT, PAPER = (244, 242, 237), (234, 231, 224), (228, 235, 241), (251, 247, 238)
MARGIN, HEADER, GAP, PICTURE, CARD_HEIGHT = 96, 168, 24, 300, 440
DETAIL = "endpoint · 1024x1024 · $0.0025"


def picture_bytes(width: int, height: int) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (width, height), RED).save(encoded, "WEBP", lossless=True)
    return encoded.getvalue()


IMAGE = Tile("A red square", DETAIL, "image", picture_bytes(320, 320), None)
VIDEO = Tile("A red film", DETAIL, "video", picture_bytes(320, 180), None)
SPEECH = Tile("Good evening.", "endpoint · 2.5 s · $0.0025", "speech", None, None)
TEXT = Tile("Say something", "endpoint · 12 tokens · $0.0001", "text", None, "A few words.")


def draw(tmp_path: Path, *tiles: Tile, title: str = "A sheet", subtitle: str = "") -> Image.Image:
    path = tmp_path / "sheet.png"
    draw_contact_sheet(tiles, title=title, subtitle=subtitle, path=path)
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        return sheet.convert("RGB")


def result_of(sheet: Image.Image, *, column: int) -> Image.Image:
    """Cut out the picture at the top of a card of the first row."""
    left, top = MARGIN + column * (PICTURE + GAP), MARGIN + HEADER
    return sheet.crop((left, top, left + PICTURE, top + PICTURE))


def colours_of(picture: Image.Image) -> set[object]:
    return {colour for _, colour in picture.getcolors(picture.width * picture.height) or []}


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 4, 1), (12, 4, 3), (27, 6, 5), (48, 8, 6), (57, 8, 8)]
)
def test_the_grid_is_eight_columns_wide_once_there_are_many_tiles(tmp_path, count, columns, rows):
    sheet = draw(tmp_path, *[IMAGE] * count)

    assert sheet.width == 2 * MARGIN + columns * (PICTURE + GAP) - GAP
    assert sheet.height == 2 * MARGIN + HEADER + rows * (CARD_HEIGHT + GAP) - GAP


def test_an_image_that_is_wide_is_letterboxed_and_not_cropped(tmp_path):
    wide = replace(IMAGE, thumbnail=picture_bytes(300, 100))

    result = result_of(draw(tmp_path, wide), column=0)

    assert [result.getpixel((150, y)) for y in (50, 110, 190, 250)] == [MAT, RED, RED, MAT]
    assert [result.getpixel((x, 150)) for x in (1, 298)] == [RED, RED]


def test_a_transparent_image_stands_on_the_mat(tmp_path):
    encoded = io.BytesIO()
    Image.new("RGBA", (100, 100), (0, 0, 0, 0)).save(encoded, "WEBP")

    result = result_of(draw(tmp_path, replace(IMAGE, thumbnail=encoded.getvalue())), column=0)

    assert result.getpixel((150, 150)) == MAT


def test_a_video_is_told_from_an_image_by_its_play_mark(tmp_path):
    sheet = draw(tmp_path, IMAGE, VIDEO)

    assert result_of(sheet, column=0).getpixel((150, 150)) == RED
    assert result_of(sheet, column=1).getpixel((150, 150)) != RED
    assert result_of(sheet, column=1).getpixel((60, 150)) == RED


def test_a_recording_and_a_text_have_cards_of_their_own(tmp_path):
    sheet = draw(tmp_path, SPEECH, TEXT)

    speech, text = result_of(sheet, column=0), result_of(sheet, column=1)

    assert speech.getpixel((150, 20)) == SPEECH_MAT
    assert text.getpixel((150, 20)) == PAPER
    assert min(len(colours_of(speech)), len(colours_of(text))) > 10


def test_recordings_of_different_prompts_look_different(tmp_path):
    sheet = draw(tmp_path, SPEECH, replace(SPEECH, caption="Good morning."), SPEECH)

    first, second, third = (result_of(sheet, column=column).tobytes() for column in range(3))

    assert first != second
    assert first == third


@pytest.mark.parametrize(
    "tile",
    [
        replace(IMAGE, thumbnail=None),
        replace(IMAGE, thumbnail=b"no picture"),
        replace(IMAGE, thumbnail=picture_bytes(320, 320)[:40]),
        replace(VIDEO, thumbnail=None),
        replace(TEXT, text=None),
        replace(SPEECH, failed=True),
        replace(IMAGE, failed=True),
    ],
)
def test_a_tile_with_nothing_to_show_says_so_on_a_muted_card(tmp_path, tile):
    nothing = result_of(draw(tmp_path, Tile("", "", "image", None, None)), column=0)

    result = result_of(draw(tmp_path, tile), column=0)

    assert result.tobytes() == nothing.tobytes()
    assert result.getpixel((150, 40)) == MAT
    assert len(colours_of(result)) > 2


@pytest.mark.parametrize("text", ["word " * 2000, "w" * 10_000, "w " * 5_000, "a\n\tb " * 500])
def test_text_of_any_length_stays_inside_its_card(tmp_path, text):
    tile = Tile(text, f"{text} · {text}", "text", None, text)

    sheet = draw(tmp_path, tile, tile, title=text, subtitle=text)

    right = MARGIN + PICTURE
    between = sheet.crop((right + 2, MARGIN + HEADER, right + GAP - 2, sheet.height))
    below = sheet.crop((0, sheet.height - MARGIN + 2, sheet.width, sheet.height))
    beside = sheet.crop((sheet.width - MARGIN + 2, 0, sheet.width, sheet.height))
    assert colours_of(between) | colours_of(below) | colours_of(beside) == {PAGE}


@pytest.mark.parametrize(
    "text",
    [
        "桜の木の下で眠る猫",
        "кот",
        "قطة",
        "🦊🧵",
        "Łódź, naïve café — 3 \u00d7 4",
        "\ud800",
        "\x00\x07",
        "",
    ],
)
def test_text_in_any_script_is_drawn_without_an_error(tmp_path, text):
    tile = Tile(text, text, "text", None, text)

    sheet = draw(tmp_path, tile, replace(tile, kind="speech"), title=text, subtitle=text)

    assert len(colours_of(sheet)) > 10


def test_letters_that_the_font_lacks_are_written_as_near_as_it_can(tmp_path):
    accented = draw(tmp_path, replace(TEXT, text="Łódź — café \u00d7 ¿qué?"))

    plain = draw(tmp_path, replace(TEXT, text="Lodz - cafe x que?"))

    assert accented.tobytes() == plain.tobytes()


@pytest.mark.parametrize("count", [0, MAX_TILES + 1])
def test_a_number_of_tiles_that_makes_no_sheet_is_refused(tmp_path, count):
    with pytest.raises(ValueError, match=f"tiles: came {count}, wanted 1 to {MAX_TILES}"):
        draw(tmp_path, *[IMAGE] * count)
