"""What is written for people says what the program does."""

import re
from pathlib import Path

import pytest

from gateway.cli.main import COMMANDS
from gateway.fact_families import make_families
from models.job import Reason
from tasks.retry_policy import ENDS, write_table
from workers.metrics import REGISTRY
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


def metrics_of_code():
    """Each by its name: type, labels, and what it is."""
    for name, family in make_families().items():
        kind = "counter" if family.counter else "gauge"
        yield (f"{name}_total" if family.counter else name), kind, family.labels, family.text
    for collector in REGISTRY._collector_to_names:  # noqa: SLF001 -- nothing else tells labels
        labels = getattr(collector, "_labelnames", None)
        if labels is not None:  # else it is prometheus_client's own
            [metric] = collector.collect()
            ending = "_total" if metric.type == "counter" else ""
            yield f"{metric.name}{ending}", metric.type, labels, metric.documentation


def test_every_metric_is_documented_as_the_code_has_it_and_no_other():
    page = (ROOT / "docs" / "metrics.md").read_text()
    row = re.compile(r"^\| `(pressroom_\w+)` \| (\w+) \| (.+?) \| (.+) \|$", re.MULTILINE)

    assert row.findall(page) == [
        (name, kind, ", ".join(labels) or "-", text)
        for name, kind, labels, text in metrics_of_code()
    ]


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
