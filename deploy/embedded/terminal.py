"""The launcher's output: lines with the time since the start."""

import sys
import time
from typing import TextIO

_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"


class Terminal:
    """Prints to `out`, in colour only if that is a terminal."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self._colours = self._out.isatty()
        self._started_at = time.monotonic()

    def log(self, text: str) -> None:
        """Print one line of progress."""
        seconds = f"{time.monotonic() - self._started_at:6.1f} s"
        self.show(f"{self._style(_DIM, seconds)}  {text}")

    def headline(self, text: str) -> None:
        """Print a highlighted line with the time since the start."""
        self.show(self._style(_BOLD, f"{text} ({time.monotonic() - self._started_at:.1f} s)"))

    def show(self, text: str) -> None:
        """Print a line as it is."""
        print(text, file=self._out, flush=True)

    def _style(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._colours else text
