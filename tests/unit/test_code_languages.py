"""The programs that a form becomes. That they run is shown by tests/acceptance/web/test_code.py."""

import ast

import pytest

from endpoints.catalogue import load_catalogue
from gateway.endpoint_facts import describe_endpoint, sample_input
from gateway.web.playground.code.ai_sdk import FAMILIES, Inexpressible, plan_call
from gateway.web.playground.code.languages import LANGUAGES
from gateway.web.playground.code.request import Wanted

BASE = "https://press.example"
CATALOGUE = {
    one.id: {**describe_endpoint(one), "input_schema": one.schema} for one in load_catalogue()
}
ENDPOINTS = {one.id: one for one in load_catalogue()}
MODES = ("run", "runsync")
FLUX = "black-forest-labs-flux-1-schnell"
INEXPRESSIBLE = {"google-nano-banana-2-edit", "minimax-speech-02-hd"}
PROMPT = "it's \"a\" \\ 'fox' `ls` $HOME\n</script>"
OWN = {"id": "my own/endpoint"}


def want(endpoint=FLUX, mode="run", **values):
    found = CATALOGUE.get(endpoint, OWN)
    return Wanted(endpoint=found, input={"prompt": PROMPT} | values, mode=mode, base=BASE)


def write(language, wanted):
    [found] = [one for one in LANGUAGES if one.id == language]
    return found.write(wanted)


def plan(endpoint, **values):
    return plan_call(want(endpoint, **values))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("language", ["requests", "client", "celery"])
def test_a_program_in_python_has_the_input_as_it_was(language, mode):
    tree = ast.parse(write(language, want(mode=mode, seed=7)))
    inputs = [
        ast.literal_eval(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        and [getattr(key, "value", None) for key in node.keys] == ["prompt", "seed"]
    ]
    assert inputs == [{"prompt": PROMPT, "seed": 7}]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("language", ["curl", "requests", "client", "fetch", "ai-sdk"])
def test_the_key_is_read_from_the_environment_and_shown_as_a_placeholder(language, mode):
    program = write(language, want(mode=mode))
    assert "export PRESSROOM_KEY=YOUR_API_KEY" in program
    assert program.count("YOUR_API_KEY") == 1


@pytest.mark.parametrize("language", ["curl", "requests", "fetch"])
def test_run_asks_for_the_end_and_runsync_does_not(language):
    assert "/status/" in write(language, want(mode="run")).replace("status/${", "/status/${")
    assert "status/" not in write(language, want(mode="runsync"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("language", [one.id for one in LANGUAGES if one.id != "ai-sdk"])
def test_an_endpoint_of_ones_own_is_called_by_its_name(language, mode):
    program = write(language, want("own", mode=mode))
    assert "my%20own%2Fendpoint" in program or '"my own/endpoint"' in program
    assert "Save its files" not in program


def test_a_model_that_takes_longer_than_runsync_waits_is_said_to():
    [curl] = [one for one in LANGUAGES if one.id == "curl"]
    assert "use run" in curl.about(want("sora-2-i2v", mode="runsync"))
    assert "use run" not in curl.about(want(FLUX, mode="runsync"))


# The AI SDK


def test_what_its_provider_would_fill_in_is_left_out():
    call = plan(FLUX, width=512)
    assert call.options == {"width": 512}
    assert "seed" in call.left_out
    assert "width" not in call.left_out
    assert "      seed: undefined,\n" in write("ai-sdk", want(FLUX, width=512))


def test_where_it_fills_in_for_good_it_is_given_what_the_endpoint_would_take():
    assert plan("p-image-t2i").options == {
        "aspect_ratio": "16:9",
        "disable_safety_checker": False,
    }


def test_it_downloads_from_a_private_network_by_itself():
    assert not plan("p-video").own_download
    local = Wanted(
        endpoint=CATALOGUE["p-video"], input={}, mode="run", base="http://127.0.0.1:8000"
    )
    assert plan_call(local).own_download


def test_messages_and_settings_of_a_text_go_by_its_own_names():
    wanted = Wanted(
        endpoint=CATALOGUE["granite-4-0-h-small"],
        input={
            "messages": [{"role": "user", "content": "hi"}],
            "sampling_params": {"max_tokens": 5, "top_p": 0.5, "top_k": 3, "stop": "x"},
        },
        mode="run",
        base=BASE,
    )
    call = plan_call(wanted)
    assert call.arguments == {
        "messages": [{"role": "user", "content": "hi"}],
        "maxOutputTokens": 5,
        "topP": 0.5,
        "stopSequences": ["x"],
    }
    assert call.options == {"top_k": 3}


@pytest.mark.parametrize(
    ("endpoint", "values", "words"),
    [
        ("own", {}, "not known what it makes"),
        ("chatterbox-turbo", {}, "line breaks"),
        ("chatterbox-turbo", {"prompt": "hi", "format": "mp3"}, "cannot send format"),
        ("minimax-speech-02-hd", {"prompt": "hi"}, "other models of speech"),
        ("p-image-t2i", {"width": 512, "height": 512}, "cannot send height and width"),
        ("google-nano-banana-2-edit", {"images": ["https://x.example/a.png"]}, "aspect_ratio"),
    ],
)
def test_what_it_cannot_send_it_says(endpoint, values, words):
    with pytest.raises(Inexpressible, match=words):
        plan(endpoint, **values)


@pytest.mark.parametrize("endpoint", CATALOGUE)
def test_of_every_endpoint_there_is_a_program_or_a_reason(endpoint):
    wanted = Wanted(
        endpoint=CATALOGUE[endpoint],
        input=sample_input(ENDPOINTS[endpoint]),
        mode="run",
        base=BASE,
    )
    if endpoint in INEXPRESSIBLE:
        with pytest.raises(Inexpressible, match=r"\.$"):
            write("ai-sdk", wanted)
    else:
        assert wanted.name in write("ai-sdk", wanted)


def test_every_image_model_finds_a_family_of_its_own_provider():
    marks = {
        endpoint: next(one.mark for one in FAMILIES if one.mark in endpoint)
        for endpoint, found in CATALOGUE.items()
        if found["kind"] == "image"
    }
    assert marks["black-forest-labs-flux-1-kontext-dev"] == "flux-1-kontext"
    assert marks[FLUX] == "flux"
    assert marks["p-image-edit"] == "p-image-edit"
    assert marks["p-image-t2i"] == "p-image"
    assert marks["qwen-image-edit"] == ""
    assert marks["qwen-image-edit-2511-lora"] == "qwen-image-edit-2511"
