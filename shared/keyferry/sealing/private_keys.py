"""The private and public keys of the services as their files hold them: 32 raw bytes in base64url.

Ed25519 keys sign, X25519 keys open. A worker's identity key and the vault's signing key sign nothing but frame parts that
begin with a context of ours; the bus's own nkeys are never used for it, since a server chooses what those sign.
"""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.secret import Secret
from keyferry.sealing.framing import frame, from_base64, to_base64

_KEY_BYTES = 32


class BadKeyFile(ValueError):
    """A text that is not 32 bytes in base64url. The message is fit to be shown."""


def signing_key(text: Secret) -> Ed25519PrivateKey:
    """An Ed25519 private key. Raises BadKeyFile."""
    return Ed25519PrivateKey.from_private_bytes(_raw(text.reveal()))


def verifying_key(text: str) -> Ed25519PublicKey:
    """An Ed25519 public key. Raises BadKeyFile."""
    return Ed25519PublicKey.from_public_bytes(_raw(text))


def opening_key(text: Secret) -> X25519PrivateKey:
    """An X25519 private key. Raises BadKeyFile."""
    return X25519PrivateKey.from_private_bytes(_raw(text.reveal()))


def text_of(key: Ed25519PrivateKey | X25519PrivateKey) -> Secret:
    """What goes into the private key's file."""
    return Secret(to_base64(key.private_bytes_raw()))


def public_key_text(key: Ed25519PrivateKey | X25519PrivateKey) -> str:
    """The public half, as it stands in messages and files."""
    return to_base64(key.public_key().public_bytes_raw())


def fingerprint(suite: str, public_key: str) -> str:
    """64 hex digits (SHA-256) that stand for a public key when people or configuration compare it."""
    return hashlib.sha256(frame("keyferry/public-key/v1", suite, public_key)).hexdigest()


def _raw(text: str) -> bytes:
    try:
        raw = from_base64(text)
    except ValueError as error:
        raise BadKeyFile(f"the key cannot be read: {error}") from None
    if len(raw) != _KEY_BYTES:
        raise BadKeyFile(f"the key has {len(raw)} bytes and not {_KEY_BYTES}")
    return raw
