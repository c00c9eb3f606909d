"""Tenants' endpoints in PostgreSQL. Each write puts its message for the view into the outbox in the same transaction."""

from collections.abc import Mapping
from typing import Protocol

from sqlalchemy import Boolean, Column, Integer, Row, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.route import Endpoint, RemoveEndpoint
from keyferry.contracts.topology import ENDPOINTS_VIEW
from services.router.database import METADATA, RouterDatabase, RouterTransaction

_endpoints = Table(
    "endpoints",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("base_url", Text, nullable=False),
    Column("models", JSONB, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("eu", Boolean, nullable=False, server_default="false"),
)


class EndpointStore(Protocol):
    """The store as the handlers see it. Every method raises DatabaseUnavailable."""

    async def save(self, endpoint: Endpoint, actor: str) -> None:
        """Add the endpoint, or replace the tenant's endpoint of that name. `actor` is audited."""

    async def remove(self, command: RemoveEndpoint) -> Endpoint | None:
        """Remove and return the endpoint; None if there was none."""

    async def of_tenant(self, tenant: str) -> list[Endpoint]:
        """Return a tenant's endpoints in the order they are tried."""


class PostgresEndpointStore:
    """The implementation."""

    def __init__(self, database: RouterDatabase) -> None:
        self._database = database

    async def save(self, endpoint: Endpoint, actor: str) -> None:
        """Insert or update the row. Guard: the primary key of tenant and name."""
        values = endpoint.model_dump(mode="json")
        statement = insert(_endpoints).values(values)
        changed = {key: statement.excluded[key] for key in values if key not in ("tenant", "name")}
        columns = _endpoints.c
        same = (columns.tenant == endpoint.tenant) & (columns.name == endpoint.name)
        async with self._database.change() as transaction:
            row = (await transaction.connection.execute(select(_endpoints).where(same).with_for_update())).one_or_none()
            await transaction.connection.execute(
                statement.on_conflict_do_update(index_elements=["tenant", "name"], set_=changed)
            )
            await transaction.publish(ENDPOINTS_VIEW, view_key(endpoint), endpoint.encode())
            await _audit(
                transaction, actor, "endpoint.save", endpoint, None if row is None else _endpoint(row), endpoint
            )

    async def remove(self, command: RemoveEndpoint) -> Endpoint | None:
        """Delete the row. Guard: the row itself."""
        columns = _endpoints.c
        statement = delete(_endpoints).where(columns.tenant == command.tenant, columns.name == command.name)
        async with self._database.change() as transaction:
            row = (await transaction.connection.execute(statement.returning(*_endpoints.c))).one_or_none()
            if row is None:
                return None
            removed = _endpoint(row)
            await transaction.publish(ENDPOINTS_VIEW, view_key(removed), None)
            await _audit(transaction, command.actor, "endpoint.remove", removed, removed, None)
        return removed

    async def of_tenant(self, tenant: str) -> list[Endpoint]:
        """Read the tables and not the view, so that operators see what was saved."""
        query = select(_endpoints).where(_endpoints.c.tenant == tenant)
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(_endpoints.c.priority, _endpoints.c.name))
            return [_endpoint(row) for row in rows]

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the entries of the view by bucket name and key. Raises SQLAlchemyError, which the relay expects."""
        async with self._database.engine.connect() as connection:
            endpoints = [_endpoint(row) for row in await connection.execute(select(_endpoints))]
        return {ENDPOINTS_VIEW.name: {view_key(endpoint): endpoint.encode() for endpoint in endpoints}}


async def _audit(
    transaction: RouterTransaction,
    actor: str,
    action: str,
    endpoint: Endpoint,
    before: Endpoint | None,
    after: Endpoint | None,
) -> None:
    old, new = (
        {} if one is None else one.model_dump(mode="json", exclude={"tenant", "name"}) for one in (before, after)
    )
    details = describe_changes(old, new)
    await transaction.audit(actor=actor, action=action, tenant=endpoint.tenant, target=endpoint.name, details=details)


def view_key(endpoint: Endpoint) -> str:
    """Return the key of an endpoint in its view."""
    return f"{endpoint.tenant}.{endpoint.name}"


def _endpoint(row: Row[tuple[object, ...]]) -> Endpoint:
    return Endpoint.model_validate(row._asdict())
