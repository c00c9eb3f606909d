"""Tenants' endpoints in PostgreSQL. Each write puts its message for the view into the outbox in the same transaction."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Boolean, Column, Integer, MetaData, Row, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.route import Endpoint, RemoveEndpoint
from keyferry.contracts.topology import ENDPOINTS_VIEW, Role
from keyferry.runtime.database.audit import audit_change
from keyferry.runtime.database.errors import translate_database_errors
from keyferry.runtime.database.event_outbox import event_counter_table, event_outbox_table
from keyferry.runtime.database.outbox import enqueue, outbox_table

SCHEMA = "router"
VERSIONS_DIR = Path(__file__).parent / "migrations" / "versions"

_metadata = MetaData(schema=SCHEMA)
_endpoints = Table(
    "endpoints",
    _metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("base_url", Text, nullable=False),
    Column("models", JSONB, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
)
OUTBOX = outbox_table(_metadata)
EVENT_OUTBOX = event_outbox_table(_metadata)
AUDIT_SEQUENCE = event_counter_table(_metadata, "audit_sequence")


class EndpointStore(Protocol):
    """The store as the handlers see it. Every method raises DatabaseUnavailable."""

    async def save(self, endpoint: Endpoint, actor: str) -> None:
        """Add the endpoint, or replace the tenant's endpoint of that name. `actor` is audited."""

    async def remove(self, command: RemoveEndpoint) -> Endpoint | None:
        """Remove and return the endpoint; None if there was none."""

    async def of_tenant(self, tenant: str) -> list[Endpoint]:
        """Return a tenant's endpoints in the order they are tried."""


class PostgresEndpointStore:
    """The implementation. `committed` is called after each commit that changed something."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.committed: Callable[[], None] = lambda: None

    async def save(self, endpoint: Endpoint, actor: str) -> None:
        """Insert or update the row. Guard: the primary key of tenant and name."""
        values = endpoint.model_dump(mode="json")
        statement = insert(_endpoints).values(values)
        changed = {key: statement.excluded[key] for key in values if key not in ("tenant", "name")}
        async with self._transaction() as connection:
            await connection.execute(statement.on_conflict_do_update(index_elements=["tenant", "name"], set_=changed))
            await enqueue(connection, OUTBOX, ENDPOINTS_VIEW.name, view_key(endpoint), endpoint.encode())
            await _audit(connection, actor, "endpoint.save", endpoint)
        self.committed()

    async def remove(self, command: RemoveEndpoint) -> Endpoint | None:
        """Delete the row. Guard: the row itself."""
        columns = _endpoints.c
        statement = delete(_endpoints).where(columns.tenant == command.tenant, columns.name == command.name)
        async with self._transaction() as connection:
            row = (await connection.execute(statement.returning(*_endpoints.c))).one_or_none()
            if row is None:
                return None
            removed = _endpoint(row)
            await enqueue(connection, OUTBOX, ENDPOINTS_VIEW.name, view_key(removed), None)
            await _audit(connection, command.actor, "endpoint.remove", removed)
        self.committed()
        return removed

    async def of_tenant(self, tenant: str) -> list[Endpoint]:
        """Read the tables and not the view, so that operators see what was saved."""
        query = select(_endpoints).where(_endpoints.c.tenant == tenant)
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(_endpoints.c.priority, _endpoints.c.name))
            return [_endpoint(row) for row in rows]

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the entries of the view by bucket name and key. Raises SQLAlchemyError, which the relay expects."""
        async with self._engine.connect() as connection:
            endpoints = [_endpoint(row) for row in await connection.execute(select(_endpoints))]
        return {ENDPOINTS_VIEW.name: {view_key(endpoint): endpoint.encode() for endpoint in endpoints}}

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        with translate_database_errors():
            async with self._engine.begin() as connection:
                yield connection


async def _audit(connection: AsyncConnection, actor: str, action: str, endpoint: Endpoint) -> None:
    details = {"base_url": endpoint.base_url, "enabled": str(endpoint.enabled).lower()}
    await audit_change(
        connection,
        EVENT_OUTBOX,
        service=Role.ROUTER,
        actor=actor,
        action=action,
        tenant=endpoint.tenant,
        target=endpoint.name,
        details=details,
    )


def view_key(endpoint: Endpoint) -> str:
    """Return the key of an endpoint in its view."""
    return f"{endpoint.tenant}.{endpoint.name}"


def _endpoint(row: Row[tuple[object, ...]]) -> Endpoint:
    return Endpoint.model_validate(row._asdict())
