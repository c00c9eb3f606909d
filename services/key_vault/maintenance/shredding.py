"""Crypto-shredding of a tenant: its data keys are destroyed, and every provider key and integration secret with them."""

from sqlalchemy import delete

from keyferry.contracts.key import KeyChange
from keyferry.contracts.vault import Shredded
from services.key_vault.database.tables import data_keys, integration_secrets, provider_key_of, provider_keys
from services.key_vault.database.transaction import Act, Database, lock_tenant


async def shred_tenant(database: Database, tenant: str, act: Act) -> Shredded:
    """Destroy a tenant's data keys, provider keys and integration secrets, and announce it. Raises DatabaseUnavailable.

    Guard: the tenant's lock, so that no key is added halfway. Evict the data keys from memory afterwards.
    """
    async with database.transaction() as connection:
        await lock_tenant(connection, tenant)
        chosen = delete(provider_keys).where(provider_keys.c.tenant == tenant).returning(provider_keys)
        removed = [provider_key_of(row) for row in await connection.execute(chosen)]
        integrations = delete(integration_secrets).where(integration_secrets.c.tenant == tenant)
        secrets = len((await connection.execute(integrations.returning(integration_secrets.c.secret_id))).all())
        destroyed = delete(data_keys).where(data_keys.c.tenant == tenant).returning(data_keys.c.data_key_id)
        count = len((await connection.execute(destroyed)).all())
        for key in removed:
            detail = "All keys of this tenant were destroyed for good."
            await database.announce(connection, key, KeyChange.SHREDDED, detail, removed=True)
        counts = {"keys": str(len(removed)), "integration_secrets": str(secrets), "data_keys": str(count)}
        await database.write_audit(connection, act, **counts)
    return Shredded(tenant=tenant, keys=len(removed), integration_secrets=secrets, data_keys=count)
