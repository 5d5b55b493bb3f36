"""What is said to whoever sends an input that an endpoint would refuse."""

import json
import time

import pytest

from endpoints.catalogue import Fault, load_catalogue

FLUX = "black-forest-labs-flux-1-dev"
LORA = "qwen-image-t2i-lora"
NANO = "nano-banana-edit"
EITHER = "seedream-v4-edit"
ENDPOINTS = {endpoint.id: endpoint for endpoint in load_catalogue()}
PNG = "https://example.com/fox.png"


def problems(endpoint_id, **values):
    return [str(problem) for problem in ENDPOINTS[endpoint_id].check(values)]


@pytest.mark.parametrize(
    ("endpoint_id", "values", "line"),
    [
        (FLUX, {}, "prompt: missing, wanted a non-empty string"),
        (FLUX, {"prompt": ""}, "prompt: '' is not a non-empty string"),
        (FLUX, {"prompt": None}, "prompt: null is not a string"),
        (FLUX, {"prompt": "a", "width": 1000}, "width: 1000 is not a multiple of 64"),
        (FLUX, {"prompt": "a", "width": 2112}, "width: 2112 is not between 256 and 2048"),
        (FLUX, {"prompt": "a", "width": "1024"}, "width: '1024' is not an integer"),
        (FLUX, {"prompt": "a", "width": 1024.5}, "width: 1024.5 is not an integer"),
        (FLUX, {"prompt": "a", "seed": True}, "seed: true is not an integer"),
        (FLUX, {"prompt": "a", "guidance": float("nan")}, "guidance: nan is not a number"),
        (FLUX, {"prompt": "a", "guidance": 1e999}, "guidance: inf is not a number"),
        (
            FLUX,
            {"prompt": "a", "image_format": "jpg"},
            "image_format: 'jpg' is not one of 'png', 'jpeg'; did you mean 'jpeg'?",
        ),
        (
            FLUX,
            {"prompt": "a", "widht": 512},
            "widht: unknown field, did you mean 'width'?",
        ),
        (
            NANO,
            {"prompt": "a", "images": [PNG], "zzz": 1},
            "zzz: unknown field, wanted one of prompt, images, enable_safety_checker",
        ),
        (NANO, {"prompt": "a"}, "images: missing, wanted a list of 1 to 4 items"),
        (EITHER, {"prompt": "a"}, "input: an object is not complete without images or image"),
        (EITHER, {"prompt": "a", "image": 1}, "image: 1 is not a string"),
        (
            NANO,
            {"prompt": "a", "images": []},
            "images: a list of 0 items is not a list of 1 to 4 items",
        ),
        (
            NANO,
            {"prompt": "a", "images": [PNG] * 5},
            "images: a list of 5 items is not a list of 1 to 4 items",
        ),
        (
            NANO,
            {"prompt": "a", "images": [PNG, "fox.png"]},
            "images[1]: 'fox.png' is not an http(s) or data: URL",
        ),
        (
            LORA,
            {"prompt": "a", "loras": [{"path": "a", "scale": "1"}]},
            "loras[0].scale: '1' is not a number",
        ),
        (
            LORA,
            {"prompt": "a", "loras": [{"path": "a"}]},
            "loras[0].scale: missing, wanted a number",
        ),
        (
            LORA,
            {"prompt": "a", "size": "1024x1024"},
            "size: '1024x1024' is not a value such as '1024*1024'",
        ),
        ("p-video", {"prompt": "a", "fps": 30}, "fps: 30 is not one of 24, 48"),
        ("p-video", {"prompt": "a", "draft": 1}, "draft: 1 is not true or false"),
        (
            "moonshot-kimi",
            {"messages": [{"role": "user", "content": "a"}], "sampling_params": {"max_tokens": 0}},
            "sampling_params.max_tokens: 0 is not at least 1",
        ),
    ],
)
def test_one_line_says_what_came_and_what_was_wanted(endpoint_id, values, line):
    assert problems(endpoint_id, **values) == [line]


def test_every_wrong_field_is_named_once():
    lines = problems(FLUX, promt="a", width=True, height=100, num_inference_steps=0)

    assert [line.partition(":")[0] for line in lines] == [
        "promt",
        "prompt",
        "width",
        "height",
        "num_inference_steps",
    ]


def test_an_input_that_is_no_object_is_one_problem():
    lines = [str(problem) for problem in ENDPOINTS[FLUX].check(["a fox"])]

    assert lines == ["input: a list of 1 item is not an object"]


def test_a_problem_holds_what_came_for_programs():
    [problem] = ENDPOINTS[FLUX].check({"prompt": "a", "width": 1000})

    assert (problem.field, problem.came, problem.fault) == ("width", 1000, Fault.INVALID)


def test_a_whole_file_in_the_wrong_field_stays_out_of_the_message():
    [line] = problems(FLUX, prompt="a", image_format="data:image/png;base64," + "A" * 1_000_000)

    assert len(line) < 200
    assert "(1000022 characters)" in line


@pytest.mark.parametrize("field", ["seed", "width", "guidance", "image_format", "prompt"])
def test_a_number_of_a_thousand_digits_is_no_crash_and_no_wall_of_text(field):
    values = {"prompt": "a", field: 10**1000}

    lines = [str(problem) for problem in ENDPOINTS[FLUX].check(values)]

    assert all(len(line) < 200 for line in lines)


def test_whole_floats_are_integers_as_in_json():
    assert problems(FLUX, **json.loads('{"prompt": "a", "width": 1024.0}')) == []


def test_a_campaign_of_prompts_is_checked_in_well_under_a_second():
    endpoint = ENDPOINTS[FLUX]
    inputs = [{"prompt": f"a fox, number {seed}", "seed": seed} for seed in range(1632)]

    started = time.process_time()
    found = [endpoint.check(values) for values in inputs]
    seconds = time.process_time() - started

    assert not any(found)
    assert seconds < 0.8
