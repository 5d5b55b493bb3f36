"""What the vendor's provider for the Vercel AI SDK sends is taken, and no more than that.

The payloads are those of @runpod/ai-sdk-provider 1.4.0 under `ai` 6.0.326, caught in its `fetch`:
of calls with a prompt, and with one picture or two. Each model that it maps to an endpoint stands
here, but for the two that were withdrawn.
"""

import itertools
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from endpoints.catalogue import load_catalogue
from endpoints.emulator.jobs import Fate, Job, Policy
from endpoints.emulator.media import ClipSpec, ImageSpec, SpeechSpec
from endpoints.emulator.outputs import produce

CATALOGUE = load_catalogue()
ENDPOINTS = {endpoint.id: endpoint for endpoint in CATALOGUE}

FLUX_DEV = "black-forest-labs-flux-1-dev"
FLUX_SCHNELL = "black-forest-labs-flux-1-schnell"
KONTEXT = "black-forest-labs-flux-1-kontext-dev"
MOTION = "kling-v2-6-std-motion-control"

Values = dict[str, Any]

PROMPT: Values = {"prompt": "a fox"}
PICTURE = "data:image/png;base64,iVBORw0KGgo="
ONE: Values = {"image": PICTURE}
ONE_LISTED: Values = {"images": [PICTURE]}
TWO: Values = {"images": [PICTURE, PICTURE]}

PLAIN = PROMPT | {
    "negative_prompt": "",
    "size": "1328*1328",
    "seed": -1,
    "enable_safety_checker": True,
}
FLUX = PROMPT | {
    "negative_prompt": "",
    "seed": -1,
    "width": 1328,
    "height": 1328,
    "image_format": "png",
}
NANO = PROMPT | {"aspect_ratio": "1:1", "resolution": "1k", "output_format": "jpeg"}
PRUNA = PROMPT | {"aspect_ratio": "1:1", "disable_safety_checker": False}
UNREAD = {"enable_base64_output": False, "enable_sync_mode": False}
QWEN_2511 = PROMPT | {"size": "1328*1328", "seed": -1, "output_format": "jpeg"} | UNREAD

