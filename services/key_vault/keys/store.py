"""Provider keys in PostgreSQL.

Every change states its guard, and is committed together with the view's new entry, the tenant's event and the audit event.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Text, any_, delete, func, insert, literal, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY, Insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.key import KeyChange, KeySpend, KeyStatus, ProviderKey
from keyferry.contracts.topology import PROVIDER_KEYS_VIEW
from services.key_vault.database.errors import Conflict, DuplicateKey, QuotaExceeded
from services.key_vault.database.tables import (
    EncryptedRecord,
    columns_of,
    key_facts,
    provider_key_of,
    provider_keys,
    spend,
)
from services.key_vault.database.transaction import Act, Database, lock_tenant, view_key
from services.key_vault.keys.record_store import delete_old_records, insert_record
from services.key_vault.keys.validation import names_another_server

_FIGURES = ("spent_usd", "attempts", "unpriced", "last_used_at")
_APPLY_SPENDING = """
UPDATE key_vault.provider_keys AS keys SET
    last_used_at = greatest(keys.last_used_at, latest.last_used_at),
    spend_month = CASE WHEN later THEN latest.month ELSE keys.spend_month END,
    spent_usd = CASE WHEN later THEN latest.spent_usd ELSE keys.spent_usd END,
    unpriced = CASE WHEN later THEN latest.unpriced ELSE keys.unpriced END
FROM (
    SELECT DISTINCT ON (spend.key_id) spend.*, own.spend_month IS NULL OR spend.month >= own.spend_month AS later
    FROM key_vault.spend JOIN key_vault.provider_keys AS own USING (key_id)
    WHERE spend.key_id = ANY(:key_ids)
    ORDER BY spend.key_id, spend.month DESC
) AS latest
WHERE keys.key_id = latest.key_id
"""
"""A key shows the latest month that has figures, unless it was set to a later one."""
_SPENDING = frozenset({"spent_usd", "unpriced", "last_used_at"})
"""Fields that the ledger's messages change at any time; an update of the same key does not conflict with that."""
_keys = provider_keys.c


