"""What is read from the outputs of endpoints, documented, seen elsewhere, and anybody's own."""

import base64
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.catalogue import FileRef, Result, load_catalogue, read_result

FLUX = load_catalogue().find("black-forest-labs-flux-1-dev")
WAN = load_catalogue().find("wan-2-5")
CHATTERBOX = load_catalogue().find("chatterbox-turbo")
QWEN = load_catalogue().find("qwen3-32b-awq")
GRANITE = load_catalogue().find("granite-4-0-h-small")

PNG = "https://image.example/abc.png"
MP4 = "https://video.example/abc.mp4"
BARE = "https://image.example/abc"  # nothing in it says what it is
PNG_BYTES = b"\x89PNG\r\n\x1a\n" + bytes(90)
PNG_TEXT = base64.b64encode(PNG_BYTES).decode()
DATA_URL = f"data:image/png;base64,{PNG_TEXT}"


def found(output, endpoint=None):
    return [(file.url, file.field) for file in read_result(endpoint, output).files]


@pytest.mark.parametrize(
    ("endpoint", "output", "files"),
    [
        (FLUX, {"image_url": BARE, "cost": 0.02}, [(BARE, "output.image_url")]),
        (WAN, {"video_url": MP4, "cost": 0.5}, [(MP4, "output.video_url")]),
        (WAN, {"result": MP4, "cost": 0.5}, [(MP4, "output.result")]),
        (WAN, {"url": BARE}, [(BARE, "output.url")]),
        (WAN, BARE, [(BARE, "output")]),
        (CHATTERBOX, {"audio_url": BARE}, [(BARE, "output.audio_url")]),
        (FLUX, [PNG, BARE], [(PNG, "output[0]"), (BARE, "output[1]")]),
        (FLUX, [{"image_url": BARE}], [(BARE, "output[0].image_url")]),
        (FLUX, {"image_url": PNG, "result": PNG}, [(PNG, "output.image_url")]),
        (FLUX, {"image_url": DATA_URL}, [(DATA_URL, "output.image_url")]),
        (FLUX, {"image": PNG_TEXT}, [(DATA_URL, "output.image")]),
        (FLUX, PNG_TEXT, [(DATA_URL, "output")]),
    ],
)
def test_the_files_of_a_listed_endpoint_are_found_in_every_known_shape(endpoint, output, files):
    assert found(output, endpoint) == files


@pytest.mark.parametrize(
    ("output", "files"),
    [
        ({"images": [BARE, PNG]}, [(BARE, "output.images[0]"), (PNG, "output.images[1]")]),
        ({"images": [{"url": BARE}]}, [(BARE, "output.images[0].url")]),
        ({"data": [{"url": BARE}]}, [(BARE, "output.data[0].url")]),
        ({"data": [{"b64_json": PNG_TEXT}]}, [(DATA_URL, "output.data[0].b64_json")]),
        ({"videoUrl": BARE}, [(BARE, "output.videoUrl")]),
        ({"a": {"b": {"whatever": PNG}}}, [(PNG, "output.a.b.whatever")]),
        ({"x": MP4 + "?signature=a.b"}, [(MP4 + "?signature=a.b", "output.x")]),
        ({"x": "HTTPS://a.example/B.JPEG"}, [("HTTPS://a.example/B.JPEG", "output.x")]),
        ({"result": {"outputs": [{"file": BARE}]}}, [(BARE, "output.result.outputs[0].file")]),
    ],
)
def test_the_files_of_an_unlisted_endpoint_are_found_by_name_or_extension(output, files):
    assert found(output) == files


@pytest.mark.parametrize(
    "output",
    [
        {"docs_url": BARE, "status_url": BARE, "id": BARE},
        {"model": {"url": BARE}},
        {"image": {"page": BARE}},
        {"result": "https://example.com/report.html"},
        {"input": {"image": PNG, "audio": PNG}},
        {"input_image": PNG, "source_url": PNG, "webhook": PNG},
        {"prompt": PNG, "usage": {"url": PNG}},
        {"note": f"see {PNG} for more"},
        {"image": "fox.png"},
        {"image": "ftp://example.com/fox.png"},
        {"image": "https://"},
        {"image": "data:text/plain,hello"},
        {"image": "iVBORw0KGgo"},
        {"image": "A" * 4000},
        {"note": PNG_TEXT + " and more text"},
        {"choices": [{"text": PNG}]},
    ],
)
def test_no_file_is_invented(output):
    assert found(output) == []


