"""What can be checked and priced where nothing runs: the dry runs of `generate` and `campaign`."""

import json

import pytest
from typer.testing import CliRunner

from gateway.cli.main import make_cli

FLUX = "black-forest-labs-flux-1-schnell"


def call(*arguments: str):
    return CliRunner().invoke(make_cli(arguments), arguments)


@pytest.fixture(autouse=True)
def _no_stack(monkeypatch, tmp_path):
    monkeypatch.setenv("PRESSROOM_DATA_DIR", str(tmp_path))


def test_a_generation_is_priced_without_a_stack():
    shown = call("generate", FLUX, "--prompt", "a fox [/x]", "--dry-run", "--json")

    assert shown.exit_code == 0
    priced = json.loads(shown.stdout)
    assert (priced["valid"], priced["basis"]) == (True, "exact")
    assert priced["estimate_usd"] == pytest.approx(0.0024 * 1024 * 1024 / 1_000_000)


def test_a_generation_that_the_endpoint_does_not_take_is_bad_input():
    shown = call("generate", FLUX, "-p", "a fox", "--set", "width=1000", "--dry-run")

    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr == f"error: {FLUX}: width: 1000 is not a multiple of 64\n"


def test_without_a_stack_a_generation_that_is_meant_fails_in_one_line():
    shown = call("generate", FLUX, "-p", "a fox")

    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.startswith("error: PostgreSQL did not answer")
    assert shown.stderr.count("\n") == 1


def test_an_endpoint_that_is_not_listed_is_taken_with_a_hint():
    shown = call("generate", "black-forest-labs-flux-1-schnel", "-p", "a fox", "--dry-run")

    assert shown.exit_code == 0
    assert f"did you mean '{FLUX}'" in shown.stderr


def test_a_campaign_is_counted_and_priced_without_a_stack(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a fox\nan owl\n")

    shown = call("campaign", "run", str(path), "-e", FLUX, "--dry-run", "--json")

    assert shown.exit_code == 0
    plan = json.loads(shown.stdout)
    assert (plan["jobs"], plan["exact"], plan["unpriced"]) == (2, True, 0)


def test_a_campaign_with_a_bad_line_shows_the_lines_and_how_many_more(tmp_path):
    path = tmp_path / "[red] prompts.txt"
    path.write_text("a fox\n" * 30)

    shown = call("campaign", "run", str(path), "-e", FLUX, "--set", "width=1", "--dry-run")

    lines = shown.stderr.splitlines()
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert f"{path}:20: width: 1 is not between 256 and 2048" in lines
    assert "... and 10 more" in lines
    assert lines[-1].endswith("30; nothing was enqueued")


def test_dear_campaigns_are_asked_about_where_somebody_can_answer(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a fox\n" * 1000)

    shown = call("campaign", "run", str(path), "-e", FLUX, "--on-unknown", "fail")

    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "$2.52 (exact)? Say --yes" in shown.stderr
