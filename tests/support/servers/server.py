"""A server that a test may kill, freeze and restart, and what runs it: a child process or a container.

`TEST_BACKEND` chooses between them: `embedded` (the default) or `containers`, which fails where no engine answers.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from deploy.embedded.process import ProcessSpec, spawn
from tests.support.system.process_tree import frozen
from tests.support.waiting import until

_BACKEND_VARIABLE = "TEST_BACKEND"
_STOP_SECONDS = 20.0


class Runner(Protocol):
    """What runs a server: a child process or a container."""

    def kill(self) -> None:
        """Send SIGKILL and wait until it is gone."""

    def pause(self) -> None:
        """Freeze it."""

    def resume(self) -> None:
        """Let it continue."""

    def restart(self) -> None:
        """Start it again after `kill` or a clean stop, on the same port with the same data; ready on return."""

    def stop(self) -> None:
        """Stop it cleanly and wait until it is gone."""


class Server:
    """A running server that a test may disrupt. All calls return when the effect is there."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.kill = runner.kill
        self.pause = runner.pause
        self.resume = runner.resume
        self.restart = runner.restart
        self.stop = runner.stop


class ChildServer:
    """A server as a child process of the test run."""

    def __init__(self, specify: Callable[[], ProcessSpec], log: Path, ready: Callable[[], bool]) -> None:
        self._specify, self._log, self._ready = specify, log, ready
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_signal = signal.SIGTERM

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            self.restart()
            yield
        finally:
            self.resume()
            self.stop()

    def restart(self) -> None:
        try:
            until("the server accepts clients", self._started)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says:\n{self._log.read_text(errors='replace')[-2000:]}") from None

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(self._stop_signal)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)
        if self._process is not None and self._process.poll() is None:
            pid = self._process.pid
            until("every thread of it stands still", lambda: frozen(pid))

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _started(self) -> bool:
        """Start it, again if it gives up: a killed PostgreSQL's successor must wait for the old one's last children."""
        if self._process is None or self._process.poll() is not None:
            spec = self._specify()
            self._stop_signal = spec.stop_signal
            with self._log.open("ab") as log:
                self._process = spawn(spec, output=log)
        return self._ready() and self._process.poll() is None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def wants_containers() -> bool:
    backend = os.environ.get(_BACKEND_VARIABLE, "embedded")
    if backend not in ("embedded", "containers"):
        raise ValueError(f"{_BACKEND_VARIABLE}={backend!r}: use `embedded` or `containers`")
    return backend == "containers"


@contextmanager
def working_dir(prefix: str, parent: str | None = None) -> Iterator[Path]:
    """Make a directory that others may enter, for a server that runs as another user."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)