@pytest.mark.parametrize(
    ("start", "media_type"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVE", "audio/wav"),
        (b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        (b"\x00\x00\x00\x20ftypM4A ", "audio/mp4"),
        (b"ID3\x04", "audio/mpeg"),
        (b"OggS", "audio/ogg"),
        (b"fLaC", "audio/flac"),
    ],
)
def test_base64_text_becomes_a_data_url_of_its_kind(start, media_type):
    raw = start + bytes(range(100))
    wrapped = base64.encodebytes(raw).decode()  # in lines, as in mail

    [file] = read_result(None, {"anything": wrapped}).files

    assert file.url == f"data:{media_type};base64,{base64.b64encode(raw).decode()}"


def test_the_text_of_a_listed_reply_is_read_with_its_tokens_and_cost():
    output = [
        {
            "choices": [{"tokens": ["A fox ", "in the snow."]}],
            "cost": 0.0001,
            "usage": {"input": 10, "output": 100},
        }
    ]

    result = read_result(QWEN, output)

    assert result == Result(
        text="A fox in the snow.", cost=Decimal("0.0001"), input_tokens=10, output_tokens=100
    )


def test_the_text_of_an_object_is_read_with_its_tokens_and_cost():
    output = {
        "choices": [{"tokens": ["A fox."]}],
        "cost": "0.00185",
        "usage": {"input": "35", "output": 150.0},
    }

    result = read_result(GRANITE, output)

    assert result == Result(
        text="A fox.", cost=Decimal("0.00185"), input_tokens=35, output_tokens=150
    )


def test_a_reply_in_openai_s_words_is_read():
    output = {
        "choices": [{"message": {"role": "assistant", "content": "A fox."}}],
        "usage": {"prompt_tokens": 35, "completion_tokens": 4, "total_tokens": 39},
    }

    result = read_result(None, output)

    assert (result.text, result.input_tokens, result.output_tokens) == ("A fox.", 35, 4)


def test_the_pieces_of_a_stream_are_joined_and_its_last_totals_count():
    output = [
        {"choices": [{"tokens": ["A "]}], "usage": {"input": 5, "output": 1}, "cost": 0.1},
        {"choices": [{"tokens": ["fox"]}], "usage": {"input": 5, "output": 2}, "cost": 0.2},
    ]

    result = read_result(None, output)

    assert (result.text, result.output_tokens, result.cost) == ("A fox", 2, Decimal("0.2"))


def test_a_text_that_is_a_link_stays_a_text():
    result = read_result(QWEN, [{"choices": [{"tokens": [PNG]}]}])

    assert (result.text, result.files) == (PNG, ())
    assert read_result(QWEN, PNG) == Result(text=PNG)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("A fox.", "A fox."),
        (["A ", "fox."], "A fox."),
        ({"text": "A fox.", "image_url": PNG}, "A fox."),
        ({"generated_text": "A fox."}, "A fox."),
        ({"image_url": PNG}, None),
        (PNG, None),
        ({"text": PNG}, None),
        (None, None),
        (7, None),
    ],
)
def test_the_text_of_any_endpoint_is_what_is_no_file(output, text):
    assert read_result(None, output).text == text


@pytest.mark.parametrize(
    ("cost", "read"),
    [
        (0.02097152, "0.02097152"),
        (0.1, "0.1"),
        (1e-05, "0.00001"),
        (1, "1"),
        (0, "0"),
        (" 0.5 ", "0.5"),
        ("5e-3", "0.005"),
        ("free", None),
        ("", None),
        (None, None),
        (True, None),
        (-0.5, None),
        (float("nan"), None),
        (float("inf"), None),
        ("NaN", None),
        (10**4000, None),
        ("1e999999999", None),
        ({"usd": 1}, None),
        ([0.5], None),
    ],
)
def test_a_cost_is_read_by_its_digits_or_not_at_all(cost, read):
    result = read_result(FLUX, {"image_url": PNG, "cost": cost})

    assert result.cost == (None if read is None else Decimal(read))
    assert result.files == (FileRef(PNG, "output.image_url"),)


@pytest.mark.parametrize("count", [-1, 1.5, True, "many", None, [], {}, 2**40, float("nan")])
def test_an_odd_token_count_is_left_out(count):
    result = read_result(GRANITE, {"choices": [], "usage": {"input": count, "output": 4}})

    assert (result.input_tokens, result.output_tokens) == (None, 4)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("http://[a"),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["image_url", "choices", "tokens", "usage", "input", "cost", "message", "text"]
                ),
                inner,
            )
        ),
    )
)
def test_no_json_makes_reading_fail(output):
    for endpoint in (None, FLUX, QWEN):
        result = read_result(endpoint, output)

        assert result.cost is None or result.cost >= 0


def test_a_deeply_nested_output_is_read_to_the_bottom():
    output = json.loads('{"a":' * 900 + json.dumps(PNG) + "}" * 900)
    for _ in range(5000):
        output = [output]

    [file] = read_result(None, output).files

    assert file.url == PNG
