"""The owner's way from its tables to its views: a row and the message about it are committed together, or neither is.

A service changes its row and calls `enqueue` in one transaction. One `Relay` over all replicas of the service, chosen by an
advisory lock, writes what was committed into the KV buckets, oldest first, and forgets a message once the server has
acknowledged it. Before that it makes each bucket hold exactly what the tables say, so that a bucket that was lost, restored
or tampered with comes right by itself.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

from nats.errors import Error as NatsError
from sqlalchemy import BigInteger, Column, Identity, LargeBinary, MetaData, Table, Text, delete, insert, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.runtime.tasks import cancel_and_wait
from keyferry.runtime.views import SnapshotFailed, ViewWriter

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How soon a change committed by another replica is noticed: a revocation has to be everywhere within a second."""
RECONCILE_SECONDS = 300.0
"""How long a bucket may differ from the tables without a cause that shows, such as a write by a relay that lost its lock."""
_RETRY_SECONDS = 0.5
_STOP_SECONDS = 10.0
_COMPLAIN_SECONDS = 5.0
_BATCH_SIZE = 500
_KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""After 25 s PostgreSQL notices that the host of a relay is gone, and gives its lock to another; its default is hours."""

Reconcile = Callable[[], Awaitable[Mapping[str, Mapping[str, bytes]]]]
"""Reads the tables and returns what each bucket, by name, has to hold."""


def outbox_table(metadata: MetaData) -> Table:
    """The table `outbox` in the schema of `metadata`. A null `value` deletes the key."""
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("bucket", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("value", LargeBinary),
    )


async def enqueue(connection: AsyncConnection, table: Table, bucket: str, key: str, value: bytes | None) -> None:
    """Have `value` written under `key` of the bucket named `bucket` once the caller's transaction is committed.

    Call it after changing the row and in the same transaction: the row's lock then makes the order of ids the order of
    commits for that key. Wake the relay after the commit. Raises SQLAlchemyError.
    """
    await connection.execute(insert(table).values(bucket=bucket, key=key, value=value))


class RelayState(StrEnum):
    """What a relay is doing."""

    WAITING = "waiting"
    """Nothing is known: not started, or NATS or PostgreSQL is away."""
    FOLLOWING = "following"
    """Another process has the lock."""
    LEADING = "leading"
    """This process has the lock, and the buckets agree with the tables but for what is in the outbox."""


class Relay:
    """Writes the outbox into the buckets, in one process at a time.

    `writers` and the result of `reconcile` go by bucket name. Whatever is away, it tries again; nothing is lost meanwhile.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        table: Table,
        writers: Mapping[str, ViewWriter],
        reconcile: Reconcile,
        *,
        poll_seconds: float = POLL_SECONDS,
        reconcile_seconds: float = RECONCILE_SECONDS,
    ) -> None:
        self._engine = engine
        self._table = table
        self._writers = dict(writers)
        self._reconcile = reconcile
        self._poll_seconds = poll_seconds
        self._reconcile_seconds = reconcile_seconds
        self._lock_key = _lock_key(table)
        self._state = RelayState.WAITING
        self._wake = asyncio.Event()
        self._doubtful = False
        self._stopping = asyncio.Event()
        self._complained_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> RelayState:
        """What the relay is doing now."""
        return self._state

    @property
    def synced(self) -> bool:
        """Whether changes reach the views: this process leads and has reconciled, or another process has the lock.

        A replica that follows has to count as ready, or the successor of a running process would never be.
        """
        return self._state is not RelayState.WAITING

    def start(self) -> None:
        """Begin, in a task of its own."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name=f"relay {self._table.fullname}")

    async def stop(self) -> None:
        """Finish what is being written and give up the lock; what is not published yet stays in the outbox."""
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

    def recheck(self) -> None:
        """Compare the buckets with the tables again: call it after a reconnect, since the server may have lost something."""
        self._doubtful = True
        self._wake.set()

    # --- inside

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                async with self._session() as connection:
                    while not self._stopping.is_set() and not await self._take_lock(connection):
                        self._state = RelayState.FOLLOWING
                        await self._pause()
                    self._state = RelayState.WAITING
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
        clock = asyncio.get_running_loop().time
        self._doubtful = True
        reconciled_at = 0.0
        while not self._stopping.is_set():
            if self._doubtful or clock() - reconciled_at >= self._reconcile_seconds:
                self._doubtful = False
                await self._reconcile_all(connection)
                reconciled_at = clock()
            while not self._stopping.is_set() and await self._publish_batch(connection):
                pass
            self._state = RelayState.LEADING
            self._complained_at = None
            await self._pause()
        # The end of the session would do, but PostgreSQL notices that only after a moment, and a successor waits.
        await connection.execute(text("SELECT pg_advisory_unlock_all()"))

    async def _reconcile_all(self, connection: AsyncConnection) -> None:
        # Read before the tables are: what these rows say is part of what the tables say, and publishing them afterwards would
        # take the view back in time.
        covered = (await connection.scalars(select(self._table.c.id))).all()
        wanted = await self._reconcile()
        for bucket, writer in self._writers.items():
            if changes := await writer.reconcile(wanted[bucket]):
                _log.info("a view was brought in line with the tables", extra={"view": bucket, "changes": changes})
        await self._forget(connection, list(covered))

    async def _publish_batch(self, connection: AsyncConnection) -> bool:
        """Publish the oldest rows; whether there were any. Of several for one key only the newest counts."""
        columns = self._table.c
        query = select(columns.id, columns.bucket, columns.key, columns.value).order_by(columns.id).limit(_BATCH_SIZE)
        rows = (await connection.execute(query)).all()
        newest = {(row.bucket, row.key): row.id for row in rows}
        done: list[int] = []
        try:
            for row in rows:
                if newest[row.bucket, row.key] == row.id:
                    await self._publish(row.bucket, row.key, row.value)
                done.append(row.id)
        finally:
            if done:
                await self._forget(connection, done)
        return bool(rows)

    async def _publish(self, bucket: str, key: str, value: bytes | None) -> None:
        writer = self._writers.get(bucket)
        if writer is None:
            _log.error("the outbox has a row for a view that this build does not write", extra={"view": bucket})
        elif value is None:
            await writer.delete(key)
        else:
            await writer.put(key, value)

    async def _forget(self, connection: AsyncConnection, row_ids: list[int]) -> None:
        # By id, never "up to an id": a lower id can be committed later than a higher one.
        for first in range(0, len(row_ids), _BATCH_SIZE):
            ids = row_ids[first : first + _BATCH_SIZE]
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
            "changes do not reach the views now, because of %s (%s): nothing is lost, trying on; `keyferry doctor` tells"
            " what is missing",
            away or "a defect of this build",
            type(error).__name__,
            exc_info=None if away else error,
        )


def _at_fault(error: Exception) -> str | None:
    """Whose failure an error is; None when it is our own."""
    if isinstance(error, SQLAlchemyError):
        return "PostgreSQL"
    return "NATS" if isinstance(error, NatsError | SnapshotFailed | OSError) else None


def _lock_key(table: Table) -> int:
    """The advisory lock of an outbox, as a signed 64-bit number."""
    return int.from_bytes(hashlib.sha256(f"relay {table.fullname}".encode()).digest()[:8], "big", signed=True)
