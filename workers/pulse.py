"""The pulse of a process: a file in DATA_DIR/run that it writes anew while all is well.

It needs neither Redis nor a free disk: the same few bytes are written over and over. Its time is
the machine's monotonic one, which every process and container on it shares and which never steps.

    python -m workers.pulse worker      exits with 1 if that process's pulse is old: a health check

which is why nothing of the program is imported here.
"""

import contextlib
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

OLD_SECONDS = 30.0
RECORD_BYTES = 128


@dataclass(frozen=True, slots=True)
class Beat:
    """What a process last wrote."""

    pid: int
    at: float  # on the machine's monotonic clock

    @property
    def age_seconds(self) -> float:
        """Negative if the machine was restarted since."""
        return time.monotonic() - self.at


class Pulse:
    """The pulse of this process; close it in the end, or it looks as if it had died."""

    def __init__(self, data_dir: Path, name: str) -> None:
        self._path = pulse_path(data_dir, name)
        self._file: int | None = None

    def beat(self) -> None:
        """
        Raises:
            OSError: the file cannot be made or written.
        """
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        record = json.dumps(asdict(Beat(pid=os.getpid(), at=time.monotonic())))
        os.pwrite(self._file, record.ljust(RECORD_BYTES).encode(), 0)

    def close(self) -> None:
        """Take the file away, unless another process of the name has it already."""
        if self._file is None:
            return
        os.close(self._file)
        self._file = None
        last = _read(self._path)
        if last and last.pid == os.getpid():
            self._path.unlink(missing_ok=True)


def pulse_path(data_dir: Path, name: str) -> Path:
    """Where the pulse of a process on this host is: containers may share DATA_DIR and a name."""
    return data_dir / "run" / f"{name}@{socket.gethostname()}.pulse"


def read_pulse(data_dir: Path, name: str) -> Beat | None:
    """What the process of that name on this host last wrote; None if there is nothing."""
    return _read(pulse_path(data_dir, name))


def _read(path: Path) -> Beat | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(path.read_text())
        return Beat(pid=int(found["pid"]), at=float(found["at"]))
    return None


def check_pulse(data_dir: Path, name: str) -> str | None:
    """What is wrong with the pulse of a process; None if nothing is."""
    last = read_pulse(data_dir, name)
    if last is None or last.age_seconds < 0:
        return f"{name} has no pulse yet"
    if last.age_seconds > OLD_SECONDS:
        return f"the last pulse of {name} was {last.age_seconds:.0f} s ago"
    return None


def main() -> None:
    if len(sys.argv) != 2:  # noqa: PLR2004 -- the program and a name
        sys.exit("a process's name was wanted: worker, beat")
    if problem := check_pulse(Path(os.environ.get("PRESSROOM_DATA_DIR", "var")), sys.argv[1]):
        sys.exit(problem)


if __name__ == "__main__":
    main()
