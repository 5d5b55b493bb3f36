"""`scripts/bench rows` measures, draws, and leaves nothing; how fast it is here is not asked."""

import json
import os
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
MET, MISSED = 0, 1


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What `scripts/bench rows --quick` writes as JSON."""
    folder = tmp_path_factory.mktemp("bench")
    path, picture = folder / "rows.json", folder / "rows.png"
    ended = subprocess.run(
        [BENCH, "rows", "--quick", f"--json={path}", f"--plot={picture}"],
        env={**os.environ, "PRESSROOM_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    # On a busy machine a bar of time may be missed.
    assert ended.returncode in {MET, MISSED}, ended.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not (folder / "bench-rows").exists()
    return json.loads(path.read_text())


def test_every_size_has_every_figure(written):
    parts: dict[str, set[str]] = {}
    for row in written["rows"]:
        parts.setdefault(row["part"], set()).add(row["what"])

    assert list(parts) == ["1,000 ended", "10,000 ended"]
    assert parts["1,000 ended"] == parts["10,000 ended"]
    for kind in ("claim of 100 to submit", "claim of 100 to poll", "sweep: ", "read: ", "shelving"):
        assert any(what.startswith(kind) for what in parts["1,000 ended"])


def test_claims_stand_beside_the_usual_table_and_are_held_to_their_growth(written):
    claims = [row for row in written["rows"] if row["what"].startswith("claim of")]

    assert all(row["value"] > 0 and row["beside"] > 0 for row in claims)
    assert [bar["bar"] for bar in written["bars"]] == [1.5, 1.5]
