"""What is typed for one generation becomes one input, or is refused with what was wanted."""

import pytest

from endpoints.catalogue import load_catalogue
from gateway.cli.inputs import BadInput, merge_input, parse_sets, read_input
from tasks.input_parts import overlay, prompt_input

CATALOGUE = load_catalogue()
FLUX = CATALOGUE.find("black-forest-labs-flux-1-schnell")


@pytest.mark.parametrize(
    ("pair", "values"),
    [
        ("width=768", {"width": 768}),
        ("draft=true", {"draft": True}),
        ("scale=0.5", {"scale": 0.5}),
        ("seed=null", {"seed": None}),
        ('size="768"', {"size": "768"}),
        ("size=1024*1024", {"size": "1024*1024"}),
        ("zip=007", {"zip": "007"}),
        ("scale=NaN", {"scale": "NaN"}),
        ("note=", {"note": ""}),
        ("text=a=b", {"text": "a=b"}),
        ('images=["a", "b"]', {"images": ["a", "b"]}),
        ("voice.speed=2", {"voice": {"speed": 2}}),
    ],
)
def test_a_value_is_json_where_it_parses_and_text_where_it_does_not(pair, values):
    assert parse_sets([pair]) == values


def test_dots_of_several_pairs_fill_one_object():
    values = parse_sets(["voice.speed=2", "voice.name=ann", "width=768", "width=512"])

    assert values == {"voice": {"speed": 2, "name": "ann"}, "width": 512}


@pytest.mark.parametrize("pair", ["width", "=768", ""])
def test_a_pair_without_a_key_or_a_value_is_refused_with_an_example(pair):
    with pytest.raises(BadInput, match=r"wanted key=value, as in --set width=768") as refused:
        parse_sets([pair])

    assert repr(pair) in str(refused.value)


def test_a_dot_below_a_number_is_refused():
    with pytest.raises(BadInput, match=r"'size\.x=1': size was set to a value that holds nothing"):
        parse_sets(["size=3", "size.x=1"])


def test_a_file_holds_an_input_or_a_whole_request_body(tmp_path):
    plain, body, named = (tmp_path / name for name in ("plain.json", "body.json", "named.json"))
    plain.write_text('{"prompt": "an owl"}')
    body.write_text('{"input": {"prompt": "an owl"}}')
    named.write_text('{"input": {"prompt": "an owl"}, "seed": 1}')

    inputs = [read_input(str(path)) for path in (plain, body, named)]

    owl = {"prompt": "an owl"}
    assert inputs == [owl, owl, {"input": owl, "seed": 1}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"prompt": }', r"a\.json:1:\d+: came .*; wanted a JSON object"),
        ('{\n"prompt": "a\n', r"a\.json:2:\d+: came .*; wanted a JSON object"),
        ("", r"a\.json:1:\d+: came .*; wanted a JSON object"),
        ("[1]", r"a\.json: came a list; wanted a JSON object"),
        ('"an owl"', r"a\.json: came a str; wanted a JSON object"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused_with_its_place(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_text(content)

    with pytest.raises(BadInput, match=said):
        read_input(str(path))


@pytest.mark.parametrize(("name", "said"), [("absent.json", "No such file"), (".", "directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, said):
    path = tmp_path / name

    with pytest.raises(BadInput, match=said) as refused:
        read_input(str(path))

    assert str(path) in str(refused.value)


def test_a_prompt_becomes_a_message_only_where_there_is_no_field_for_it():
    chat = next(
        endpoint
        for endpoint in CATALOGUE
        if "messages" in endpoint.schema["properties"]
        and "prompt" not in endpoint.schema["properties"]
    )

    assert prompt_input(chat, "hello") == {"messages": [{"role": "user", "content": "hello"}]}
    assert prompt_input(FLUX, "hello") == {"prompt": "hello"}
    assert prompt_input(None, "hello") == {"prompt": "hello"}


def test_a_prompt_stands_over_the_file_and_a_set_over_both(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"prompt": "a", "width": 256, "voice": {"speed": 1, "name": "ann"}}')

    values = merge_input(FLUX, source=str(path), prompt="b", sets=["width=512", "voice.speed=2"])

    assert values == {"prompt": "b", "width": 512, "voice": {"speed": 2, "name": "ann"}}


def test_laying_one_input_over_another_changes_neither():
    below = {"voice": {"speed": 1}, "images": ["a"]}
    above = {"voice": {"name": "ann"}, "images": ["b"]}

    merged = overlay(below, above)

    assert merged == {"voice": {"speed": 1, "name": "ann"}, "images": ["b"]}
    assert (below, above) == (
        {"voice": {"speed": 1}, "images": ["a"]},
        {"voice": {"name": "ann"}, "images": ["b"]},
    )
