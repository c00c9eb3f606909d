"""Provider keys in PostgreSQL: rows, sealed records, and what is told about them, always in one transaction.

Every change states its guard. Whatever is done is committed together with the view's new entry, the event for the tenant and
the audit's; a lease or a refusal is written down before it is answered.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import Select, Text, any_, delete, func, insert, literal, select, text, true, update
from sqlalchemy.dialects.postgresql import ARRAY, Insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.key import KeyChange, KeySpend, KeyStatus, ProviderKey
from keyferry.contracts.topology import PROVIDER_KEYS_VIEW
from services.key_vault.database.tables import (
    SCHEMA,
    EncryptedRecord,
    audit_sequence,
    columns_of,
    data_keys,
    event_outbox,
    facts_of,
    key_records,
    metadata,
    outbox,
    provider_key_of,
    provider_keys,
    sealed_of,
    spend,
)
from services.key_vault.database.transaction import Act, hold_tenant, lock_number, view_key
from services.key_vault.encryption.data_key_store import DataKeyStore
from services.key_vault.keys.fingerprint_store import FingerprintStore, remember_fingerprint
from services.key_vault.keys.reminder_store import ReminderStore
from services.key_vault.leases.store import Leased, LeaseRows, Nonce, Replayed, Wanted
from services.key_vault.leases.worker_store import WorkerStore
from services.key_vault.maintenance.kek_age_store import KekAgeStore

__all__ = [
    "SCHEMA",
    "Act",
    "Conflict",
    "DuplicateKey",
    "EncryptedRecord",
    "KeyStore",
    "Leased",
    "Nonce",
    "QuotaExceeded",
    "Replayed",
    "Wanted",
    "audit_sequence",
    "event_outbox",
    "metadata",
    "outbox",
]

_SPENT = frozenset({"spent_usd", "last_used_at"})
"""What the ledger's messages change at any time; a person's change of the same key does not collide with that."""
_keys = provider_keys.c


class Conflict(Exception):
    """Somebody else was faster: the key is not any more what it was when it was read. Read it again."""


class DuplicateKey(Conflict):
    """The tenant has this provider key already, under the id `key_id`."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"this key is stored already, as {key_id}")
        self.key_id = key_id


class QuotaExceeded(Conflict):
    """The tenant has as many keys of the provider as it may have."""


