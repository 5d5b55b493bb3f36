"""The program on a stack, and `scripts/bench NAME --quick`, each once a session."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workers.settings import Settings

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
MET, MISSED = 0, 1
PROGRAM = Path(sys.executable).with_name("pressroom")
SECONDS = 60.0  # a command that takes longer hangs
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
        picture = page / f"{name}.png"
        shown = f"![{name}]({name}.png)" in (page / f"{name}.md").read_text()
        assert shown is picture.exists()
        assert not shown or picture.read_bytes().startswith(b"\x89PNG")
        written = json.loads(path.read_text())
        return Figures(written["name"], written["rows"], written["bars"])

    return run


class CommandLine:
    """The program with the environment of one stack."""

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        outside = {key: value for key, value in os.environ.items() if "PRESSROOM" not in key}
        self._environment = {**outside, **variables}
        self._folder = folder

    def start(self, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self._environment, **variables},
            cwd=self._folder,
        )

    def call(self, *words: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end, whatever its exit code."""
        with self.start(*words, **variables) as process:
            output, notes = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(words, process.returncode, output, notes)

    def read(self, *words: str) -> Any:
        """The JSON of a command that succeeds, and that prints nothing but it."""
        done = self.call(*words, "--json")
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def pressroom(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    variables = {
        f"PRESSROOM_{name.upper()}": str(getattr(stack, name))
        for name in ("data_dir", "gateway_port", "flower_port", "emulator_port")
    }
    return CommandLine(variables, tmp_path_factory.mktemp("here"))
