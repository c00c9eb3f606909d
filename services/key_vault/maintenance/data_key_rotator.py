"""Rotation of a tenant's data key: re-encrypts its records under a new one and destroys the former ones."""

import logging

from keyferry.contracts.vault import VaultReport
from services.key_vault.database.tables import DataKeyRow
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.data_key_store import DataKeyStore
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.integration_secrets.store import IntegrationSecretStore
from services.key_vault.keys.record_store import RecordStore
from services.key_vault.maintenance.integrity_check import IntegrityCheck

_log = logging.getLogger(__name__)

ROTATE = "data_key.rotate"
_PAGE_SIZE = 100


class DataKeyRotator:
    """Rotates the data key of one tenant at a time."""

    def __init__(
        self, database: Database, data_keys: DataKeys, encryption: EnvelopeEncryption, integrity: IntegrityCheck
    ) -> None:
        self._database = database
        self._store = DataKeyStore(database)
        self._records = RecordStore(database)
        self._integrations = IntegrationSecretStore(database)
        self._data_keys = data_keys
        self._encryption = encryption
        self._integrity = integrity

    async def rotate(self, tenant: str, actor: str) -> VaultReport:
        """Re-encrypt all of a tenant's records under a new data key, destroy the former ones, and check the result.

        New records use the new data key at once. If the process is killed, the other records stay readable, and another
        rotation completes it. A record that cannot be decrypted keeps its data key and is named in the report. Raises
        KekUnavailable, DatabaseUnavailable.
        """
        fresh = await self._data_keys.replace(tenant)
        re_encrypted = await self._re_encrypt_keys(tenant, fresh) + await self._re_encrypt_secrets(tenant, fresh)
        destroyed = await self._store.delete_unused(tenant)
        details = {"re_encrypted": str(re_encrypted), "data_keys_destroyed": str(destroyed)}
        await self._database.audit(Act(actor, ROTATE, tenant, fresh.data_key_id, details=details))
        return await self._integrity.check_all(tenant)

    async def _re_encrypt_keys(self, tenant: str, fresh: DataKeyRow) -> int:
        last = ("", 0)
        re_encrypted = 0
        while page := await self._records.list_after(last, _PAGE_SIZE, tenant=tenant):
            for key, record in page:
                last = (key.key_id, key.version)
                if record.data_key_id == fresh.data_key_id:
                    continue
                try:
                    new_record = await self._encryption.re_encrypt(key, record)
                    re_encrypted += await self._records.replace(key, record, new_record)
                except Undecryptable as error:
                    _log.error("a record cannot be re-encrypted", extra={"key_id": key.key_id, "why": str(error)})
        return re_encrypted

    async def _re_encrypt_secrets(self, tenant: str, fresh: DataKeyRow) -> int:
        last = ("", 0)
        re_encrypted = 0
        while page := await self._integrations.list_after(last, _PAGE_SIZE, tenant=tenant):
            for secret, record in page:
                last = (secret.secret_id, secret.version)
                if record.data_key_id == fresh.data_key_id:
                    continue
                try:
                    text = await self._encryption.decrypt_integration(secret, record)
                    new_record = await self._encryption.encrypt_integration(secret, text)
                    re_encrypted += await self._integrations.replace(secret, record, new_record)
                except Undecryptable as error:
                    extra = {"secret_id": secret.secret_id, "why": str(error)}
                    _log.error("a record cannot be re-encrypted", extra=extra)
        return re_encrypted