class KeyStore:
    """The tables `provider_keys` and `spend`. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: str, key_id: str) -> ProviderKey | None:
        """Return a key of a tenant."""
        found = await self._select(select(provider_keys).where(_keys.tenant == tenant, _keys.key_id == key_id))
        return found[0] if found else None

    async def list_for_tenant(self, tenant: str) -> list[ProviderKey]:
        """Return a tenant's keys in the order in which they are used: by priority, then the older first."""
        query = select(provider_keys).where(_keys.tenant == tenant)
        return await self._select(query.order_by(_keys.priority, _keys.created_at, _keys.key_id))

    async def list_all(self) -> list[ProviderKey]:
        """Return every key."""
        return await self._select(select(provider_keys).order_by(_keys.tenant, _keys.key_id))

    async def list_undecryptable_or(self, key_ids: Collection[str]) -> list[ProviderKey]:
        """Return the keys marked as undecryptable, and those with these ids."""
        marked = _keys.status == KeyStatus.UNDECRYPTABLE.value
        return await self._select(
            select(provider_keys)
            .where(marked | (_keys.key_id == any_(literal(list(key_ids), ARRAY(Text)))))
            .order_by(_keys.tenant, _keys.key_id)
        )

    async def find_by_fingerprint(self, tenant: str, provider: str, fingerprint: str) -> ProviderKey | None:
        """Return the tenant's key with this fingerprint; there is at most one per provider."""
        query = select(provider_keys).where(
            _keys.tenant == tenant, _keys.provider == provider, _keys.fingerprint == fingerprint
        )
        found = await self._select(query)
        return found[0] if found else None

    async def list_due(self, now: datetime, limit: int) -> list[ProviderKey]:
        """Return keys whose `next_test_at` has come, the most overdue first."""
        return await self._select(
            select(provider_keys).where(_keys.next_test_at <= now).order_by(_keys.next_test_at).limit(limit)
        )

    async def list_revert_expired(self, now: datetime, limit: int) -> list[ProviderKey]:
        """Return keys whose former version is no longer needed; an update without `revert_until` destroys it."""
        return await self._select(
            select(provider_keys).where(_keys.revert_until <= now).order_by(_keys.revert_until).limit(limit)
        )

    async def list_spent_before(self, month: str, limit: int) -> list[ProviderKey]:
        """Return keys whose spending was last recorded in a month (`2026-01`, UTC) before `month`."""
        return await self._select(
            select(provider_keys).where(_keys.spend_month < month).order_by(_keys.spend_month).limit(limit)
        )

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return what the view has to hold, by bucket name and key. The relay expects SQLAlchemy's own errors."""
        async with self._database.engine.connect() as connection:
            keys = [provider_key_of(row) for row in await connection.execute(select(provider_keys))]
        return {PROVIDER_KEYS_VIEW.name: {view_key(key): key_facts(key).encode() for key in keys}}

    async def insert(
        self, key: ProviderKey, record: EncryptedRecord, act: Act, detail: str, *, at_most: int | None = None
    ) -> None:
        """Store a key. Guards: its id, one fingerprint per tenant and provider, and an existing data key.

        Raises DuplicateKey, QuotaExceeded where the tenant already has `at_most` keys of the provider, and Conflict when
        the tenant's data keys were shredded since the key was encrypted.
        """
        async with self._database.transaction() as connection:
            await lock_tenant(connection, key.tenant)
            if at_most is not None and await _count(connection, key) >= at_most:
                raise QuotaExceeded(f"{key.tenant} has {at_most} keys of {key.provider} already")
            if other := await _find_duplicate(connection, key):
                raise DuplicateKey(other)
            await _require_one_server(connection, key)
            await connection.execute(insert(provider_keys).values(**columns_of(key)))
            await insert_record(connection, key, record)
            await self._database.announce(connection, key, KeyChange.ADDED, detail)
            await self._database.write_audit(connection, act)

    async def update(
        self,
        before: ProviderKey,
        after: ProviderKey,
        act: Act,
        change: KeyChange,
        detail: str,
        record: EncryptedRecord | None = None,
        *,
        month: str | None = None,
    ) -> ProviderKey:
        """Change a key that was read as `before`, and return it as it is afterwards.

        Guard: the locked row still is `before`, except for spending that the ledger reported meanwhile, which stays unless
        `after` changes it. Raises Conflict, and DuplicateKey for a key that the tenant has already. `record` is the
        record of `after.version`; the former version's is kept while `after.revert_until` is set, and any older one is
        destroyed. `month` is the calendar month of `after.spent_usd`; null leaves the recorded one.
        """
        async with self._database.transaction() as connection:
            renamed = after.name != before.name
            if record is not None or renamed:
                await lock_tenant(connection, before.tenant)
            if renamed:
                await _require_one_server(connection, after)
            stored = await _lock_unchanged(connection, before)
            if after.fingerprint != before.fingerprint and (other := await _find_duplicate(connection, after)):
                raise DuplicateKey(other)
            after = after.model_copy(update=_reported_spending(stored, before, after))
            values = columns_of(after) | ({} if month is None else {"spend_month": month})
            await connection.execute(update(provider_keys).where(_keys.key_id == after.key_id).values(**values))
            if record is not None:
                await insert_record(connection, after, record)
            await delete_old_records(connection, before, after)
            await self._database.announce(connection, after, change, detail)
            await self._database.write_audit(connection, act)
        return after

    async def schedule_test(self, key: ProviderKey, at: datetime) -> None:
        """Test a key no later than `at`. Emits no event: internal scheduling only."""
        sooner = func.least(_keys.next_test_at, at)
        async with self._database.transaction() as connection:
            await connection.execute(
                update(provider_keys).where(_keys.key_id == key.key_id).values(next_test_at=sooner)
            )

    async def delete(self, key: ProviderKey, act: Act, detail: str) -> None:
        """Destroy a key and its records. Guard: the key exists; raises Conflict when another process removed it."""
        async with self._database.transaction() as connection:
            chosen = delete(provider_keys).where(_keys.tenant == key.tenant, _keys.key_id == key.key_id)
            row = (await connection.execute(chosen.returning(provider_keys))).one_or_none()
            if row is None:
                raise Conflict(f"the key {key.key_id} is gone already")
            await self._database.announce(connection, provider_key_of(row), KeyChange.REMOVED, detail, removed=True)
            await self._database.write_audit(connection, act)

    async def record_spend(self, spent: KeySpend) -> ProviderKey | None:
        """Record the figure of one key, as `record_spending` does; None where the key is gone."""
        found = await self.record_spending([spent])
        return found[0] if found else None

    async def record_spending(self, spends: Sequence[KeySpend]) -> list[ProviderKey]:
        """Record what calls with keys cost, in one transaction; return those keys that exist, as they are afterwards.

        Guard: a month's amounts only grow, and an earlier month never replaces a later one, so a repeated or late message
        changes nothing. Emits no event: what follows from it is an update. Rows are locked in the order of their ids.
        """
        owners = {(spent.key_id, spent.tenant) for spent in spends}
        owned = select(_keys.key_id, _keys.tenant).where(tuple_(_keys.key_id, _keys.tenant).in_(sorted(owners)))
        async with self._database.transaction() as connection:
            rows = (await connection.execute(owned.order_by(_keys.key_id).with_for_update())).all()
            present = {(row.key_id, row.tenant) for row in rows}
            known = [spent for spent in spends if (spent.key_id, spent.tenant) in present]
            if not known:
                return []
            key_ids = sorted({spent.key_id for spent in known})
            await connection.execute(_upsert_spend(known))
            await connection.execute(text(_APPLY_SPENDING), {"key_ids": key_ids})
            chosen = select(provider_keys).where(_keys.key_id.in_(key_ids)).order_by(_keys.key_id)
            return [provider_key_of(row) for row in await connection.execute(chosen)]

    async def _select(self, query: Select[tuple[object, ...]]) -> list[ProviderKey]:
        async with self._database.transaction() as connection:
            return [provider_key_of(row) for row in await connection.execute(query)]


