"""Outbox from a service's tables to a stream: a change and its event are committed together, or neither is.

A service changes its rows and calls `enqueue_event` in one transaction. One `EventRelay` among all replicas of the service,
elected by an advisory lock, publishes committed events in the order of their rows, and deletes a row once the stream has
acknowledged it. After a crash between the two, the row is published again under the same message id, which the stream
deduplicates within its window; readers detect later repetitions by the event's own id.

Events that need a sequence without gaps are numbered by the relay, a batch at a time, after they are committed. If writers took
the numbers, each would block the others until its commit is on disk. A number is committed before its event is published, and
never changes.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

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
    false,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.runtime.concurrency import Send
from keyferry.runtime.database.leader import POLL_SECONDS, LeadingRelay, PendingRow

_BATCH_SIZE = 200
_PUBLISH_TIMEOUT_SECONDS = 5.0
_OUTAGE_MESSAGE = "events cannot be published because of %s (%s): nothing is lost, retrying"


def event_outbox_table(metadata: MetaData) -> Table:
    """Return the table `event_outbox` in the schema of `metadata`.

    `sequence` is null until the relay has numbered a counted event.
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
    """Return the table `name`, whose only row holds the last assigned number in `last`."""
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
    """Publish `payload` on `subject`, which belongs to a stream, once the caller's transaction is committed.

    Events are published in the order of their ids, so call it while holding a lock on what defines their order, such as the
    changed row. `message_id` is the event's own. A `counted` event is a JSON object with at least one field, and gets one more,
    `sequence`. Wake the relay after the commit. Raises SQLAlchemyError.
    """
    values = {"subject": subject, "message_id": message_id, "payload": payload, "counted": counted}
    # Without the new id, which a tenant's transaction may not read.
    await connection.execute(insert(table).values(**values).inline())


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event that is not counted, and has yet to be committed."""

    subject: str
    message_id: str
    payload: bytes


async def enqueue_events(connection: AsyncConnection, table: Table, events: Sequence[PendingEvent]) -> None:
    """Publish events in this order, as `enqueue_event` does one. Raises SQLAlchemyError."""
    if events:
        await connection.execute(insert(table).inline(), [asdict(event) for event in events])


class EventRelay(LeadingRelay):
    """Publishes the event outbox, in one process at a time. It counts as ready while it takes over from another process.

    `counter` is the table of `event_counter_table`. `jetstream` is called at each publication, once the bus is connected.
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
        super().__init__(
            engine, table, lock=f"events {table.fullname}", outage_message=_OUTAGE_MESSAGE, poll_seconds=poll_seconds
        )
        self._counter = counter
        self._jetstream = jetstream

    def _on_lock_acquired(self) -> None:
        """Do nothing: no work is due before the first row."""

    async def _before_publishing(self, connection: AsyncConnection) -> None:
        """Do nothing: a stream is not compared with any table."""

    async def _next_rows(self, connection: AsyncConnection) -> list[PendingRow]:
        """Return the next rows; rows that a previous relay numbered without publishing them come first."""
        columns = self._table.c
        query = select(*_published_columns(self._table)).where(columns.sequence.is_not(None)).order_by(columns.sequence)
        rows = (await connection.execute(query.limit(_BATCH_SIZE))).all()
        rows = rows or (await connection.execute(_number_and_select(self._table, self._counter))).all()
        return [
            PendingRow(row.id, self._send(row.subject, row.message_id, _payload(row.payload, row.sequence)))
            for row in rows
        ]

    def _send(self, subject: str, message_id: str, payload: bytes) -> Send:
        headers = {"Nats-Msg-Id": message_id}
        return partial(self._jetstream().publish, subject, payload, timeout=_PUBLISH_TIMEOUT_SECONDS, headers=headers)


def _published_columns(table: Table) -> tuple[Column[int], Column[str], Column[str], Column[bytes], Column[int]]:
    columns = table.c
    return columns.id, columns.subject, columns.message_id, columns.payload, columns.sequence


def _number_and_select(table: Table, counter: Table) -> TextClause:
    """Select the oldest rows, having numbered the counted ones among them, in one statement and so in one transaction.

    A row that is committed later than a younger one gets a later number; within a batch the order is that of ids, so events that
    follow from each other stay in order. Two sessions at once would leave gaps; the advisory lock prevents that.
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
    """Return what is published: a counted event with its number before its other fields."""
    return payload if sequence is None else b'{"sequence":%d,%b' % (sequence, payload[1:])
