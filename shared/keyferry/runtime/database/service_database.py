"""The database of a service whose changes are published as events, the audit among them, and that owns no views."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.topology import Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.audit import audit_change
from keyferry.runtime.database.engine import engine_for, open_database
from keyferry.runtime.database.errors import translate_database_errors
from keyferry.runtime.database.event_outbox import (
    EventRelay,
    enqueue_event,
    event_counter_table,
    event_outbox_table,
)
from keyferry.runtime.process.settings import DatabaseSettings


class ServiceSchema:
    """The schema of a service: its metadata, the event outbox, and the migrations in `versions_dir`."""

    def __init__(self, role: Role, versions_dir: Path) -> None:
        self.role = role
        self.name = role.value.replace("-", "_")
        self.versions_dir = versions_dir
        self.metadata = MetaData(schema=self.name)
        self.event_outbox = event_outbox_table(self.metadata)
        self.audit_sequence = event_counter_table(self.metadata, "audit_sequence")


@dataclass(frozen=True, slots=True)
class ServiceTransaction:
    """One transaction: its rows, the events that it publishes and its audit event are committed together."""

    connection: AsyncConnection
    schema: ServiceSchema

    async def publish(self, subject: str, message_id: str, payload: bytes) -> None:
        """Publish an event on a subject of a stream after the commit. `message_id` is the event's own id."""
        await enqueue_event(self.connection, self.schema.event_outbox, subject, message_id, payload)

    async def audit(self, *, actor: str, action: str, tenant: str, target: str, details: dict[str, str]) -> None:
        """Record the change in the audit. Call it last; `details` hold names and values that are not secret."""
        await audit_change(
            self.connection,
            self.schema.event_outbox,
            service=self.schema.role,
            actor=actor,
            action=action,
            tenant=tenant,
            target=target,
            details=details,
        )


class ServiceDatabase:
    """The connection that a service's stores share, and the relay of its events."""

    def __init__(self, engine: AsyncEngine, schema: ServiceSchema) -> None:
        self.engine = engine
        self.schema = schema
        self._events: EventRelay | None = None

    @classmethod
    def of(cls, settings: DatabaseSettings, schema: ServiceSchema) -> "ServiceDatabase":
        """Return the database of these settings, not connected yet."""
        return cls(engine_for(settings), schema)

    @asynccontextmanager
    async def change(self) -> AsyncIterator[ServiceTransaction]:
        """Run a transaction that changes something, and wake the relay after its commit. Raises DatabaseUnavailable."""
        with translate_database_errors():
            async with self.engine.begin() as connection:
                yield ServiceTransaction(connection, self.schema)
        self.wake()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Run a transaction that only reads. Raises DatabaseUnavailable."""
        with translate_database_errors():
            async with self.engine.begin() as connection:
                yield connection

    def is_publishing(self) -> bool:
        """Return whether events reach their streams."""
        return self._events is not None and self._events.synced

    def wake(self) -> None:
        """Publish committed events at once."""
        if self._events is not None:
            self._events.wake()

    async def open(self, bus: Bus) -> None:
        """Wait for the database, then start to publish. Raises SchemaMismatch."""
        await open_database(self.engine, self.schema.name, self.schema.versions_dir)
        self._events = EventRelay(
            self.engine, self.schema.event_outbox, self.schema.audit_sequence, lambda: bus.jetstream
        )
        self._events.start()

    async def close(self) -> None:
        """Stop publishing and disconnect; unpublished events stay in the outbox."""
        if self._events is not None:
            await self._events.stop()
        await self.engine.dispose()
