"""The list of commands, and those that read the catalogue alone."""

import json

import pytest
from typer.testing import CliRunner

from endpoints.catalogue import Kind, load_catalogue
from gateway.cli.main import COMMANDS, make_cli
from gateway.endpoint_facts import sample_input

FLUX = "black-forest-labs-flux-1-schnell"
CATALOGUE = load_catalogue()


def call(*arguments: str):
    return CliRunner().invoke(make_cli(arguments), arguments)


def test_help_lists_every_command_with_its_line():
    shown = call("--help")

    assert shown.exit_code == 0
    for name, (_, _, line) in COMMANDS.items():
        assert name in shown.stdout
        assert line.split(",")[0] in shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_how_it_is_used(name):
    shown = call(name, "--help")

    assert shown.exit_code == 0
    assert f"{name} [OPTIONS]" in shown.stdout


def test_a_command_that_is_not_there_is_a_usage_error():
    shown = call("genrate")

    assert shown.exit_code == 2
    assert "No such command 'genrate'" in shown.stderr


@pytest.mark.parametrize("kind", Kind)
def test_the_list_of_a_kind_holds_its_endpoints_and_no_others(kind):
    shown = call("endpoints", "list", "--kind", kind, "--json")

    listed = {endpoint["id"] for endpoint in json.loads(shown.stdout)}
    assert listed == {endpoint.id for endpoint in CATALOGUE if endpoint.kind is kind}


def test_the_table_has_a_row_for_each_endpoint():
    shown = call("endpoints", "list")

    ids = [line.split()[0] for line in shown.stdout.splitlines()]
    assert ids == ["endpoint", *(endpoint.id for endpoint in CATALOGUE)]


@pytest.mark.parametrize("endpoint", list(CATALOGUE), ids=lambda endpoint: endpoint.id)
def test_every_endpoint_is_shown_with_each_of_its_fields(endpoint):
    shown = call("endpoints", "show", endpoint.id)

    assert shown.exit_code == 0
    first = [line.split()[0] for line in shown.stdout.splitlines() if line.split()]
    assert set(endpoint.schema["properties"]) <= set(first)


@pytest.mark.parametrize("endpoint", list(CATALOGUE), ids=lambda endpoint: endpoint.id)
def test_the_sample_that_is_priced_has_every_field_that_is_required(endpoint):
    problems = endpoint.check(sample_input(endpoint))

    lacking = [
        str(problem)
        for problem in problems
        if "missing" in str(problem) or "not complete" in str(problem)
    ]
    assert lacking == []


def test_an_endpoint_as_json_carries_its_whole_schema():
    shown = call("endpoints", "show", FLUX, "--json")

    described = json.loads(shown.stdout)
    assert described["id"] == FLUX
    assert described["input_schema"]["properties"]["width"]["maximum"] == 2048
    assert described["estimate_usd"] == pytest.approx(0.0024 * 1024 * 1024 / 1e6)


def test_a_misspelt_endpoint_is_answered_with_the_one_that_was_meant():
    shown = call("endpoints", "show", "black-forest-labs-flux-1-schnel")

    assert (shown.exit_code, shown.stdout) == (2, "")
    assert f"did you mean {FLUX}" in shown.stderr.replace("\n", " ")


def test_a_kind_that_is_not_there_is_answered_with_those_that_are():
    shown = call("endpoints", "list", "--kind", "music")

    assert shown.exit_code == 2
    for kind in Kind:
        assert kind in shown.stderr