async def _lock_unchanged(connection: AsyncConnection, before: ProviderKey) -> ProviderKey:
    """Lock a key's row and return it. Raises Conflict where it is not `before` any more."""
    query = select(provider_keys).where(_keys.tenant == before.tenant, _keys.key_id == before.key_id)
    row = (await connection.execute(query.with_for_update())).one_or_none()
    if row is None:
        raise Conflict(f"the key {before.key_id} was removed meanwhile")
    stored = provider_key_of(row)
    if stored.model_dump(exclude=set(_SPENDING)) != before.model_dump(exclude=set(_SPENDING)):
        raise Conflict(f"the key {before.key_id} was changed meanwhile: read it again")
    return stored


def _reported_spending(stored: ProviderKey, before: ProviderKey, after: ProviderKey) -> dict[str, object]:
    """Return the spending that was reported since `before` was read, unless `after` changes it."""
    unchanged = (name for name in _SPENDING if getattr(before, name) == getattr(after, name))
    return {name: getattr(stored, name) for name in unchanged}


async def _count(connection: AsyncConnection, key: ProviderKey) -> int:
    query = select(func.count()).where(_keys.tenant == key.tenant, _keys.provider == key.provider)
    return int((await connection.execute(query)).scalar_one())


async def _find_duplicate(connection: AsyncConnection, key: ProviderKey) -> str | None:
    """Return the id of the same key of the same tenant. The tenant's lock prevents a concurrent insert."""
    query = select(_keys.key_id).where(
        _keys.tenant == key.tenant, _keys.provider == key.provider, _keys.fingerprint == key.fingerprint
    )
    found: str | None = await connection.scalar(query)
    return found


async def _require_one_server(connection: AsyncConnection, key: ProviderKey) -> None:
    """Raise Conflict if the tenant has a key for another server that requests would name alike.

    The tenant's lock prevents a concurrent insert.
    """
    query = select(provider_keys).where(_keys.tenant == key.tenant, _keys.name.is_not_distinct_from(key.name))
    for row in await connection.execute(query):
        if names_another_server(key, other := provider_key_of(row)):
            raise Conflict(f"the key {other.key_id} is for another server of that name")


def _upsert_spend(spends: Sequence[KeySpend]) -> Insert:
    """Insert the greatest figures of each key and month; a statement may touch a row only once."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for spent in spends:
        amounts = spent.model_dump(exclude={"tenant"})
        known = rows.setdefault((spent.key_id, spent.month), amounts)
        for name in _FIGURES:
            known[name] = max((value for value in (known[name], amounts[name]) if value is not None), default=None)
    statement = upsert(spend).values([rows[place] for place in sorted(rows)])
    greatest = {name: func.greatest(spend.c[name], statement.excluded[name]) for name in _FIGURES}
    return statement.on_conflict_do_update(index_elements=["key_id", "month"], set_=greatest)
