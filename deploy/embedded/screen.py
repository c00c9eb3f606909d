"""What a person sees while the system starts, runs and stops: lines with the time since the start."""

import sys
import time
from typing import TextIO

_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"


class Screen:
    """Writes to `out`, with colour only where that is a terminal."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self._colours = self._out.isatty()
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        """One line of progress."""
        seconds = f"{time.monotonic() - self._began:6.1f} s"
        self.show(f"{self._styled(_DIM, seconds)}  {text}")

    def headline(self, text: str) -> None:
        """A line that stands out, with the time it took to get there."""
        self.show(self._styled(_BOLD, f"{text} ({time.monotonic() - self._began:.1f} s)"))

    def show(self, text: str) -> None:
        """A line as it is."""
        print(text, file=self._out, flush=True)

    def _styled(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._colours else text
