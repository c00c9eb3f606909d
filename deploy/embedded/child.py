"""One run of one process: started, ready, draining, gone."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from deploy.embedded.failure import LaunchFailed
from deploy.embedded.logfile import LogFile
from deploy.embedded.process import ProcessSpec

Probe = Callable[[], Awaitable[bool]]
"""Asked again and again whether a server accepts clients; it must neither raise nor hang."""

_PROBE_EVERY_SECONDS = 0.02
_CHUNK_BYTES = 65_536
_DATAGRAM_BYTES = 4096


class State(StrEnum):
    """Where in its life a process is."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


class StartFailed(LaunchFailed):
    """A process ended, or did not become ready in time; the message ends with what it last said."""


class Child:
    """A running process. Without a probe it is ready when it says so itself, by the sd_notify protocol."""

    def __init__(self, spec: ProcessSpec, log: LogFile, probe: Probe | None, notify_path: Path) -> None:
        self.name = spec.name
        self.pid = 0
        self.state = State.STARTING
        self.dismissed = False
        """Whether it was asked to stop, so that its end is no crash."""
        self.since = datetime.now(UTC)
        self._spec = spec
        self._log = log
        self._probe = probe
        self._notify_path = notify_path
        self._log_began_bytes = log.size_bytes
        self._became_ready = asyncio.Event()
        self._gone: asyncio.Task[int] | None = None

    async def start(self) -> None:
        """Start the process. Raises StartFailed when the program cannot be run at all."""
        spec = self._spec
        told = self._listen() if self._probe is None else None
        if told is not None:
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
            self._hang_up(told)
            self._enter(State.GONE)
            raise StartFailed(f"{self.name} cannot be started: {error}") from None
        self.pid = process.pid
        self._gone = asyncio.create_task(self._live(process, told), name=f"life of {self.name}")

    async def until_ready(self, patience_seconds: float) -> None:
        """Return when it is ready. Raises StartFailed when it ends first or takes longer than `patience_seconds`."""
        gone = self._life()
        ready = asyncio.create_task(self._until_accepting() if self._probe else self._became_ready.wait())
        try:
            await asyncio.wait({gone, ready}, timeout=patience_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if gone.done():
            raise StartFailed(f"{self.name} ended with {described(gone.result())} at its start:\n{self._last_words()}")
        if not ready.done() or ready.cancelled():
            raise StartFailed(f"{self.name} is not ready after {patience_seconds:g} s; it said:\n{self._last_words()}")
        self._enter(State.READY)

    async def until_gone(self) -> int:
        """Its exit status, as subprocess gives it: negative for a signal."""
        return await asyncio.shield(self._life())

    async def stop(self, drain_seconds: float) -> bool:
        """Ask it to stop, kill it after `drain_seconds`; whether it stopped by itself."""
        life = self._life()
        if life.done():
            return True
        self.dismissed = True
        self._enter(State.DRAINING)
        self._send(self._spec.stop_signal)
        done, _ = await asyncio.wait({life}, timeout=drain_seconds)
        if not done:
            self.kill()
            await asyncio.wait({life})
        return bool(done)

    def kill(self) -> None:
        """SIGKILL, now."""
        self._send(signal.SIGKILL)

    def _last_words(self) -> str:
        return self._log.tail(self._log_began_bytes)

    def _send(self, number: signal.Signals) -> None:
        if self._gone is not None and not self._gone.done():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def _life(self) -> asyncio.Task[int]:
        assert self._gone is not None, "start() comes first"
        return self._gone

    async def _live(self, process: asyncio.subprocess.Process, told: socket.socket | None) -> int:
        assert process.stdout is not None
        copying = asyncio.create_task(self._copy_output(process.stdout))
        try:
            status = await process.wait()
            self._enter(State.GONE)
            await copying
            return status
        finally:
            self._hang_up(told)

    async def _copy_output(self, output: asyncio.StreamReader) -> None:
        while data := await output.read(_CHUNK_BYTES):
            self._log.write(data)

    async def _until_accepting(self) -> None:
        assert self._probe is not None
        while not await self._probe():  # noqa: ASYNC110 - a server of others sends no event
            await asyncio.sleep(_PROBE_EVERY_SECONDS)

    def _listen(self) -> socket.socket:
        self._notify_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        listener.bind(str(self._notify_path))
        asyncio.get_running_loop().add_reader(listener, self._hear, listener)
        return listener

    def _hear(self, listener: socket.socket) -> None:
        detail = listener.recv(_DATAGRAM_BYTES).splitlines()
        if b"READY=1" in detail:
            self._became_ready.set()
        if b"STOPPING=1" in detail and self.state is not State.GONE:
            self._enter(State.DRAINING)

    def _hang_up(self, told: socket.socket | None) -> None:
        if told is not None:
            asyncio.get_running_loop().remove_reader(told)
            told.close()
            self._notify_path.unlink(missing_ok=True)

    def _enter(self, state: State) -> None:
        if self.state is not state:
            self.state = state
            self.since = datetime.now(UTC)


def described(status: int) -> str:
    """An exit status of subprocess in words."""
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
