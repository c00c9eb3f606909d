"""Envelope encryption of provider keys and integration secrets: from a secret to a record that may be stored, and back.

The only file of the vault in which a data key and a secret meet.
"""

import hashlib
import hmac

from keyferry.contracts.integration_secrets import IntegrationSecret
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.secret import Secret
from keyferry.sealing.framing import frame
from services.key_vault.database.tables import DataKeyRow, EncryptedRecord
from services.key_vault.encryption.data_keys import DataKey, DataKeys
from services.key_vault.encryption.record_cipher import (
    IntegrationContext,
    RecordContext,
    Undecryptable,
    decrypt_record,
    encrypt_record,
)

_FINGERPRINT_LABEL = "keyferry/fingerprint/v1"
_FINGERPRINT_HEX_DIGITS = 16
_FINGERPRINT_KEY_BYTES = 32


class EnvelopeEncryption:
    """Encrypts and decrypts provider keys and integration secrets under their tenants' data keys.

    `deployment` is this installation's id, which every record is bound to. `fingerprint_key` is 32 bytes.
    """

    def __init__(self, data_keys: DataKeys, deployment: str, fingerprint_key: bytes) -> None:
        if len(fingerprint_key) != _FINGERPRINT_KEY_BYTES:
            raise ValueError(f"a fingerprint key has {_FINGERPRINT_KEY_BYTES} bytes")
        self._data_keys = data_keys
        self._deployment = deployment
        self._fingerprint_key = fingerprint_key

    async def encrypt(self, key: KeyFacts, secret: Secret) -> EncryptedRecord:
        """Encrypt the secret of `key` at `key.version` under the tenant's primary data key, which is created if missing.

        Raises KekUnavailable, DatabaseUnavailable, and Undecryptable when the primary data key cannot be decrypted.
        """
        data_key = await self._data_keys.get_or_create_primary(key.tenant)
        context = self._context(key, data_key.data_key_id)
        return EncryptedRecord(
            data_key.data_key_id, encrypt_record(data_key.material, context, secret.reveal().encode())
        )

    async def decrypt(self, key: KeyFacts, record: EncryptedRecord, data_key: DataKeyRow | None = None) -> Secret:
        """Return the provider key in `record`, which has to be the record of `key` at `key.version`.

        `data_key` is the row of the data key where the caller has read it with the record. Raises Undecryptable (KekMissing
        is one), KekUnavailable and DatabaseUnavailable.
        """
        return self.decrypt_with(await self._data_keys.get(record.data_key_id, data_key), key, record)

    def decrypt_with(self, data_key: DataKey, key: KeyFacts, record: EncryptedRecord) -> Secret:
        """Decrypt as `decrypt` does, with a plaintext data key. Raises Undecryptable."""
        if data_key.tenant != key.tenant:
            raise Undecryptable(f"the record of {key.key_id} is under a data key of another tenant")
        context = self._context(key, record.data_key_id)
        return Secret(decrypt_record(data_key.material, context, record.record).decode())

    async def re_encrypt(self, key: KeyFacts, record: EncryptedRecord) -> EncryptedRecord:
        """Return the same provider key under the tenant's primary data key. Raises as `decrypt` and `encrypt` do."""
        return await self.encrypt(key, await self.decrypt(key, record))

    async def encrypt_integration(self, facts: IntegrationSecret, secret: Secret) -> EncryptedRecord:
        """Encrypt an integration secret at `facts.version`. Raises as `encrypt` does."""
        data_key = await self._data_keys.get_or_create_primary(facts.tenant)
        context = self._integration_context(facts, data_key.data_key_id)
        record = encrypt_record(data_key.material, context, secret.reveal().encode())
        return EncryptedRecord(data_key.data_key_id, record)

    async def decrypt_integration(self, facts: IntegrationSecret, record: EncryptedRecord) -> Secret:
        """Return the integration secret in the record of `facts.version`. Raises as `decrypt` does."""
        return self.decrypt_integration_with(await self._data_keys.get(record.data_key_id), facts, record)

    def decrypt_integration_with(self, data_key: DataKey, facts: IntegrationSecret, record: EncryptedRecord) -> Secret:
        """Decrypt as `decrypt_integration` does, with a plaintext data key. Raises Undecryptable."""
        if data_key.tenant != facts.tenant:
            raise Undecryptable(f"the record of {facts.secret_id} is under a data key of another tenant")
        context = self._integration_context(facts, record.data_key_id)
        return Secret(decrypt_record(data_key.material, context, record.record).decode())

    def fingerprint(self, tenant: str, key: Secret) -> str:
        """Return 16 hex digits, equal for equal keys of a tenant; they reveal nothing without the fingerprint key."""
        text = frame(_FINGERPRINT_LABEL, tenant, key.reveal())
        return hmac.new(self._fingerprint_key, text, hashlib.sha256).hexdigest()[:_FINGERPRINT_HEX_DIGITS]

    def evict(self, tenant: str) -> None:
        """Drop the tenant's data keys from memory after they were destroyed."""
        self._data_keys.evict(tenant)

    def _integration_context(self, facts: IntegrationSecret, data_key_id: str) -> IntegrationContext:
        return IntegrationContext(
            self._deployment, facts.tenant, facts.kind.value, facts.secret_id, facts.version, data_key_id
        )

    def _context(self, key: KeyFacts, data_key_id: str) -> RecordContext:
        return RecordContext(
            self._deployment, key.tenant, key.provider, key.key_id, key.version, key.origin, data_key_id
        )
