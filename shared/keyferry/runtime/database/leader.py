"""One relay over all replicas of a service: the loop of whatever brings the rows of an outbox to the bus.

Who leads is chosen by an advisory lock of PostgreSQL, which ends with its session. The leader publishes the oldest rows in
order and forgets a row once the server has acknowledged it, so that a crash between the two publishes the row again. Whatever
is away, it tries again, and complains now and then; nothing is lost meanwhile.
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

from keyferry.runtime.bus.in_order import Send, acknowledged
from keyferry.runtime.process.tasks import cancel_and_wait
from keyferry.runtime.views import SnapshotFailed

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How soon a change committed by another replica is noticed: a revocation has to be everywhere within a second."""
_RETRY_SECONDS = 0.5
_STOP_SECONDS = 10.0
_COMPLAIN_SECONDS = 5.0
_FORGET_SIZE = 500
_KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""After 25 s PostgreSQL notices that the host of a relay is gone, and gives its lock to another; its default is hours."""


class RelayState(StrEnum):
    """What a relay is doing."""

    WAITING = "waiting"
    """Nothing is known: not started, or NATS or PostgreSQL is away."""
    FOLLOWING = "following"
    """Another process has the lock."""
    LEADING = "leading"
    """This process has the lock, and what was committed is published but for what is in the outbox."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of an outbox, and what brings it to the bus; None where nothing has to be sent any more."""

    row_id: int
    send: Send | None


class LeadingRelay(ABC):
    """Publishes the rows of `table`, an outbox with a column `id`, in one process at a time.

    `lock` names the advisory lock, and two builds that run beside each other have to give it the same name. `complaint` says
    in the log what does not happen while something is away.
    """

    def __init__(self, engine: AsyncEngine, table: Table, *, lock: str, complaint: str, poll_seconds: float) -> None:
        self._engine = engine
        self._table = table
        self._complaint = complaint
        self._poll_seconds = poll_seconds
        self._lock_key = _lock_key(lock)
        self._state = RelayState.WAITING
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._complained_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> RelayState:
        """What the relay is doing now."""
        return self._state

    @property
    def synced(self) -> bool:
        """Whether changes reach the bus, as far as this process can tell: it leads and publishes, or another has the lock.

        A replica that follows has to count as ready, or the successor of a running process would never be.
        """
        return self._state is not RelayState.WAITING

    def start(self) -> None:
        """Begin, in a task of its own."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name=f"relay {self._table.fullname}")

    async def stop(self) -> None:
        """Finish what is being published and give up the lock; what is not published yet stays in the outbox."""
        self._stopping.set()
        self._wake.set()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait({task}, timeout=_STOP_SECONDS)
            await cancel_and_wait(task)
        self._state = RelayState.WAITING

    def wake(self) -> None:
        """Publish at once what has been committed, instead of at the next poll."""
        self._wake.set()

    # --- what one kind of outbox does in its own way

    @abstractmethod
    def _begin_to_lead(self) -> None:
        """The lock is this process's from now on; a relay that has to do something first counts as waiting until then."""

    @abstractmethod
    async def _before_publishing(self, connection: AsyncConnection) -> None:
        """Do what is due at each turn before the rows are. Raises what `_oldest` may."""

    @abstractmethod
    async def _oldest(self, connection: AsyncConnection) -> Sequence[Waiting]:
        """The next rows in the order in which they have to come out; none when the outbox is empty.

        Raises SQLAlchemyError, nats-py's errors and SnapshotFailed: all are tried again.
        """

    # --- inside

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                async with self._session() as connection:
                    while not self._stopping.is_set() and not await self._take_lock(connection):
                        self._state = RelayState.FOLLOWING
                        await self._pause()
                    self._begin_to_lead()
                    await self._lead(connection)
            except (
                Exception
            ) as error:  # the edge of the loop: whatever fails, the rows are still there for the next try
                self._state = RelayState.WAITING
                self._complain(error)
                await asyncio.sleep(_RETRY_SECONDS)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose session ends with the block, and the advisory lock with it."""
        async with self._engine.connect() as pooled:
            connection = await pooled.execution_options(isolation_level="AUTOCOMMIT")
            for name, value in _KEEPALIVE.items():
                await connection.execute(
                    text("SELECT set_config(:name, :value, false)"), {"name": name, "value": value}
                )
            try:
                yield connection
            finally:
                # Back in the pool, the session would keep the lock without anybody publishing.
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
            self._complained_at = None
            await self._pause()
        # The end of the session would do, but PostgreSQL notices that only after a moment, and a successor waits.
        await connection.execute(text("SELECT pg_advisory_unlock_all()"))

    async def _publish_batch(self, connection: AsyncConnection) -> bool:
        """Publish the oldest rows, whose acknowledgements are awaited together; whether there were any."""
        rows = await self._oldest(connection)
        sending = [(place, row.send) for place, row in enumerate(rows) if row.send is not None]
        stored, failure = await acknowledged([send for _, send in sending])
        passed = sending[stored][0] if failure else len(rows)
        await self._forget(connection, [row.row_id for row in rows[:passed]])
        if failure:
            raise failure
        return bool(rows)

    async def _forget(self, connection: AsyncConnection, row_ids: Sequence[int]) -> None:
        # By id, never "up to an id": a lower id can be committed later than a higher one.
        for first in range(0, len(row_ids), _FORGET_SIZE):
            ids = row_ids[first : first + _FORGET_SIZE]
            await connection.execute(delete(self._table).where(self._table.c.id.in_(ids)))

    async def _pause(self) -> None:
        if not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._wake.wait()
        self._wake.clear()

    def _complain(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if self._complained_at is not None and now - self._complained_at < _COMPLAIN_SECONDS:
            return
        self._complained_at = now
        away = _at_fault(error)
        _log.warning(
            self._complaint,
            away or "a defect of this build",
            type(error).__name__,
            exc_info=None if away else error,
        )


def _at_fault(error: Exception) -> str | None:
    """Whose failure an error is; None when it is our own."""
    if isinstance(error, SQLAlchemyError):
        return "PostgreSQL"
    return "NATS" if isinstance(error, NatsError | SnapshotFailed | OSError) else None


def _lock_key(name: str) -> int:
    """An advisory lock's key, as a signed 64-bit number."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