class KeyStore(DataKeyStore, WorkerStore, FingerprintStore, LeaseRows, KekAgeStore, ReminderStore):
    """The vault's tables. Every method raises DatabaseUnavailable."""

    # --- reading

    async def get(self, tenant: str, key_id: str) -> ProviderKey | None:
        """A key of a tenant."""
        found = await self._found(select(provider_keys).where(_keys.tenant == tenant, _keys.key_id == key_id))
        return found[0] if found else None

    async def of_tenant(self, tenant: str, created_by: str | None = None) -> list[ProviderKey]:
        """A tenant's keys in the order in which they are used: by priority, the older first.

        With `created_by`, only those that this one added or gave the secret in use of.
        """
        query = select(provider_keys).where(_keys.tenant == tenant)
        if created_by is not None:
            query = query.where((_keys.created_by == created_by) | (_keys.rotated_by == created_by))
        return await self._found(query.order_by(_keys.priority, _keys.created_at, _keys.key_id))

    async def all_tenants_keys(self) -> list[ProviderKey]:
        """Every key."""
        return await self._found(select(provider_keys).order_by(_keys.tenant, _keys.key_id))

    async def undecryptable_or(self, key_ids: Collection[str]) -> list[ProviderKey]:
        """The keys that are marked as undecryptable, and those with these ids."""
        marked = _keys.status == KeyStatus.UNDECRYPTABLE.value
        return await self._found(
            select(provider_keys)
            .where(marked | (_keys.key_id == any_(literal(list(key_ids), ARRAY(Text)))))
            .order_by(_keys.tenant, _keys.key_id)
        )

    async def of_fingerprint(self, tenant: str, provider: str, fingerprint: str) -> ProviderKey | None:
        """The tenant's key with this fingerprint, of which there is at most one a provider."""
        query = select(provider_keys).where(
            _keys.tenant == tenant, _keys.provider == provider, _keys.fingerprint == fingerprint
        )
        found = await self._found(query)
        return found[0] if found else None

    async def due(self, now: datetime, limit: int) -> list[ProviderKey]:
        """Keys whose time to be looked at has come, the longest waiting first."""
        return await self._found(
            select(provider_keys).where(_keys.next_test_at <= now).order_by(_keys.next_test_at).limit(limit)
        )

    async def overlap_over(self, now: datetime, limit: int) -> list[ProviderKey]:
        """Keys whose former version need not be kept any longer; an update without `revert_until` destroys it."""
        return await self._found(
            select(provider_keys).where(_keys.revert_until <= now).order_by(_keys.revert_until).limit(limit)
        )

    async def spent_before(self, month: str, limit: int) -> list[ProviderKey]:
        """Keys whose spending was last recorded in a month (`2026-01`, UTC) before `month`."""
        return await self._found(
            select(provider_keys).where(_keys.spend_month < month).order_by(_keys.spend_month).limit(limit)
        )

    async def sealed(self, tenant: str, key_id: str, version: int) -> EncryptedRecord | None:
        """The record of a version of a tenant's key, while it is kept."""
        query = (
            select(key_records.c.data_key_id, key_records.c.record)
            .join(provider_keys)
            .where(_keys.tenant == tenant, _keys.key_id == key_id, key_records.c.version == version)
        )
        async with self._transaction() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else sealed_of(row)

    async def former(self, key: ProviderKey) -> ProviderKey | None:
        """The key at the version before the one in use, while that is kept: its number, and since when it was in use."""
        columns = key_records.c
        kept = select(columns.version, columns.rotated_at, columns.rotated_by)
        kept = kept.where(columns.key_id == key.key_id, columns.version < key.version)
        async with self._transaction() as connection:
            row = (await connection.execute(kept.order_by(columns.version.desc()).limit(1))).one_or_none()
        if row is None:
            return None
        at = None if row.rotated_at is None else row.rotated_at.astimezone(UTC)
        return key.model_copy(update={"version": row.version, "rotated_at": at, "rotated_by": row.rotated_by})

    async def records_after(
        self, last: tuple[str, int], limit: int, *, data_key_id: str | None = None, tenant: str | None = None
    ) -> list[tuple[ProviderKey, EncryptedRecord]]:
        """A page of all records, former versions included, by key id and version; begin after `("", 0)`.

        Each comes with its key at the record's own version, as it was sealed. `data_key_id` and `tenant` choose some.
        """
        columns = key_records.c
        query = select(provider_keys, columns.version.label("sealed_version"), columns.data_key_id, columns.record)
        query = query.join(key_records).where(func.row(columns.key_id, columns.version) > func.row(*last))
        if data_key_id is not None:
            query = query.where(columns.data_key_id == data_key_id)
        if tenant is not None:
            query = query.where(_keys.tenant == tenant)
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(columns.key_id, columns.version).limit(limit))
            return [
                (provider_key_of(row).model_copy(update={"version": row.sealed_version}), sealed_of(row))
                for row in rows
            ]

    async def first_records(
        self, data_key_ids: Collection[str], each: int
    ) -> dict[str, list[tuple[ProviderKey, EncryptedRecord]]]:
        """Up to `each` records under each of these data keys, as `records_after` has them, by data key."""
        columns = key_records.c
        wanted = func.unnest(literal(list(data_key_ids), ARRAY(Text))).table_valued("data_key_id").render_derived()
        chosen = select(key_records).where(columns.data_key_id == wanted.c.data_key_id)
        first = chosen.order_by(columns.key_id, columns.version).limit(each).lateral("first_records")
        query = select(provider_keys, first.c.version.label("sealed_version"), first.c.data_key_id, first.c.record)
        query = query.select_from(wanted).join(first, true()).join(provider_keys, _keys.key_id == first.c.key_id)
        found: dict[str, list[tuple[ProviderKey, EncryptedRecord]]] = {}
        async with self._transaction() as connection:
            for row in await connection.execute(query.order_by(first.c.key_id, first.c.version)):
                record = provider_key_of(row).model_copy(update={"version": row.sealed_version}), sealed_of(row)
                found.setdefault(row.data_key_id, []).append(record)
        return found

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """What the view has to hold, by bucket name and key. For the relay, which wants SQLAlchemy's own errors."""
        async with self._engine.connect() as connection:
            keys = [provider_key_of(row) for row in await connection.execute(select(provider_keys))]
        return {PROVIDER_KEYS_VIEW.name: {view_key(key): facts_of(key).encode() for key in keys}}

    # --- changing

    async def insert(
        self, key: ProviderKey, sealed: EncryptedRecord, act: Act, detail: str, *, at_most: int | None = None
    ) -> None:
        """Store a key. Guards: its id, one fingerprint a tenant and provider, and a data key that is still there.

        Raises DuplicateKey, NoRoom where the tenant has `at_most` keys of the provider already, and Conflict when the
        tenant's data keys were shredded since the key was sealed.
        """
        async with self._transaction() as connection:
            await hold_tenant(connection, key.tenant)
            if at_most is not None and await _count(connection, key) >= at_most:
                raise QuotaExceeded(f"{key.tenant} has {at_most} keys of {key.provider} already")
            if other := await _duplicate_of(connection, key):
                raise DuplicateKey(other)
            await connection.execute(insert(provider_keys).values(**columns_of(key)))
            await _put_record(connection, key, sealed)
            await self._tell_change(connection, key, KeyChange.ADDED, detail)
            await self._audit(connection, act)

    async def update(
        self,
        before: ProviderKey,
        after: ProviderKey,
        act: Act,
        change: KeyChange,
        detail: str,
        sealed: EncryptedRecord | None = None,
        *,
        month: str | None = None,
    ) -> ProviderKey:
        """Change a key that was read as `before`; the key as it is afterwards.

        Guard: the row, locked, still is `before`, but for what the ledger's messages changed meanwhile, which stays unless
        `after` differs in it. Raises Conflict, and DuplicateKey for a key that the tenant has already. `sealed` is the
        record of `after.version`; the former version's is kept as long as `after.revert_until` is set, and any older one
        is destroyed. `month` is the calendar month that `after.spent_usd` belongs to; null leaves that as it was recorded.
        """
        async with self._transaction() as connection:
            if sealed is not None:
                await hold_tenant(connection, before.tenant)
            stored = await _locked(connection, before)
            if after.fingerprint != before.fingerprint and (other := await _duplicate_of(connection, after)):
                raise DuplicateKey(other)
            after = after.model_copy(update=_kept_spending(stored, before, after))
            values = columns_of(after) | ({} if month is None else {"spend_month": month})
            await connection.execute(update(provider_keys).where(_keys.key_id == after.key_id).values(**values))
            if sealed is not None:
                await _put_record(connection, after, sealed)
            await _drop_old_records(connection, before, after)
            await self._tell_change(connection, after, change, detail)
            await self._audit(connection, act)
        return after

    async def schedule(self, key: ProviderKey, at: datetime) -> None:
        """Have a key looked at no later than `at`. Nobody is told: it is the vault's own affair."""
        sooner = func.least(_keys.next_test_at, at)
        async with self._transaction() as connection:
            await connection.execute(
                update(provider_keys).where(_keys.key_id == key.key_id).values(next_test_at=sooner)
            )

    async def delete(self, key: ProviderKey, act: Act, detail: str) -> None:
        """Destroy a key and its records. Guard: the key is there; raises Conflict when somebody else has removed it."""
        async with self._transaction() as connection:
            chosen = delete(provider_keys).where(_keys.tenant == key.tenant, _keys.key_id == key.key_id)
            row = (await connection.execute(chosen.returning(provider_keys))).one_or_none()
            if row is None:
                raise Conflict(f"the key {key.key_id} is gone already")
            await self._tell_change(connection, provider_key_of(row), KeyChange.REMOVED, detail, gone=True)
            await self._audit(connection, act)

    async def act(self, act: Act) -> None:
        """Write down what changes no key, such as a refusal; committed on return."""
        async with self._transaction() as connection:
            await self._audit(connection, act)

    async def re_encrypt(self, key: ProviderKey, before: EncryptedRecord, after: EncryptedRecord) -> bool:
        """Put another record of the same version in place of one; False when that one is not there any more.

        Guard: the record still is `before`. Nothing that anybody could see changes, so nobody is told.
        """
        columns = key_records.c
        chosen = (columns.key_id == key.key_id) & (columns.version == key.version) & (columns.record == before.record)
        statement = update(key_records).where(chosen)
        statement = statement.values(data_key_id=after.data_key_id, record=after.record)
        async with self._transaction() as connection:
            await hold_tenant(connection, key.tenant)
            await _require_data_key(connection, after.data_key_id)
            return await connection.scalar(statement.returning(columns.key_id)) is not None

    async def spend(self, spent: KeySpend) -> ProviderKey | None:
        """Record what a key's calls came to; the key as it is afterwards, None where it is gone.

        Guard: amounts of a month only grow, and a month that is over never replaces a later one, so a repeated or a late
        message changes nothing. Neither a view nor the audit hears of it; what follows from it is an update.
        """
        async with self._transaction() as connection:
            query = select(provider_keys).where(_keys.key_id == spent.key_id, _keys.tenant == spent.tenant)
            row = (await connection.execute(query.with_for_update())).one_or_none()
            if row is None:
                return None
            await connection.execute(_spend_grows(spent))
            values: dict[str, object] = {"last_used_at": func.greatest(_keys.last_used_at, spent.last_used_at)}
            if row.spend_month is None or spent.month >= row.spend_month:
                recorded = select(spend.c.spent_usd).where(spend.c.key_id == spent.key_id, spend.c.month == spent.month)
                values |= {"spend_month": spent.month, "spent_usd": recorded.scalar_subquery()}
            chosen = update(provider_keys).where(_keys.key_id == spent.key_id)
            changed = await connection.execute(chosen.values(**values).returning(provider_keys))
            return provider_key_of(changed.one())

    # --- for the loops

    @asynccontextmanager
    async def alone(self, purpose: str) -> AsyncIterator[bool]:
        """Whether this process alone does `purpose` until the end of the block; False where another one does."""
        async with self._transaction() as connection:
            lock = {"lock": lock_number(purpose)}
            yield bool(await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), lock))

    async def _found(self, query: Select[tuple[object, ...]]) -> list[ProviderKey]:
        async with self._transaction() as connection:
            return [provider_key_of(row) for row in await connection.execute(query)]


