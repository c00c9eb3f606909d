"""Tenants and client tokens in PostgreSQL.

Every change of a row is committed together with the outbox row for its view. A tenant is locked while it is changed or while a
token is registered for it, so that no token is created for a tenant that is being suspended.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    Row,
    SmallInteger,
    Table,
    Text,
    Update,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.tenancy import (
    ClientToken,
    CreateClientToken,
    CreateTenant,
    KeyPolicy,
    RevokeClientToken,
    Tenant,
    Tier,
    UpdateClientToken,
    UpdateTenant,
)
from keyferry.contracts.topology import CLIENT_TOKENS_VIEW, TENANTS_VIEW, Role
from keyferry.runtime.database.audit import audit_change
from keyferry.runtime.database.errors import translate_database_errors
from keyferry.runtime.database.event_outbox import event_counter_table, event_outbox_table
from keyferry.runtime.database.outbox import enqueue, outbox_table
from services.tenant_directory import client_tokens, tenants

SCHEMA = "tenant_directory"
PEPPER_VERSION = 1
"""The pepper that a fingerprint was computed with; there is one so far."""

metadata = MetaData(schema=SCHEMA)
tenants_table = Table(
    "tenants",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("suspended", Boolean, nullable=False, server_default="false"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("key_policy", Text),
    Column("drop_unsupported", Boolean, nullable=False, server_default="false"),
    Column("allow_unapproved", Boolean, nullable=False, server_default="false"),
    Column("limits", JSONB(none_as_null=True)),
    CheckConstraint(
        f"tier IN ({', '.join(repr(tier.value) for tier in Tier)})",
        name="tenants_tier_known",
    ),
    CheckConstraint(
        f"key_policy IN ({', '.join(repr(policy.value) for policy in KeyPolicy)})",
        name="tenants_key_policy_known",
    ),
)
tokens_table = Table(
    "client_tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey(tenants_table.c.tenant), nullable=False),
    Column("label", Text, nullable=False),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("pepper_version", SmallInteger, nullable=False),
    Column("last4", Text, nullable=False),
    Column("allowed_models", ARRAY(Text)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("limits", JSONB(none_as_null=True)),
    Column("team", Text),
    Column("member", Text),
    CheckConstraint("fingerprint ~ '^[0-9a-f]{64}$'", name="client_tokens_fingerprint_hex"),
    CheckConstraint("expires_at > created_at", name="client_tokens_expire_later"),
    CheckConstraint("cardinality(allowed_models) > 0", name="client_tokens_allow_something"),
    Index("client_tokens_by_tenant", "tenant", "created_at"),
)
outbox = outbox_table(metadata)
event_outbox = event_outbox_table(metadata)
audit_sequence = event_counter_table(metadata, "audit_sequence")


class DirectoryStore:
    """The tables. Every method raises DatabaseUnavailable, and RuleViolation if the command breaks a rule."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create_tenant(self, command: CreateTenant) -> Tenant:
        """Add a tenant. Guard: the primary key."""
        tenant = tenants.create(command)
        async with self._transaction() as connection:
            statement = upsert(tenants_table).values(**tenant.model_dump()).on_conflict_do_nothing()
            if await connection.scalar(statement.returning(tenants_table.c.tenant)) is None:
                raise tenants.already_exists(tenant.tenant)
            await _publish_tenant(connection, tenant)
            details = {"name": tenant.name, "tier": tenant.tier.value} | tenants.describe_limits(command.limits)
            await _audit(connection, command.actor, "tenant.create", tenant.tenant, tenant.tenant, details)
        return tenant

    async def update_tenant(self, command: UpdateTenant) -> Tenant:
        """Change a tenant. Guard: the row lock, held from reading to commit."""
        async with self._transaction() as connection:
            tenant = tenants.update(await _locked_tenant(connection, command.tenant), command)
            await connection.execute(_update_tenant(tenant))
            await _publish_tenant(connection, tenant)
            details = tenants.describe_changes(command)
            await _audit(connection, command.actor, "tenant.update", tenant.tenant, tenant.tenant, details)
        return tenant

    async def get_tenant(self, tenant: str) -> Tenant:
        """Return a tenant. Raises RuleViolation if there is none."""
        async with self._transaction() as connection:
            query = select(tenants_table).where(tenants_table.c.tenant == tenant)
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise tenants.unknown(tenant)
        return _tenant(row)

    async def list_tenants(self) -> list[Tenant]:
        """Return every tenant, ordered by id."""
        async with self._transaction() as connection:
            rows = await connection.execute(select(tenants_table).order_by(tenants_table.c.tenant))
            return [_tenant(row) for row in rows]

    async def register_token(
        self, command: CreateClientToken, fingerprint: str, token_id: str, now: datetime
    ) -> ClientToken:
        """Add a client token. Guards: the unique fingerprint, and the tenant's row lock."""
        async with self._transaction() as connection:
            owner = await _locked_tenant(connection, command.tenant)
            token = client_tokens.register(command, owner, token_id, now)
            row = token.model_dump() | {"fingerprint": fingerprint, "pepper_version": PEPPER_VERSION}
            statement = upsert(tokens_table).values(**row).on_conflict_do_nothing(index_elements=["fingerprint"])
            if await connection.scalar(statement.returning(tokens_table.c.token_id)) is None:
                raise client_tokens.already_registered()
            await _publish_token(connection, fingerprint, token)
            details = {"label": token.label, "last4": token.last4} | tenants.describe_limits(command.limits)
            await _audit(connection, command.actor, "token.create", token.tenant, token.token_id, details)
        return token

    async def update_token(self, command: UpdateClientToken) -> ClientToken:
        """Change a client token's limits. Guard: the row lock, held from reading to commit."""
        async with self._transaction() as connection:
            row = await _locked_token(connection, command)
            token = client_tokens.update(_token(row), command)
            values = token.model_dump(include={"limits"})
            await connection.execute(
                update(tokens_table).where(tokens_table.c.token_id == token.token_id).values(values)
            )
            await _publish_token(connection, row.fingerprint, token)
            details = tenants.describe_limits(command.limits)
            await _audit(connection, command.actor, "token.update", token.tenant, token.token_id, details)
        return token

    async def revoke_token(self, command: RevokeClientToken, now: datetime) -> ClientToken:
        """Revoke a client token. Guard: the row lock, held from reading to commit."""
        async with self._transaction() as connection:
            row = await _locked_token(connection, command)
            token = client_tokens.revoke(_token(row), now)
            chosen = tokens_table.c.token_id == token.token_id
            await connection.execute(update(tokens_table).where(chosen).values(revoked_at=token.revoked_at))
            await _publish_token(connection, row.fingerprint, token)
            if row.revoked_at is None:
                details = {"label": token.label, "last4": token.last4}
                await _audit(connection, command.actor, "token.revoke", token.tenant, token.token_id, details)
        return token

    async def list_tokens(self, tenant: str) -> list[ClientToken]:
        """Return a tenant's client tokens, oldest first, including revoked and expired ones."""
        columns = tokens_table.c
        query = select(tokens_table).where(columns.tenant == tenant).order_by(columns.created_at, columns.token_id)
        async with self._transaction() as connection:
            if await connection.scalar(select(tenants_table.c.tenant).where(tenants_table.c.tenant == tenant)) is None:
                raise tenants.unknown(tenant)
            return [_token(row) for row in await connection.execute(query)]

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the entries of each view by bucket name and key. Raises SQLAlchemyError, which the relay expects."""
        async with self._engine.connect() as connection:
            tenant_rows = (await connection.execute(select(tenants_table))).all()
            token_rows = (await connection.execute(select(tokens_table))).all()
        return {
            TENANTS_VIEW.name: {row.tenant: _tenant(row).encode() for row in tenant_rows},
            CLIENT_TOKENS_VIEW.name: {row.fingerprint: _token(row).encode() for row in token_rows},
        }

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        with translate_database_errors():
            async with self._engine.begin() as connection:
                yield connection


async def _locked_tenant(connection: AsyncConnection, tenant: str) -> Tenant:
    query = select(tenants_table).where(tenants_table.c.tenant == tenant).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise tenants.unknown(tenant)
    return _tenant(row)


async def _locked_token(
    connection: AsyncConnection, command: UpdateClientToken | RevokeClientToken
) -> Row[tuple[object, ...]]:
    columns = tokens_table.c
    chosen = (columns.tenant == command.tenant) & (columns.token_id == command.token_id)
    row = (await connection.execute(select(tokens_table).where(chosen).with_for_update())).one_or_none()
    if row is None:
        raise client_tokens.unknown(command.tenant, command.token_id)
    return row


def _update_tenant(tenant: Tenant) -> Update:
    values = tenant.model_dump(exclude={"tenant"})
    return update(tenants_table).where(tenants_table.c.tenant == tenant.tenant).values(**values)


async def _publish_tenant(connection: AsyncConnection, tenant: Tenant) -> None:
    await enqueue(connection, outbox, TENANTS_VIEW.name, tenant.tenant, tenant.encode())


async def _publish_token(connection: AsyncConnection, fingerprint: str, token: ClientToken) -> None:
    await enqueue(connection, outbox, CLIENT_TOKENS_VIEW.name, fingerprint, token.encode())


async def _audit(
    connection: AsyncConnection, actor: str, action: str, tenant: str, target: str, details: dict[str, str]
) -> None:
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


def _tenant(row: Row[tuple[object, ...]]) -> Tenant:
    return Tenant.model_validate(dict(row._mapping))


def _token(row: Row[tuple[object, ...]]) -> ClientToken:
    token = ClientToken.model_validate(dict(row._mapping))
    times = {name: _utc(getattr(token, name)) for name in ("created_at", "expires_at", "revoked_at")}
    return token.model_copy(update=times)


def _utc(moment: datetime | None) -> datetime | None:
    """Convert to UTC: PostgreSQL returns the session's time zone, and the bytes in a view must not depend on it."""
    return None if moment is None else moment.astimezone(UTC)