MAKERS: dict[str, tuple[str, Values]] = {  # of pictures, from words
    "alibaba/wan-2.6": (
        "wan-2-6-t2i",
        PROMPT | {"size": "1280*1280", "seed": -1, "enable_safety_checker": True},
    ),
    "black-forest-labs/flux-1-dev": (
        FLUX_DEV,
        FLUX | {"num_inference_steps": 28, "guidance": 2},
    ),
    "black-forest-labs/flux-1-schnell": (
        FLUX_SCHNELL,
        FLUX | {"num_inference_steps": 4, "guidance": 7},
    ),
    "bytedance/seedream-4.0": ("seedream-v4-t2i", PLAIN),
    "pruna/p-image-t2i": ("p-image-t2i", PRUNA),
    "qwen/qwen-image": ("qwen-image-t2i", PLAIN),
    "qwen-image-t2i-lora": ("qwen-image-t2i-lora", PLAIN),  # any endpoint's id is a model, too
    "tongyi-mai/z-image-turbo": (
        "z-image-turbo",
        PROMPT
        | {
            "size": "1328*1328",
            "seed": -1,
            "output_format": "png",
            "enable_safety_checker": True,
        },
    ),
}
EDITORS: dict[str, tuple[str, Values, Values, Values]] = {  # and one picture, and two
    "black-forest-labs/flux-1-kontext-dev": (
        KONTEXT,
        PLAIN | {"num_inference_steps": 28, "guidance": 2, "output_format": "png"},
        ONE,
        ONE,
    ),
    "bytedance/seedream-4.0-edit": ("seedream-v4-edit", PLAIN, ONE, TWO),
    "google/nano-banana-edit": (
        "nano-banana-edit",
        PROMPT | {"enable_safety_checker": True},
        ONE_LISTED,
        TWO,
    ),
    "google/nano-banana-2-edit": (
        "google-nano-banana-2-edit",
        NANO | {"enable_safety_checker": True},
        ONE_LISTED,
        TWO,
    ),
    "google/nano-banana-pro-edit": ("nano-banana-pro-edit", NANO | UNREAD, ONE_LISTED, TWO),
    "pruna/p-image-edit": ("p-image-edit", PRUNA, ONE_LISTED, TWO),
    "qwen/qwen-image-edit": ("qwen-image-edit", PLAIN, ONE, TWO),
    "qwen/qwen-image-edit-2511": ("qwen-image-edit-2511", QWEN_2511, ONE_LISTED, TWO),
    "qwen/qwen-image-edit-2511-lora": ("qwen-image-edit-2511-lora", QWEN_2511, ONE_LISTED, TWO),
}
CLIPS: dict[str, tuple[str, Values]] = {  # with what the endpoint cannot do without
    "pruna/p-video": ("p-video", {}),
    "vidu/q3-t2v": ("vidu-q3-t2v", {}),
    "alibaba/wan-2.6-t2v": ("wan-2-6-t2v", {}),
    "vidu/q3-i2v": ("vidu-q3-i2v", ONE),
    "kwaivgi/kling-v2.6-std-motion-control": (
        MOTION,
        ONE | {"video": "https://example.com/fox.mp4", "character_orientation": "video"},
    ),
    "kwaivgi/kling-video-o1-r2v": ("kling-video-o1-r2v", ONE),
    "kwaivgi/kling-v2.1-i2v-pro": ("kling-v2-1-i2v-pro", ONE),
    "alibaba/wan-2.6-i2v": ("wan-2-6-i2v", ONE),
    "alibaba/wan-2.5": ("wan-2-5", ONE),
    "alibaba/wan-2.2-t2v-720-lora": ("wan-2-2-t2v-720-lora", ONE),
    "alibaba/wan-2.2-i2v-720": ("wan-2-2-i2v-720", ONE),
    "alibaba/wan-2.1-i2v-720": ("wan-2-1-i2v-720", ONE),
    "bytedance/seedance-v1.5-pro-i2v": ("seedance-v1-5-pro-i2v", ONE),
    "openai/sora-2-pro-i2v": ("sora-2-pro-i2v", ONE | {"duration": 4}),
    "openai/sora-2-i2v": ("sora-2-i2v", ONE | {"duration": 4}),
}
SPEECH: tuple[str, Values] = ("chatterbox-turbo", PROMPT | {"voice": "lucy"})
TEXTS = [  # the endpoint, and the name of the model in the body
    ("qwen3-32b-awq", "Qwen/Qwen3-32B-AWQ"),
    ("granite-4-0-h-small", "ibm-granite/granite-4.0-h-small"),
    ("gpt-oss-120b", "gpt-oss-120b"),
    ("gpt-oss-120b", "openai/gpt-oss-120b"),
    ("cogito-671b-v2-1-fp8-dynamic", "deepcogito/cogito-671b-v2.1-FP8"),
    ("moonshot-kimi", "moonshot-kimi"),
]

# What its sizes and its ratios come to; it refuses others itself.
SIZES = [
    *("1328*1328", "1472*1140", "1140*1472", "512*512", "768*768", "1024*1024", "1280*1280"),
    *("1536*1536", "512*768", "768*512", "1024*768", "768*1024"),
]
Z_IMAGE_SIZES = [
    *("768*432", "1024*576", "1280*720", "1536*864"),
    *("432*768", "576*1024", "720*1280", "864*1536"),
]
WAN_SIZES = [
    *("1280*1280", "800*1200", "1200*800", "960*1280", "1280*960", "720*1280", "1280*720"),
    *("1344*576", "576*1344"),
]


