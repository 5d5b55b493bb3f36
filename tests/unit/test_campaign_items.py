"""Items: what each row with each combination becomes."""

import itertools

import pytest

from endpoints.catalogue import load_catalogue
from tasks.campaigns.items import BadItem, Items
from tasks.campaigns.prompt_file import PromptFileError
from tasks.campaigns.spec import parse_spec

CATALOGUE = load_catalogue()
FLUX, P_IMAGE, CHAT = "black-forest-labs-flux-1-schnell", "p-image-t2i", "granite-4-0-h-small"
TABLE = "what,adjective,width,input.seed,Note\nfox,red,512,7,old\nowl,grey,768,,new\n"


def make(tmp_path, text, **files):
    for name, content in files.items():
        (tmp_path / f"{name}.csv").write_text(content)
    spec = parse_spec(text.encode(), source="shoot.yaml")
    return Items(spec, CATALOGUE, folder=tmp_path)


def test_rows_go_first_and_then_the_combinations(tmp_path):
    items = make(
        tmp_path,
        f"""
        name: a
        endpoints: [{FLUX}, {P_IMAGE}]
        prompts: [a fox, an owl]
        matrix: {{seed: [1, 2]}}
        id: "{{row}}-{{endpoint}}-{{seed}}"
        """,
    )

    read = list(items.read())

    assert [item.position for item in read] == list(range(8))
    assert [item.custom_id for item in read[:5]] == [
        f"1-{FLUX}-1",
        f"1-{FLUX}-2",
        f"1-{P_IMAGE}-1",
        f"1-{P_IMAGE}-2",
        f"2-{FLUX}-1",
    ]
    assert read[0].input == {"prompt": "a fox", "seed": 1}
    assert read[7].input == {"prompt": "an owl", "seed": 2}
    assert {item.place for item in read[:4]} == {"prompts[0]"}


def test_a_reading_taken_up_again_gives_the_rest(tmp_path):
    items = make(
        tmp_path,
        f"name: a\nendpoint: {FLUX}\nprompts: [a, b, c]\nmatrix: {{seed: [1, 2, 3, 4]}}",
    )
    whole = list(items.read())

    for start in range(len(whole) + 1):
        assert list(items.read(start=start)) == whole[start:]


def test_columns_go_where_templates_have_them_and_input_columns_into_the_input(tmp_path):
    items = make(
        tmp_path,
        f"""
        name: a
        endpoint: {FLUX}
        prompts: {{file: subjects.csv, columns: {{thing: what}}}}
        prompt: "a {{adjective}} {{thing}} in {{style}}"
        input: {{width: "{{width}}", negative_prompt: "no {{adjective}} {{row}}"}}
        matrix: {{style: [oil, ink]}}
        """,
        subjects=TABLE,
    )

    read = list(items.read())

    assert [item.input["prompt"] for item in read] == [
        "a red fox in oil",
        "a red fox in ink",
        "a grey owl in oil",
        "a grey owl in ink",
    ]
    assert read[0].input == {
        "prompt": "a red fox in oil",
        "width": 512,
        "negative_prompt": "no red 2",
        "seed": 7,
    }
    assert "seed" not in read[2].input  # an empty cell says nothing
    assert read[2].place == "subjects.csv:3"
    assert items.unused == ["Note"]


def test_a_prompt_column_is_found_however_it_is_written(tmp_path):
    items = make(
        tmp_path,
        f"name: a\nendpoint: {FLUX}\nprompts: {{file: parti.csv}}",
        parti="Prompt,Category\na fox,Animals\n",
    )

    assert [item.input for item in items.read()] == [{"prompt": "a fox"}]
    assert items.unused == ["Category"]


def test_a_row_that_names_its_input_lays_it_over_that_of_all(tmp_path):
    items = make(
        tmp_path,
        f"""
        name: a
        endpoint: {FLUX}
        input: {{width: 512, extra: {{a: 1}}}}
        prompts:
          - {{prompt: a fox, input: {{width: 768, extra: {{b: 2}}}}}}
        """,
    )

    [item] = items.read()

    assert item.input == {"prompt": "a fox", "width": 768, "extra": {"a": 1, "b": 2}}


def test_fields_of_json_that_no_template_names_are_inputs(tmp_path):
    items = make(
        tmp_path,
        f"""
        name: a
        endpoint: {FLUX}
        prompt: "a {{colour}} fox"
        prompts:
          - {{colour: red, width: 512, id: x}}
          - {{colour: grey, input: {{height: 768}}, note: kept out}}
        """,
    )

    assert [item.input for item in items.read()] == [
        {"prompt": "a red fox", "width": 512},
        {"prompt": "a grey fox", "height": 768},
    ]


def test_a_prompt_becomes_a_message_where_the_endpoint_has_no_prompt(tmp_path):
    items = make(tmp_path, f"name: a\nendpoints: [{CHAT}, my-own]\nprompts: [hello]")

    [chat, own] = items.read()

    assert chat.input == {"messages": [{"role": "user", "content": "hello"}]}
    assert own.input == {"prompt": "hello"}


def test_without_prompts_there_is_one_row(tmp_path):
    items = make(
        tmp_path,
        f"name: a\nendpoint: {FLUX}\nprompt: a fox\nmatrix: {{seed: [1, 2]}}",
    )

    assert [item.input for item in items.read()] == [
        {"prompt": "a fox", "seed": 1},
        {"prompt": "a fox", "seed": 2},
    ]


def test_a_template_that_names_a_missing_column_is_said_of_each_item(tmp_path):
    items = make(
        tmp_path,
        f'name: a\nendpoint: {FLUX}\nprompts: {{file: s.csv}}\nprompt: "{{adjectiv}} {{what}}"',
        s=TABLE,
    )

    assert list(items.read()) == [
        BadItem(n, f"s.csv:{n + 2}: {{adjectiv}}: no such column; did you mean 'adjective'?")
        for n in range(2)
    ]


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ('["  "]', "prompts[0]: prompt: '  ' came; text that is not blank was wanted"),
        ("[{prompt: 3}]", "prompts[0]: prompt: 3 came; text that is not blank was wanted"),
        ("[{prompt: a, input: 3}]", "prompts[0]: input: 3 came; an object was wanted"),
    ],
)
def test_an_item_that_would_be_paid_for_in_vain_is_said(tmp_path, prompts, said):
    items = make(tmp_path, f"name: a\nendpoint: {FLUX}\nprompts: {prompts}")

    assert list(items.read()) == [BadItem(0, said)]


def test_a_mapped_column_that_is_not_in_the_file_is_refused(tmp_path):
    items = make(
        tmp_path,
        f"name: a\nendpoint: {FLUX}\nprompts: {{file: s.csv, columns: {{prompt: Whta}}}}",
        s=TABLE,
    )

    with pytest.raises(PromptFileError, match=r"s\.csv:2: columns\.prompt: .* 'what'\?"):
        next(items.read())


def test_no_more_than_a_row_is_held(tmp_path):
    items = make(
        tmp_path,
        f"name: a\nendpoint: {FLUX}\nprompts: {{file: s.csv}}\nmatrix: {{seed: [1, 2]}}",
        s="prompt\n" + "a fox\n" * 3 + '"never closed',
    )

    assert len(list(itertools.islice(items.read(), 6))) == 6
