"""Starts the parts of the system in order, keeps them alive, restarts them without an interruption, stops them in reverse."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TypedDict

from deploy.embedded.child import StartFailed
from deploy.embedded.failure import LaunchFailed
from deploy.embedded.seat import Patience, Placement, Say, Seat

_LONGEST_SOCKET_DIR = 70
"""A Unix socket's path may have 107 bytes (unix(7)); the rest is for the file's name."""


class UnknownService(LaunchFailed):
    """No such service runs here; the message lists those that do."""


class SeatStatus(TypedDict):
    """One process as the control socket shows it; `since` is ISO 8601 in UTC."""

    name: str
    service: str
    slot: int
    pid: int
    state: str
    restarts: int
    since: str


class Supervisor:
    """The seats of one system. Use it as an async context manager: leaving it stops everything."""

    def __init__(
        self, *, log_dir: Path, run_dir: Path, patience: Patience, say: Say, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._log_dir = log_dir
        self._run_dir = run_dir
        self._notify_dir = run_dir
        self._patience = patience
        self._say = say
        self._changed = changed
        self._seats: list[Seat] = []
        self._restarting = asyncio.Lock()

    async def __aenter__(self) -> "Supervisor":
        self._notify_dir = _socket_dir(self._run_dir)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        shutil.rmtree(self._notify_dir, ignore_errors=True)

    async def start(self, placements: Iterable[Placement]) -> None:
        """Start them, each as soon as those it names in `after` are ready. Raises StartFailed for the first that fails."""
        seats = [self._seat(placement) for placement in placements]
        self._seats.extend(seats)
        starting = [asyncio.create_task(self._open(seat), name=f"start of {seat.name}") for seat in seats]
        try:
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def restart(self, service: str, say: Say) -> None:
        """Restart a service slot by slot, one restart at a time. Raises UnknownService, or StartFailed at the first slot
        whose next process does not become ready; later slots are left as they are."""
        wanted = service.replace("-", "_")
        seats = [seat for seat in self._seats if wanted in (seat.placement.service, seat.name.replace("-", "_"))]
        if not seats:
            names = ", ".join(dict.fromkeys(seat.placement.service for seat in self._seats))
            raise UnknownService(f"no service {service!r} runs here. These do: {names}")
        async with self._restarting:
            for seat in seats:
                await seat.replace(say)

    async def stop(self) -> None:
        """Stop all in the reverse order of their start, the slots of one service together."""
        for _, seats in groupby(reversed(self._seats), key=lambda seat: seat.placement.service):
            await asyncio.gather(*(seat.close() for seat in seats))
        self._seats.clear()

    def cut(self) -> None:
        """Let `stop` wait for nothing but the clean end of the servers that hold data."""
        for seat in self._seats:
            seat.cut()

    def status(self) -> list[SeatStatus]:
        """Every seat that has a process or is about to have one, in the order of their start."""
        return list(self._statuses())

    def _statuses(self) -> Iterator[SeatStatus]:
        for seat in self._seats:
            if seat.child is not None:
                yield SeatStatus(
                    name=seat.name,
                    service=seat.placement.service,
                    slot=seat.placement.slot,
                    pid=seat.child.pid,
                    state=seat.child.state.value,
                    restarts=seat.restarts,
                    since=seat.child.since.isoformat(timespec="seconds"),
                )

    def _seat(self, placement: Placement) -> Seat:
        return Seat(
            placement,
            log_dir=self._log_dir,
            notify_dir=self._notify_dir,
            patience=self._patience,
            say=self._say,
            changed=self._changed,
        )

    async def _open(self, seat: Seat) -> None:
        for service in seat.placement.after:
            needed = [other for other in self._seats if other.placement.service == service]
            if not needed:
                raise StartFailed(f"{seat.name} needs {service}, which is not part of this system")
            await asyncio.gather(*(other.ready.wait() for other in needed))
        await seat.open()


def _socket_dir(run_dir: Path) -> Path:
    """An empty private directory whose path is short enough for sockets."""
    wanted = run_dir / "notify"
    if len(str(wanted).encode()) > _LONGEST_SOCKET_DIR:
        return Path(tempfile.mkdtemp(prefix="keyferry-"))
    shutil.rmtree(wanted, ignore_errors=True)
    wanted.mkdir(mode=0o700, parents=True)
    return wanted
