"""The alerts do what they say: each fires where it should, and not where it should not.

deploy/prometheus/rules_test.yaml is in promtool's form, and is run here as promtool would.
"""

import math
import re
from pathlib import Path

import promql_parser as promql
import pytest
import yaml

from tests.promql import Alert, Samples

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
TRIED = yaml.safe_load((FOLDER / "rules_test.yaml").read_text())
TESTS = TRIED["tests"]
STEP_SECONDS = promql.parse_duration(TRIED["evaluation_interval"]).total_seconds()
VALUES = re.compile(r"([\d.e]+)(?:\+([\d.e]+))?(?:x(\d+))?")


def seconds(duration):
    return promql.parse_duration(duration).total_seconds()


def read_values(written):
    """`1 2`, `1x3` (four ones) and `0+5x3` (0 5 10 15)."""
    for word in str(written).split():
        found = VALUES.fullmatch(word)
        assert found, word
        first, step, times = float(found[1]), float(found[2] or 0), int(found[3] or 0)
        yield from (first + step * place for place in range(times + 1))


def read_samples(test):
    samples = Samples()
    for series in test["input_series"]:
        selector = promql.parse(series["series"])
        assert isinstance(selector, promql.VectorSelector)
        assert selector.name
        labels = {one.name: one.value for one in selector.matchers.matchers}
        for place, value in enumerate(read_values(series["values"])):
            samples.add(place * seconds(test["interval"]), selector.name, labels, value)
    return samples


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test["name"])
def test_alerts_fire_where_they_should_and_nowhere_else(test):
    samples = read_samples(test)
    for asked in test["alert_rule_test"]:
        [rule] = [rule for rule in RULES if rule["alert"] == asked["alertname"]]
        alert = Alert.from_rule(rule)
        firing = []
        for step in range(math.floor(seconds(asked["eval_time"]) / STEP_SECONDS) + 1):
            firing = alert.look(samples, step * STEP_SECONDS)

        told = [
            {
                "exp_labels": {**dict(labels), **alert.labels},
                "exp_annotations": alert.say(labels),
            }
            for labels in firing
        ]
        assert told == asked.get("exp_alerts", []), (asked["alertname"], asked["eval_time"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_tried_both_ways_and_leads_to_its_page(rule):
    asked = [
        one
        for test in TESTS
        for one in test["alert_rule_test"]
        if one["alertname"] == rule["alert"]
    ]

    assert any("exp_alerts" in one for one in asked)
    assert any("exp_alerts" not in one for one in asked)
    assert seconds(rule["for"]) > 0
    assert rule["labels"]["severity"] in {"critical", "warning"}
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page.parent == ROOT / "docs" / "runbooks"
    assert f"`{rule['alert']}`" in page.read_text()


def test_every_page_is_some_alert_s():
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "runbooks").glob("*.md")}

    assert pages - {"docs/runbooks/README.md"} == {
        rule["annotations"]["runbook_url"] for rule in RULES
    }