async def _locked(connection: AsyncConnection, before: ProviderKey) -> ProviderKey:
    query = select(provider_keys).where(_keys.tenant == before.tenant, _keys.key_id == before.key_id)
    row = (await connection.execute(query.with_for_update())).one_or_none()
    if row is None:
        raise Conflict(f"the key {before.key_id} was removed meanwhile")
    stored = provider_key_of(row)
    if stored.model_dump(exclude=set(_SPENT)) != before.model_dump(exclude=set(_SPENT)):
        raise Conflict(f"the key {before.key_id} was changed meanwhile: read it again")
    return stored


def _kept_spending(stored: ProviderKey, before: ProviderKey, after: ProviderKey) -> dict[str, object]:
    """What the ledger's messages have said since `before` was read, where `after` does not mean to change it."""
    unmeant = (name for name in _SPENT if getattr(before, name) == getattr(after, name))
    return {name: getattr(stored, name) for name in unmeant}


async def _count(connection: AsyncConnection, key: ProviderKey) -> int:
    query = select(func.count()).where(_keys.tenant == key.tenant, _keys.provider == key.provider)
    return int((await connection.execute(query)).scalar_one())


async def _duplicate_of(connection: AsyncConnection, key: ProviderKey) -> str | None:
    """The id of the same key of the same tenant; the tenant's lock keeps it from coming in between."""
    query = select(_keys.key_id).where(
        _keys.tenant == key.tenant, _keys.provider == key.provider, _keys.fingerprint == key.fingerprint
    )
    found: str | None = await connection.scalar(query)
    return found


