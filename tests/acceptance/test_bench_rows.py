"""`scripts/bench rows` measures, draws, and leaves nothing; how fast it is here is not asked."""

import pytest


@pytest.fixture(scope="module")
def figures(run_bench):
    return run_bench("rows")


def test_every_size_has_every_figure(figures):
    parts: dict[str, set[str]] = {}
    for row in figures.rows:
        parts.setdefault(row["part"], set()).add(row["what"])

    assert list(parts) == ["1,000 ended", "10,000 ended"]
    assert parts["1,000 ended"] == parts["10,000 ended"]
    for kind in ("claim of 100 to submit", "claim of 100 to poll", "sweep: ", "read: ", "shelving"):
        assert any(what.startswith(kind) for what in parts["1,000 ended"])


def test_claims_stand_beside_the_usual_table_and_are_held_to_their_growth(figures):
    claims = [row for row in figures.rows if row["what"].startswith("claim of")]

    assert all(row["value"] > 0 and row["beside"] > 0 for row in claims)
    assert [bar["bar"] for bar in figures.bars] == [1.5, 1.5]
