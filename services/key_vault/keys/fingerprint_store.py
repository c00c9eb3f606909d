"""Fingerprints of every key that the platform ever had, so that an import does not bring back a removed one."""

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.key import ProviderKey
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.key_vault.database.tables import platform_fingerprints
from services.key_vault.database.transaction import Database


class FingerprintStore:
    """The table `platform_fingerprints`. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def contains(self, key: ProviderKey) -> bool:
        """Return whether the platform ever had this key of its provider. Tenants' keys are not recorded."""
        columns = platform_fingerprints.c
        query = select(columns.provider).where(columns.provider == key.provider, columns.fingerprint == key.fingerprint)
        async with self._database.transaction() as connection:
            return key.tenant == PLATFORM_TENANT and await connection.scalar(query) is not None

    async def clear(self) -> None:
        """Delete every fingerprint."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(platform_fingerprints))


async def add_fingerprint(connection: AsyncConnection, key: ProviderKey) -> None:
    """Record that the platform has this key. Guard: the primary key."""
    if key.tenant == PLATFORM_TENANT:
        values = {"provider": key.provider, "fingerprint": key.fingerprint}
        await connection.execute(upsert(platform_fingerprints).values(**values).on_conflict_do_nothing())
