"""Every line of the log is an event: a fixed name in the past tense, one for each fact."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ROOMS = ("endpoints", "gateway", "models", "tasks", "workers")
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
LOGGERS = ("log", "_log", "told")
PAST = re.compile(
    r".*(ed|begun|fell|given|kept|known|lost|read|rung|seen|sent|set|taken|told|went|written)"
)
# The same fact, met in more than one place.
SHARED = {
    "heartbeat_missed",
    "lane_closed",
    "lane_opened",
    "permits_not_given_back",
    "pulse_not_written",
    "sweep_failed",
}
ROW = re.compile(r"^\| `([a-z_]+)` \| (\w+) \| ([\w./, `]+) \| .+ \|$", re.MULTILINE)


def find_calls() -> Iterator[tuple[str, Any]]:
    """(file, level, first argument, fields) of each call of a logger."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text()
            if "structlog.get_logger" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                of = node.func.value
                name = of.id if isinstance(of, ast.Name) else getattr(of, "attr", None)
                if node.func.attr in LEVELS and name in LOGGERS:
                    yield str(path.relative_to(ROOT)), node


def collect():
    """Event to (level, files)."""
    found = defaultdict(list)
    for file, node in find_calls():
        level = "error" if node.func.attr == "exception" else node.func.attr
        found[node.args[0].value].append((level, file))
    return found


def test_an_event_is_a_constant_name_in_the_past_tense_and_its_facts_are_fields():
    wrong = [
        (file, node.lineno)
        for file, node in find_calls()
        if len(node.args) != 1
        or not isinstance(node.args[0], ast.Constant)
        or not re.fullmatch(r"[a-z]+(_[a-z]+)+", str(node.args[0].value))
        or not any(map(PAST.fullmatch, str(node.args[0].value).split("_")))
        or any(isinstance(field.value, ast.JoinedStr) for field in node.keywords)
    ]

    assert wrong == []


def test_an_event_is_one_fact_at_one_level():
    found = collect()

    assert {event for event, places in found.items() if len(places) > 1} == SHARED
    assert [event for event in SHARED if len({level for level, _ in found[event]}) > 1] == []


def test_every_event_is_documented_with_its_level_and_where_it_arises():
    documented = {
        event: (level, set(re.findall(r"[\w/.]+\.py", files)))
        for event, level, files in ROW.findall((ROOT / "docs" / "telemetry.md").read_text())
    }

    assert documented == {
        event: (places[0][0], {file for _, file in places}) for event, places in collect().items()
    }
