"""The owner's way from its tables to a stream: a change and the event about it are committed together, or neither is.

A service changes its rows and calls `enqueue_event` in one transaction. One `EventRelay` over all replicas of the service,
chosen by an advisory lock, publishes what was committed, in the order of the rows, and forgets a row once the stream has
acknowledged it. A crash between the two publishes the row again under the same message id, which the stream takes for the same
message within its duplicate window; readers tell later repetitions by the event's own id.

Events that have to be counted without a hole get their numbers from the relay, a batch at a time, when they are committed
already. A writer that took a number itself would keep every other one waiting until its commit is on the disk. A number is
committed before its event is published, and stays with it.
"""

from collections.abc import Callable
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

from keyferry.runtime.bus.in_order import Send
from keyferry.runtime.database.leader import POLL_SECONDS, LeadingRelay, Waiting

_BATCH_SIZE = 200
_PUBLISH_TIMEOUT_SECONDS = 5.0
_COMPLAINT = "events do not reach their streams now, because of %s (%s): nothing is lost, trying on"


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


class EventRelay(LeadingRelay):
    """Publishes the event outbox, in one process at a time. It counts as ready while it takes over from another process.

    `counter` is the table of `event_counter_table`. `jetstream` is asked for at each publication, once the bus is
    connected.
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
            engine, table, lock=f"events {table.fullname}", complaint=_COMPLAINT, poll_seconds=poll_seconds
        )
        self._counter = counter
        self._jetstream = jetstream

    def _begin_to_lead(self) -> None:
        """Nothing comes before the rows."""

    async def _before_publishing(self, connection: AsyncConnection) -> None:
        """Nothing: what a stream has is not compared with any table."""

    async def _oldest(self, connection: AsyncConnection) -> list[Waiting]:
        """Numbers that were given by a relay that did not come to publish them go first."""
        columns = self._table.c
        query = select(*_published(self._table)).where(columns.sequence.is_not(None)).order_by(columns.sequence)
        rows = (await connection.execute(query.limit(_BATCH_SIZE))).all()
        rows = rows or (await connection.execute(_next(self._table, self._counter))).all()
        return [
            Waiting(row.id, self._send(row.subject, row.message_id, _payload(row.payload, row.sequence)))
            for row in rows
        ]

    def _send(self, subject: str, message_id: str, payload: bytes) -> Send:
        headers = {"Nats-Msg-Id": message_id}
        return partial(self._jetstream().publish, subject, payload, timeout=_PUBLISH_TIMEOUT_SECONDS, headers=headers)


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
