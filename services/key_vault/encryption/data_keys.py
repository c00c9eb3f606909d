"""The tenants' data keys, unwrapped: kept for a short while, because unwrapping can be a call to another house.

Memory holds plaintext data keys for at most `ttl_seconds` after they were last unwrapped. A data key that another process
shreds is forgotten here within that time; its records are gone from the tables at once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from keyferry.contracts import ids
from services.key_vault.database.tables import DataKeyRow
from services.key_vault.encryption.kek_providers.protocol import Context, KekProvider
from services.key_vault.encryption.record_cipher import Undecryptable, new_data_key
from services.key_vault.keys.store import KeyStore

DEFAULT_TTL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DataKey:
    """An unwrapped data key: 32 bytes that are never shown."""

    data_key_id: str
    tenant: str
    material: bytes = field(repr=False)


class DataKeys:
    """Finds, makes, unwraps and caches data keys. `deployment` is this installation's id; `clock` counts seconds."""

    def __init__(
        self,
        store: KeyStore,
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
        self._unwrapped: dict[str, tuple[float, DataKey]] = {}
        """The longest held first, since all are held for the same time."""

    async def current(self, tenant: str) -> DataKey:
        """The data key that new records of a tenant are sealed under; made where there is none.

        Raises KekUnavailable, Undecryptable, DatabaseUnavailable.
        """
        row = await self._store.primary_data_key(tenant) or await self._store.create_data_key(await self._made(tenant))
        return await self._of(row)

    async def get(self, data_key_id: str, row: DataKeyRow | None = None) -> DataKey:
        """A data key by its id. `row` is its row where the caller has that already.

        Raises Undecryptable when there is none any more, and as `current` does.
        """
        if (known := self._known(data_key_id)) is not None:
            return known
        row = row or await self._store.data_key(data_key_id)
        if row is None:
            raise Undecryptable(
                f"the data key {data_key_id} does not exist: it was shredded, or its table is incomplete"
            )
        return await self._of(row)

    async def replace(self, tenant: str) -> DataKeyRow:
        """Give a tenant a fresh data key for all records from now on; the former ones still open theirs."""
        return await self._store.create_data_key(await self._made(tenant), replacing=True)

    async def unwrap(self, row: DataKeyRow) -> DataKey:
        """Unwrap a data key past the cache, for a check. Raises as `current` does."""
        material = await self._keks.unwrap(row.wrapped, self.context(row.tenant, row.data_key_id))
        return DataKey(row.data_key_id, row.tenant, material)

    def context(self, tenant: str, data_key_id: str) -> Context:
        """What a data key is bound to where it is wrapped."""
        return {"deployment": self._deployment, "tenant": tenant, "data_key_id": data_key_id}

    def evict(self, tenant: str) -> None:
        """Forget a tenant's data keys."""
        self._unwrapped = {name: entry for name, entry in self._unwrapped.items() if entry[1].tenant != tenant}

    async def _made(self, tenant: str) -> DataKeyRow:
        data_key_id = ids.new(ids.DATA_KEY)
        wrapped = await self._keks.wrap(new_data_key(), self.context(tenant, data_key_id))
        return DataKeyRow(data_key_id, tenant, wrapped, self._keks.name_of(wrapped))

    async def _of(self, row: DataKeyRow) -> DataKey:
        if (known := self._known(row.data_key_id)) is not None:
            return known
        found = await self.unwrap(row)
        self._drop_old()
        self._unwrapped.pop(row.data_key_id, None)
        self._unwrapped[row.data_key_id] = (self._clock() + self._ttl_seconds, found)
        return found

    def _known(self, data_key_id: str) -> DataKey | None:
        until, found = self._unwrapped.get(data_key_id, (0.0, None))
        return found if self._clock() < until else None

    def _drop_old(self) -> None:
        """At the cost of what is over, and not of all that is held: there may be one for each tenant."""
        now, over = self._clock(), list[str]()
        for data_key_id, (until, _) in self._unwrapped.items():
            if now < until:
                break
            over.append(data_key_id)
        for data_key_id in over:
            del self._unwrapped[data_key_id]