def sent():
    """Yield the name, the endpoint and the input of everything in the tables."""
    for model, (endpoint, values) in MAKERS.items():
        yield f"{model} a prompt", endpoint, values
    endpoint, values = MAKERS["tongyi-mai/z-image-turbo"]  # may start from pictures, too
    yield "tongyi-mai/z-image-turbo one", endpoint, values | ONE
    yield "tongyi-mai/z-image-turbo two", endpoint, values | TWO
    for model, (endpoint, values, one, two) in EDITORS.items():
        yield f"{model} one", endpoint, values | one
        yield f"{model} two", endpoint, values | two
    for model, (endpoint, values) in CLIPS.items():
        yield f"{model} a prompt", endpoint, PROMPT | values
        # The vendor's own examples ask for this one of each of them.
        yield f"{model} a ratio", endpoint, PROMPT | values | {"aspect_ratio": "16:9"}
    yield "resembleai/chatterbox-turbo a prompt", *SPEECH


SENT = list(sent())
every_payload = pytest.mark.parametrize(
    ("endpoint_id", "values"), [row[1:] for row in SENT], ids=[row[0] for row in SENT]
)


def plain(endpoint_id):
    """Return an input of the tables for the endpoint, with one picture if it needs any."""
    return next(values for _, listed, values in SENT if listed == endpoint_id)


def problems(endpoint_id, **values):
    return [str(problem) for problem in ENDPOINTS[endpoint_id].check(values)]


@every_payload
def test_what_the_provider_sends_is_taken(endpoint_id, values):
    assert problems(endpoint_id, **values) == []


@every_payload
def test_the_schema_alone_takes_it_too_with_and_without_the_defaults(endpoint_id, values):
    endpoint = ENDPOINTS[endpoint_id]
    validator = Draft202012Validator(endpoint.schema)

    assert list(validator.iter_errors(values)) == []
    assert list(validator.iter_errors(endpoint.with_defaults(values))) == []


@every_payload
def test_the_emulator_answers_it_where_the_provider_looks(endpoint_id, values):
    fields = {ImageSpec: "image_url", ClipSpec: "video_url", SpeechSpec: "audio_url"}
    published = []

    def publish(spec):
        published.append(spec)
        return "https://emulator.test/files/1"

    job = Job(
        id="1",
        endpoint=endpoint_id,
        input=values,
        submitted_at=0,
        policy=Policy(),
        retention=60,
        delay=0,
        execution=1,
        quirk=7,
        base_url="https://emulator.test",
        webhook=None,
        fate=Fate(),
    )
    product = produce(job, ENDPOINTS[endpoint_id], publish)

    [spec] = published
    output: Any = product.output
    assert output[fields[type(spec)]] == "https://emulator.test/files/1"
    assert product.cost is not None


@pytest.mark.parametrize("model", EDITORS)
def test_an_editor_without_a_picture_says_so_and_no_more(model):
    endpoint_id, values, _, _ = EDITORS[model]

    [line] = problems(endpoint_id, **values)

    assert "image" in line


@pytest.mark.parametrize(
    ("endpoint_id", "line"),
    [
        ("seedream-v4-edit", "input: an object is not complete without images or image"),
        ("kling-video-o1-r2v", "input: an object is not complete without images or image"),
        ("qwen-image-edit", "input: an object is not complete without image or images"),
    ],
)
def test_where_either_will_do_both_are_named(endpoint_id, line):
    assert problems(endpoint_id) == ["prompt: missing, wanted a non-empty string", line]
    assert problems(endpoint_id, prompt="a fox", **ONE, **TWO) == []
    assert not Draft202012Validator(ENDPOINTS[endpoint_id].schema).is_valid(PROMPT)


@pytest.mark.parametrize("endpoint_id", ["qwen-image-t2i", "seedream-v4-t2i", "wan-2-6-t2i"])
@pytest.mark.parametrize("pictures", [ONE, TWO])
def test_a_picture_for_an_endpoint_that_takes_none_is_not_dropped_in_silence(endpoint_id, pictures):
    [line] = problems(endpoint_id, **plain(endpoint_id), **pictures)

    assert line.startswith(f"{next(iter(pictures))}: unknown field")


@pytest.mark.parametrize(("endpoint_id", "model"), TEXTS)
def test_the_name_in_its_texts_is_one_of_the_endpoints_models(endpoint_id, model):
    assert model in (ENDPOINTS[endpoint_id].openai or ())


