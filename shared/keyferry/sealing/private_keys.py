"""The services' private and public keys in their file format: 32 raw bytes in base64url.

Ed25519 keys sign, X25519 keys open seals. A worker's identity key and the vault's signing key sign only framed parts that begin
with one of our contexts; the bus's nkeys are never used for that, since a server chooses what those sign.
"""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.secret import Secret
from keyferry.sealing.framing import frame, from_base64, to_base64

_KEY_BYTES = 32


class BadKeyFile(ValueError):
    """A text that is not 32 bytes in base64url. The message may be shown."""


def signing_key(text: Secret) -> Ed25519PrivateKey:
    """Parse an Ed25519 private key. Raises BadKeyFile."""
    return Ed25519PrivateKey.from_private_bytes(_raw(text.reveal()))


def verifying_key(text: str) -> Ed25519PublicKey:
    """Parse an Ed25519 public key. Raises BadKeyFile."""
    return Ed25519PublicKey.from_public_bytes(_raw(text))


def opening_key(text: Secret) -> X25519PrivateKey:
    """Parse an X25519 private key. Raises BadKeyFile."""
    return X25519PrivateKey.from_private_bytes(_raw(text.reveal()))


def private_key_text(key: Ed25519PrivateKey | X25519PrivateKey) -> Secret:
    """Return the content of the private key's file."""
    return Secret(to_base64(key.private_bytes_raw()))


def public_key_text(key: Ed25519PrivateKey | X25519PrivateKey) -> str:
    """Return the public half, as in messages and files."""
    return to_base64(key.public_key().public_bytes_raw())


def fingerprint(suite: str, public_key: str) -> str:
    """Return 64 hex digits (SHA-256) by which people and configuration compare a public key."""
    return hashlib.sha256(frame("keyferry/public-key/v1", suite, public_key)).hexdigest()


def _raw(text: str) -> bytes:
    try:
        raw = from_base64(text)
    except ValueError as error:
        raise BadKeyFile(f"the key cannot be read: {error}") from None
    if len(raw) != _KEY_BYTES:
        raise BadKeyFile(f"the key has {len(raw)} bytes and not {_KEY_BYTES}")
    return raw
