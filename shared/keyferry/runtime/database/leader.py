"""A relay that runs in one replica of a service at a time and publishes the rows of an outbox to the bus.

The leader is elected by an advisory lock of PostgreSQL, which ends with its session. It publishes the oldest rows in order and
deletes a row once the server has acknowledged it, so a row is published again after a crash between the two. While NATS or
PostgreSQL is unavailable it retries and logs a warning now and then; nothing is lost.
"""

import asyncio
import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum

from nats.errors import Error as NatsError
from sqlalchemy import Table, delete, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.runtime.concurrency import Send, cancel_and_wait, send_in_order
from keyferry.runtime.views import SnapshotFailed

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Delay until a change committed by another replica is published: a revocation has to take effect within a second."""
_RETRY_SECONDS = 0.5
_STOP_SECONDS = 10.0
_LOG_EVERY_SECONDS = 5.0
_DELETE_SIZE = 500
_KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""PostgreSQL detects a vanished relay host after 25 s and passes the lock on; its default would take hours."""


class RelayState(StrEnum):
    """State of a relay."""

    WAITING = "waiting"
    """Unknown: not started, or NATS or PostgreSQL is unavailable."""
    FOLLOWING = "following"
    """Another process holds the lock."""
    LEADING = "leading"
    """This process holds the lock, and all committed changes are published except those in the outbox."""


@dataclass(frozen=True, slots=True)
class PendingRow:
    """A row of an outbox with the function that publishes it; None if nothing has to be published."""

    row_id: int
    send: Send | None


class LeadingRelay(ABC):
    """Publishes the rows of `table`, an outbox with a column `id`, in one process at a time.

    `lock` names the advisory lock; builds that run side by side must use the same name. `outage_message` is logged during an
    outage, with the unavailable server and the error in its two placeholders.
    """

    def __init__(
        self, engine: AsyncEngine, table: Table, *, lock: str, outage_message: str, poll_seconds: float
    ) -> None:
        self._engine = engine
        self._table = table
        self._outage_message = outage_message
        self._poll_seconds = poll_seconds
        self._lock_key = _lock_key(lock)
        self._state = RelayState.WAITING
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._logged_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> RelayState:
        """The current state."""
        return self._state

    @property
    def synced(self) -> bool:
        """Whether changes reach the bus, as far as this process knows: it leads and publishes, or another holds the lock.

        A follower has to count as ready, or the successor of a running process would never become ready.
        """
        return self._state is not RelayState.WAITING

    def start(self) -> None:
        """Start in a task of its own."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name=f"relay {self._table.fullname}")

    async def stop(self) -> None:
        """Finish the current publication and release the lock; unpublished rows stay in the outbox."""
        self._stopping.set()
        self._wake.set()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait({task}, timeout=_STOP_SECONDS)
            await cancel_and_wait(task)
        self._state = RelayState.WAITING

    def wake(self) -> None:
        """Publish committed rows now instead of at the next poll."""
        self._wake.set()

    # --- specific to one kind of outbox

    @abstractmethod
    def _on_lock_acquired(self) -> None:
        """Prepare for leading, after the lock is taken; a relay with work to do first stays WAITING until it is done."""

    @abstractmethod
    async def _before_publishing(self, connection: AsyncConnection) -> None:
        """Do what is due before each round of rows. Raises the same errors as `_next_rows`."""

    @abstractmethod
    async def _next_rows(self, connection: AsyncConnection) -> Sequence[PendingRow]:
        """Return the next rows in the order of publication; none if the outbox is empty.

        Raises SQLAlchemyError, nats-py's errors and SnapshotFailed, all of which are retried.
        """

    # --- internals

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                async with self._session() as connection:
                    while not self._stopping.is_set() and not await self._take_lock(connection):
                        self._state = RelayState.FOLLOWING
                        await self._pause()
                    self._on_lock_acquired()
                    await self._lead(connection)
            except Exception as error:  # the loop must survive any failure; the rows are still there for the next try
                self._state = RelayState.WAITING
                self._log_failure(error)
                await asyncio.sleep(_RETRY_SECONDS)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection whose session, and with it the advisory lock, ends with the block."""
        async with self._engine.connect() as pooled:
            connection = await pooled.execution_options(isolation_level="AUTOCOMMIT")
            for name, value in _KEEPALIVE.items():
                await connection.execute(
                    text("SELECT set_config(:name, :value, false)"), {"name": name, "value": value}
                )
            try:
                yield connection
            finally:
                # A pooled session would keep the lock without publishing anything.
                with suppress(SQLAlchemyError):
                    await connection.invalidate()

    async def _take_lock(self, connection: AsyncConnection) -> bool:
        return bool(await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._lock_key}))

    async def _lead(self, connection: AsyncConnection) -> None:
        while not self._stopping.is_set():
            await self._before_publishing(connection)
            while not self._stopping.is_set() and await self._publish_batch(connection):
                pass
            self._state = RelayState.LEADING
            self._logged_at = None
            await self._pause()
        # Ending the session would release it too, but PostgreSQL detects that only after a moment, and a successor waits.
        await connection.execute(text("SELECT pg_advisory_unlock_all()"))

    async def _publish_batch(self, connection: AsyncConnection) -> bool:
        """Publish the oldest rows, awaiting their acknowledgements together; return whether there were any."""
        rows = await self._next_rows(connection)
        sending = [(place, row.send) for place, row in enumerate(rows) if row.send is not None]
        stored, failure = await send_in_order([send for _, send in sending])
        passed = sending[stored][0] if failure else len(rows)
        await self._delete(connection, [row.row_id for row in rows[:passed]])
        if failure:
            raise failure
        return bool(rows)

    async def _delete(self, connection: AsyncConnection, row_ids: Sequence[int]) -> None:
        # By id, never "up to an id": a lower id can be committed later than a higher one.
        for first in range(0, len(row_ids), _DELETE_SIZE):
            ids = row_ids[first : first + _DELETE_SIZE]
            await connection.execute(delete(self._table).where(self._table.c.id.in_(ids)))

    async def _pause(self) -> None:
        if not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._wake.wait()
        self._wake.clear()

    def _log_failure(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if self._logged_at is not None and now - self._logged_at < _LOG_EVERY_SECONDS:
            return
        self._logged_at = now
        unavailable = _unavailable_server(error)
        _log.warning(
            self._outage_message,
            unavailable or "a defect of this build",
            type(error).__name__,
            exc_info=None if unavailable else error,
        )


def _unavailable_server(error: Exception) -> str | None:
    """Return which server caused an error; None if it is our own defect."""
    if isinstance(error, SQLAlchemyError):
        return "PostgreSQL"
    return "NATS" if isinstance(error, NatsError | SnapshotFailed | OSError) else None


def _lock_key(name: str) -> int:
    """Return the key of an advisory lock, a signed 64-bit number."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
