"""Content at rest: each tenant has a data key, which the ledger's content key encrypts. Without the data key the content is lost.

The content key never encrypts content itself: an encryption key is derived from it (HKDF), which encrypts data keys only.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyferry.contracts.content import CallContent, ContentRecord
from keyferry.contracts.envelope import MalformedMessage
from keyferry.sealing.content import open_content
from keyferry.sealing.framing import frame
from keyferry.sealing.suite import CannotOpen

_KEY_BYTES = 32
_NONCE_BYTES = 12
_KEK_INFO = frame("keyferry/content-kek/v1")


class UnreadableContent(ValueError):
    """Content, or its data key, that cannot be decrypted. The message can be shown."""


class ContentEncryption:
    """Opens what workers seal, and encrypts and decrypts what is stored."""

    def __init__(self, private_key: X25519PrivateKey) -> None:
        self._private_key = private_key
        kek = HKDF(SHA256(), _KEY_BYTES, salt=None, info=_KEK_INFO).derive(private_key.private_bytes_raw())
        self._kek = AESGCM(kek)

    def open(self, record: ContentRecord) -> CallContent:
        """Return the content of a record, which was sealed for its tenant and attempt. Raises UnreadableContent."""
        try:
            plaintext = open_content(self._private_key, record.tenant, record.attempt_id, record.sealed)
            return CallContent.decode(plaintext)
        except (CannotOpen, MalformedMessage) as error:
            raise UnreadableContent(str(error)) from None

    def new_data_key(self, tenant: str) -> bytes:
        """Return a new data key of a tenant, encrypted."""
        return _encrypt(self._kek, os.urandom(_KEY_BYTES), frame("data key", tenant))

    def encrypt(self, data_key: bytes, tenant: str, attempt_id: str, content: CallContent) -> bytes:
        """Encrypt content with a tenant's encrypted data key. Raises UnreadableContent for a data key of another."""
        return _encrypt(self._cipher(data_key, tenant), content.encode(), frame("content", tenant, attempt_id))

    def decrypt(self, data_key: bytes, tenant: str, attempt_id: str, stored: bytes) -> CallContent:
        """Return stored content. Raises UnreadableContent."""
        try:
            plaintext = _decrypt(self._cipher(data_key, tenant), stored, frame("content", tenant, attempt_id))
            return CallContent.decode(plaintext)
        except (InvalidTag, MalformedMessage):
            raise UnreadableContent(
                "the stored content does not belong to this tenant and attempt, or was changed"
            ) from None

    def _cipher(self, data_key: bytes, tenant: str) -> AESGCM:
        try:
            return AESGCM(_decrypt(self._kek, data_key, frame("data key", tenant)))
        except InvalidTag:
            raise UnreadableContent("the data key of the tenant does not open with the ledger's content key") from None


def _encrypt(cipher: AESGCM, plaintext: bytes, context: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plaintext, context)


def _decrypt(cipher: AESGCM, stored: bytes, context: bytes) -> bytes:
    return cipher.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], context)
