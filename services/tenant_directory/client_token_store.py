"""Client tokens in PostgreSQL.

Every change of a row is committed together with the outbox row for its view. The tenant is locked while a token is registered
for it, so that no token is created for a tenant that is being suspended.
"""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.membership import MAX_LISTED_TOKENS
from keyferry.contracts.tenancy import ClientToken, CreateClientToken, RevokeClientToken, UpdateClientToken
from keyferry.contracts.topology import CLIENT_TOKENS_VIEW
from keyferry.runtime.database.outbox import enqueue
from services.tenant_directory import client_tokens, tenants
from services.tenant_directory.tables import outbox, tenants_table, tokens_table
from services.tenant_directory.transactions import lock_tenant, record_audit, transaction

PEPPER_VERSION = 1
"""The pepper that a fingerprint was computed with; there is one so far."""


class ClientTokenStore:
    """The table of client tokens. Every method raises DatabaseUnavailable, and RuleViolation if the command breaks a rule."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def register_token(
        self, command: CreateClientToken, fingerprint: str, token_id: str, now: datetime
    ) -> ClientToken:
        """Add a client token. Guards: the unique fingerprint, and the tenant's row lock."""
        async with transaction(self._engine) as connection:
            owner = await lock_tenant(connection, command.tenant)
            token = client_tokens.register(command, owner, token_id, now)
            row = token.model_dump() | {"fingerprint": fingerprint, "pepper_version": PEPPER_VERSION}
            statement = upsert(tokens_table).values(**row).on_conflict_do_nothing(index_elements=["fingerprint"])
            if await connection.scalar(statement.returning(tokens_table.c.token_id)) is None:
                raise client_tokens.already_registered()
            await _publish_token(connection, fingerprint, token)
            details = {"label": token.label, "last4": token.last4} | tenants.describe_limits(command.limits)
            await record_audit(connection, command.actor, "token.create", token.tenant, token.token_id, details)
        return token

    async def update_token(self, command: UpdateClientToken) -> ClientToken:
        """Change a client token's limits. Guard: the row lock, held from reading to commit."""
        async with transaction(self._engine) as connection:
            row = await _locked_token(connection, command)
            token = client_tokens.update(_token(row), command)
            values = token.model_dump(include={"limits"})
            await connection.execute(
                update(tokens_table).where(tokens_table.c.token_id == token.token_id).values(values)
            )
            await _publish_token(connection, row.fingerprint, token)
            details = tenants.describe_limits(command.limits)
            await record_audit(connection, command.actor, "token.update", token.tenant, token.token_id, details)
        return token

    async def revoke_token(self, command: RevokeClientToken, now: datetime) -> ClientToken:
        """Revoke a client token. Guard: the row lock, held from reading to commit."""
        async with transaction(self._engine) as connection:
            row = await _locked_token(connection, command)
            token = client_tokens.revoke(_token(row), now)
            chosen = tokens_table.c.token_id == token.token_id
            await connection.execute(update(tokens_table).where(chosen).values(revoked_at=token.revoked_at))
            await _publish_token(connection, row.fingerprint, token)
            if row.revoked_at is None:
                details = {"label": token.label, "last4": token.last4}
                await record_audit(connection, command.actor, "token.revoke", token.tenant, token.token_id, details)
        return token

    async def list_tokens(self, tenant: str) -> list[ClientToken]:
        """Return a tenant's client tokens, oldest first, including revoked and expired ones."""
        columns = tokens_table.c
        query = select(tokens_table).where(columns.tenant == tenant).order_by(columns.created_at, columns.token_id)
        async with transaction(self._engine) as connection:
            if await connection.scalar(select(tenants_table.c.tenant).where(tenants_table.c.tenant == tenant)) is None:
                raise tenants.unknown(tenant)
            return [_token(row) for row in await connection.execute(query)]


async def token_entries(connection: AsyncConnection) -> dict[str, bytes]:
    """Return the entries of the view of client tokens, by fingerprint."""
    rows = (await connection.execute(select(tokens_table))).all()
    return {row.fingerprint: _token(row).encode() for row in rows}


async def list_named_tokens(
    connection: AsyncConnection, tenant: str, *, member: str | None = None, team: str | None = None
) -> tuple[list[ClientToken], int]:
    """Return the client tokens of a member or a team that are not revoked, the oldest first and no more than are listed.

    The second value is how many there are.
    """
    chosen = _named(tenant, member, team)
    count = await connection.scalar(select(func.count()).select_from(tokens_table).where(chosen)) or 0
    query = select(tokens_table).where(chosen).order_by(tokens_table.c.created_at).limit(MAX_LISTED_TOKENS)
    return [_token(row) for row in await connection.execute(query)], count


async def revoke_named_tokens(connection: AsyncConnection, tenant: str, member: str, now: datetime) -> None:
    """Revoke all client tokens of a member. The tenant's row is locked, so that none is added meanwhile."""
    statement = update(tokens_table).where(_named(tenant, member, None)).values(revoked_at=now.astimezone(UTC))
    for row in (await connection.execute(statement.returning(*tokens_table.c))).all():
        await _publish_token(connection, row.fingerprint, _token(row))


def _named(tenant: str, member: str | None, team: str | None) -> ColumnElement[bool]:
    columns = tokens_table.c
    named = columns.team == team if member is None else columns.member == member
    return (columns.tenant == tenant) & columns.revoked_at.is_(None) & named


async def _locked_token(
    connection: AsyncConnection, command: UpdateClientToken | RevokeClientToken
) -> Row[tuple[object, ...]]:
    columns = tokens_table.c
    chosen = (columns.tenant == command.tenant) & (columns.token_id == command.token_id)
    row = (await connection.execute(select(tokens_table).where(chosen).with_for_update())).one_or_none()
    if row is None:
        raise client_tokens.unknown(command.tenant, command.token_id)
    return row


async def _publish_token(connection: AsyncConnection, fingerprint: str, token: ClientToken) -> None:
    await enqueue(connection, outbox, CLIENT_TOKENS_VIEW.name, fingerprint, token.encode())


def _token(row: Row[tuple[object, ...]]) -> ClientToken:
    token = ClientToken.model_validate(dict(row._mapping))
    times = {name: _utc(getattr(token, name)) for name in ("created_at", "expires_at", "revoked_at")}
    return token.model_copy(update=times)


def _utc(moment: datetime | None) -> datetime | None:
    """Convert to UTC: PostgreSQL returns the session's time zone, and the bytes in a view must not depend on it."""
    return None if moment is None else moment.astimezone(UTC)
