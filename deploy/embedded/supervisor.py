"""Starts processes in dependency order, keeps them running, restarts them without an interruption, stops them in reverse."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TypedDict

from deploy.embedded.errors import StartFailed, UnknownService
from deploy.embedded.managed_process import Log, ManagedProcess, ProcessConfig, ProcessTimeouts

_LONGEST_SOCKET_DIR = 70
"""A Unix socket's path may have 107 bytes (unix(7)); the rest is for the file's name."""


class StatusEntry(TypedDict):
    """The status of one process on the control socket; `since` is ISO 8601 in UTC."""

    name: str
    service: str
    slot: int
    pid: int
    state: str
    restarts: int
    since: str


class Supervisor:
    """The processes of one system. Use it as an async context manager: leaving it stops everything."""

    def __init__(
        self,
        *,
        log_dir: Path,
        run_dir: Path,
        timeouts: ProcessTimeouts,
        log: Log,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._log_dir = log_dir
        self._run_dir = run_dir
        self._notify_dir = run_dir
        self._timeouts = timeouts
        self._log = log
        self._on_change = on_change
        self._processes: list[ManagedProcess] = []
        self._restarting = asyncio.Lock()

    async def __aenter__(self) -> "Supervisor":
        self._notify_dir = _make_socket_dir(self._run_dir)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        shutil.rmtree(self._notify_dir, ignore_errors=True)

    async def start(self, configs: Iterable[ProcessConfig]) -> None:
        """Start each process once those it names in `after` are ready. Raises StartFailed for the first failure."""
        processes = [self._make_process(config) for config in configs]
        self._processes.extend(processes)
        starting = [
            asyncio.create_task(self._start_after_dependencies(process), name=f"start of {process.name}")
            for process in processes
        ]
        try:
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def restart(self, service: str, log: Log) -> None:
        """Restart a service slot by slot, one restart at a time.

        Raises UnknownService, or StartFailed at the first slot whose new process does not become ready; later slots are then
        left as they are.
        """
        wanted = service.replace("-", "_")
        processes = [
            process for process in self._processes if wanted in (process.config.service, process.name.replace("-", "_"))
        ]
        if not processes:
            names = ", ".join(dict.fromkeys(process.config.service for process in self._processes))
            raise UnknownService(f"no service {service!r} is running here; running services: {names}")
        async with self._restarting:
            for process in processes:
                await process.restart(log)

    async def stop(self) -> None:
        """Stop all processes in the reverse order of their start, the slots of one service together."""
        for _, processes in groupby(reversed(self._processes), key=lambda process: process.config.service):
            await asyncio.gather(*(process.stop() for process in processes))
        self._processes.clear()

    def force_stop(self) -> None:
        """Make `stop` wait only for the clean shutdown of servers that hold data."""
        for process in self._processes:
            process.force_stop()

    def status(self) -> list[StatusEntry]:
        """Return the status of every process that was started, in the order of their start."""
        return list(self._statuses())

    def _statuses(self) -> Iterator[StatusEntry]:
        for process in self._processes:
            if process.child is not None:
                yield StatusEntry(
                    name=process.name,
                    service=process.config.service,
                    slot=process.config.slot,
                    pid=process.child.pid,
                    state=process.child.state.value,
                    restarts=process.restarts,
                    since=process.child.since.isoformat(timespec="seconds"),
                )

    def _make_process(self, config: ProcessConfig) -> ManagedProcess:
        return ManagedProcess(
            config,
            log_dir=self._log_dir,
            notify_dir=self._notify_dir,
            timeouts=self._timeouts,
            log=self._log,
            on_change=self._on_change,
        )

    async def _start_after_dependencies(self, process: ManagedProcess) -> None:
        for service in process.config.after:
            needed = [other for other in self._processes if other.config.service == service]
            if not needed:
                raise StartFailed(f"{process.name} needs {service}, which is not part of this system")
            await asyncio.gather(*(other.ready.wait() for other in needed))
        await process.start()


def _make_socket_dir(run_dir: Path) -> Path:
    """Make an empty private directory whose path is short enough for sockets."""
    wanted = run_dir / "notify"
    if len(str(wanted).encode()) > _LONGEST_SOCKET_DIR:
        return Path(tempfile.mkdtemp(prefix="keyferry-"))
    shutil.rmtree(wanted, ignore_errors=True)
    wanted.mkdir(mode=0o700, parents=True)
    return wanted
