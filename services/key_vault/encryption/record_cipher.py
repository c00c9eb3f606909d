"""Provider keys at rest: authenticated encryption of one record, bound to the place where the record belongs.

    record = 0x01 | salt[32] | commitment[32] | nonce[12] | AES-256-GCM ciphertext and tag

Every record has a key of its own, drawn with HKDF-SHA256 (RFC 5869) from the tenant's data key and the salt, so that no two
records share a nonce's budget. The same step yields a commitment: AES-GCM alone can be made to open under two keys, and the
commitment, compared before anything is decrypted, rules that out. The additional data name everything that a record belongs
to, each part with its length before it, so that a record that was moved, renamed or pointed at another origin does not open.
"""

import hmac
import os
from dataclasses import astuple, dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyferry.sealing.framing import frame

DATA_KEY_BYTES = 32

_LABEL = "keyferry/v1"
_VERSION = b"\x01"
_SALT_BYTES, _COMMITMENT_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 32, 12, 16
_RECORD_KEY_BYTES = 32
_HEADER_BYTES = len(_VERSION) + _SALT_BYTES + _COMMITMENT_BYTES + _NONCE_BYTES
OVERHEAD_BYTES = _HEADER_BYTES + _TAG_BYTES
"""How much longer a record is than what it holds."""


class Undecryptable(Exception):
    """What is stored does not open: it was changed or moved, or the key for it is not there. The message says which."""


@dataclass(frozen=True, slots=True)
class RecordContext:
    """Everything that a record is bound to."""

    deployment: str
    tenant: str
    provider: str
    key_id: str
    version: int
    origin: str
    data_key_id: str

    def additional_data(self) -> bytes:
        """The context as bytes, no two contexts alike."""
        return frame(_LABEL, *astuple(self))


def new_data_key() -> bytes:
    """A fresh data key: 32 random bytes."""
    return os.urandom(DATA_KEY_BYTES)


def seal(data_key: bytes, context: RecordContext, plaintext: bytes) -> bytes:
    """A record of `plaintext` that opens only under `data_key` (32 bytes) and for `context`."""
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    record_key, commitment = _record_key(data_key, salt)
    ciphertext = AESGCM(record_key).encrypt(nonce, plaintext, context.additional_data())
    return b"".join((_VERSION, salt, commitment, nonce, ciphertext))


def open_record(data_key: bytes, context: RecordContext, record: bytes) -> bytes:
    """What a record holds. Raises Undecryptable, which says what does not fit and nothing of the contents."""
    if len(record) < OVERHEAD_BYTES or record[:1] != _VERSION:
        raise Undecryptable("the record is cut off, or of a format that this build does not know")
    salt, rest = record[1 : 1 + _SALT_BYTES], record[1 + _SALT_BYTES :]
    claimed, rest = rest[:_COMMITMENT_BYTES], rest[_COMMITMENT_BYTES:]
    record_key, commitment = _record_key(data_key, salt)
    if not hmac.compare_digest(claimed, commitment):
        raise Undecryptable("the record was sealed under another data key, or changed")
    try:
        return AESGCM(record_key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context.additional_data())
    except InvalidTag:
        raise Undecryptable("the record was changed, or belongs to another key, tenant, provider or origin") from None


def _record_key(data_key: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """A record's own key and the commitment to it."""
    if len(data_key) != DATA_KEY_BYTES:
        raise ValueError(f"a data key has {DATA_KEY_BYTES} bytes")
    length = _RECORD_KEY_BYTES + _COMMITMENT_BYTES
    derived = HKDF(algorithm=SHA256(), length=length, salt=salt, info=frame(_LABEL, "record")).derive(data_key)
    return derived[:_RECORD_KEY_BYTES], derived[_RECORD_KEY_BYTES:]
