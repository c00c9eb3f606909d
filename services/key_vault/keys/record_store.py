"""Encrypted records of provider keys: the version in use, and for a while the one before it."""

from collections.abc import Collection
from datetime import UTC

from sqlalchemy import Text, delete, func, insert, literal, select, true, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.key import ProviderKey
from services.key_vault.database.tables import (
    EncryptedRecord,
    key_records,
    provider_key_of,
    provider_keys,
    record_of,
)
from services.key_vault.database.transaction import Database, lock_tenant, require_data_key
from services.key_vault.keys.fingerprint_store import add_fingerprint

KeyRecord = tuple[ProviderKey, EncryptedRecord]
"""A record with its key at the record's own version, as it was encrypted."""

_keys = provider_keys.c
_records = key_records.c


class RecordStore:
    """The table `key_records`. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: str, key_id: str, version: int) -> EncryptedRecord | None:
        """Return the record of a version of a tenant's key, while it is kept."""
        query = (
            select(_records.data_key_id, _records.record)
            .join(provider_keys)
            .where(_keys.tenant == tenant, _keys.key_id == key_id, _records.version == version)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else record_of(row)

    async def get_former(self, key: ProviderKey) -> ProviderKey | None:
        """Return the key at the version before the current one, while that is kept, with its own rotation details."""
        query = select(_records.version, _records.rotated_at, _records.rotated_by)
        query = query.where(_records.key_id == key.key_id, _records.version < key.version)
        async with self._database.transaction() as connection:
            row = (await connection.execute(query.order_by(_records.version.desc()).limit(1))).one_or_none()
        if row is None:
            return None
        at = None if row.rotated_at is None else row.rotated_at.astimezone(UTC)
        return key.model_copy(update={"version": row.version, "rotated_at": at, "rotated_by": row.rotated_by})

    async def list_after(
        self, last: tuple[str, int], limit: int, *, data_key_id: str | None = None, tenant: str | None = None
    ) -> list[KeyRecord]:
        """Return a page of all records, former versions included, by key id and version; start after `("", 0)`.

        `data_key_id` and `tenant` filter them.
        """
        query = select(provider_keys, _records.version.label("record_version"), _records.data_key_id, _records.record)
        query = query.join(key_records).where(func.row(_records.key_id, _records.version) > func.row(*last))
        if data_key_id is not None:
            query = query.where(_records.data_key_id == data_key_id)
        if tenant is not None:
            query = query.where(_keys.tenant == tenant)
        async with self._database.transaction() as connection:
            rows = await connection.execute(query.order_by(_records.key_id, _records.version).limit(limit))
            return [
                (provider_key_of(row).model_copy(update={"version": row.record_version}), record_of(row))
                for row in rows
            ]

    async def list_first(self, data_key_ids: Collection[str], each: int) -> dict[str, list[KeyRecord]]:
        """Return up to `each` records under each of these data keys, by data key."""
        wanted = func.unnest(literal(list(data_key_ids), ARRAY(Text))).table_valued("data_key_id").render_derived()
        chosen = select(key_records).where(_records.data_key_id == wanted.c.data_key_id)
        first = chosen.order_by(_records.key_id, _records.version).limit(each).lateral("first_records")
        query = select(provider_keys, first.c.version.label("record_version"), first.c.data_key_id, first.c.record)
        query = query.select_from(wanted).join(first, true()).join(provider_keys, _keys.key_id == first.c.key_id)
        found: dict[str, list[KeyRecord]] = {}
        async with self._database.transaction() as connection:
            for row in await connection.execute(query.order_by(first.c.key_id, first.c.version)):
                record = provider_key_of(row).model_copy(update={"version": row.record_version}), record_of(row)
                found.setdefault(row.data_key_id, []).append(record)
        return found

    async def replace(self, key: ProviderKey, before: EncryptedRecord, after: EncryptedRecord) -> bool:
        """Replace a record by another one of the same version; False where it is no longer there.

        Guard: the record still is `before`. Nothing visible changes, so no event is emitted. Raises Conflict where the new
        data key was destroyed.
        """
        chosen = (_records.key_id == key.key_id) & (_records.version == key.version)
        statement = update(key_records).where(chosen & (_records.record == before.record))
        statement = statement.values(data_key_id=after.data_key_id, record=after.record)
        async with self._database.transaction() as connection:
            await lock_tenant(connection, key.tenant)
            await require_data_key(connection, after.data_key_id)
            return await connection.scalar(statement.returning(_records.key_id)) is not None


async def insert_record(connection: AsyncConnection, key: ProviderKey, record: EncryptedRecord) -> None:
    """Store the record of `key.version`. Raises Conflict where its data key was destroyed."""
    await require_data_key(connection, record.data_key_id)
    values: dict[str, object] = {"data_key_id": record.data_key_id, "record": record.record}
    values |= {"rotated_at": key.rotated_at, "rotated_by": key.rotated_by}
    await connection.execute(insert(key_records).values(key_id=key.key_id, version=key.version, **values))
    await add_fingerprint(connection, key)


async def delete_old_records(connection: AsyncConnection, before: ProviderKey, after: ProviderKey) -> None:
    """Keep the current record, and the one before it while the key can be reverted."""
    old = delete(key_records).where(_records.key_id == after.key_id, _records.version != after.version)
    if after.revert_until is not None:
        if before.version == after.version:
            return
        old = old.where(_records.version != before.version)
    await connection.execute(old)
