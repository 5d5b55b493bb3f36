"""A line on a terminal's stderr that says how a `map` goes."""

import shutil
import sys
import time
from collections.abc import Iterable, Sized
from typing import TextIO

DRAWN_EVERY_SECONDS = 0.1
BAR_CELLS = 24


class Bar:
    """Draws nothing unless `shown`, and where `stream` is a terminal."""

    def __init__(
        self, inputs: Iterable[object] | object, *, shown: bool, stream: TextIO | None = None
    ) -> None:
        stream = sys.stderr if stream is None else stream  # None in a program without a console
        self._stream = stream if shown and stream is not None and stream.isatty() else None
        self._total = len(inputs) if isinstance(inputs, Sized) else None
        self._started_at = time.monotonic()
        self._drawn_at = float("-inf")
        self._ended = self._failed = 0
        self._cost_usd = 0.0

    def count(self, outcome: object) -> None:
        self._ended += 1
        self._failed += isinstance(outcome, Exception)
        self._cost_usd += getattr(outcome, "cost_usd", None) or 0.0
        if time.monotonic() - self._drawn_at >= DRAWN_EVERY_SECONDS:
            self._draw()

    def close(self) -> None:
        if self._stream is not None:
            self._draw()
            self._stream.write("\n")
            self._stream.flush()
            self._stream = None

    def _draw(self) -> None:
        if self._stream is None:
            return
        self._drawn_at = time.monotonic()
        width = shutil.get_terminal_size().columns - 1
        self._stream.write("\r" + self._line()[:width].ljust(width))
        self._stream.flush()

    def _line(self) -> str:
        rate = self._ended / max(time.monotonic() - self._started_at, 1e-9)
        parts = [f"{self._failed} failed"] if self._failed else []
        parts += [f"${self._cost_usd:.2f}", f"{rate:.1f}/s"]
        if not self._total:
            return "  ".join([f"{self._ended}", *parts])
        filled = BAR_CELLS * min(self._ended, self._total) // self._total
        if rate and self._ended < self._total:
            minutes, seconds = divmod(round((self._total - self._ended) / rate), 60)
            parts.append(f"{minutes}:{seconds:02} left")
        bar = "#" * filled + "-" * (BAR_CELLS - filled)
        return "  ".join([f"[{bar}] {self._ended}/{self._total}", *parts])
