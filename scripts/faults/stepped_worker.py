"""`python -m scripts.faults.stepped_worker`: a worker whose wall clock jumps when it is told to.

Only what says what time it is jumps; what measures how long something took does not, as it is when
an operator or a time server sets a machine's clock. Each line on its input is a jump: the first
there, the second home.
"""

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import Any

import time_machine
from celery import signals

from workers.settings import Settings
from workers.worker import run_worker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--step", type=float, required=True, help="seconds")
    parser.add_argument("--ready", type=Path, required=True, help="made once it takes work")
    options = parser.parse_args()

    def jump() -> None:
        sys.stdin.readline()
        with time_machine.travel(time.time() + options.step, tick=True):
            sys.stdin.readline()

    def say_ready(**_signal: Any) -> None:  # noqa: ANN401 -- Celery's interface
        options.ready.touch()

    threading.Thread(target=jump, name="clock", daemon=True).start()
    signals.worker_ready.connect(say_ready)
    run_worker(Settings(), name=options.name)


if __name__ == "__main__":
    main()
