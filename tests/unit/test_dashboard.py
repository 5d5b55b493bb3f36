"""deploy/grafana/pressroom.json has what Grafana wants, and its panels do not overlap."""

import itertools
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "pressroom.json").read_text())
PANELS = DASHBOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_it_can_be_imported():
    assert {"uid", "title", "schemaVersion", "time", "templating"} <= set(DASHBOARD)
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    assert len({panel["title"] for panel in GRAPHS if panel["type"] != "stat"}) > 20


def test_whoever_imports_it_says_which_prometheus_it_is():
    [source, endpoint] = DASHBOARD["templating"]["list"]

    assert (source["name"], source["type"], source["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    assert endpoint["datasource"] == SOURCE
    for panel in GRAPHS:
        assert panel["datasource"] == SOURCE
        assert {str(target["datasource"]) for target in panel["targets"]} == {str(SOURCE)}


def test_every_panel_asks_for_something_in_a_unit():
    for panel in GRAPHS:
        references = [target["refId"] for target in panel["targets"]]
        assert references
        assert len(set(references)) == len(references)
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_no_two_panels_lie_on_one_another():
    places = [panel["gridPos"] for panel in PANELS]
    for place in places:
        assert place["x"] + place["w"] <= COLUMNS
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
