"""Client tokens and their secrets in PostgreSQL.

Every change is committed together with the outbox rows for the view, which has one entry for each secret. The tenant is locked
while a token is registered for it, so that no token is created for a tenant that is being suspended.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, DateTime, Row, Select, Text, column, func, select, update, values
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.client_token_use import ClientTokenUse, EndTokenOverlap, RotateClientToken
from keyferry.contracts.membership import MAX_LISTED_TOKENS
from keyferry.contracts.tenancy import (
    ClientToken,
    ClientTokens,
    CreateClientToken,
    ListClientTokens,
    PreviousSecret,
    RevokeClientToken,
    UpdateClientToken,
)
from keyferry.contracts.topology import CLIENT_TOKENS_VIEW
from keyferry.runtime.database.outbox import enqueue
from services.tenant_directory import client_tokens, tenants
from services.tenant_directory.tables import outbox, secrets_table, tenants_table, tokens_table
from services.tenant_directory.token_list import select_tokens
from services.tenant_directory.token_owners import check_owners
from services.tenant_directory.transactions import lock_tenant, record_audit, transaction

PEPPER_VERSION = 1
"""The pepper that a fingerprint was computed with; there is one so far."""
_REMEMBERED = timedelta(days=30)
"""How long the view has a secret that is not accepted any more, so that its holder gets the reason."""
_NOT_STORED = {"previous", "secret_valid_until", "last_used_at"}
"""Fields of a token that are not a column, or that no change writes."""
_NO_VIEW = {"previous": None, "last_used_at": None}
_SecretRow = Row[tuple[object, ...]]


class _LockedToken(NamedTuple):
    """A token whose row is locked, and the moment from which it was."""

    token: ClientToken
    fingerprint: str
    """Of its current secret."""
    now: datetime


class ClientTokenStore:
    """The tables of client tokens. Every method raises DatabaseUnavailable, and RuleViolation if a command breaks a rule.

    `clock` returns the time in UTC. It is read under the lock: a change that waited for another one comes after it.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    async def register_token(self, command: CreateClientToken, fingerprint: str, token_id: str) -> ClientToken:
        """Add a client token. Guards: the unique fingerprint of all secrets, and the tenant's row lock."""
        async with transaction(self._engine) as connection:
            owner = await lock_tenant(connection, command.tenant)
            token = client_tokens.register(command, owner, token_id, self._clock())
            await check_owners(connection, command)
            row = _columns(token) | {"fingerprint": fingerprint, "pepper_version": PEPPER_VERSION}
            statement = upsert(tokens_table).values(**row).on_conflict_do_nothing(index_elements=["fingerprint"])
            if await connection.scalar(statement.returning(tokens_table.c.token_id)) is None:
                raise client_tokens.already_registered()
            await _add_secret(connection, token, fingerprint)
            await _publish(connection, token, fingerprint)
            details = {"label": token.label, "last4": token.last4} | client_tokens.describe_scopes(token)
            details |= tenants.describe_limits(command.limits)
            await record_audit(connection, command.actor, "token.create", token.tenant, token.token_id, details)
        return token

    async def update_token(self, command: UpdateClientToken) -> ClientToken:
        """Change a client token. Guard: the row lock, held from reading to commit."""
        async with transaction(self._engine) as connection:
            current, fingerprint, now = await self._lock(connection, command.tenant, command.token_id)
            token = client_tokens.update(current, command, now)
            await _save(connection, token, _columns(token))
            await _publish(connection, token, fingerprint)
            details = client_tokens.describe_update(current, token)
            await record_audit(connection, command.actor, "token.update", token.tenant, token.token_id, details)
        return token

    async def rotate_token(self, command: RotateClientToken, fingerprint: str) -> ClientToken:
        """Replace a client token's secret. Guards: the row lock, and the unique fingerprint of all secrets."""
        async with transaction(self._engine) as connection:
            current, _, now = await self._lock(connection, command.tenant, command.token_id)
            until = client_tokens.overlap_end(current, command.overlap_seconds, now)
            await _add_secret(connection, current.model_copy(update={"last4": command.last4}), fingerprint)
            await _end_secrets(connection, current.token_id, until, other_than=fingerprint)
            previous = PreviousSecret(last4=current.last4, valid_until=until) if command.overlap_seconds else None
            token = current.model_copy(update={"last4": command.last4, "previous": previous})
            named = {"last4": token.last4, "fingerprint": fingerprint, "pepper_version": PEPPER_VERSION}
            await _save(connection, token, named)
            await _publish(connection, token, fingerprint)
            details = {
                "last4": token.last4,
                "replaced_last4": current.last4,
                "replaced_until": until.isoformat(timespec="seconds"),
            }
            await record_audit(connection, command.actor, "token.rotate", token.tenant, token.token_id, details)
        return token

    async def end_overlap(self, command: EndTokenOverlap) -> ClientToken:
        """Stop accepting the secret before the current one. Guard: the row lock, held from reading to commit."""
        async with transaction(self._engine) as connection:
            current, fingerprint, now = await self._lock(connection, command.tenant, command.token_id)
            if current.previous is None:
                raise client_tokens.no_overlap()
            await _end_secrets(connection, current.token_id, now, other_than=fingerprint)
            token = current.model_copy(update={"previous": None})
            await _publish(connection, token, fingerprint)
            details = {"ended_last4": current.previous.last4}
            await record_audit(connection, command.actor, "token.end_overlap", token.tenant, token.token_id, details)
        return token

    async def revoke_token(self, command: RevokeClientToken) -> ClientToken:
        """Revoke a client token with all its secrets. Guard: the row lock, held from reading to commit."""
        async with transaction(self._engine) as connection:
            current, fingerprint, now = await self._lock(connection, command.tenant, command.token_id)
            token = client_tokens.revoke(current, now)
            await _save(connection, token, {"revoked_at": token.revoked_at})
            await _publish(connection, token, fingerprint)
            if current.revoked_at is None:
                details = {"label": token.label, "last4": token.last4}
                await record_audit(connection, command.actor, "token.revoke", token.tenant, token.token_id, details)
        return token

    async def list_tokens(self, query: ListClientTokens) -> ClientTokens:
        """Return the client tokens of a tenant that a query asks for, including revoked and expired ones."""
        tenant, columns, now = query.tenant, tokens_table.c, self._clock()
        async with transaction(self._engine) as connection:
            if await connection.scalar(select(tenants_table.c.tenant).where(tenants_table.c.tenant == tenant)) is None:
                raise tenants.unknown(tenant)
            if query.after is not None:
                last = select(columns.token_id).where(columns.tenant == tenant, columns.token_id == query.after)
                if await connection.scalar(last) is None:
                    return ClientTokens(tokens=[], after_found=False)
            rows = (await connection.execute(select_tokens(query, now))).all()
            shown = rows if query.limit is None else rows[: query.limit]
            overlaps = select(secrets_table).where(
                secrets_table.c.tenant == tenant,
                secrets_table.c.valid_until > now,
                *([] if query.limit is None else [secrets_table.c.token_id.in_([row.token_id for row in shown])]),
            )
            # Of several, which other clocks leave for a moment, the one that ends last is taken: see `_lock`.
            overlaps = overlaps.order_by(secrets_table.c.valid_until)
            previous = {row.token_id: row for row in await connection.execute(overlaps)}
        tokens = [_token(row, previous.get(row.token_id)) for row in shown]
        return ClientTokens(tokens=tokens, more=len(rows) > len(shown))

    async def note_uses(self, uses: Sequence[ClientTokenUse]) -> None:
        """Record when tokens were last used: never earlier than known already, and never later than now."""
        now = self._clock()
        used = values(
            column("tenant", Text), column("token_id", Text), column("used_at", DateTime(timezone=True)), name="used"
        ).data([(use.tenant, use.token_id, min(use.used_at, now)) for use in uses])
        columns = tokens_table.c
        statement = (
            update(tokens_table)
            .where(columns.token_id == used.c.token_id, columns.tenant == used.c.tenant)
            .where(func.coalesce(columns.last_used_at < used.c.used_at, True))
            .values(last_used_at=used.c.used_at)
        )
        # In one order, so that reports of two ingresses never wait for each other.
        locked = select(columns.token_id).where(columns.token_id.in_({use.token_id for use in uses}))
        async with transaction(self._engine) as connection:
            await connection.execute(locked.order_by(columns.token_id).with_for_update())
            await connection.execute(statement)

    async def _lock(self, connection: AsyncConnection, tenant: str, token_id: str) -> _LockedToken:
        """Return a token, and lock its row. Raises RuleViolation if the tenant has no such token."""
        columns = tokens_table.c
        chosen = (columns.tenant == tenant) & (columns.token_id == token_id)
        row = (await connection.execute(select(tokens_table).where(chosen).with_for_update())).one_or_none()
        if row is None:
            raise client_tokens.unknown(tenant, token_id)
        now, secret = self._clock(), secrets_table.c
        overlap = select(secrets_table).where(secret.token_id == token_id, secret.valid_until > now)
        # What a process whose clock is ahead has ended is still accepted here for a moment: the one that ends last counts.
        replaced = (await connection.execute(overlap.order_by(secret.valid_until.desc()).limit(1))).one_or_none()
        return _LockedToken(_token(row, replaced), row.fingerprint, now)


