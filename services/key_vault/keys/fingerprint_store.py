"""The rows about the keys that the platform ever had, so that an import does not bring a removed one back."""

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.key import ProviderKey
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.key_vault.database.tables import platform_fingerprints
from services.key_vault.database.transaction import Transactions


class FingerprintStore(Transactions):
    """The table `platform_fingerprints`. Every method raises DatabaseUnavailable."""

    async def had_fingerprint(self, key: ProviderKey) -> bool:
        """Whether the platform ever had this key of its provider. Nothing is remembered of tenants' keys."""
        columns = platform_fingerprints.c
        query = select(columns.provider).where(columns.provider == key.provider, columns.fingerprint == key.fingerprint)
        async with self._transaction() as connection:
            return key.tenant == PLATFORM_TENANT and await connection.scalar(query) is not None

    async def forget_fingerprints(self) -> None:
        """Know nothing of the platform's keys any more."""
        async with self._transaction() as connection:
            await connection.execute(delete(platform_fingerprints))


async def remember_fingerprint(connection: AsyncConnection, key: ProviderKey) -> None:
    """Remember that the platform has this key. Guard: the primary key."""
    if key.tenant == PLATFORM_TENANT:
        values = {"provider": key.provider, "fingerprint": key.fingerprint}
        await connection.execute(upsert(platform_fingerprints).values(**values).on_conflict_do_nothing())
