"""The owner's way from its tables to a stream: a change and the event about it are committed together, or neither is.

A service changes its rows and calls `enqueue_event` in one transaction. One `EventRelay` over all replicas of the service,
chosen by an advisory lock, publishes what was committed, in the order of the rows, and forgets a row once the stream has
acknowledged it. A crash between the two publishes the row again under the same message id, which the stream takes for the same
message within its duplicate window; readers tell later repetitions by the event's own id.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from sqlalchemy import BigInteger, Column, Identity, LargeBinary, MetaData, Table, Text, delete, insert, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.runtime.tasks import cancel_and_wait

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How soon an event committed by another replica is noticed."""
_BATCH_SIZE = 200
_PUBLISH_TIMEOUT_SECONDS = 5.0
_RETRY_SECONDS = 0.5
_STOP_SECONDS = 10.0
_COMPLAIN_SECONDS = 5.0
_KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""After 25 s PostgreSQL notices that the host of a relay is gone, and gives its lock to another; its default is hours."""


def event_outbox_table(metadata: MetaData) -> Table:
    """The table `event_outbox` in the schema of `metadata`."""
    return Table(
        "event_outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("subject", Text, nullable=False),
        Column("message_id", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
    )


async def enqueue_event(
    connection: AsyncConnection, table: Table, subject: str, message_id: str, payload: bytes
) -> None:
    """Have `payload` published on `subject`, a stream's, once the caller's transaction is committed.

    Events come out in the order of their ids, so call it while holding a lock on what their order is about: the changed row,
    or a counter. `message_id` is the event's own. Wake the relay after the commit. Raises SQLAlchemyError.
    """
    await connection.execute(insert(table).values(subject=subject, message_id=message_id, payload=payload))


class EventRelay:
    """Publishes the event outbox, in one process at a time. Whatever is away, it tries again; nothing is lost meanwhile.

    `jetstream` is asked for at each publication, once the bus is connected.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        table: Table,
        jetstream: Callable[[], JetStreamContext],
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._engine = engine
        self._table = table
        self._jetstream = jetstream
        self._poll_seconds = poll_seconds
        self._lock_key = _lock_key(table)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._synced = False
        self._complained_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def synced(self) -> bool:
        """Whether events reach their streams, as far as this process can tell: it publishes, or another has the lock."""
        return self._synced

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
        self._synced = False

    def wake(self) -> None:
        """Publish at once what has been committed, instead of at the next poll."""
        self._wake.set()

    # --- inside

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                async with self._session() as connection:
                    while not self._stopping.is_set() and not await self._take_lock(connection):
                        self._synced = True
                        await self._pause()
                    await self._lead(connection)
            except (
                Exception
            ) as error:  # the edge of the loop: whatever fails, the rows are still there for the next try
                self._synced = False
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
            while not self._stopping.is_set() and await self._publish_batch(connection):
                pass
            self._synced = True
            self._complained_at = None
            await self._pause()
        # The end of the session would do, but PostgreSQL notices that only after a moment, and a successor waits.
        await connection.execute(text("SELECT pg_advisory_unlock_all()"))

    async def _publish_batch(self, connection: AsyncConnection) -> bool:
        """Publish the oldest rows, one after the other so that none overtakes another; whether there were any."""
        columns = self._table.c
        query = select(columns.id, columns.subject, columns.message_id, columns.payload).order_by(columns.id)
        rows = (await connection.execute(query.limit(_BATCH_SIZE))).all()
        done: list[int] = []
        try:
            for row in rows:
                await self._jetstream().publish(
                    row.subject,
                    row.payload,
                    timeout=_PUBLISH_TIMEOUT_SECONDS,
                    headers={"Nats-Msg-Id": row.message_id},
                )
                done.append(row.id)
        finally:
            if done:
                # By id, never "up to an id": a lower id can be committed later than a higher one.
                await connection.execute(delete(self._table).where(columns.id.in_(done)))
        return bool(rows)

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
            "events do not reach their streams now, because of %s (%s): nothing is lost, trying on",
            away or "a defect of this build",
            type(error).__name__,
            exc_info=None if away else error,
        )


def _at_fault(error: Exception) -> str | None:
    """Whose failure an error is; None when it is our own."""
    if isinstance(error, SQLAlchemyError):
        return "PostgreSQL"
    return "NATS" if isinstance(error, NatsError | OSError) else None


def _lock_key(table: Table) -> int:
    """The advisory lock of an outbox, as a signed 64-bit number."""
    return int.from_bytes(hashlib.sha256(f"events {table.fullname}".encode()).digest()[:8], "big", signed=True)
