"""Checks that everything stored can be decrypted: at every start, and on request.

A missing KEK is noticed at once and by name, not at the first request months later.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from keyferry.contracts.integration_secrets import IntegrationSecret
from keyferry.contracts.key import KeyChange, KeyStatus, ProviderKey
from keyferry.contracts.topology import Role
from keyferry.contracts.vault import VaultReport
from keyferry.runtime.process.settings import CannotStart
from services.key_vault.database.errors import Conflict
from services.key_vault.database.tables import DataKeyRow, EncryptedRecord
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.data_key_store import DataKeyStore
from services.key_vault.encryption.data_keys import DataKey, DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.protocol import KekMissing, KekProvider
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.integration_secrets.store import IntegrationSecretStore, SecretRecord
from services.key_vault.keys.lifecycle import Event, status_after
from services.key_vault.keys.record_store import KeyRecord, RecordStore
from services.key_vault.keys.store import KeyStore

_log = logging.getLogger(__name__)

_PAGE_SIZE = 200
_FIRST_RECORDS = 10
"""Records of each data key that are read in one query: most tenants have no more."""
_PARALLEL_CHECKS = 16
"""Data keys that are checked concurrently: decrypting one may be a call to an external KMS."""
_MAX_NAMED = 20
"""How many keys the message of a failed start names."""
_EVERYTHING = 1_000_000


class UndecryptableRecords(CannotStart):
    """Stored keys cannot be decrypted; the message names them, the missing KEKs, and the remedy."""


@dataclass
class Findings:
    """What a check found. `reasons` is by the id of a key or an integration secret, former versions included."""

    records: int = 0
    data_keys: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    missing_keks: set[str] = field(default_factory=set)
    broken_data_keys: dict[str, str] = field(default_factory=dict)
    """Data key -> why it cannot be decrypted."""


class IntegrityCheck:
    """Decrypts records as a test; the plaintexts are discarded."""

    def __init__(
        self, database: Database, keks: KekProvider, data_keys: DataKeys, encryption: EnvelopeEncryption
    ) -> None:
        self._keys = KeyStore(database)
        self._records = RecordStore(database)
        self._integrations = IntegrationSecretStore(database)
        self._data_key_store = DataKeyStore(database)
        self._keks = keks
        self._data_keys = data_keys
        self._encryption = encryption

    async def check_all(self, tenant: str | None = None) -> VaultReport:
        """Decrypt every record, or a tenant's. Raises KekUnavailable, DatabaseUnavailable."""
        found = await self._check(_EVERYTHING, tenant)
        return VaultReport(
            records=found.records,
            data_keys=found.data_keys,
            undecryptable=sorted(found.reasons),
            keks=dict(await self._data_key_store.count_by_kek()),
            primary=self._keks.describe().primary,
        )

    async def check_at_start(self, *, start_anyway: bool = False) -> None:
        """Decrypt every data key, and one record of each. Raises UndecryptableRecords, unless `start_anyway`.

        Then it marks the keys that cannot be decrypted, and restores the status of marked ones that can be again. Raises
        KekUnavailable, DatabaseUnavailable.
        """
        found = await self._check(1)
        if (found.reasons or found.broken_data_keys) and not start_anyway:
            raise UndecryptableRecords(_describe(found))
        for key in await self._keys.list_undecryptable_or(found.reasons):
            if key.key_id in found.reasons and not await self._can_decrypt(key):
                await self._mark(
                    key, Event.LOST, "can no longer be decrypted: contact the operator, or add the key again"
                )
            elif key.status is KeyStatus.UNDECRYPTABLE and await self._can_decrypt(key):
                await self._mark(key, Event.FOUND, "can be decrypted again")

    async def _check(self, records_each: int, tenant: str | None = None) -> Findings:
        """Decrypt every data key and up to `records_each` records of each; where one fails, all of that data key."""
        found = Findings()
        last_id = ""
        while page := await self._data_key_store.list_after(last_id, _PAGE_SIZE, tenant):
            last_id = page[-1].data_key_id
            each = min(records_each, _FIRST_RECORDS, _PAGE_SIZE)
            names = [row.data_key_id for row in page]
            first = await self._records.list_first(names, each)
            secrets = await self._integrations.list_first(names, each)
            for at in range(0, len(page), _PARALLEL_CHECKS):
                some = page[at : at + _PARALLEL_CHECKS]
                checks = (
                    self._check_data_key(
                        row,
                        (first.get(row.data_key_id, []), secrets.get(row.data_key_id, [])),
                        each,
                        records_each,
                        found,
                    )
                    for row in some
                )
                await asyncio.gather(*checks)
        return found

    async def _check_data_key(
        self,
        row: DataKeyRow,
        first: tuple[Sequence[KeyRecord], Sequence[SecretRecord]],
        each: int,
        records_each: int,
        found: Findings,
    ) -> None:
        """Add to `found` the records under a data key that cannot be decrypted. `first` are up to `each` of both kinds."""
        found.data_keys += 1
        data_key = await self._decrypt_data_key(row, found)
        keys, secrets = first
        await self._check_keys(row, data_key, keys, each, records_each, found)
        await self._check_secrets(row, data_key, secrets, each, records_each, found)

    async def _check_secrets(
        self,
        row: DataKeyRow,
        data_key: DataKey | None,
        first: Sequence[SecretRecord],
        each: int,
        records_each: int,
        found: Findings,
    ) -> None:
        """Check the integration secrets under a data key as `_check_keys` does its provider keys."""
        limit, checked, page, page_size = records_each, 0, first, each
        while page:
            for secret, record in page:
                if (reason := self._why_secret_undecryptable(row, data_key, secret, record, found)) is not None:
                    found.reasons[secret.secret_id] = reason
                    limit = _EVERYTHING
            checked += len(page)
            if len(page) < page_size or checked >= limit:
                break
            secret, _ = page[-1]
            page_size = min(_PAGE_SIZE, limit - checked)
            last = (secret.secret_id, secret.version)
            page = await self._integrations.list_after(last, page_size, data_key_id=row.data_key_id)
        found.records += checked

    async def _check_keys(
        self,
        row: DataKeyRow,
        data_key: DataKey | None,
        first: Sequence[KeyRecord],
        each: int,
        records_each: int,
        found: Findings,
    ) -> None:
        limit, checked, page, page_size = records_each, 0, first, each
        while page:
            for key, record in page:
                if (reason := self._why_undecryptable(row, data_key, key, record, found)) is not None:
                    found.reasons[key.key_id] = reason
                    limit = _EVERYTHING  # where one fails, others may
            checked += len(page)
            if len(page) < page_size or checked >= limit:
                break
            key, _ = page[-1]
            page_size = min(_PAGE_SIZE, limit - checked)
            page = await self._records.list_after((key.key_id, key.version), page_size, data_key_id=row.data_key_id)
        found.records += checked

    async def _decrypt_data_key(self, row: DataKeyRow, found: Findings) -> DataKey | None:
        """Return the data key; None, with the reason in `found`, where it cannot be decrypted."""
        try:
            return await self._data_keys.decrypt(row)
        except Undecryptable as error:
            if isinstance(error, KekMissing):
                found.missing_keks.add(error.name)
            found.broken_data_keys[row.data_key_id] = str(error)
            return None

    def _why_undecryptable(
        self, row: DataKeyRow, data_key: DataKey | None, key: ProviderKey, record: EncryptedRecord, found: Findings
    ) -> str | None:
        if data_key is None:
            return found.broken_data_keys[row.data_key_id]
        try:
            self._encryption.decrypt_with(data_key, key, record)
        except Undecryptable as error:
            return str(error)
        return None

    def _why_secret_undecryptable(
        self,
        row: DataKeyRow,
        data_key: DataKey | None,
        secret: IntegrationSecret,
        record: EncryptedRecord,
        found: Findings,
    ) -> str | None:
        if data_key is None:
            return found.broken_data_keys[row.data_key_id]
        try:
            self._encryption.decrypt_integration_with(data_key, secret, record)
        except Undecryptable as error:
            return str(error)
        return None

    async def _can_decrypt(self, key: ProviderKey) -> bool:
        record = await self._records.get(key.tenant, key.key_id, key.version)
        if record is None:
            return False
        try:
            await self._encryption.decrypt(key, record)
        except Undecryptable:
            return False
        return True

    async def _mark(self, key: ProviderKey, event: Event, detail: str) -> None:
        after = key.model_copy(update={"status": status_after(key, event)})
        if after == key:
            return
        act = Act(Role.KEY_VAULT.value, f"key.{event.value}", key.tenant, key.key_id)
        try:
            await self._keys.update(key, after, act, KeyChange.EDITED, f"The key {key.label} {detail}.")
        except Conflict as error:  # another process that is starting was faster
            _log.info("a key was not marked", extra={"key_id": key.key_id, "why": str(error)})


def _describe(found: Findings) -> str:
    key_ids = sorted(found.reasons)
    shown = ", ".join(key_ids[:_MAX_NAMED])
    if len(key_ids) > _MAX_NAMED:
        shown += f" and {len(key_ids) - _MAX_NAMED} more"
    lines = [
        f"{len(key_ids)} stored provider keys or integration secrets cannot be decrypted: {shown or 'none of them in use'}."
    ]
    if found.missing_keks:
        lines.append(
            f"Missing KEKs: {', '.join(sorted(found.missing_keks))}; put them back where the vault reads its KEKs."
        )
    reasons = sorted({*found.reasons.values(), *found.broken_data_keys.values()})
    lines += [f"Why: {reason}." for reason in reasons[:_MAX_NAMED]]
    lines.append(
        "To run without them set KEYFERRY_START_UNDECRYPTABLE=true: they are then marked as undecryptable until the KEK"
        " is back."
    )
    return " ".join(lines)
