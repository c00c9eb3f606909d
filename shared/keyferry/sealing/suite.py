"""Single-shot HPKE (RFC 9180) in base mode, and the only place that names algorithms.

Base mode does not authenticate the sender: where that matters, the sender signs (`keyferry.sealing.delivery`). The suite's id is
carried in every message and bound into every seal, so that the default suite can change without a flag day.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

X25519_AES_256_GCM = "x25519-hkdf-sha256-aes-256-gcm"
"""DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""
DEFAULT_SUITE = X25519_AES_256_GCM

_SUITES = {X25519_AES_256_GCM: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)}


class UnknownSuite(ValueError):
    """A suite that this build does not support: the peer is newer or older."""

    def __init__(self, suite: str) -> None:
        super().__init__(f"this build does not know the sealing suite {suite[:64]!r}; it has {', '.join(_SUITES)}")


class CannotOpen(ValueError):
    """The message was sealed to another key or for another purpose, or changed; HPKE does not reveal which."""


def check_suite(suite: str) -> None:
    """Check that `suite` is supported. Raises UnknownSuite."""
    if suite not in _SUITES:
        raise UnknownSuite(suite)


def seal(suite: str, public_key: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Seal a plaintext: encapsulated key, then ciphertext. Raises UnknownSuite, and ValueError for a bad public key."""
    check_suite(suite)
    return _SUITES[suite].encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info=info)


def unseal(suite: str, private_key: X25519PrivateKey, info: bytes, sealed: bytes) -> bytes:
    """Open what was sealed to `private_key` with the same `info`. Raises UnknownSuite and CannotOpen."""
    check_suite(suite)
    try:
        return _SUITES[suite].decrypt(sealed, private_key, info=info)
    except (InvalidTag, ValueError):  # ValueError: too short, or a public key that no honest sender makes
        raise CannotOpen(
            "the seal does not open: it is for another key or purpose, or was changed on the way"
        ) from None
