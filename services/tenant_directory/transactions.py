"""Transactions of the directory, and what every change needs in one: the tenant's row lock and the audit event."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.tenancy import Tenant
from keyferry.contracts.topology import Role
from keyferry.runtime.database.audit import audit_change
from keyferry.runtime.database.errors import translate_database_errors
from services.tenant_directory import tenants
from services.tenant_directory.tables import event_outbox, tenants_table


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Begin a transaction, and commit it at the end. Raises DatabaseUnavailable."""
    with translate_database_errors():
        async with engine.begin() as connection:
            yield connection


async def lock_tenant(connection: AsyncConnection, tenant: str) -> Tenant:
    """Return a tenant and lock its row until the end of the transaction. Raises RuleViolation if there is none."""
    query = select(tenants_table).where(tenants_table.c.tenant == tenant).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise tenants.unknown(tenant)
    return tenant_of(row)


def tenant_of(row: Row[tuple[object, ...]]) -> Tenant:
    """Return the tenant of a row."""
    tenant = Tenant.model_validate(dict(row._mapping))
    if tenant.deleted_at is None:
        return tenant
    # PostgreSQL returns the session's time zone, and the bytes in a view must not depend on it.
    return tenant.model_copy(update={"deleted_at": tenant.deleted_at.astimezone(UTC)})


async def record_audit(
    connection: AsyncConnection, actor: str, action: str, tenant: str, target: str, details: dict[str, str]
) -> None:
    """Add the audit event of a change to the transaction."""
    await audit_change(
        connection,
        event_outbox,
        service=Role.TENANT_DIRECTORY,
        actor=actor,
        action=action,
        tenant=tenant,
        target=target,
        details=details,
    )
