"""The rows of the tenants' data keys: made, found, rewrapped, replaced, destroyed."""

from collections.abc import Awaitable, Callable, Collection, Mapping

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from keyferry.contracts.key import KeyChange, Shredded
from services.key_vault.database.tables import (
    DataKeyRow,
    data_key_of,
    data_keys,
    key_records,
    provider_key_of,
    provider_keys,
)
from services.key_vault.database.transaction import Act, Transactions, hold_tenant

Rewrap = Callable[[DataKeyRow], Awaitable[DataKeyRow | None]]
"""Wraps a data key under the primary KEK; None where that fails, so that the others go on."""


class DataKeyStore(Transactions):
    """The table `data_keys`. Every method raises DatabaseUnavailable."""

    async def primary_data_key(self, tenant: str) -> DataKeyRow | None:
        """The data key that a tenant's new records are sealed under."""
        query = select(data_keys).where(data_keys.c.tenant == tenant, data_keys.c.is_primary)
        async with self._transaction() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else data_key_of(row)

    async def data_key(self, data_key_id: str) -> DataKeyRow | None:
        """A data key by its id."""
        query = select(data_keys).where(data_keys.c.data_key_id == data_key_id)
        async with self._transaction() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else data_key_of(row)

    async def data_keys_after(self, last_id: str, limit: int, tenant: str | None = None) -> list[DataKeyRow]:
        """A page of all data keys, or of a tenant's, in the order of their ids; begin with an empty `last_id`."""
        query = select(data_keys).where(data_keys.c.data_key_id > last_id)
        if tenant is not None:
            query = query.where(data_keys.c.tenant == tenant)
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(data_keys.c.data_key_id).limit(limit))
            return [data_key_of(row) for row in rows]

    async def create_data_key(self, row: DataKeyRow, *, replacing: bool = False) -> DataKeyRow:
        """Make `row` its tenant's primary data key; the one that is primary afterwards.

        Guard: one primary a tenant, by a unique index under the tenant's lock. Where there is one already it stays and is
        returned, unless `replacing`: then it goes on opening its records, and seals no new ones.
        """
        columns = data_keys.c
        async with self._transaction() as connection:
            await hold_tenant(connection, row.tenant)
            primary = (columns.tenant == row.tenant) & columns.is_primary
            if replacing:
                await connection.execute(update(data_keys).where(primary).values(is_primary=False))
            statement = upsert(data_keys).values(
                data_key_id=row.data_key_id,
                tenant=row.tenant,
                wrapped=row.wrapped,
                kek=row.kek,
                is_primary=True,
            )
            await connection.execute(statement.on_conflict_do_nothing())
            return data_key_of((await connection.execute(select(data_keys).where(primary))).one())

    async def rewrap_data_keys(
        self, primary: str, limit: int, re_encrypt: Rewrap, *, without: Collection[str] = ()
    ) -> tuple[int, list[str]]:
        """Rewrap a batch of what another KEK than `primary` wraps; how many, and the ids that failed.

        Guard: the rows are locked from reading to commit, and rows that another process has locked are passed over. Killed
        in between, nothing of the batch is changed. Ids in `without` are left alone; (0, []) says that nothing is left.
        """
        columns = data_keys.c
        query = select(data_keys).where(columns.kek != primary, columns.data_key_id.not_in(list(without)))
        query = query.order_by(columns.data_key_id).limit(limit).with_for_update(skip_locked=True)
        done, failed = 0, []
        async with self._transaction() as connection:
            for row in [data_key_of(row) for row in await connection.execute(query)]:
                if (fresh := await re_encrypt(row)) is None:
                    failed.append(row.data_key_id)
                    continue
                chosen = update(data_keys).where(columns.data_key_id == row.data_key_id)
                await connection.execute(chosen.values(wrapped=fresh.wrapped, kek=fresh.kek))
                done += 1
        return done, failed

    async def data_keys_by_kek(self) -> Mapping[str, int]:
        """How many data keys each KEK wraps."""
        query = select(data_keys.c.kek, func.count().label("wrapped")).group_by(data_keys.c.kek)
        async with self._transaction() as connection:
            return {row.kek: row.wrapped for row in await connection.execute(query)}

    async def drop_unused_data_keys(self, tenant: str) -> int:
        """Destroy a tenant's former data keys that no record is sealed under any more; how many."""
        columns = data_keys.c
        used = exists().where(key_records.c.data_key_id == columns.data_key_id)
        chosen = delete(data_keys).where(columns.tenant == tenant, ~columns.is_primary, ~used)
        async with self._transaction() as connection:
            await hold_tenant(connection, tenant)
            return len((await connection.execute(chosen.returning(columns.data_key_id))).all())

    async def shred(self, tenant: str, act: Act) -> Shredded:
        """Destroy a tenant's data keys and everything that was sealed under them, and tell everybody.

        Guard: the tenant's lock, so that no key is added halfway. Evict the data keys from memory after it.
        """
        async with self._transaction() as connection:
            await hold_tenant(connection, tenant)
            chosen = delete(provider_keys).where(provider_keys.c.tenant == tenant).returning(provider_keys)
            gone = [provider_key_of(row) for row in await connection.execute(chosen)]
            destroyed = delete(data_keys).where(data_keys.c.tenant == tenant).returning(data_keys.c.data_key_id)
            count = len((await connection.execute(destroyed)).all())
            for key in gone:
                await self._tell_change(
                    connection, key, KeyChange.SHREDDED, "All keys of this tenant were destroyed for good.", gone=True
                )
            await self._audit(connection, act, keys=str(len(gone)), data_keys=str(count))
        return Shredded(tenant=tenant, keys=len(gone), data_keys=count)
