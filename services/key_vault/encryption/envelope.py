"""Custody of provider keys: from a key in clear to a record that may be stored, and back.

The only file of the vault in which a data key and a provider key meet.
"""

import hashlib
import hmac

from keyferry.contracts.key import KeyFacts
from keyferry.contracts.secret import Secret
from keyferry.sealing.framing import frame
from services.key_vault.database.tables import DataKeyRow, EncryptedRecord
from services.key_vault.encryption.data_keys import DataKey, DataKeys
from services.key_vault.encryption.record_cipher import RecordContext, Undecryptable, open_record, seal

_FINGERPRINT_LABEL = "keyferry/fingerprint/v1"
_FINGERPRINT_HEX_DIGITS = 16
_FINGERPRINT_KEY_BYTES = 32


class EnvelopeEncryption:
    """Seals and opens provider keys under their tenants' data keys.

    `deployment` is this installation's id, which every record is bound to. `fingerprint_key` is 32 bytes.
    """

    def __init__(self, data_keys: DataKeys, deployment: str, fingerprint_key: bytes) -> None:
        if len(fingerprint_key) != _FINGERPRINT_KEY_BYTES:
            raise ValueError(f"a fingerprint key has {_FINGERPRINT_KEY_BYTES} bytes")
        self._data_keys = data_keys
        self._deployment = deployment
        self._fingerprint_key = fingerprint_key

    async def keep(
        self, tenant: str, provider: str, key_id: str, version: int, origin: str, key: Secret
    ) -> EncryptedRecord:
        """A record of `key` under the tenant's current data key, which is made where there is none.

        Raises KekUnavailable, Undecryptable when the current data key cannot be unwrapped, DatabaseUnavailable.
        """
        data_key = await self._data_keys.current(tenant)
        context = RecordContext(
            self._deployment, tenant, provider, key_id, version, origin, data_key_id=data_key.data_key_id
        )
        return EncryptedRecord(data_key.data_key_id, seal(data_key.material, context, key.reveal().encode()))

    async def open(self, key: KeyFacts, sealed: EncryptedRecord, data_key: DataKeyRow | None = None) -> Secret:
        """The provider key in `sealed`, which has to be the record of `key` at `key.version`.

        `data_key` is the row of the data key where the caller has read that with the record, and it need not be looked for.
        Raises Undecryptable, of which KekMissing is one; KekUnavailable; DatabaseUnavailable.
        """
        return self.opened(key, sealed, await self._data_keys.get(sealed.data_key_id, data_key))

    def opened(self, key: KeyFacts, sealed: EncryptedRecord, data_key: DataKey) -> Secret:
        """As `open`, with the data key at hand. Raises Undecryptable."""
        if data_key.tenant != key.tenant:
            raise Undecryptable(f"the record of {key.key_id} is under a data key of another tenant")
        context = RecordContext(
            self._deployment, key.tenant, key.provider, key.key_id, key.version, key.origin, sealed.data_key_id
        )
        return Secret(open_record(data_key.material, context, sealed.record).decode())

    async def re_encrypt(self, key: KeyFacts, sealed: EncryptedRecord) -> EncryptedRecord:
        """The same provider key under the tenant's current data key. Raises as `open` and `keep` do."""
        secret = await self.open(key, sealed)
        return await self.keep(key.tenant, key.provider, key.key_id, key.version, key.origin, secret)

    def fingerprint(self, tenant: str, key: Secret) -> str:
        """16 hex digits: the same for the same key of a tenant, and without the fingerprint key nothing at all."""
        text = frame(_FINGERPRINT_LABEL, tenant, key.reveal())
        return hmac.new(self._fingerprint_key, text, hashlib.sha256).hexdigest()[:_FINGERPRINT_HEX_DIGITS]

    def forget(self, tenant: str) -> None:
        """Drop the tenant's data keys from memory: they are destroyed."""
        self._data_keys.evict(tenant)
