"""Restarts the embedded NATS server once the disk has space again after it was full.

A stream that could not be written once refuses every later message until the server is restarted. Nothing is lost meanwhile: the
workers keep attempts in their spools, and the services their events in their tables.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.errors import LaunchFailed
from deploy.embedded.managed_process import Log
from keyferry.cli.connection import operator
from keyferry.cli.installation import Installation
from keyferry.cli.problem import Problem
from keyferry.contracts.server_health import ServerHealth
from keyferry.runtime.backoff import Backoff

_log = logging.getLogger(__name__)

MIN_FREE_BYTES = 256 * 1024**2
"""Space to wait for before a restart: several of the server's files of 8 MB for each stream, and PostgreSQL's own needs."""
_INTERVAL_SECONDS = 5.0
_ANSWER_SECONDS = 0.2
_RESTARTS = Backoff(first_seconds=30.0, longest_seconds=900.0)
"""Between restarts that did not help, as with a disk that is broken and not full: each one interrupts requests in progress."""


@dataclass(kw_only=True)
class NatsRecovery:
    """Asks the server for its health again and again; calls `restart` when a stream has failed and `store` has space."""

    store: Path
    fetch_health: Callable[[], Awaitable[list[ServerHealth]]]
    restart: Callable[[], Awaitable[None]]
    log: Log
    min_free_bytes: int = MIN_FREE_BYTES
    interval_seconds: float = _INTERVAL_SECONDS

    async def run(self) -> None:
        """Watch for ever."""
        fruitless, next_restart_seconds, reported = 0, 0.0, ""
        while True:
            await asyncio.sleep(self.interval_seconds)
            failed = next((server.error for server in await self._ask() if server.needs_restart), "")
            if not failed:
                reported = ""
                if time.monotonic() >= next_restart_seconds:
                    fruitless = 0
                continue
            if failed != reported:
                self.log(f"nats: stores no messages: {failed}")
                reported = failed
            if time.monotonic() < next_restart_seconds or self._free_bytes() < self.min_free_bytes:
                continue
            next_restart_seconds = time.monotonic() + _RESTARTS.delay_seconds(fruitless)
            fruitless += 1
            await self._restart()

    async def _ask(self) -> list[ServerHealth]:
        try:
            return await self.fetch_health()
        except Problem as problem:  # it is starting, stopping or frozen; the supervisor watches the process
            _log.debug("NATS does not answer", extra={"error": problem.what})
            return []

    async def _restart(self) -> None:
        self.log("nats: the disk has space again, restarting the server so that it stores messages")
        try:
            await self.restart()
        except LaunchFailed as error:
            self.log(str(error).partition("\n")[0])

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self.store).free
        except OSError:
            return 0


async def fetch_health(nats_url: str, operator_seed: Path) -> list[ServerHealth]:
    """Return the health of the servers at `nats_url`. Raises Problem if they do not answer."""
    async with operator(Installation(nats_url, operator_seed)) as connection:
        return await connection.collect_server_health(_ANSWER_SECONDS)
