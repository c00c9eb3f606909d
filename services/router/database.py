"""The router's schema: its tables, the outboxes of its views and of the audit, and the relays that publish them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.channels import Bucket
from keyferry.contracts.topology import Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.audit import audit_change
from keyferry.runtime.database.engine import engine_for, open_database
from keyferry.runtime.database.errors import translate_database_errors
from keyferry.runtime.database.event_outbox import EventRelay, event_counter_table, event_outbox_table
from keyferry.runtime.database.outbox import Relay, enqueue, outbox_table
from keyferry.runtime.views import ViewWriter
from services.router.settings import RouterSettings

SCHEMA = "router"
VERSIONS_DIR = Path(__file__).parent / "migrations" / "versions"

METADATA = MetaData(schema=SCHEMA)
OUTBOX = outbox_table(METADATA)
EVENT_OUTBOX = event_outbox_table(METADATA)
AUDIT_SEQUENCE = event_counter_table(METADATA, "audit_sequence")

ViewContents = Callable[[], Awaitable[Mapping[str, Mapping[str, bytes]]]]
"""Reads the tables of a store and returns the entries of its views by bucket name and key. Raises SQLAlchemyError."""


class RouterTransaction:
    """One transaction of a store: its rows, the messages for its views, and the audit event are committed together."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    async def publish(self, bucket: Bucket[Any], key: str, value: bytes | None) -> None:
        """Write `value` under `key` of the view after the commit; None removes the key. Call it after changing the row."""
        await enqueue(self.connection, OUTBOX, bucket.name, key, value)

    async def audit(self, *, actor: str, action: str, tenant: str, target: str, details: dict[str, str]) -> None:
        """Record the change in the audit. Call it last; `details` hold names and values that are not secret."""
        await audit_change(
            self.connection,
            EVENT_OUTBOX,
            service=Role.ROUTER,
            actor=actor,
            action=action,
            tenant=tenant,
            target=target,
            details=details,
        )


class RouterDatabase:
    """The connection that the router's stores share, and the relays to their views and to the audit."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.committed: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, settings: RouterSettings) -> "RouterDatabase":
        """Return the database of these settings, not connected yet."""
        return cls(engine_for(settings))

    @asynccontextmanager
    async def change(self) -> AsyncIterator[RouterTransaction]:
        """Run a transaction that changes something, and wake the relays after its commit. Raises DatabaseUnavailable."""
        with translate_database_errors():
            async with self.engine.begin() as connection:
                yield RouterTransaction(connection)
        self.committed()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Run a transaction that only reads. Raises DatabaseUnavailable."""
        with translate_database_errors():
            async with self.engine.begin() as connection:
                yield connection


class Publication:
    """Publishes the committed changes of the router's tables to its views and the audit, while the service runs."""

    def __init__(
        self, bus: Bus, database: RouterDatabase, buckets: Sequence[Bucket[Any]], contents: Sequence[ViewContents]
    ) -> None:
        self._bus = bus
        self._database = database
        self._buckets = buckets
        self._contents = contents
        self._relay: Relay | None = None
        self._events: EventRelay | None = None

    def is_current(self) -> bool:
        """Return whether changes reach the views and the audit."""
        return self._relay is not None and self._relay.synced and self._events is not None and self._events.synced

    async def open(self) -> None:
        """Wait for the database, then start to publish. Raises SchemaMismatch."""
        engine = self._database.engine
        await open_database(engine, SCHEMA, VERSIONS_DIR)
        writers = {bucket.name: ViewWriter(self._bus.client, bucket) for bucket in self._buckets}
        self._relay = Relay(engine, OUTBOX, writers, self._view_contents)
        self._events = EventRelay(engine, EVENT_OUTBOX, AUDIT_SEQUENCE, lambda: self._bus.jetstream)
        self._database.committed = self._wake
        self._bus.on_reconnect(self._relay.recheck)
        self._relay.start()
        self._events.start()

    async def close(self) -> None:
        """Stop publishing and disconnect; unpublished changes stay in the outboxes."""
        if self._relay is not None and self._events is not None:
            await self._relay.stop()
            await self._events.stop()
        await self._database.engine.dispose()

    def _wake(self) -> None:
        if self._relay is not None and self._events is not None:
            self._relay.wake()
            self._events.wake()

    async def _view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        found: dict[str, Mapping[str, bytes]] = {}
        for contents in self._contents:
            found.update(await contents())
        return found
