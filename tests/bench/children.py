"""Processes the benchmark starts: their logs, their readiness, and their end. Nothing else is ever signalled."""

import collections
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.bench import processes
from tests.bench.failure import BenchError

_T = TypeVar("_T")
_POLL_SECONDS = 0.02
_STOP_TIMEOUT_SECONDS = 15.0
_LOG_TAIL_LINES = 15


class Child:
    """One started process whose standard output and error go to a log file."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log
        self._others: tuple[processes.Stat, ...] = ()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until(self, condition: Callable[[], _T | None], what: str, timeout_seconds: float = 15.0) -> _T:
        """Return the first result of `condition` that is not None.

        Raises:
            BenchError: the process ended first, or the time ran out; the message carries the end of its log.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            result = condition()
            if result is not None:
                return result
            self.check_alive()
            time.sleep(_POLL_SECONDS)
        raise BenchError(f"{self.name} did not get ready ({what}) in {timeout_seconds:g} s.{self._tail()}")

    def check_alive(self) -> None:
        """Raises:
        BenchError: the process has ended.
        """
        status = self._process.poll()
        if status is not None:
            raise BenchError(f"{self.name} ended with status {status}.{self._tail()}")

    def also_stop(self, pids: Collection[int]) -> None:
        """Have `stop` end these too if they outlive their parent, which may have died before it could."""
        stats = processes.read_all()
        self._others = tuple(stats[pid] for pid in pids if pid in stats)

    def stop(self) -> None:
        """Ask the process to end; after 15 s end it, and in any case every descendant left over, each by its own id."""
        family = {*processes.family(self.pid), *self._others}
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for member in family:
            if processes.is_same(member):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member.pid, signal.SIGKILL)

    def _tail(self) -> str:
        with self._log.open(errors="replace") as lines:
            tail = collections.deque(lines, maxlen=_LOG_TAIL_LINES)
        return f" End of its log:\n{''.join(tail)}" if tail else " Its log is empty."


@contextlib.contextmanager
def started(
    name: str,
    command: Sequence[str | Path],
    log_dir: Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Child]:
    """Run a command for the length of the block.

    It gets a session of its own, so that Ctrl-C reaches only the benchmark, which then ends it in order.
    """
    log = log_dir / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        child.stop()