def test_the_name_of_the_endpoint_is_no_model_of_its_own_input():
    messages = [{"role": "user", "content": "a fox"}]

    [line] = problems("moonshot-kimi", messages=messages, model="moonshot-kimi")

    assert line.startswith("model: 'moonshot-kimi' is not one of 'kimi-k2.6'")


@pytest.mark.parametrize(
    ("endpoint_id", "size"),
    [
        *itertools.product(
            (
                *("qwen-image-t2i", "qwen-image-edit", "qwen-image-edit-2511"),
                *("qwen-image-edit-2511-lora", "seedream-v4-t2i", "seedream-v4-edit", KONTEXT),
            ),
            SIZES,
        ),
        *itertools.product(["z-image-turbo"], SIZES + Z_IMAGE_SIZES),
        *itertools.product(["wan-2-6-t2i"], WAN_SIZES),
        ("wan-2-6-i2v", "720*1280"),
        ("wan-2-6-i2v", "1080*1920"),
    ],
)
def test_its_sizes_are_taken(endpoint_id, size):
    assert problems(endpoint_id, **plain(endpoint_id) | {"size": size}) == []


@pytest.mark.parametrize("endpoint_id", [FLUX_DEV, FLUX_SCHNELL])
@pytest.mark.parametrize("size", [*SIZES, "2048*2048", "256*1536"])
def test_its_sizes_are_taken_as_two_sides(endpoint_id, size):
    width, height = map(int, size.split("*"))

    assert problems(endpoint_id, **plain(endpoint_id) | {"width": width, "height": height}) == []


@pytest.mark.parametrize(
    ("side", "line"),
    [
        (192, "width: 192 is not between 256 and 2048"),
        (1000, "width: 1000 is not a multiple of 64"),
        (1139, "width: 1139 is not a multiple of 64"),
        (1329, "width: 1329 is not a multiple of 64"),
        (2112, "width: 2112 is not between 256 and 2048"),
        ("1328", "width: '1328' is not an integer"),
    ],
)
def test_a_side_that_nobody_sends_is_refused(side, line):
    assert problems(FLUX_DEV, prompt="a fox", width=side) == [line]


@pytest.mark.parametrize("size", ["768*768", "384*1536", "2560*640", "1440*1024", "1024*768"])
def test_a_size_on_the_edge_of_its_frame_is_taken(size):
    assert problems("wan-2-6-t2i", prompt="a fox", size=size) == []


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ("767*768", "between 589824 and 1638400 pixels"),
        ("1281*1280", "between 589824 and 1638400 pixels"),
        ("4096*4096", "between 589824 and 1638400 pixels"),
        ("2561*639", "between 1:4 and 4:1"),
        ("384*1537", "between 1:4 and 4:1"),
        ("99999*99999", "a value such as '1024*1024' or '1024*768' or '1440*1024' or '1280*1280'"),
        ("1280x1280", "a value such as '1024*1024' or '1024*768' or '1440*1024' or '1280*1280'"),
    ],
)
def test_a_size_outside_its_frame_is_refused_once(size, wanted):
    assert problems("wan-2-6-t2i", prompt="a fox", size=size) == [f"size: {size!r} is not {wanted}"]


@pytest.mark.parametrize(
    ("endpoint_id", "values"),
    [
        ("p-image-t2i", {"aspect_ratio": "custom", "width": 512, "height": 768}),
        ("nano-banana-pro-edit", {"aspect_ratio": "3:4"}),
        ("qwen-image-edit-2511-lora", {"loras": [{"path": "https://a.example/b", "scale": 1}]}),
        ("wan-2-6-t2v", {"duration": 5, "seed": 42, "guidance_scale": 7.5}),
        ("wan-2-6-i2v", {"aspect_ratio": "9:16"}),
        (MOTION, {"duration": 5}),
        (MOTION, {"duration": 10}),
    ],
)
def test_the_options_of_its_readme_are_taken(endpoint_id, values):
    assert problems(endpoint_id, **plain(endpoint_id) | values) == []