async def _require_data_key(connection: AsyncConnection, data_key_id: str) -> None:
    if await connection.scalar(select(data_keys.c.data_key_id).where(data_keys.c.data_key_id == data_key_id)) is None:
        raise Conflict("the tenant's data keys were destroyed meanwhile: do it again")


async def _put_record(connection: AsyncConnection, key: ProviderKey, sealed: EncryptedRecord) -> None:
    await _require_data_key(connection, sealed.data_key_id)
    values: dict[str, object] = {"data_key_id": sealed.data_key_id, "record": sealed.record}
    values |= {"rotated_at": key.rotated_at, "rotated_by": key.rotated_by}
    await connection.execute(insert(key_records).values(key_id=key.key_id, version=key.version, **values))
    await remember_fingerprint(connection, key)


async def _drop_old_records(connection: AsyncConnection, before: ProviderKey, after: ProviderKey) -> None:
    """Leave the record in use, and beside it at most the one before it, while that can be gone back to."""
    columns = key_records.c
    old = delete(key_records).where(columns.key_id == after.key_id, columns.version != after.version)
    if after.revert_until is not None:
        if before.version == after.version:
            return
        old = old.where(columns.version != before.version)
    await connection.execute(old)


def _spend_grows(spent: KeySpend) -> Insert:
    amounts = spent.model_dump(exclude={"tenant"})
    statement = upsert(spend).values(**amounts)
    counted = ("spent_usd", "attempts", "unpriced", "last_used_at")
    grown = {name: func.greatest(spend.c[name], statement.excluded[name]) for name in counted}
    return statement.on_conflict_do_update(index_elements=["key_id", "month"], set_=grown)
