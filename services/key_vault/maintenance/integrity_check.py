"""Whether everything that is stored can be opened: asked at every start, and whenever somebody wants to know.

Losing a KEK is noticed at once and by name, not at the first request months later.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from keyferry.contracts.key import KeyChange, KeyStatus, ProviderKey, VaultReport
from keyferry.contracts.topology import Role
from keyferry.runtime.process.settings import CannotStart
from services.key_vault.database.tables import DataKeyRow, EncryptedRecord
from services.key_vault.encryption.data_keys import DataKey, DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.protocol import KekMissing, KekProvider
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.keys.lifecycle import Event, happened
from services.key_vault.keys.store import Act, Conflict, KeyStore

_log = logging.getLogger(__name__)

_PAGE_SIZE = 200
_FIRST_RECORDS = 10
"""Of each data key of a page, read together: most tenants have no more."""
_AT_ONCE = 16
"""Data keys that are looked at together: unwrapping one may be a call to another house."""
_NAMED_AT_MOST = 20
"""How many keys a refusal to start spells out."""
_EVERYTHING = 1_000_000


_Record = tuple[ProviderKey, EncryptedRecord]


class UndecryptableRecords(CannotStart):
    """Stored keys do not open; the message names them, the KEKs that are missing, and the way out."""


@dataclass
class Findings:
    """What a look at the records found. `reasons` goes by key id, former versions included."""

    records: int = 0
    data_keys: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    missing_keks: set[str] = field(default_factory=set)
    broken_data_keys: dict[str, str] = field(default_factory=dict)
    """Data key -> why it does not unwrap."""


class IntegrityCheck:
    """Opens records to see whether they open; nothing of them is kept or shown."""

    def __init__(self, store: KeyStore, keks: KekProvider, data_keys: DataKeys, encryption: EnvelopeEncryption) -> None:
        self._store = store
        self._keks = keks
        self._data_keys = data_keys
        self._custody = encryption

    async def every_record(self, tenant: str | None = None) -> VaultReport:
        """Open every record, or a tenant's. Raises KekUnavailable, DatabaseUnavailable."""
        found = await self._look(_EVERYTHING, tenant)
        return VaultReport(
            records=found.records,
            data_keys=found.data_keys,
            undecryptable=sorted(found.reasons),
            keks=dict(await self._store.data_keys_by_kek()),
            primary=self._keks.describe().primary,
        )

    async def at_start(self, *, start_anyway: bool = False) -> None:
        """Unwrap every data key, and open one record of each. Raises UndecryptableRecords, unless to `start_anyway`.

        Then the keys that do not open are marked so, and those that were and open again go back to what they were. Raises
        KekUnavailable, DatabaseUnavailable.
        """
        found = await self._look(1)
        if (found.reasons or found.broken_data_keys) and not start_anyway:
            raise UndecryptableRecords(_refusal(found))
        for key in await self._store.undecryptable_or(found.reasons):
            if key.key_id in found.reasons and not await self._opens(key):
                await self._mark(key, Event.LOST, "cannot be opened any more: tell the operator, or add the key again")
            elif key.status is KeyStatus.UNDECRYPTABLE and await self._opens(key):
                await self._mark(key, Event.FOUND, "can be opened again")

    async def _look(self, records_each: int, tenant: str | None = None) -> Findings:
        """Unwrap every data key and open up to `records_each` records under each; where one fails, all of that data key."""
        found = Findings()
        last_id = ""
        while page := await self._store.data_keys_after(last_id, _PAGE_SIZE, tenant):
            last_id = page[-1].data_key_id
            each = min(records_each, _FIRST_RECORDS, _PAGE_SIZE)
            first = await self._store.first_records([row.data_key_id for row in page], each)
            for at in range(0, len(page), _AT_ONCE):
                some = page[at : at + _AT_ONCE]
                looks = (self._look_at(row, first.get(row.data_key_id, []), each, records_each, found) for row in some)
                await asyncio.gather(*looks)
        return found

    async def _look_at(
        self, row: DataKeyRow, first: Sequence[_Record], each: int, records_each: int, found: Findings
    ) -> None:
        """Note in `found` which records under a data key do not open. `first` are up to `each` of them."""
        found.data_keys += 1
        data_key = await self._unwrapped(row, found)
        limit, looked_at, page, asked_for = records_each, 0, first, each
        while page:
            for key, sealed in page:
                if (reason := self._why_closed(row, data_key, key, sealed, found)) is not None:
                    found.reasons[key.key_id] = reason
                    limit = _EVERYTHING  # where one fails, others may
            looked_at += len(page)
            if len(page) < asked_for or looked_at >= limit:
                break
            key, _ = page[-1]
            asked_for = min(_PAGE_SIZE, limit - looked_at)
            page = await self._store.records_after((key.key_id, key.version), asked_for, data_key_id=row.data_key_id)
        found.records += looked_at

    async def _unwrapped(self, row: DataKeyRow, found: Findings) -> DataKey | None:
        """The data key; None, and a note in `found`, where it does not unwrap."""
        try:
            return await self._data_keys.unwrap(row)
        except Undecryptable as error:
            if isinstance(error, KekMissing):
                found.missing_keks.add(error.name)
            found.broken_data_keys[row.data_key_id] = str(error)
            return None

    def _why_closed(
        self, row: DataKeyRow, data_key: DataKey | None, key: ProviderKey, sealed: EncryptedRecord, found: Findings
    ) -> str | None:
        if data_key is None:
            return found.broken_data_keys[row.data_key_id]
        try:
            self._custody.opened(key, sealed, data_key)
        except Undecryptable as error:
            return str(error)
        return None

    async def _opens(self, key: ProviderKey) -> bool:
        sealed = await self._store.sealed(key.tenant, key.key_id, key.version)
        if sealed is None:
            return False
        try:
            await self._custody.open(key, sealed)
        except Undecryptable:
            return False
        return True

    async def _mark(self, key: ProviderKey, event: Event, detail: str) -> None:
        after = key.model_copy(update={"status": happened(key, event)})
        if after == key:
            return
        act = Act(Role.KEY_VAULT.value, f"key.{event.value}", key.tenant, key.key_id)
        try:
            await self._store.update(key, after, act, KeyChange.EDITED, f"The key {key.label} {detail}.")
        except Conflict as error:  # another process starts too, and was faster
            _log.info("a key was not marked", extra={"key_id": key.key_id, "why": str(error)})


def _refusal(found: Findings) -> str:
    named = sorted(found.reasons)
    shown = ", ".join(named[:_NAMED_AT_MOST])
    if len(named) > _NAMED_AT_MOST:
        shown += f" and {len(named) - _NAMED_AT_MOST} more"
    lines = [f"{len(named)} stored provider keys cannot be opened: {shown or 'none of them in use'}."]
    if found.missing_keks:
        lines.append(
            f"Missing KEKs: {', '.join(sorted(found.missing_keks))}; put them back where the vault reads its KEKs."
        )
    others = sorted({*found.reasons.values(), *found.broken_data_keys.values()})
    lines += [f"Why: {reason}." for reason in others[:_NAMED_AT_MOST]]
    lines.append(
        "To run without them set KEYFERRY_START_UNDECRYPTABLE=true: they are then marked as undecryptable, and stay so until"
        " the KEK is back."
    )
    return " ".join(lines)