async def token_entries(connection: AsyncConnection) -> dict[str, bytes]:
    """Return the entries of the view of client tokens, by fingerprint."""
    tokens = (await connection.execute(select(tokens_table))).all()
    replaced: defaultdict[str, list[_SecretRow]] = defaultdict(list)
    for secret in await connection.execute(_remembered_secrets()):
        replaced[secret.token_id].append(secret)
    entries: dict[str, bytes] = {}
    for row in tokens:
        entries |= _entries(_token(row), row.fingerprint, replaced[row.token_id])
    return entries


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
        await _publish(connection, _token(row), row.fingerprint)


def _named(tenant: str, member: str | None, team: str | None) -> ColumnElement[bool]:
    columns = tokens_table.c
    named = columns.team == team if member is None else columns.member == member
    return (columns.tenant == tenant) & columns.revoked_at.is_(None) & named


def _remembered_secrets() -> Select[Any]:
    return select(secrets_table).where(secrets_table.c.valid_until > func.now() - _REMEMBERED)


def _entries(token: ClientToken, fingerprint: str, replaced: Iterable[_SecretRow]) -> dict[str, bytes]:
    """Return the entries of one token: one for its current secret, and one for each that was replaced."""
    current = token.model_copy(update=_NO_VIEW)
    entries = {fingerprint: current.encode()}
    for secret in replaced:
        changes = {"last4": secret.last4, "secret_valid_until": _utc(secret.valid_until)}
        entries[str(secret.fingerprint)] = current.model_copy(update=changes).encode()
    return entries


