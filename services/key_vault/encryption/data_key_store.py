"""Rows of the tenants' encrypted data keys."""

from collections.abc import Awaitable, Callable, Collection, Mapping

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.key_vault.database.tables import (
    DataKeyRow,
    data_key_of,
    data_keys,
    integration_secret_versions,
    key_records,
)
from services.key_vault.database.transaction import Database, lock_tenant

ReEncrypt = Callable[[DataKeyRow], Awaitable[DataKeyRow | None]]
"""Encrypts a data key under the primary KEK; None where that fails, so that the others are still processed."""


class DataKeyStore:
    """The table `data_keys`. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_primary(self, tenant: str) -> DataKeyRow | None:
        """Return the data key that encrypts a tenant's new records."""
        query = select(data_keys).where(data_keys.c.tenant == tenant, data_keys.c.is_primary)
        async with self._database.transaction() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else data_key_of(row)

    async def get(self, data_key_id: str) -> DataKeyRow | None:
        """Return a data key by its id."""
        query = select(data_keys).where(data_keys.c.data_key_id == data_key_id)
        async with self._database.transaction() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else data_key_of(row)

    async def list_after(self, last_id: str, limit: int, tenant: str | None = None) -> list[DataKeyRow]:
        """Return a page of all data keys, or of a tenant's, in the order of their ids; start with an empty `last_id`."""
        query = select(data_keys).where(data_keys.c.data_key_id > last_id)
        if tenant is not None:
            query = query.where(data_keys.c.tenant == tenant)
        async with self._database.transaction() as connection:
            rows = await connection.execute(query.order_by(data_keys.c.data_key_id).limit(limit))
            return [data_key_of(row) for row in rows]

    async def create(self, row: DataKeyRow, *, replacing: bool = False) -> DataKeyRow:
        """Make `row` its tenant's primary data key, and return the one that is primary afterwards.

        Guard: one primary per tenant, by a unique index under the tenant's lock. An existing primary stays and is returned,
        unless `replacing`: then it still decrypts its records, and encrypts no new ones.
        """
        columns = data_keys.c
        async with self._database.transaction() as connection:
            await lock_tenant(connection, row.tenant)
            primary = (columns.tenant == row.tenant) & columns.is_primary
            if replacing:
                await connection.execute(update(data_keys).where(primary).values(is_primary=False))
            statement = upsert(data_keys).values(
                data_key_id=row.data_key_id,
                tenant=row.tenant,
                encrypted_key=row.encrypted_key,
                kek=row.kek,
                is_primary=True,
            )
            await connection.execute(statement.on_conflict_do_nothing())
            return data_key_of((await connection.execute(select(data_keys).where(primary))).one())

    async def re_encrypt_batch(
        self, primary: str, limit: int, re_encrypt: ReEncrypt, *, without: Collection[str] = ()
    ) -> tuple[int, list[str]]:
        """Re-encrypt a batch of data keys under another KEK than `primary`; return how many, and the ids that failed.

        Guard: the rows are locked from reading to commit, and rows that another process has locked are skipped. If the
        process is killed in between, nothing of the batch is changed. Ids in `without` are skipped; (0, []) means that
        nothing is left.
        """
        columns = data_keys.c
        query = select(data_keys).where(columns.kek != primary, columns.data_key_id.not_in(list(without)))
        query = query.order_by(columns.data_key_id).limit(limit).with_for_update(skip_locked=True)
        done, failed = 0, []
        async with self._database.transaction() as connection:
            for row in [data_key_of(row) for row in await connection.execute(query)]:
                if (fresh := await re_encrypt(row)) is None:
                    failed.append(row.data_key_id)
                    continue
                chosen = update(data_keys).where(columns.data_key_id == row.data_key_id)
                await connection.execute(chosen.values(encrypted_key=fresh.encrypted_key, kek=fresh.kek))
                done += 1
        return done, failed

    async def count_by_kek(self) -> Mapping[str, int]:
        """Return how many data keys each KEK encrypts."""
        query = select(data_keys.c.kek, func.count().label("encrypted")).group_by(data_keys.c.kek)
        async with self._database.transaction() as connection:
            return {row.kek: row.encrypted for row in await connection.execute(query)}

    async def delete_unused(self, tenant: str) -> int:
        """Destroy a tenant's former data keys that encrypt no record any more, and return how many."""
        columns = data_keys.c
        used = exists().where(key_records.c.data_key_id == columns.data_key_id) | exists().where(
            integration_secret_versions.c.data_key_id == columns.data_key_id
        )
        chosen = delete(data_keys).where(columns.tenant == tenant, ~columns.is_primary, ~used)
        async with self._database.transaction() as connection:
            await lock_tenant(connection, tenant)
            return len((await connection.execute(chosen.returning(columns.data_key_id))).all())
