"""`pressroom keys` where there is no database, and how a key is shown."""

import datetime as dt
import json

import pytest
from typer.testing import CliRunner

from gateway.cli.keys import show_issued
from gateway.cli.main import make_cli
from gateway.key_facts import describe_issued, describe_key
from models.base import new_id
from models.key import ApiKey, IssuedKey, hash_key
from workers.secret import Secret

SECRET = Secret("a secret of sixteen")
KEY = "prk_canary-0123456789"


def call(*arguments: str):
    return CliRunner().invoke(make_cli(arguments), arguments)


@pytest.fixture(autouse=True)
def _no_stack(monkeypatch, tmp_path):
    monkeypatch.setenv("PRESSROOM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PRESSROOM_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")


@pytest.fixture
def issued() -> IssuedKey:
    row = ApiKey(
        id=new_id(),
        name="shop",
        hash=hash_key(KEY),
        shown=KEY[:8],
        scopes=["run"],
        requests_per_second=None,
        result_cache=None,
        webhook_version=1,
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        revoked_at=None,
        previous_until=None,
    )
    return IssuedKey(row, KEY)


class OfSecret:
    """What of a runtime is needed to show a key."""

    secret = SECRET


def test_a_key_is_shown_with_its_secrets_once_and_never_again(issued):
    made = describe_issued(issued, SECRET)
    later = json.dumps(describe_key(issued.row))

    assert made["key"] == KEY
    assert made["webhook_secret"] == SECRET.webhook_secret(issued.row.id, 1)
    assert "canary" not in later
    assert "whsec_" not in later
    assert hash_key(KEY).hex() not in later


def test_a_new_key_is_printed_whole_for_people(issued, capsys):
    show_issued(OfSecret(), issued, as_json=False)  # type: ignore[arg-type]

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[:3]] == [
        KEY,
        SECRET.webhook_secret(issued.row.id, 1),
        str(issued.row.id),
    ]


def test_a_new_key_is_json_for_programs(issued, capsys):
    show_issued(OfSecret(), issued, as_json=True)  # type: ignore[arg-type]

    assert json.loads(capsys.readouterr().out) == describe_issued(issued, SECRET)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keys", "create"), "name"),
        (("keys", "create", "shop", "--scope", "admin"), "admin"),
        (("keys", "create", "shop", "--requests-per-second", "0"), "requests-per-second"),
        (("keys", "rotate"), "ID"),
        (("keys", "rotate", "249d250cf543", "--grace", "-1"), "grace"),
        (("keys", "revoke"), "ID"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(arguments, said):
    result = call(*arguments)

    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "create", "shop"),
        ("keys", "list"),
        ("keys", "rotate", "249d250cf543"),
        ("keys", "revoke", "249d250cf543", "--yes"),
    ],
)
def test_without_a_database_each_command_says_so_in_a_line(arguments):
    result = call(*arguments)

    assert result.exit_code == 1
    assert "PostgreSQL did not answer" in " ".join(result.output.split())
    assert "Traceback" not in result.output
