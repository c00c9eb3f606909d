"""One run of one child process: starting, ready, draining, exited."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from deploy.embedded.errors import StartFailed
from deploy.embedded.log_file import LogFile
from deploy.embedded.process import ProcessSpec

Probe = Callable[[], Awaitable[bool]]
"""Readiness probe, polled until it returns True; it must neither raise nor hang."""

_PROBE_EVERY_SECONDS = 0.02
_CHUNK_BYTES = 65_536
_DATAGRAM_BYTES = 4096


class ProcessState(StrEnum):
    """The state of a child process."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    EXITED = "exited"


class Child:
    """A child process. Without a probe, the process itself reports readiness by the sd_notify protocol."""

    def __init__(self, spec: ProcessSpec, output: LogFile, probe: Probe | None, notify_path: Path) -> None:
        self.name = spec.name
        self.pid = 0
        self.state = ProcessState.STARTING
        self.stop_requested = False
        """Whether it was asked to stop, so that its exit is not a crash."""
        self.since = datetime.now(UTC)
        self._spec = spec
        self._output = output
        self._probe = probe
        self._notify_path = notify_path
        self._output_start_bytes = output.size_bytes
        self._notified_ready = asyncio.Event()
        self._exit: asyncio.Task[int] | None = None

    async def start(self) -> None:
        """Start the process. Raises StartFailed if the program cannot be executed."""
        spec = self._spec
        listener = self._listen() if self._probe is None else None
        if listener is not None:
            spec = replace(spec, env={**spec.env, "NOTIFY_SOCKET": str(self._notify_path)})
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                **spec.arguments(),
            )
        except OSError as error:
            self._close_listener(listener)
            self._set_state(ProcessState.EXITED)
            raise StartFailed(f"{self.name} cannot be started: {error}") from None
        self.pid = process.pid
        self._exit = asyncio.create_task(self._run(process, listener), name=f"run of {self.name}")

    async def wait_until_ready(self, timeout_seconds: float) -> None:
        """Return when it is ready. Raises StartFailed if it exits first or takes longer than `timeout_seconds`."""
        exited = self._exit_task()
        ready = asyncio.create_task(self._poll_probe() if self._probe else self._notified_ready.wait())
        try:
            await asyncio.wait({exited, ready}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if exited.done():
            status = describe_exit(exited.result())
            raise StartFailed(f"{self.name} exited with {status} during startup:\n{self._last_output()}")
        if not ready.done() or ready.cancelled():
            raise StartFailed(
                f"{self.name} was not ready after {timeout_seconds:g} s; last output:\n{self._last_output()}"
            )
        self._set_state(ProcessState.READY)

    async def wait_for_exit(self) -> int:
        """Return the exit status as `subprocess` reports it: negative for a signal."""
        return await asyncio.shield(self._exit_task())

    async def stop(self, drain_seconds: float) -> bool:
        """Ask it to stop and kill it after `drain_seconds`; return whether it exited by itself."""
        exited = self._exit_task()
        if exited.done():
            return True
        self.stop_requested = True
        self._set_state(ProcessState.DRAINING)
        self._send(self._spec.stop_signal)
        done, _ = await asyncio.wait({exited}, timeout=drain_seconds)
        if not done:
            self.kill()
            await asyncio.wait({exited})
        return bool(done)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _last_output(self) -> str:
        return self._output.tail(self._output_start_bytes)

    def _send(self, number: signal.Signals) -> None:
        if self._exit is not None and not self._exit.done():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def _exit_task(self) -> asyncio.Task[int]:
        assert self._exit is not None, "start() comes first"
        return self._exit

    async def _run(self, process: asyncio.subprocess.Process, listener: socket.socket | None) -> int:
        assert process.stdout is not None
        copying = asyncio.create_task(self._copy_output(process.stdout))
        try:
            status = await process.wait()
            self._set_state(ProcessState.EXITED)
            await copying
            return status
        finally:
            self._close_listener(listener)

    async def _copy_output(self, output: asyncio.StreamReader) -> None:
        while data := await output.read(_CHUNK_BYTES):
            self._output.write(data)

    async def _poll_probe(self) -> None:
        assert self._probe is not None
        while not await self._probe():  # noqa: ASYNC110 - a third-party server sends no event
            await asyncio.sleep(_PROBE_EVERY_SECONDS)

    def _listen(self) -> socket.socket:
        self._notify_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have removed it
        self._notify_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        listener.bind(str(self._notify_path))
        asyncio.get_running_loop().add_reader(listener, self._on_notification, listener)
        return listener

    def _on_notification(self, listener: socket.socket) -> None:
        lines = listener.recv(_DATAGRAM_BYTES).splitlines()
        if b"READY=1" in lines:
            self._notified_ready.set()
        if b"STOPPING=1" in lines and self.state is not ProcessState.EXITED:
            self._set_state(ProcessState.DRAINING)

    def _close_listener(self, listener: socket.socket | None) -> None:
        if listener is not None:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
            self._notify_path.unlink(missing_ok=True)

    def _set_state(self, state: ProcessState) -> None:
        if self.state is not state:
            self.state = state
            self.since = datetime.now(UTC)


def describe_exit(status: int) -> str:
    """Return an exit status of `subprocess` as text."""
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
