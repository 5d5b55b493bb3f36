"""`scripts/bench NAME --quick`, each once a session: the figures that it wrote."""

import functools
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
MET, MISSED = 0, 1
RUN_SECONDS = 900  # the first time, its rivals are installed


@dataclass(frozen=True)
class Figures:
    """What a benchmark wrote as JSON."""

    name: str
    rows: Sequence[Mapping[str, Any]]
    bars: Sequence[Mapping[str, Any]]

    def find(self, part: str, what: str) -> float:
        [row] = [row for row in self.rows if (row["part"], row["what"]) == (part, what)]
        return float(row["value"])

    def of_each_part(self, what: str) -> Mapping[str, float]:
        return {row["part"]: row["value"] for row in self.rows if row["what"] == what}

    def bar(self, what: str) -> Mapping[str, Any]:
        [found] = [bar for bar in self.bars if bar["what"] == what]
        return found


@pytest.fixture(scope="session")
def run_bench(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Figures]:
    """Runs it with small numbers; it draws its picture, writes its page, and clears up."""

    @functools.cache
    def run(name: str) -> Figures:
        folder = tmp_path_factory.mktemp(name)
        path, page = folder / "figures.json", folder / "page"
        ended = subprocess.run(
            [BENCH, name, "--quick", f"--json={path}", f"--page={page}"],
            env={**os.environ, "PRESSROOM_DATA_DIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        # On a busy machine a bar of time may be missed.
        assert ended.returncode in {MET, MISSED}, ended.stderr
        assert path.exists(), ended.stderr
        assert {one.name for one in folder.iterdir()} == {path.name, page.name}
        assert f"![{name}]({name}.png)" in (page / f"{name}.md").read_text()
        assert (page / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        written = json.loads(path.read_text())
        return Figures(written["name"], written["rows"], written["bars"])

    return run
