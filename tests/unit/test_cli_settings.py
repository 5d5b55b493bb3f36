"""`pressroom settings` where there is no database: what it shows, masks and refuses."""

import json

import pytest
from typer.testing import CliRunner

from gateway.cli.main import make_cli
from gateway.cli.settings import describe_environment, describe_operators
from workers.operator_settings import OperatorSettings
from workers.settings import Settings

CANARY = "CANARY0123456789"
SECRETS = {
    "PRESSROOM_DATABASE_URL": f"postgresql://u:{CANARY}@127.0.0.1:1/x",
    "PRESSROOM_REDIS_URL": f"redis://:{CANARY}@127.0.0.1:1/0",
    "PRESSROOM_UPSTREAM_KEY": CANARY,
    "PRESSROOM_FLOWER_PASSWORD": CANARY,
}


def call(*arguments: str):
    return CliRunner().invoke(make_cli(arguments), arguments)


@pytest.fixture(autouse=True)
def _no_stack(monkeypatch, tmp_path):
    monkeypatch.setenv("PRESSROOM_DATA_DIR", str(tmp_path))


def test_every_setting_of_the_environment_is_shown_with_what_it_is():
    described = describe_environment(Settings())

    names = [one["name"] for one in described]
    assert names == [f"PRESSROOM_{name.upper()}" for name in Settings.model_fields]
    assert all(one["description"] for one in described)


def test_only_what_the_environment_sets_is_marked_as_set(monkeypatch):
    monkeypatch.setenv("PRESSROOM_GATEWAY_PORT", "8001")

    described = {one["name"]: one for one in describe_environment(Settings())}

    assert {name for name, one in described.items() if one["set"]} == {
        "PRESSROOM_DATA_DIR",
        "PRESSROOM_GATEWAY_PORT",
    }
    assert (
        described["PRESSROOM_GATEWAY_PORT"]["value"],
        described["PRESSROOM_GATEWAY_PORT"]["default"],
    ) == (8001, 8000)


@pytest.mark.parametrize("arguments", [["settings"], ["settings", "--json"]])
def test_no_secret_is_shown(monkeypatch, arguments):
    monkeypatch.setenv("PRESSROOM_UPSTREAM_URL", "http://127.0.0.1:1/v2")
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    shown = call(*arguments)

    assert shown.exit_code == 0
    assert CANARY not in shown.output
    assert shown.stdout.count("********") == len(SECRETS)


def test_without_a_database_the_defaults_of_operators_are_shown_and_said_to_be_that():
    shown = call("settings", "--json")

    operators = {one["name"]: one for one in json.loads(shown.stdout)["operators"]}
    assert set(operators) == set(OperatorSettings.model_fields)
    assert operators["max_attempts"]["value"] == OperatorSettings().max_attempts
    assert not operators["max_attempts"]["set"]


def test_the_table_says_that_the_database_is_out_of_reach():
    shown = call("settings")

    assert shown.exit_code == 0
    assert "the database is out of reach" in shown.stderr.replace("\n", " ")


def test_a_setting_that_operators_changed_shows_its_value_and_its_default():
    described = {one["name"]: one for one in describe_operators({"max_attempts": 7})}

    attempts = described["max_attempts"]
    default = OperatorSettings().max_attempts
    assert (attempts["value"], attempts["default"], attempts["set"]) == (7, default, True)
    assert not described["downloads_at_once"]["set"]


def test_a_name_that_is_no_setting_is_answered_with_those_that_are():
    shown = call("settings", "unset", "max_atempts")

    said = shown.stderr.replace("\n", " ")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "no setting 'max_atempts'" in said
    assert "max_attempts" in said.replace("'max_atempts'", "")


def test_a_change_that_cannot_be_written_is_one_line_and_no_success():
    shown = call("settings", "set", "max_attempts", "5")

    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.startswith("error: PostgreSQL did not answer")
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("max_attempts", "many", "max_attempts: Input should be a valid integer"),
        ("max_attempts", "21", "less than or equal to 20 (came 21)"),
        ("on_unknown", "retry", "on_unknown: Input should be 'resubmit' or 'fail'"),
        ("limits", '{"a": {"run": {"per_second": 1}}}', "limits.a.run.per_second: Extra inputs"),
        ("max_atempts", "5", "no setting 'max_atempts'"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(settings, monkeypatch, name, value, wanted):
    monkeypatch.setenv("PRESSROOM_DATABASE_URL", settings.database_url.get_secret_value())

    refused = call("settings", "set", name, value)

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert wanted in refused.stderr.replace("\n", " ")
