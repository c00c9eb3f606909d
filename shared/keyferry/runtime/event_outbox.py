"""The owner's way from its tables to a stream: a change and the event about it are committed together, or neither is.

A service changes its rows and calls `enqueue_event` in one transaction. One `EventRelay` over all replicas of the service,
chosen by an advisory lock, publishes what was committed, in the order of the rows, and forgets a row once the stream has
acknowledged it. A crash between the two publishes the row again under the same message id, which the stream takes for the same
message within its duplicate window; readers tell later repetitions by the event's own id.

Events that have to be counted without a hole get their numbers from the relay, a batch at a time, when they are committed
already. A writer that took a number itself would keep every other one waiting until its commit is on the disk. A number is
committed before its event is published, and stays with it.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    TextClause,
    delete,
    false,
    insert,
    select,
    text,
)
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
    """The table `event_outbox` in the schema of `metadata`.

    `sequence` is null until the relay has given a counted event its number.
    """
    return Table(
        "event_outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("subject", Text, nullable=False),
        Column("message_id", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("counted", Boolean, nullable=False, server_default=false()),
        Column("sequence", BigInteger, unique=True),
    )


def event_counter_table(metadata: MetaData, name: str) -> Table:
    """The table `name`, whose only row has in `last` the last number that was given."""
    return Table(
        name,
        metadata,
        Column("only_row", SmallInteger, primary_key=True),
        Column("last", BigInteger, nullable=False),
        CheckConstraint("only_row = 1", name=f"{name}_has_one_row"),
    )


async def enqueue_event(
    connection: AsyncConnection,
    table: Table,
    subject: str,
    message_id: str,
    payload: bytes,
    *,
    counted: bool = False,
) -> None:
    """Have `payload` published on `subject`, a stream's, once the caller's transaction is committed.

    Events come out in the order of their ids, so call it while holding a lock on what their order is about, such as the
    changed row. `message_id` is the event's own. A `counted` event is a JSON object with one field at least, and is published
    with one more, `sequence`. Wake the relay after the commit. Raises SQLAlchemyError.
    """
    values = {"subject": subject, "message_id": message_id, "payload": payload, "counted": counted}
    await connection.execute(insert(table).values(**values))


class EventRelay:
    """Publishes the event outbox, in one process at a time. Whatever is away, it tries again; nothing is lost meanwhile.

    `counter` is the table of `event_counter_table`. `jetstream` is asked for at each publication, once the bus is connected.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        table: Table,
        counter: Table,
        jetstream: Callable[[], JetStreamContext],
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._engine = engine
        self._table = table
        self._counter = counter
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
        """Publish the oldest rows, one after the other so that none overtakes another; whether there were any.

        Numbers that were given by a relay that did not come to publish them go first.
        """
        columns = self._table.c
        query = select(*_published(self._table)).where(columns.sequence.is_not(None)).order_by(columns.sequence)
        rows = (await connection.execute(query.limit(_BATCH_SIZE))).all()
        rows = rows or (await connection.execute(_next(self._table, self._counter))).all()
        done: list[int] = []
        try:
            for row in rows:
                await self._jetstream().publish(
                    row.subject,
                    _payload(row.payload, row.sequence),
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


def _published(table: Table) -> tuple[Column[int], Column[str], Column[str], Column[bytes], Column[int]]:
    columns = table.c
    return columns.id, columns.subject, columns.message_id, columns.payload, columns.sequence


def _next(table: Table, counter: Table) -> TextClause:
    """Number the counted ones of the oldest rows, and read all of these, in one statement and so in one transaction.

    A row that is committed later than a younger one gets a later number; within a batch the order is that of ids, which acts
    that follow from each other have. Two sessions at a time would leave holes: the advisory lock of this one excludes it.
    """
    statement = f"""
        WITH batch AS MATERIALIZED (
            SELECT id, subject, message_id, payload, counted, sequence
            FROM {table.fullname} ORDER BY id LIMIT {_BATCH_SIZE}
        ), uncounted AS MATERIALIZED (
            SELECT id, row_number() OVER (ORDER BY id) AS place, count(*) OVER () AS total
            FROM batch WHERE counted AND sequence IS NULL
        ), advanced AS (
            UPDATE {counter.fullname} SET last = last + total FROM (SELECT DISTINCT total FROM uncounted) AS counted
            RETURNING last - total AS before
        ), numbered AS (
            UPDATE {table.fullname} AS row SET sequence = before + place FROM uncounted, advanced
            WHERE row.id = uncounted.id RETURNING row.id, row.sequence
        )
        SELECT id, subject, message_id, payload, coalesce(numbered.sequence, batch.sequence) AS sequence
        FROM batch LEFT JOIN numbered USING (id) ORDER BY id
    """  # noqa: S608 - the names are those of the service's own tables
    return text(statement)


def _payload(payload: bytes, sequence: int | None) -> bytes:
    """What is published: a counted event with its number before its other fields."""
    return payload if sequence is None else b'{"sequence":%d,%b' % (sequence, payload[1:])


def _at_fault(error: Exception) -> str | None:
    """Whose failure an error is; None when it is our own."""
    if isinstance(error, SQLAlchemyError):
        return "PostgreSQL"
    return "NATS" if isinstance(error, NatsError | OSError) else None


def _lock_key(table: Table) -> int:
    """The advisory lock of an outbox, as a signed 64-bit number."""
    return int.from_bytes(hashlib.sha256(f"events {table.fullname}".encode()).digest()[:8], "big", signed=True)
