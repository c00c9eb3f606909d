"""Whether everything that is stored can be opened: asked at every start, and whenever somebody wants to know.

Losing a sealing key is noticed at once and by name, not at the first request months later.
"""

import logging
from dataclasses import dataclass, field

from keyferry.contracts.key import KeyChange, KeyStatus, ProviderKey, VaultReport
from keyferry.contracts.topology import Role
from keyferry.runtime.settings import CannotStart
from services.key_vault.custody import Custody
from services.key_vault.data_keys import DataKeys
from services.key_vault.lifecycle import Event, happened
from services.key_vault.sealing import Undecryptable
from services.key_vault.sealing_keys.protocol import SealingKeyMissing, SealingKeys
from services.key_vault.store import Act, Conflict, KeyStore
from services.key_vault.tables import DataKeyRow, Sealed

_log = logging.getLogger(__name__)

_PAGE_SIZE = 200
_NAMED_AT_MOST = 20
"""How many keys a refusal to start spells out."""
_EVERYTHING = 1_000_000


class UndecryptableRecords(CannotStart):
    """Stored keys do not open; the message names them, the sealing keys that are missing, and the way out."""


@dataclass
class Findings:
    """What a look at the records found. `reasons` goes by key id, former versions included."""

    records: int = 0
    data_keys: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    missing_sealing_keys: set[str] = field(default_factory=set)
    broken_data_keys: dict[str, str] = field(default_factory=dict)
    """Data key -> why it does not unwrap."""


class Verification:
    """Opens records to see whether they open; nothing of them is kept or shown."""

    def __init__(self, store: KeyStore, sealing_keys: SealingKeys, data_keys: DataKeys, custody: Custody) -> None:
        self._store = store
        self._sealing_keys = sealing_keys
        self._data_keys = data_keys
        self._custody = custody

    async def every_record(self, tenant: str | None = None) -> VaultReport:
        """Open every record, or a tenant's. Raises SealingKeyUnavailable, DatabaseAway."""
        found = await self._look(_EVERYTHING, tenant)
        return VaultReport(
            records=found.records,
            data_keys=found.data_keys,
            undecryptable=sorted(found.reasons),
            sealing_keys=dict(await self._store.data_keys_by_sealing_key()),
            primary=self._sealing_keys.describe().primary,
        )

    async def at_start(self, *, start_anyway: bool = False) -> None:
        """Unwrap every data key, and open one record of each. Raises UndecryptableRecords, unless to `start_anyway`.

        Then the keys that do not open are marked so, and those that were and open again go back to what they were. Raises
        SealingKeyUnavailable, DatabaseAway.
        """
        found = await self._look(1)
        if (found.reasons or found.broken_data_keys) and not start_anyway:
            raise UndecryptableRecords(_refusal(found))
        for key in await self._store.all_tenants_keys():
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
            for row in page:
                found.data_keys += 1
                if not await self._opens_records(row, records_each, found) and records_each < _EVERYTHING:
                    await self._opens_records(row, _EVERYTHING, found)
        return found

    async def _opens_records(self, row: DataKeyRow, limit: int, found: Findings) -> bool:
        """Whether up to `limit` records under a data key open. Those that do not are noted in `found`."""
        broken = await self._why_broken(row, found)
        last, looked_at, whole = ("", 0), 0, broken is None
        while looked_at < limit:
            page = await self._store.records_after(
                last, min(_PAGE_SIZE, limit - looked_at), data_key_id=row.data_key_id
            )
            if not page:
                break
            for key, sealed in page:
                last = (key.key_id, key.version)
                looked_at += 1
                if (reason := broken or await self._why_closed(key, sealed)) is not None:
                    found.reasons[key.key_id] = reason
                    whole = False
        found.records += looked_at
        return whole

    async def _why_broken(self, row: DataKeyRow, found: Findings) -> str | None:
        try:
            await self._data_keys.unwrap(row)
        except Undecryptable as error:
            if isinstance(error, SealingKeyMissing):
                found.missing_sealing_keys.add(error.name)
            found.broken_data_keys[row.data_key_id] = str(error)
            return str(error)
        return None

    async def _why_closed(self, key: ProviderKey, sealed: Sealed) -> str | None:
        try:
            await self._custody.open(key, sealed)
        except Undecryptable as error:
            return str(error)
        return None

    async def _opens(self, key: ProviderKey) -> bool:
        sealed = await self._store.sealed(key.tenant, key.key_id, key.version)
        return sealed is not None and await self._why_closed(key, sealed) is None

    async def _mark(self, key: ProviderKey, event: Event, words: str) -> None:
        after = key.model_copy(update={"status": happened(key, event)})
        if after == key:
            return
        act = Act(Role.KEY_VAULT.value, f"key.{event.value}", key.tenant, key.key_id)
        try:
            await self._store.update(key, after, act, KeyChange.EDITED, f"The key {key.label} {words}.")
        except Conflict as error:  # another process starts too, and was faster
            _log.info("a key was not marked", extra={"key_id": key.key_id, "why": str(error)})


def _refusal(found: Findings) -> str:
    named = sorted(found.reasons)
    shown = ", ".join(named[:_NAMED_AT_MOST])
    if len(named) > _NAMED_AT_MOST:
        shown += f" and {len(named) - _NAMED_AT_MOST} more"
    lines = [f"{len(named)} stored provider keys cannot be opened: {shown or 'none of them in use'}."]
    if found.missing_sealing_keys:
        lines.append(
            f"Missing sealing keys: {', '.join(sorted(found.missing_sealing_keys))}; put them back where the vault reads"
            " its sealing keys."
        )
    others = sorted({*found.reasons.values(), *found.broken_data_keys.values()})
    lines += [f"Why: {reason}." for reason in others[:_NAMED_AT_MOST]]
    lines.append(
        "To run without them set KEYFERRY_START_UNDECRYPTABLE=true: they are then marked as undecryptable, and stay so until"
        " the sealing key is back."
    )
    return " ".join(lines)
