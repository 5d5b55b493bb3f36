"""Specifications: what is read, and how each thing that can be wrong is said, with its line."""

import json

import jsonschema
import pytest
import yaml

from models.job import OnUnknown
from tasks.campaigns.spec import (
    MOST_BYTES,
    PromptFile,
    SpecError,
    json_schema,
    parse_spec,
    read_spec,
)

FLUX, P_IMAGE = "black-forest-labs-flux-1-schnell", "p-image-t2i"
WHOLE = f"""
name: spring-shoot
endpoints: [{FLUX}, {P_IMAGE}]
prompts:
  file: subjects.csv
  format: csv
  columns: {{what: Subject}}
prompt: "{{what}} on {{surface}}, studio light"
input: {{width: 1024, note: "{{what}}"}}
matrix:
  surface: [slate, linen]
  seed: [1, 2, 3]
  exclude:
    - {{surface: linen, seed: 3}}
  include:
    - {{endpoint: {FLUX}, num_inference_steps: 4}}
max_jobs: 5000
id: "{{row}}-{{endpoint}}-{{seed}}"
tags: [shoot, spring]
priority: 3
pace: {{over: 2h}}
retry: {{on_unknown: fail, start_within: 600, finish_within: 1h}}
reuse: true
"""


def parse(text):
    return parse_spec(text.encode(), source="shoot.yaml")


def refuse(text):
    with pytest.raises(SpecError) as refused:
        parse(text)
    return refused.value.problems


def test_everything_that_can_be_said_is_read():
    spec = parse(WHOLE)

    assert spec.name == "spring-shoot"
    assert spec.prompts == PromptFile(
        file="subjects.csv", format="csv", columns={"what": "Subject"}
    )
    assert spec.matrix.axes == {"surface": ["slate", "linen"], "seed": [1, 2, 3]}
    assert spec.pace.over == 7200.0
    assert (spec.retry.on_unknown, spec.retry.finish_within) == (OnUnknown.FAIL, 3600.0)
    assert (spec.max_jobs, spec.tags, spec.priority, spec.reuse) == (
        5000,
        ["shoot", "spring"],
        3,
        True,
    )
    assert spec.template_names == {"what", "surface"}
    assert len(spec.combinations()) == 2 * (2 * 3 - 1)


def test_json_is_read_as_well_and_says_the_same():
    as_json = json.dumps(yaml.safe_load(WHOLE))

    assert parse(as_json) == parse(WHOLE)


def test_the_schema_that_editors_use_takes_what_is_read_and_refuses_the_rest():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validate = jsonschema.Draft202012Validator(schema)

    assert list(validate.iter_errors(yaml.safe_load(WHOLE))) == []
    for wrong in ({"nmae": "x"}, {"name": "x", "pace": {"over": True}}, {"name": 3}):
        assert list(validate.iter_errors(wrong))


def test_yaml_is_read_as_version_1_2():
    """In 1.1 these are the number 969, false, a date and eight."""
    spec = parse(
        f"name: a\nendpoint: {FLUX}\ninput: {{a: 16:9, b: no, c: 2026-01-02, d: 010, e: 1e3, f: ~}}"
    )

    assert spec.input == {
        "a": "16:9",
        "b": "no",
        "c": "2026-01-02",
        "d": "010",
        "e": 1000.0,
        "f": None,
    }


HEAD = f"name: a\nendpoint: {FLUX}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "shoot.yaml:1: an object with name and endpoint was wanted, nothing came"),
        ("- a", "shoot.yaml:1: an object with name and endpoint was wanted, a list came"),
        ("name: [", "shoot.yaml:2:1: no YAML: "),
        ("name: a\nname: b", "shoot.yaml:2: name: stands here twice"),
        (f"endpoint: {FLUX}", "shoot.yaml:1: name: is wanted"),
        (f"{HEAD}nmae: b", "shoot.yaml:3: nmae: no such field"),
        (f"{HEAD}pace:\n  ovr: 2h", "shoot.yaml:4: pace.ovr: no such field"),
        (f"{HEAD}pace:\n  over: 2 hours", "shoot.yaml:4: pace.over: a duration such as 90s"),
        (f"{HEAD}pace: {{over: 0}}", "shoot.yaml:3: pace.over: input should be greater than 0"),
        (f"{HEAD}priority: 12", "shoot.yaml:3: priority: input should be less than or equal to 9"),
        (f"{HEAD}max_jobs: many", "shoot.yaml:3: max_jobs: input should be a valid integer"),
        ("name: a", "shoot.yaml:1: one of endpoint, endpoints and an axis `endpoint` was wanted"),
        (f"{HEAD}endpoints: [{P_IMAGE}]", "one of endpoint, endpoints and an axis"),
        (f"{HEAD}prompts: []", "prompts: at least one was wanted"),
        (f'{HEAD}prompt: "a {{what"', "template: 'a {what': a lone '{'"),
        (f'{HEAD}prompt: "{{prompt}}!"', "there are no prompts"),
        (f"{HEAD}matrix: {{seed: []}}", "matrix: seed: no values"),
        (f"{HEAD}matrix: {{seed: 3}}", "shoot.yaml:3: matrix.seed: input should be a valid list"),
        (f"{HEAD}matrix: {{seed: [1], exclude: [{{sed: 1}}]}}", "'sed' is no axis"),
        (f"{HEAD}prompts: {{fiel: a.csv}}", "prompts.fiel: no such field"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, said):
    problems = refuse(text)

    assert any(said in problem for problem in problems), problems


def test_all_that_is_wrong_is_said_at_once():
    problems = refuse("name: ''\nendpoint: 3\npriority: 10\npace: {over: x}")

    assert [problem.split(":")[1] for problem in problems] == ["1", "2", "3", "4"]


def test_a_matrix_of_a_thousand_million_is_refused_before_it_is_made():
    values = list(range(1000))

    [problem] = refuse(f"{HEAD}matrix: {{a: {values}, b: {values}, c: {values}}}")

    assert "1,000,000,000 combinations" in problem


def test_a_specification_that_is_too_large_is_refused():
    [problem] = refuse("#" * (MOST_BYTES + 1))

    assert "put the prompts into a file of their own" in problem


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no such file or directory"):
        read_spec(tmp_path / "none.yaml")


def test_what_is_kept_of_a_specification_says_the_same():
    spec = parse(WHOLE)

    kept = json.loads(json.dumps(spec.model_dump(mode="json", exclude_unset=True)))

    assert type(spec).model_validate(kept) == spec