@pytest.mark.parametrize(
    ("endpoint_id", "field", "wrong"),
    [
        *[
            (endpoint_id, field, wrong)
            for endpoint_id in (
                "qwen-image-edit-2511",
                "qwen-image-edit-2511-lora",
                "nano-banana-pro-edit",
            )
            for field in ("enable_base64_output", "enable_sync_mode")
            for wrong in ("false", 0, None)
        ],
        ("google-nano-banana-2-edit", "enable_safety_checker", "true"),
        ("google-nano-banana-2-edit", "enable_sync_mode", False),  # it sends that to others alone
        ("qwen-image-edit", "size", 1328),
        ("qwen-image-edit", "size", "1328x1328"),
        ("qwen-image-edit", "images", PICTURE),
        ("qwen-image-edit", "images", []),
        ("qwen-image-edit-2511", "size", "1329*1328"),
        ("qwen-image-edit-2511", "size", "2048*2048"),
        ("qwen-image-t2i-lora", "negative_prompt", ["blur"]),
        ("seedream-v4-edit", "seed", "7"),
        ("seedream-v4-edit", "seed", 7.5),
        ("seedream-v4-edit", "negative_prompt", None),
        ("seedream-v4-edit", "image", [PICTURE]),
        ("seedream-v4-edit", "image", "/tmp/fox.png"),
        ("kling-video-o1-r2v", "image", [PICTURE]),
        ("kling-video-o1-r2v", "image", None),
        ("z-image-turbo", "images", PICTURE),
        ("z-image-turbo", "images", ["/tmp/fox.png"]),
        ("z-image-turbo", "size", "1329*1328"),
        ("p-image-t2i", "aspect_ratio", "21:9"),
        ("p-image-t2i", "width", 1441),
        ("p-image-t2i", "height", 0),
        ("nano-banana-pro-edit", "aspect_ratio", "9:21"),
        (MOTION, "duration", "5"),
        (MOTION, "duration", 5.5),
        (MOTION, "duration", 0),
        (MOTION, "duration", 11),
        ("wan-2-6-t2v", "guidance_scale", "7.5"),
        *[
            (endpoint_id, "aspect_ratio", wrong)
            for endpoint_id, _ in CLIPS.values()
            for wrong in (16 / 9, "16/9", "7:3")
        ],
    ],
)
def test_a_wrong_value_of_what_it_sends_is_named(endpoint_id, field, wrong):
    found = problems(endpoint_id, **plain(endpoint_id) | {field: wrong})

    assert len(found) == 1
    assert found[0].startswith(f"{field}")


@pytest.mark.parametrize(
    ("endpoint_id", "slip", "meant"),
    [
        ("seedream-v4-edit", "imags", "images"),
        ("seedream-v4-edit", "negativ_prompt", "negative_prompt"),
        ("kling-video-o1-r2v", "imgae", "image"),
        ("qwen-image-edit-2511", "enable_base64_ouput", "enable_base64_output"),
        ("nano-banana-pro-edit", "enable_sync", "enable_sync_mode"),
        ("google-nano-banana-2-edit", "enable_safety_check", "enable_safety_checker"),
        (MOTION, "durations", "duration"),
        ("qwen-image-edit", "sizes", "size"),
    ],
)
def test_a_slip_beside_what_it_sends_is_still_met_with_what_was_meant(endpoint_id, slip, meant):
    found = problems(endpoint_id, **plain(endpoint_id) | {slip: "a"})

    assert found == [f"{slip}: unknown field, did you mean {meant!r}?"]


@pytest.mark.parametrize("endpoint_id", ["seedream-3-0-t2i", "whisper-v3-large"])
def test_the_two_that_it_still_maps_say_that_they_were_withdrawn(endpoint_id):
    assert CATALOGUE.find(endpoint_id) is None
    assert "was withdrawn on 2026-06-1" in (CATALOGUE.retired(endpoint_id) or "")
