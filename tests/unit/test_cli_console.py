"""How commands print and fail: what a person reads, and what a program does."""

import io
import json
from decimal import Decimal

import pytest
import typer
from rich.console import Console
from rich.markup import escape

from endpoints.catalogue import Basis, Estimate
from gateway.cli.console import (
    FAILED,
    INTERRUPTED,
    USAGE,
    confirm,
    fail,
    make_table,
    print_json,
    read_settings,
    run,
    say_estimate,
    say_id,
    shorten,
)
from gateway.cli.inputs import BadInput
from gateway.words import say_bytes, say_seconds, say_usd
from models.base import new_id
from models.errors import NotFound

CANARY = "rpa_CANARY0123456789"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "-"),
        (0, "$0.00"),
        (Decimal(12), "$12.00"),
        (Decimal("1234.5"), "$1,234.50"),
        (Decimal("0.0024"), "$0.0024"),
        (Decimal("0.1"), "$0.10"),
        (0.00000149, "$0.000001"),
    ],
)
def test_money_has_as_many_digits_as_tell_something(value, words):
    assert say_usd(value) == words


@pytest.mark.parametrize(
    ("basis", "words"),
    [
        (Basis.EXACT, "$0.005 (exact)"),
        (Basis.CEILING, "at most $0.005"),
        (Basis.MEDIA, "about $0.005 (a supplied file decides)"),
        (Basis.AFTER, "about $0.005 (the result decides)"),
    ],
)
def test_an_estimate_says_what_it_stands_on(basis, words):
    assert say_estimate(Estimate(Decimal("0.005"), basis)) == words
    assert say_estimate(Estimate(None, Basis.UNLISTED)) == "no price is known"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (2_500_000, "2.5 MB"),
        (3 * 10**12, "3000.00 GB"),
    ],
)
def test_sizes_are_in_the_largest_unit_that_fits(count, words):
    assert say_bytes(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (61, "1 min 01 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (90_061, "25 h 01 min"),
    ],
)
def test_times_are_in_hours_minutes_and_seconds(seconds, words):
    assert say_seconds(seconds) == words


def test_a_long_text_is_one_line_that_shows_it_was_cut():
    assert shorten("an\n  owl", 10) == "an owl"
    assert shorten("an owl in the snow", 10) == "an owl in…"


def test_ids_of_jobs_made_together_differ_in_what_is_shown_of_them():
    shown = {say_id(new_id()) for _ in range(1000)}

    assert len(shown) == 1000


def test_an_error_is_one_line_on_stderr_whatever_is_in_it(capsys):
    with pytest.raises(typer.Exit) as ended:
        fail("size: '[/red]' is not one of [bold]", code=USAGE)

    said = capsys.readouterr()
    assert (ended.value.exit_code, said.out) == (USAGE, "")
    assert said.err == "error: size: '[/red]' is not one of [bold]\n"


def test_piped_json_is_one_line_and_keeps_its_characters(capsys):
    value = {"prompt": f"a fox 🦊 [bold] {'x' * 500}", "id": new_id()}

    print_json(value)

    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert json.loads(said) == {**value, "id": str(value["id"])}
    assert "🦊" in said


def test_a_row_of_a_narrow_table_is_cut_everywhere_but_in_its_last_column():
    table = make_table("id", ">cost", "prompt")
    table.add_row("0123456789", "$1.00", escape("[/b] " + "owl " * 20))
    page = Console(file=io.StringIO(), width=40)

    page.print(table)

    assert isinstance(page.file, io.StringIO)
    header, first, *folded = page.file.getvalue().splitlines()
    assert header.split() == ["id", "cost", "prompt"]
    assert "[/b]" in first
    assert " ".join([first, *folded]).count("owl") == 20


def test_a_secret_is_in_no_error_about_settings(monkeypatch, capsys):
    monkeypatch.setenv("PRESSROOM_UPSTREAM_KEY", CANARY)

    with pytest.raises(typer.Exit) as ended:
        read_settings()

    said = capsys.readouterr()
    assert ended.value.exit_code == USAGE
    assert "PRESSROOM_UPSTREAM_URL is not" in said.err
    assert CANARY not in said.out + said.err


def test_a_setting_of_the_wrong_type_is_named_with_what_came(monkeypatch, capsys):
    monkeypatch.setenv("PRESSROOM_GATEWAY_PORT", "eighty")

    with pytest.raises(typer.Exit) as ended:
        read_settings()

    said = capsys.readouterr().err
    assert ended.value.exit_code == USAGE
    assert "PRESSROOM_GATEWAY_PORT" in said
    assert "came 'eighty'" in said


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (BadInput("--set 'x'"), (USAGE, "error: --set 'x'\n")),
        (NotFound("job", "abcd"), (FAILED, "error: no job has the id 'abcd'\n")),
        (KeyboardInterrupt(), (INTERRUPTED, "")),
    ],
)
def test_how_a_body_went_wrong_is_told_by_its_code(monkeypatch, tmp_path, capsys, error, end):
    monkeypatch.setenv("PRESSROOM_DATA_DIR", str(tmp_path))

    async def body(_runtime):
        raise error

    with pytest.raises(typer.Exit) as ended:
        run(body)

    assert (ended.value.exit_code, capsys.readouterr().err) == end


def test_a_question_that_nobody_can_answer_is_refused_unless_agreed_to_before(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))

    confirm("Run 3 jobs?", yes=True)
    with pytest.raises(typer.Exit) as ended:
        confirm("Run 3 jobs?", yes=False)

    assert ended.value.exit_code == USAGE
    assert "Run 3 jobs? Say --yes" in capsys.readouterr().err
