"""The tenants' data keys in plaintext, cached for a short while: decrypting one may be a call to an external KMS.

Memory holds a plaintext data key for at most `ttl_seconds` after it was decrypted. A data key that another process shreds
is evicted here within that time; its records are gone from the tables at once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from keyferry.contracts import ids
from services.key_vault.database.tables import DataKeyRow
from services.key_vault.encryption.data_key_store import DataKeyStore
from services.key_vault.encryption.kek_providers.protocol import Context, KekProvider
from services.key_vault.encryption.record_cipher import Undecryptable, new_data_key

DEFAULT_TTL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DataKey:
    """A plaintext data key of 32 bytes, never printed."""

    data_key_id: str
    tenant: str
    material: bytes = field(repr=False)


class DataKeys:
    """Finds, creates, decrypts and caches data keys. `deployment` is this installation's id; `clock` counts seconds."""

    def __init__(
        self,
        store: DataKeyStore,
        keks: KekProvider,
        deployment: str,
        *,
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keks = keks
        self._deployment = deployment
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._cache: dict[str, tuple[float, DataKey]] = {}
        """By id, the oldest entry first, since all entries live equally long."""

    async def get_or_create_primary(self, tenant: str) -> DataKey:
        """Return the data key that encrypts a tenant's new records, creating the first one.

        Raises KekUnavailable, Undecryptable, DatabaseUnavailable.
        """
        row = await self._store.get_primary(tenant) or await self._store.create(await self._generate(tenant))
        return await self._from_cache_or_decrypt(row)

    async def get(self, data_key_id: str, row: DataKeyRow | None = None) -> DataKey:
        """Return a data key by its id. `row` is its row where the caller already has it.

        Raises Undecryptable where it no longer exists, and as `get_or_create_primary` does.
        """
        if (cached := self._cached(data_key_id)) is not None:
            return cached
        row = row or await self._store.get(data_key_id)
        if row is None:
            raise Undecryptable(
                f"the data key {data_key_id} does not exist: it was shredded, or its table is incomplete"
            )
        return await self._from_cache_or_decrypt(row)

    async def replace(self, tenant: str) -> DataKeyRow:
        """Give a tenant a new primary data key; the former ones still decrypt their records."""
        return await self._store.create(await self._generate(tenant), replacing=True)

    async def decrypt(self, row: DataKeyRow) -> DataKey:
        """Decrypt a data key without the cache. Raises as `get_or_create_primary` does."""
        material = await self._keks.decrypt(row.encrypted_key, self.context(row.tenant, row.data_key_id))
        return DataKey(row.data_key_id, row.tenant, material)

    def context(self, tenant: str, data_key_id: str) -> Context:
        """Return what an encrypted data key is bound to."""
        return {"deployment": self._deployment, "tenant": tenant, "data_key_id": data_key_id}

    def evict(self, tenant: str) -> None:
        """Drop a tenant's data keys from the cache."""
        self._cache = {name: entry for name, entry in self._cache.items() if entry[1].tenant != tenant}

    async def _generate(self, tenant: str) -> DataKeyRow:
        data_key_id = ids.new(ids.DATA_KEY)
        encrypted_key = await self._keks.encrypt(new_data_key(), self.context(tenant, data_key_id))
        return DataKeyRow(data_key_id, tenant, encrypted_key, self._keks.name_of(encrypted_key))

    async def _from_cache_or_decrypt(self, row: DataKeyRow) -> DataKey:
        if (cached := self._cached(row.data_key_id)) is not None:
            return cached
        decrypted = await self.decrypt(row)
        self._evict_expired()
        self._cache.pop(row.data_key_id, None)
        self._cache[row.data_key_id] = (self._clock() + self._ttl_seconds, decrypted)
        return decrypted

    def _cached(self, data_key_id: str) -> DataKey | None:
        expires_at, found = self._cache.get(data_key_id, (0.0, None))
        return found if self._clock() < expires_at else None

    def _evict_expired(self) -> None:
        """Evict at the cost of the expired entries only: there may be one for each tenant."""
        now, expired = self._clock(), list[str]()
        for data_key_id, (expires_at, _) in self._cache.items():
            if now < expires_at:
                break
            expired.append(data_key_id)
        for data_key_id in expired:
            del self._cache[data_key_id]