async def _add_secret(connection: AsyncConnection, token: ClientToken, fingerprint: str) -> None:
    row = {"fingerprint": fingerprint, "tenant": token.tenant, "token_id": token.token_id, "last4": token.last4}
    statement = upsert(secrets_table).values(**row).on_conflict_do_nothing(index_elements=["fingerprint"])
    if await connection.scalar(statement.returning(secrets_table.c.fingerprint)) is None:
        raise client_tokens.already_registered()


async def _end_secrets(connection: AsyncConnection, token_id: str, until: datetime, *, other_than: str) -> None:
    """Have all secrets of a token but one end at `until`, unless they end before."""
    secret = secrets_table.c
    others = (secret.token_id == token_id) & (secret.fingerprint != other_than)
    longer = func.coalesce(secret.valid_until > until, True)
    await connection.execute(update(secrets_table).where(others & longer).values(valid_until=until))


async def _save(connection: AsyncConnection, token: ClientToken, values: Mapping[str, object]) -> None:
    await connection.execute(update(tokens_table).where(tokens_table.c.token_id == token.token_id).values(**values))


async def _publish(connection: AsyncConnection, token: ClientToken, fingerprint: str) -> None:
    query = _remembered_secrets().where(secrets_table.c.token_id == token.token_id)
    replaced = (await connection.execute(query)).all()
    for key, entry in _entries(token, fingerprint, replaced).items():
        await enqueue(connection, outbox, CLIENT_TOKENS_VIEW.name, key, entry)


def _columns(token: ClientToken) -> dict[str, object]:
    return token.model_dump(exclude=_NOT_STORED)


def _token(row: Row[tuple[object, ...]], previous: _SecretRow | None = None) -> ClientToken:
    token = ClientToken.model_validate(dict(row._mapping))
    changes: dict[str, object] = {
        name: _utc(getattr(token, name))
        for name in ("created_at", "expires_at", "revoked_at", "disabled_at", "last_used_at")
    }
    if previous is not None:
        changes["previous"] = PreviousSecret(last4=previous.last4, valid_until=_utc(previous.valid_until))
    return token.model_copy(update=changes)


def _utc(moment: datetime | None) -> datetime | None:
    """Convert to UTC: PostgreSQL returns the session's time zone, and the bytes in a view must not depend on it."""
    return None if moment is None else moment.astimezone(UTC)
