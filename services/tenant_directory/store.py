"""Tenants in PostgreSQL, and the contents of the views.

Every change of a row is committed together with the outbox row for its view. A tenant is locked while it is changed.
"""

from collections.abc import Mapping

from sqlalchemy import Update, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.membership_management import MEMBERS_VIEW
from keyferry.contracts.subscriptions import ApplySubscription
from keyferry.contracts.tenancy import CreateTenant, Tenant, UpdateTenant
from keyferry.contracts.topology import CLIENT_TOKENS_VIEW, TENANTS_VIEW
from keyferry.runtime.database.outbox import enqueue
from services.tenant_directory import tenants
from services.tenant_directory.client_token_store import token_entries
from services.tenant_directory.member_store import member_entries
from services.tenant_directory.tables import outbox, tenants_table
from services.tenant_directory.transactions import lock_tenant, record_audit, tenant_of, transaction


class DirectoryStore:
    """The table of tenants. Every method raises DatabaseUnavailable, and RuleViolation if the command breaks a rule."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create_tenant(self, command: CreateTenant) -> Tenant:
        """Add a tenant. Guard: the primary key."""
        tenant = tenants.create(command)
        async with transaction(self._engine) as connection:
            statement = upsert(tenants_table).values(**tenant.model_dump()).on_conflict_do_nothing()
            if await connection.scalar(statement.returning(tenants_table.c.tenant)) is None:
                raise tenants.already_exists(tenant.tenant)
            await _publish_tenant(connection, tenant)
            details = {"name": tenant.name, "tier": tenant.tier.value} | tenants.describe_limits(command.limits)
            await record_audit(connection, command.actor, "tenant.create", tenant.tenant, tenant.tenant, details)
        return tenant

    async def update_tenant(self, command: UpdateTenant) -> Tenant:
        """Change a tenant. Guard: the row lock, held from reading to commit."""
        async with transaction(self._engine) as connection:
            return await apply_tenant_update(connection, command)

    async def apply_subscription(self, command: ApplySubscription) -> Tenant:
        """Give a tenant the tier of its subscription; a repetition changes nothing. Guard: the row lock."""
        async with transaction(self._engine) as connection:
            before = await lock_tenant(connection, command.tenant)
            tenant = tenants.apply_subscription(before, command)
            if tenant != before:
                await _write_tenant(connection, before, tenant, command.actor)
        return tenant

    async def get_tenant(self, tenant: str) -> Tenant:
        """Return a tenant. Raises RuleViolation if there is none."""
        async with transaction(self._engine) as connection:
            query = select(tenants_table).where(tenants_table.c.tenant == tenant)
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise tenants.unknown(tenant)
        return tenant_of(row)

    async def list_tenants(self) -> list[Tenant]:
        """Return every tenant, ordered by id."""
        async with transaction(self._engine) as connection:
            rows = await connection.execute(select(tenants_table).order_by(tenants_table.c.tenant))
            return [tenant_of(row) for row in rows]

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the entries of each view by bucket name and key. Raises SQLAlchemyError, which the relay expects."""
        async with self._engine.connect() as connection:
            tenant_rows = (await connection.execute(select(tenants_table))).all()
            return {
                TENANTS_VIEW.name: {row.tenant: tenant_of(row).encode() for row in tenant_rows},
                CLIENT_TOKENS_VIEW.name: await token_entries(connection),
                MEMBERS_VIEW.name: await member_entries(connection),
            }


async def apply_tenant_update(connection: AsyncConnection, command: UpdateTenant) -> Tenant:
    """Change a tenant in the caller's transaction. Raises RuleViolation and SQLAlchemyError."""
    before = await lock_tenant(connection, command.tenant)
    tenant = tenants.update(before, command)
    await _write_tenant(connection, before, tenant, command.actor)
    return tenant


async def _write_tenant(connection: AsyncConnection, before: Tenant, after: Tenant, actor: str) -> None:
    await connection.execute(_update_tenant(after))
    await _publish_tenant(connection, after)
    details = tenants.describe_update(before, after)
    await record_audit(connection, actor, "tenant.update", after.tenant, after.tenant, details)


def _update_tenant(tenant: Tenant) -> Update:
    values = tenant.model_dump(exclude={"tenant"})
    return update(tenants_table).where(tenants_table.c.tenant == tenant.tenant).values(**values)


async def _publish_tenant(connection: AsyncConnection, tenant: Tenant) -> None:
    await enqueue(connection, outbox, TENANTS_VIEW.name, tenant.tenant, tenant.encode())
