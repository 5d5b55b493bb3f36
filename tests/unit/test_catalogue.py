"""The catalogue's own data, and how its names are found."""

import itertools
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from endpoints.catalogue import Basis, Kind, Limit, Operation, estimate, load_catalogue

CATALOGUE = load_catalogue()
ENDPOINTS = {endpoint.id: endpoint for endpoint in CATALOGUE}

every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)

VALUES = {  # of fields that are required somewhere
    "prompt": "a fox",
    "image": "https://example.com/fox.png",
    "images": ["data:image/png;base64,iVBORw0KGgo="],
    "video": "https://example.com/fox.mp4",
    "audio": "https://example.com/fox.wav",
    "messages": [{"role": "user", "content": "a fox"}],
    "duration": 4,
    "size": "480p",
    "character_orientation": "video",
}


def smallest_input(endpoint):
    names = list(endpoint.schema["required"])
    for option in endpoint.schema.get("anyOf", ())[:1]:
        names += option["required"]
    return {name: VALUES[name] for name in names}


def test_all_forty_endpoints_are_listed_once():
    assert len(CATALOGUE) == len(ENDPOINTS) == 40


def test_the_order_is_that_of_the_files():
    kinds = [endpoint.kind for endpoint in CATALOGUE]

    assert [kind for kind, _ in itertools.groupby(kinds)] == list(Kind)


def test_the_catalogue_is_read_once():
    assert load_catalogue() is CATALOGUE


@every_endpoint
def test_each_schema_is_json_schema(endpoint):
    Draft202012Validator.check_schema(endpoint.schema)


@every_endpoint
def test_the_smallest_input_is_taken_and_so_are_its_defaults(endpoint):
    values = smallest_input(endpoint)

    full = endpoint.with_defaults(values)

    assert endpoint.check(values) == endpoint.check(full) == []
    assert full.items() >= values.items()


@every_endpoint
def test_each_choice_that_a_price_depends_on_has_a_price(endpoint):
    choices = []
    for name in endpoint.price.by:
        field = endpoint.schema["properties"][name]
        choices.append(field.get("enum") or field.get("examples") or [False, True])

    for picked in itertools.product(*choices):
        values = smallest_input(endpoint) | dict(zip(endpoint.price.by, picked, strict=True))

        assert endpoint.check(values) == []
        assert estimate(endpoint, values).basis is not Basis.UNLISTED


@every_endpoint
def test_a_media_field_takes_links_and_data_urls_and_no_paths(endpoint):
    fields = {
        name: field
        for name, field in endpoint.schema["properties"].items()
        if field.get("format") == "uri"
    }

    for name in fields:
        for good in ("http://a/b", "https://a.example/b.png", "data:image/png;base64,AA=="):
            assert endpoint.check(smallest_input(endpoint) | {name: good}) == []
        for bad in ("/tmp/b.png", "file:///b.png", "https://", "iVBORw0KGgo="):
            assert endpoint.check(smallest_input(endpoint) | {name: bad}) != []


def test_an_open_list_of_values_is_not_enforced():
    values = {"prompt": "a fox", "emotion": "bored"}

    assert ENDPOINTS["minimax-speech-02-hd"].check(values) == []


def test_defaults_reach_into_nested_objects_and_yield_to_what_is_given():
    granite = ENDPOINTS["granite-4-0-h-small"]

    full = granite.with_defaults({"messages": [], "sampling_params": {"max_tokens": 9}})

    assert full["sampling_params"] == {
        "max_tokens": 9,
        "temperature": 0.7,
        "seed": -1,
        "top_k": -1,
        "top_p": 1,
    }


def test_an_input_is_not_changed_by_its_defaults():
    sampling = {"max_tokens": 9}

    ENDPOINTS["granite-4-0-h-small"].with_defaults({"sampling_params": sampling})

    assert sampling == {"max_tokens": 9}


def test_an_endpoint_is_found_by_id_and_by_alias():
    assert CATALOGUE.find("wan-2-6-t2v") is CATALOGUE.find("alibaba/wan-2.6-t2v") is not None
    assert CATALOGUE.find("alibaba/wan-9") is None


def test_a_withdrawn_endpoint_says_when_it_went():
    assert CATALOGUE.find("whisper-v3-large") is None
    assert CATALOGUE.retired("whisper-v3-large") == (
        "endpoint 'whisper-v3-large' was withdrawn on 2026-06-16"
    )
    assert CATALOGUE.retired("qwen-image-t2i") is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("black-forest-labs-flux-1-shnell", "black-forest-labs-flux-1-schnell"),
        ("flux-dev", "black-forest-labs-flux-1-dev"),
        ("Nano Banana Pro", "nano-banana-pro-edit"),
        ("alibaba/wan-2.5", "wan-2-5"),
    ],
)
def test_a_near_miss_is_answered_with_what_was_meant(name, meant):
    assert CATALOGUE.suggest(name)[0] == meant


@pytest.mark.parametrize("name", ["", "//", "zzzzzzzz"])
def test_nothing_is_suggested_for_a_name_that_is_near_to_none(name):
    assert CATALOGUE.suggest(name) == []


def test_suggestions_are_few_and_differ():
    suggested = CATALOGUE.suggest("wan")

    assert len(suggested) == len(set(suggested)) == 3


@pytest.mark.parametrize("name", ["qwen-image-t2i", "somebody-s-own-endpoint"])
def test_the_documented_limits_hold_for_endpoints_listed_and_not(name):
    limits = {operation.value: CATALOGUE.limit(name, operation) for operation in Operation}

    assert limits == {
        "run": Limit(1000, 10, 200),
        "runsync": Limit(2000, 10, 400),
        "status": Limit(2000, 10, 400),
        "stream": Limit(2000, 10, 400),
        "cancel": Limit(100, 10, 20),
        "retry": None,
        "purge-queue": Limit(2, 10, None),
        "health": None,
        "openai": Limit(2000, 10, 400),
        "requests": Limit(10, 10, 2),
    }


def test_importing_the_catalogue_loads_no_queue_database_or_http():
    script = """if True:
        import sys, endpoints.catalogue
        print({"celery", "sqlalchemy", "httpx"} & set(sys.modules))
    """

    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert printed.stdout.decode().strip() == "set()"
