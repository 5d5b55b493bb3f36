"""What is written for people says what the program does."""

import re
from pathlib import Path

import pytest

from gateway.cli.main import COMMANDS
from models.job import Reason
from tasks.retry_policy import ENDS, write_table
from workers.operator_settings import OperatorSettings
from workers.settings import Settings

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([^`]+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)
DOCUMENTED = {
    name: (default, text)
    for name, default, text in ROW.findall((ROOT / "docs" / "settings.md").read_text())
}
FIELDS = {
    **{f"PRESSROOM_{name.upper()}": field for name, field in Settings.model_fields.items()},
    **OperatorSettings.model_fields,
}


def test_every_setting_is_documented_and_nothing_else_is():
    assert list(DOCUMENTED) == list(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_is_documented_as_the_program_describes_it(name):
    default = FIELDS[name].get_default(call_default_factory=True)
    shown = f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
    nothing = default is None or default == ()

    assert DOCUMENTED[name] == ("-" if nothing else shown, FIELDS[name].description)


def test_the_readme_names_only_commands_that_there_are():
    readme = (ROOT / "README.md").read_text()

    named = set(re.findall(r"pressroom ([a-z]+)", "\n".join(re.findall("`+[^`]+`+", readme))))

    assert "settings" in named
    assert named <= set(COMMANDS)


def test_the_readme_shows_the_table_of_ends():
    assert write_table() in (ROOT / "README.md").read_text()


def test_the_table_of_ends_has_every_reason_once():
    assert sorted(end.reason for end in ENDS if end.reason) == sorted(Reason)


def test_every_link_of_the_documents_leads_somewhere():
    broken = [
        (page.name, target)
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert broken == []
