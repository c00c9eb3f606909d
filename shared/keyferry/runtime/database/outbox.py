"""Outbox from a service's tables to its views: a row and the message about it are committed together, or neither is.

A service changes its row and calls `enqueue` in one transaction. One `Relay` among all replicas of the service, elected by an
advisory lock, writes the committed changes into the KV buckets, oldest first, and deletes a message once the server has
acknowledged it. Before that it reconciles each bucket with the tables, so that a lost, restored or manipulated bucket repairs
itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from sqlalchemy import BigInteger, Column, Identity, LargeBinary, MetaData, Table, Text, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.runtime.concurrency import Send
from keyferry.runtime.database.leader import POLL_SECONDS, LeadingRelay, PendingRow, RelayState
from keyferry.runtime.views import ViewWriter

_log = logging.getLogger(__name__)

RECONCILE_SECONDS = 300.0
"""How long a bucket may differ from the tables unnoticed, for example after a write by a relay that had lost its lock."""
_BATCH_SIZE = 500
_OUTAGE_MESSAGE = (
    "changes cannot be published to the views because of %s (%s): nothing is lost, retrying; `keyferry doctor` shows"
    " what is missing"
)

Reconcile = Callable[[], Awaitable[Mapping[str, Mapping[str, bytes]]]]
"""Reads the tables and returns the contents of each bucket, by name."""


def outbox_table(metadata: MetaData) -> Table:
    """Return the table `outbox` in the schema of `metadata`. A null `value` deletes the key."""
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("bucket", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("value", LargeBinary),
    )


async def enqueue(connection: AsyncConnection, table: Table, bucket: str, key: str, value: bytes | None) -> None:
    """Write `value` under `key` of the bucket named `bucket` once the caller's transaction is committed.

    Call it after changing the row and in the same transaction: the row lock then makes the order of ids the order of commits for
    that key. Wake the relay after the commit. Raises SQLAlchemyError.
    """
    # Without the new id, which a tenant's transaction may not read.
    await connection.execute(insert(table).values(bucket=bucket, key=key, value=value).inline())


class Relay(LeadingRelay):
    """Writes the outbox into the buckets, in one process at a time; ready once the buckets agree with the tables.

    `writers` and the result of `reconcile` are keyed by bucket name.
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
        super().__init__(
            engine, table, lock=f"relay {table.fullname}", outage_message=_OUTAGE_MESSAGE, poll_seconds=poll_seconds
        )
        self._writers = dict(writers)
        self._reconcile = reconcile
        self._reconcile_seconds = reconcile_seconds
        self._needs_reconcile = False
        self._reconciled_at = 0.0

    def recheck(self) -> None:
        """Reconcile the buckets again: call it after a reconnect, since the server may have lost data."""
        self._needs_reconcile = True
        self.wake()

    # --- internals

    def _on_lock_acquired(self) -> None:
        self._needs_reconcile = True
        self._state = RelayState.WAITING

    async def _before_publishing(self, connection: AsyncConnection) -> None:
        clock = asyncio.get_running_loop().time
        if self._needs_reconcile or clock() - self._reconciled_at >= self._reconcile_seconds:
            self._needs_reconcile = False
            await self._reconcile_all(connection)
            self._reconciled_at = clock()

    async def _reconcile_all(self, connection: AsyncConnection) -> None:
        # Read before the tables: the tables include what these rows say, and publishing them afterwards would set the view back.
        covered = (await connection.scalars(select(self._table.c.id))).all()
        contents = await self._reconcile()
        for bucket, writer in self._writers.items():
            if changes := await writer.reconcile(contents[bucket]):
                _log.info("a view was reconciled with the tables", extra={"view": bucket, "changes": changes})
        await self._delete(connection, covered)

    async def _next_rows(self, connection: AsyncConnection) -> list[PendingRow]:
        """Return the next rows; of several rows for one key only the newest is published."""
        columns = self._table.c
        query = select(columns.id, columns.bucket, columns.key, columns.value).order_by(columns.id).limit(_BATCH_SIZE)
        rows = (await connection.execute(query)).all()
        newest = set({(row.bucket, row.key): row.id for row in rows}.values())
        return [
            PendingRow(row.id, self._send(row.bucket, row.key, row.value) if row.id in newest else None) for row in rows
        ]

    def _send(self, bucket: str, key: str, value: bytes | None) -> Send | None:
        writer = self._writers.get(bucket)
        if writer is None:
            _log.error("the outbox has a row for a view that this build does not write", extra={"view": bucket})
            return None
        return partial(writer.delete, key) if value is None else partial(writer.put, key, value)
