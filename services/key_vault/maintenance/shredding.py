"""Crypto-shredding of a tenant: its data keys are destroyed, and every provider key with them."""

from sqlalchemy import delete

from keyferry.contracts.key import KeyChange
from keyferry.contracts.vault import Shredded
from services.key_vault.database.tables import data_keys, provider_key_of, provider_keys
from services.key_vault.database.transaction import Act, Database, lock_tenant


async def shred_tenant(database: Database, tenant: str, act: Act) -> Shredded:
    """Destroy a tenant's data keys and provider keys, and announce it. Raises DatabaseUnavailable.

    Guard: the tenant's lock, so that no key is added halfway. Evict the data keys from memory afterwards.
    """
    async with database.transaction() as connection:
        await lock_tenant(connection, tenant)
        chosen = delete(provider_keys).where(provider_keys.c.tenant == tenant).returning(provider_keys)
        removed = [provider_key_of(row) for row in await connection.execute(chosen)]
        destroyed = delete(data_keys).where(data_keys.c.tenant == tenant).returning(data_keys.c.data_key_id)
        count = len((await connection.execute(destroyed)).all())
        for key in removed:
            detail = "All keys of this tenant were destroyed for good."
            await database.announce(connection, key, KeyChange.SHREDDED, detail, removed=True)
        await database.write_audit(connection, act, keys=str(len(removed)), data_keys=str(count))
    return Shredded(tenant=tenant, keys=len(removed), data_keys=count)
