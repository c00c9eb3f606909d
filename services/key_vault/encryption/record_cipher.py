"""Authenticated encryption of one provider key or integration secret at rest, bound to the place where its record belongs.

    record = 0x01 | salt[32] | commitment[32] | nonce[12] | AES-256-GCM ciphertext and tag

Every record has its own key, derived with HKDF-SHA256 (RFC 5869) from the tenant's data key and the salt, so no two records
share a nonce space. The same step yields a key commitment, because AES-GCM alone is not key-committing: a ciphertext can be
crafted to decrypt under two keys. The commitment is compared before anything is decrypted. The additional data name everything
that a record belongs to, each part length-prefixed, so a record that was moved, renamed or given another origin does not
decrypt.
"""

import hmac
import os
from dataclasses import astuple, dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyferry.sealing.framing import frame

DATA_KEY_BYTES = 32

_LABEL = "keyferry/v1"
_INTEGRATION_LABEL = "keyferry/integration-secret/v1"
_VERSION = b"\x01"
_SALT_BYTES, _COMMITMENT_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 32, 12, 16
_RECORD_KEY_BYTES = 32
_HEADER_BYTES = len(_VERSION) + _SALT_BYTES + _COMMITMENT_BYTES + _NONCE_BYTES
OVERHEAD_BYTES = _HEADER_BYTES + _TAG_BYTES
"""How much longer a record is than its plaintext."""


class Undecryptable(Exception):
    """Stored ciphertext cannot be decrypted: it was changed or moved, or its key is missing. The message says which."""


class Binding(Protocol):
    """Everything that a record is bound to."""

    def additional_data(self) -> bytes:
        """Return it as bytes, different for any two bindings."""


@dataclass(frozen=True, slots=True)
class RecordContext:
    """Everything that a provider key's record is bound to."""

    deployment: str
    tenant: str
    provider: str
    key_id: str
    version: int
    origin: str
    data_key_id: str

    def additional_data(self) -> bytes:
        """Return the context as bytes, different for any two contexts."""
        return frame(_LABEL, *astuple(self))


@dataclass(frozen=True, slots=True)
class IntegrationContext:
    """Everything that an integration secret's record is bound to."""

    deployment: str
    tenant: str
    kind: str
    secret_id: str
    version: int
    data_key_id: str

    def additional_data(self) -> bytes:
        """Return the context as bytes, different for any two contexts."""
        return frame(_INTEGRATION_LABEL, *astuple(self))


def new_data_key() -> bytes:
    """Return a new data key: 32 random bytes."""
    return os.urandom(DATA_KEY_BYTES)


def encrypt_record(data_key: bytes, context: Binding, plaintext: bytes) -> bytes:
    """Return a record of `plaintext` that decrypts only with `data_key` (32 bytes) and `context`."""
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    record_key, commitment = _record_key(data_key, salt)
    ciphertext = AESGCM(record_key).encrypt(nonce, plaintext, context.additional_data())
    return b"".join((_VERSION, salt, commitment, nonce, ciphertext))


def decrypt_record(data_key: bytes, context: Binding, record: bytes) -> bytes:
    """Return a record's plaintext. Raises Undecryptable, whose message repeats nothing of the contents."""
    if len(record) < OVERHEAD_BYTES or record[:1] != _VERSION:
        raise Undecryptable("the record is cut off, or of a format that this build does not know")
    salt, rest = record[1 : 1 + _SALT_BYTES], record[1 + _SALT_BYTES :]
    claimed, rest = rest[:_COMMITMENT_BYTES], rest[_COMMITMENT_BYTES:]
    record_key, commitment = _record_key(data_key, salt)
    if not hmac.compare_digest(claimed, commitment):
        raise Undecryptable("the record was encrypted under another data key, or changed")
    try:
        return AESGCM(record_key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context.additional_data())
    except InvalidTag:
        raise Undecryptable("the record was changed, or belongs to another key, tenant, provider or origin") from None


def _record_key(data_key: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Derive a record's own key and the commitment to it."""
    if len(data_key) != DATA_KEY_BYTES:
        raise ValueError(f"a data key has {DATA_KEY_BYTES} bytes")
    length = _RECORD_KEY_BYTES + _COMMITMENT_BYTES
    derived = HKDF(algorithm=SHA256(), length=length, salt=salt, info=frame(_LABEL, "record")).derive(data_key)
    return derived[:_RECORD_KEY_BYTES], derived[_RECORD_KEY_BYTES:]
